test cat
test run

graph @f(%x: f32[3, 2], %i: i32[2]) -> (y: f32[2, 2]) {
  %0 = gather %x, %i axis=0 : f32[2, 2]
  return %0
}
// run: @f([[1, 2], [3, 4], [5, 6]], [2, 0]) == [[5, 6], [1, 2]]
// run: @f([[1, 2], [3, 4], [5, 6]], [2, 3]) error: 3

graph @c1_1(%x: f32[3], %i: i64[2]) -> (y: f32[2]) {
  %0 = gather %x, %i axis=1 : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[3], %i: f32[2]) -> (y: f32[2]) {
  %0 = gather %x, %i axis=0 : f32[2] // error: (C2)
  return %0
}
