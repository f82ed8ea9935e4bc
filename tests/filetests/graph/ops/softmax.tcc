test cat
test run

graph @f(%x: f32[2, 2]) -> (y: f32[2, 2]) {
  %0 = softmax %x axis=1 : f32[2, 2]
  return %0
}
// run: @f([[0, 0], [1000, 0]]) ~= [[0.5, 0.5], [1, 0]]

graph @c1_1(%x: f32[2]) -> (y: f32[2]) {
  %0 = softmax %x axis=1 : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: i32[2]) -> (y: i32[2]) {
  %0 = softmax %x axis=0 : i32[2] // error: (C2)
  return %0
}
