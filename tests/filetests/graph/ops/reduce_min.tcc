test cat
test run

graph @f(%x: f32[2, 3]) -> (y: f32[2]) {
  %0 = reduce_min %x axes=[1] : f32[2]
  return %0
}
// run: @f([[1, 2, 3], [4, nan, 6]]) == [1, nan]

graph @bools(%x: bool[2]) -> (y: bool[]) {
  %0 = reduce_min %x axes=[0] : bool[]
  return %0
}
// run: @bools([true, false]) == false

graph @nothing(%x: i8[N]) -> (y: i8[]) {
  %0 = reduce_min %x axes=[0] : i8[]
  return %0
}
// run: @nothing(i8[0] []) == 127

graph @c1_1(%x: f32[2, 3]) -> (y: f32[3]) {
  %0 = reduce_min %x axes=[0, 0] : f32[3] // error: (C1)
  return %0
}
