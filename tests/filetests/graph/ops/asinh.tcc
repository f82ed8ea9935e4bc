test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = asinh %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.48121182505960347, -0.24746646154726346, 0.881373587019543, 1.4436354751788103]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = asinh %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.48121182505960347]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = asinh %x : i32[2] // error: (dtype)
  return %0
}
