test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = sinh %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.5210953054937474, -0.2526123168081683, 1.1752011936438014, 3.626860407847019]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = sinh %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.5210953054937474]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = sinh %x : i32[2] // error: (dtype)
  return %0
}
