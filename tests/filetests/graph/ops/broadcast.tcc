test cat
test run

graph @f(%x: f32[2, 1]) -> (y: f32[2, 2, 3]) {
  %0 = broadcast %x shape=[2, 2, 3] : f32[2, 2, 3]
  return %0
}
// run: @f([[1], [2]]) == [[[1, 1, 1], [2, 2, 2]], [[1, 1, 1], [2, 2, 2]]]

graph @symbolic(%x: f32[1], %like: f32[N]) -> (y: f32[N]) {
  %0 = broadcast %x shape=[N] : f32[N]
  return %0
}
// run: @symbolic([7], [0, 0]) == [7, 7]

graph @c1_1(%x: f32[2, 3]) -> (y: f32[3]) {
  %0 = broadcast %x shape=[3] : f32[3] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[2]) -> (y: f32[3]) {
  %0 = broadcast %x shape=[3] : f32[3] // error: (C2)
  return %0
}
