test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = log1p %x : f32[4]
  return %0
}
// run: @f([1e-06, 0.5, 1.0, 4.0]) ~= [9.999995000003334e-07, 0.4054651081081644, 0.6931471805599453, 1.6094379124341003]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = log1p %x : f16[N]
  return %0
}
// run: @half([1e-06]) ~= [9.999995000003334e-07]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = log1p %x : i32[2] // error: (dtype)
  return %0
}
