test cat
test run

graph @f(%x: f32[1, 2], %s: f32[2]) -> (y: f32[1, 2]) {
  %0 = rms_norm %x, %s axis=1 eps=0.0 : f32[1, 2]
  return %0
}
// run: @f([[1, 7]], [5, 10]) ~= [[1, 14]]

graph @c1_1(%x: f32[2], %s: f32[2]) -> (y: f32[2]) {
  %0 = rms_norm %x, %s axis=1 eps=0.1 : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: i32[2], %s: i32[2]) -> (y: i32[2]) {
  %0 = rms_norm %x, %s axis=0 eps=0.1 : i32[2] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[2], %s: f64[2]) -> (y: f32[2]) {
  %0 = rms_norm %x, %s axis=0 eps=0.1 : f32[2] // error: (C3)
  return %0
}
