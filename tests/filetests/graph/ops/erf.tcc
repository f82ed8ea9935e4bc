test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = erf %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.5204998778130465, -0.2763263901682369, 0.8427007929497149, 0.9953222650189527]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = erf %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.5204998778130465]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = erf %x : i32[2] // error: (dtype)
  return %0
}
