test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = exp %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [1.6487212707001282, 0.7788007830714049, 2.718281828459045, 7.38905609893065]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = exp %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [1.6487212707001282]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = exp %x : i32[2] // error: (dtype)
  return %0
}
