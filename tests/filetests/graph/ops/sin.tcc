test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = sin %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.479425538604203, -0.24740395925452294, 0.8414709848078965, 0.9092974268256817]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = sin %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.479425538604203]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = sin %x : i32[2] // error: (dtype)
  return %0
}
