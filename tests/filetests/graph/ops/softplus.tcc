test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = softplus %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 100.0, -100.0]) ~= [0.9740769841801067, 0.5759394198788436, 100.0, 3.720075976020836e-44]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = softplus %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.9740769841801067]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = softplus %x : i32[2] // error: (dtype)
  return %0
}
