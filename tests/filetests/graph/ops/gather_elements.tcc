test cat
test run

graph @f(%x: f32[2, 2], %i: i64[2, 2]) -> (y: f32[2, 2]) {
  %0 = gather_elements %x, %i axis=1 : f32[2, 2]
  return %0
}
// run: @f([[1, 2], [3, 4]], [[0, 0], [1, 0]]) == [[1, 1], [4, 3]]

graph @c1_1(%x: f32[2], %i: i64[2]) -> (y: f32[2]) {
  %0 = gather_elements %x, %i axis=1 : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[2], %i: i64[2, 2]) -> (y: f32[2]) {
  %0 = gather_elements %x, %i axis=0 : f32[2] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[2, 2], %i: i64[2, 3]) -> (y: f32[2, 3]) {
  %0 = gather_elements %x, %i axis=0 : f32[2, 3] // error: (C3)
  return %0
}
