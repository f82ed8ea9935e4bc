test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = sign %x : f32[4]
  return %0
}
// run: @f([2.5, -3.0, 0.0, -0.0]) == [1.0, -1.0, 0.0, -0.0]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = sign %x : f16[N]
  return %0
}
// run: @half([2.5]) ~= [1.0]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i8[3]) -> (y: i8[3]) {
  %0 = sign %x : i8[3]
  return %0
}
// run: @ints([7, -9, 0]) == [1, -1, 0]

graph @bools(%x: bool[2]) -> (y: bool[2]) {
  %0 = sign %x : bool[2] // error: (dtype)
  return %0
}
