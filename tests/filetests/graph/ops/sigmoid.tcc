test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = sigmoid %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.6224593312018546, 0.43782349911420193, 0.7310585786300049, 0.8807970779778823]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = sigmoid %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.6224593312018546]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = sigmoid %x : i32[2] // error: (dtype)
  return %0
}
