test pass fuse-multiply-adds
test run

program @axpy(x: f32[4*N], b: f32[4*N]) -> (y: f32[4*N]) where N in 1..=4 {
  for i in 0..N parallel {
    %0: f32x4 = load x[4*i]
    %1: f32x4 = load b[4*i]
    %2: f32x4 = mul %0, %0
    %3: f32x4 = add %2, %1
    store y[4*i] = %3
  }
}
// check: fma %0, %0, %1
// not: = mul
// run: @axpy([1, 2, 3, 4], [1, 1, 1, 1]) == [2, 5, 10, 17]

program @used_twice(x: f32[2]) -> (y: f32[2], z: f32[2]) {
  %0: f32x2 = load x[0]
  %1: f32x2 = mul %0, %0
  %2: f32x2 = add %1, %0
  store y[0] = %2
  store z[0] = %1
}
// check: = mul %0, %0
// not: fma
