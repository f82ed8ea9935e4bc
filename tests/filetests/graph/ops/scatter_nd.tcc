test cat
test run

graph @f(%x: f32[2, 2], %i: i64[2, 1], %u: f32[2, 2]) -> (y: f32[2, 2]) {
  %0 = scatter_nd %x, %i, %u reduce="max" : f32[2, 2]
  return %0
}
// run: @f([[1, 2], [3, 4]], [[0], [0]], [[0, 5], [7, 1]]) == [[7, 5], [3, 4]]

graph @c1_1(%x: f32[2], %i: i64[1, 2], %u: f32[1]) -> (y: f32[2]) {
  %0 = scatter_nd %x, %i, %u reduce="add" : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[2], %i: i64[1, 1], %u: i32[1]) -> (y: f32[2]) {
  %0 = scatter_nd %x, %i, %u reduce="add" : f32[2] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[2], %i: i64[1, 1], %u: f32[2]) -> (y: f32[2]) {
  %0 = scatter_nd %x, %i, %u reduce="add" : f32[2] // error: (C3)
  return %0
}

graph @c4_4(%x: f32[2], %i: i64[1, 1], %u: f32[1]) -> (y: f32[2]) {
  %0 = scatter_nd %x, %i, %u reduce="sub" : f32[2] // error: (C4)
  return %0
}
