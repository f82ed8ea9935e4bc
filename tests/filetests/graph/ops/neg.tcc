test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = neg %x : f32[4]
  return %0
}
// run: @f([1.5, -2.0, 0.0, inf]) == [-1.5, 2.0, -0.0, -inf]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = neg %x : f16[N]
  return %0
}
// run: @half([1.5]) ~= [-1.5]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i8[3]) -> (y: i8[3]) {
  %0 = neg %x : i8[3]
  return %0
}
// run: @ints([3, -128, 0]) == [-3, -128, 0]

graph @bools(%x: bool[2]) -> (y: bool[2]) {
  %0 = neg %x : bool[2] // error: (dtype)
  return %0
}
