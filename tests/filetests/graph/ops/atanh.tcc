test cat
test run

graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = atanh %x : f32[4]
  return %0
}
// run: @f([0.5, -0.25, 0.0, 0.75]) ~= [0.5493061443340548, -0.25541281188299536, 0.0, 0.9729550745276566]
// run: @f([nan, nan, nan, nan]) == [nan, nan, nan, nan]

graph @half(%x: f16[N]) -> (y: f16[N]) {
  %0 = atanh %x : f16[N]
  return %0
}
// run: @half([0.5]) ~= [0.5493061443340548]
// run: @half(f16[0] []) == f16[0] []

graph @ints(%x: i32[2]) -> (y: i32[2]) {
  %0 = atanh %x : i32[2] // error: (dtype)
  return %0
}
