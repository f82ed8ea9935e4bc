test cat
test run

graph @f(%x: f32[4], %y: f32[4]) -> (y: f32[4]) {
  %0 = pow %x, %y : f32[4]
  return %0
}
// run: @f([2.0, 9.0, 2.0, 0.0], [3.0, 0.5, -1.0, 0.0]) ~= [8.0, 3.0, 0.5, 1.0]

graph @ints(%x: i8[4], %y: i8[4]) -> (y: i8[4]) {
  %0 = pow %x, %y : i8[4]
  return %0
}
// run: @ints([2, -3, 2, -1], [3, 3, -1, -3]) == [8, -27, 0, -1]

graph @shapes(%x: f32[2], %y: f32[3]) -> (y: f32[2]) {
  %0 = pow %x, %y : f32[2] // error: (shape)
  return %0
}

graph @mixed(%x: f32[2], %y: f64[2]) -> (y: f32[2]) {
  %0 = pow %x, %y : f32[2] // error: (dtype)
  return %0
}
