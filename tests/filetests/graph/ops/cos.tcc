test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = cos %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.8775825618903728, 0.9689124217106447, 0.5403023058681398, -0.4161468365471424]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = cos %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.8775825618903728]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = cos %x : i32[2] // error: (dtype)
  return %0
}
