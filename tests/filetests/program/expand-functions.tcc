test pass expand-functions
test run

program @silu(x: f32[4*N]) -> (y: f32[4*N]) where N in 1..=4 {
  for i in 0..N parallel {
    %0: f32x4 = load x[4*i]
    %1: f32x4 = silu %0
    store y[4*i] = %1
  }
}
// check: for i in 0..N parallel {
// not: = silu
// run: @silu([0, 1, -1, 2]) ~= [0, 0.7310586, -0.26894143, 1.7615942]

program @kept(x: f32[2]) -> (y: f32[2]) {
  %0: f32x2 = load x[0]
  %1: f32x2 = sqrt %0
  store y[0] = %1
}
// check: sqrt %0
// run: @kept([4, 9]) == [2, 3]
