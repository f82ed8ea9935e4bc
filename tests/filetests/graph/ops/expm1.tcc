test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = expm1 %x : f32[4]
  return %0
}
// run: @f([1e-06, 0.5, -0.5, 2.0]) ~= [1.0000005000001665e-06, 0.6487212707001282, -0.3934693402873666, 6.38905609893065]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = expm1 %x : f16[N]
  return %0
}
// run: @half([1e-06]) ~= [1.0000005000001665e-06]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = expm1 %x : i32[2] // error: (dtype)
  return %0
}
