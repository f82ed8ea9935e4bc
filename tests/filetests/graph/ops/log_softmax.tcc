test cat
test run

graph @f(%x: f32[2]) -> (y: f32[2]) {
  %0 = log_softmax %x axis=0 : f32[2]
  return %0
}
// run: @f([0, 0]) ~= [-0.6931472, -0.6931472]

graph @c1_1(%x: f32[2]) -> (y: f32[2]) {
  %0 = log_softmax %x axis=1 : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: i32[2]) -> (y: i32[2]) {
  %0 = log_softmax %x axis=0 : i32[2] // error: (C2)
  return %0
}
