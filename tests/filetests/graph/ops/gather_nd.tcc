test cat
test run

graph @f(%x: f32[2, 2], %i: i64[3, 2]) -> (y: f32[3]) {
  %0 = gather_nd %x, %i batch=0 : f32[3]
  return %0
}
// run: @f([[1, 2], [3, 4]], [[0, 1], [1, 0], [1, 1]]) == [2, 3, 4]

graph @batched(%x: f32[2, 2], %i: i64[2, 1]) -> (y: f32[2]) {
  %0 = gather_nd %x, %i batch=1 : f32[2]
  return %0
}
// run: @batched([[1, 2], [3, 4]], [[1], [0]]) == [2, 3]

graph @c1_1(%x: f32[2], %i: f32[1]) -> (y: f32[]) {
  %0 = gather_nd %x, %i batch=0 : f32[] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[2], %i: i64[1]) -> (y: f32[]) {
  %0 = gather_nd %x, %i batch=1 : f32[] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[2], %i: i64[2]) -> (y: f32[]) {
  %0 = gather_nd %x, %i batch=0 : f32[] // error: (C3)
  return %0
}

graph @c4_4(%x: f32[2, 2], %i: i64[3, 1]) -> (y: f32[3]) {
  %0 = gather_nd %x, %i batch=1 : f32[3] // error: (C4)
  return %0
}
