test cat
test run

graph @f(%x: f32[2, 3]) -> (y: f32[3, 2]) {
  %0 = reshape %x shape=[3, 2] : f32[3, 2]
  return %0
}
// run: @f([[1, 2, 3], [4, 5, 6]]) == [[1, 2], [3, 4], [5, 6]]

graph @symbolic(%x: f32[N, 4]) -> (y: f32[2, 2 * N]) {
  %0 = reshape %x shape=[2, 2 * N] : f32[2, 2 * N]
  return %0
}
// run: @symbolic([[1, 2, 3, 4]]) == [[1, 2], [3, 4]]

graph @c1_1(%x: f32[2, 3]) -> (y: f32[5]) {
  %0 = reshape %x shape=[5] : f32[5] // error: (C1) expected 6 elements
  return %0
}
