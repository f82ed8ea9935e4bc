test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = asin %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 0.0]) ~= [0.5235987755982989, -0.25268025514207865, 1.5707963267948966, 0.0]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = asin %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.5235987755982989]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = asin %x : i32[2] // error: (dtype)
  return %0
}
