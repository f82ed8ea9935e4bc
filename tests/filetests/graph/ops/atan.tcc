test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = atan %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.4636476090008061, -0.24497866312686414, 0.7853981633974483, 1.1071487177940904]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = atan %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.4636476090008061]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = atan %x : i32[2] // error: (dtype)
  return %0
}
