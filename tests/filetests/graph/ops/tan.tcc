test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = tan %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.5463024898437905, -0.25534192122103627, 1.5574077246549023, -2.185039863261519]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = tan %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.5463024898437905]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = tan %x : i32[2] // error: (dtype)
  return %0
}
