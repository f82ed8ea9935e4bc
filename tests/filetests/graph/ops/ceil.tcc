test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = ceil %x : f32[4]
  return %0
}
// run: @f([1.5, -1.5, 2.0, 1.25]) == [2.0, -1.0, 2.0, 2.0]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = ceil %x : f16[N]
  return %0
}
// run: @half([1.5]) ~= [2.0]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = ceil %x : i32[2] // error: (dtype)
  return %0
}
