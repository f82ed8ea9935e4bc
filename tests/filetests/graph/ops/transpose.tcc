test cat
test run

graph @f(%x: f32[2, 3]) -> (y: f32[3, 2]) {
  %0 = transpose %x perm=[1, 0] : f32[3, 2]
  return %0
}
// run: @f([[1, 2, 3], [4, 5, 6]]) == [[1, 4], [2, 5], [3, 6]]

graph @c1_1(%x: f32[2, 3]) -> (y: f32[3, 2]) {
  %0 = transpose %x perm=[1, 1] : f32[3, 2] // error: (C1)
  return %0
}

graph @c1_2(%x: f32[2, 3]) -> (y: f32[2]) {
  %0 = transpose %x perm=[0] : f32[2] // error: (C1)
  return %0
}

graph @c1_3(%x: f32[2, 3]) -> (y: f32[2, 3]) {
  %0 = transpose %x perm=[0, 2] : f32[2, 3] // error: (C1)
  return %0
}
