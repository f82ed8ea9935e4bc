test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = silu %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.3112296656009273, -0.10945587477855048, 0.7310585786300049, 1.7615941559557646]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = silu %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.3112296656009273]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = silu %x : i32[2] // error: (dtype)
  return %0
}
