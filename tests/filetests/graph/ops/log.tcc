test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = log %x : f32[4]
  return %0
}
// run: @f([0.5, 0.25, 1.0, 4.0]) ~= [-0.6931471805599453, -1.3862943611198906, 0.0, 1.3862943611198906]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = log %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [-0.6931471805599453]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = log %x : i32[2] // error: (dtype)
  return %0
}
