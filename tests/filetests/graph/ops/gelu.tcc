test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = gelu %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 1.0, 2.0]) ~= [0.34573123063700656, -0.10032341857926907, 0.8413447460685429, 1.9544997361036416]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = gelu %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.34573123063700656]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = gelu %x : i32[2] // error: (dtype)
  return %0
}
