test cat
test run

graph @f(%x: f32[4], %y: f32[4]) -> (y: f32[4]) {
  %0 = add %x, %y : f32[4]
  return %0
}
// run: @f([1.5, -0.0, inf, nan], [2.0, -0.0, -inf, 1.0]) == [3.5, -0.0, nan, nan]

graph @ints(%x: i8[2], %y: i8[2]) -> (y: i8[2]) {
  %0 = add %x, %y : i8[2]
  return %0
}
// run: @ints([100, -100], [100, -100]) == [-56, 56]

graph @shapes(%x: f32[2], %y: f32[3]) -> (y: f32[2]) {
  %0 = add %x, %y : f32[2] // error: (shape)
  return %0
}

graph @mixed(%x: f32[2], %y: f64[2]) -> (y: f32[2]) {
  %0 = add %x, %y : f32[2] // error: (dtype)
  return %0
}
