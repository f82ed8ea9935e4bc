test cat
test run

graph @f(%x: f32[2, 2], %w: f32[2, 2]) -> (y: f32[2, 2]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[2, 2]
  return %0
}
// run: @f([[1, 2], [3, 4]], [[5, 6], [7, 8]]) == [[19, 22], [43, 50]]

graph @widening(%x: i8[1, 2], %w: i8[2, 1]) -> (y: i32[1, 1]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=i32 : i32[1, 1]
  return %0
}
// run: @widening([[100, 100]], [[100], [100]]) == [[20000]]

graph @batched(%x: f32[B, 2], %w: f32[B, 2]) -> (y: f32[B]) {
  %0 = dot %x, %w lhs_batch=[0] rhs_batch=[0] lhs_contract=[1] rhs_contract=[1] dtype=f32 : f32[B]
  return %0
}
// run: @batched([[1, 2], [3, 4]], [[5, 6], [7, 8]]) == [17, 53]

graph @c1_1(%x: f32[2, 2], %w: f32[2, 2]) -> (y: f32[2]) {
  %0 = dot %x, %w lhs_batch=[1] rhs_batch=[1] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[2, 2], %w: f32[2, 2]) -> (y: f32[2]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[0, 1] rhs_contract=[0] dtype=f32 : f32[2] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[2, 3], %w: f32[2, 2]) -> (y: f32[2, 2]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[2, 2] // error: (C3)
  return %0
}

graph @c4_4(%x: f32[2, 2], %w: i8[2, 2]) -> (y: f32[2, 2]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[2, 2] // error: (C4)
  return %0
}
