test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = sqrt %x : f32[4]
  return %0
}
// run: @f([4.0, 2.25, 0.0, 1.0]) == [2.0, 1.5, 0.0, 1.0]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = sqrt %x : f16[N]
  return %0
}
// run: @half([4.0]) ~= [2.0]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = sqrt %x : i32[2] // error: (dtype)
  return %0
}
