test cat
test run

graph @f(%x: f32[2, 3]) -> (y: f32[2, 3]) {
  %0 = reverse %x axes=[1] : f32[2, 3]
  return %0
}
// run: @f([[1, 2, 3], [4, 5, 6]]) == [[3, 2, 1], [6, 5, 4]]

graph @c1_1(%x: f32[2, 3]) -> (y: f32[2, 3]) {
  %0 = reverse %x axes=[1, 1] : f32[2, 3] // error: (C1)
  return %0
}
