test cat
test run

graph @f(%x: f32[3], %i: i64[2], %u: f32[2]) -> (y: f32[3]) {
  %0 = scatter_elements %x, %i, %u axis=0 reduce="add" : f32[3]
  return %0
}
// run: @f([1, 2, 3], [2, 2], [10, 20]) == [1, 2, 33]

graph @last_stays(%x: f32[3], %i: i64[2], %u: f32[2]) -> (y: f32[3]) {
  %0 = scatter_elements %x, %i, %u axis=0 reduce="none" : f32[3]
  return %0
}
// run: @last_stays([1, 2, 3], [0, 0], [10, 20]) == [20, 2, 3]

graph @c1_1(%x: f32[3], %i: i64[2], %u: f32[2]) -> (y: f32[3]) {
  %0 = scatter_elements %x, %i, %u axis=1 reduce="add" : f32[3] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[3], %i: i64[3], %u: f32[2]) -> (y: f32[3]) {
  %0 = scatter_elements %x, %i, %u axis=0 reduce="add" : f32[3] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[3], %i: i64[2, 1], %u: f32[2, 1]) -> (y: f32[3]) {
  %0 = scatter_elements %x, %i, %u axis=0 reduce="add" : f32[3] // error: (C3)
  return %0
}

graph @c4_4(%x: f32[3], %i: i64[2], %u: f64[2]) -> (y: f32[3]) {
  %0 = scatter_elements %x, %i, %u axis=0 reduce="add" : f32[3] // error: (C4)
  return %0
}

graph @c5_5(%x: f32[3], %i: i64[2], %u: f32[2]) -> (y: f32[3]) {
  %0 = scatter_elements %x, %i, %u axis=0 reduce="mean" : f32[3] // error: (C5)
  return %0
}
