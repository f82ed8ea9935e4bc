test cat
test run

graph @f(%x: f32[2, 3]) -> (y: f32[2]) {
  %0 = reduce_sum %x axes=[1] : f32[2]
  return %0
}
// run: @f([[1, 2, 3], [4, 5, 6]]) == [6, 15]

graph @nothing(%x: i8[N]) -> (y: i8[]) {
  %0 = reduce_sum %x axes=[0] : i8[]
  return %0
}
// run: @nothing(i8[0] []) == 0

graph @c1_1(%x: f32[2, 3]) -> (y: f32[2]) {
  %0 = reduce_sum %x axes=[2] : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: bool[2]) -> (y: bool[]) {
  %0 = reduce_sum %x axes=[0] : bool[] // error: (C2)
  return %0
}
