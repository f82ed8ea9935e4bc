test cat
test run

graph @f(%x: f32[4], %y: f32[4]) -> (y: f32[4]) {
  %0 = floor_mod %x, %y : f32[4]
  return %0
}
// run: @f([5.5, -5.5, 5.5, inf], [2.0, 2.0, -2.0, 2.0]) == [1.5, 0.5, -0.5, nan]

graph @ints(%x: i8[4], %y: i8[4]) -> (y: i8[4]) {
  %0 = floor_mod %x, %y : i8[4]
  return %0
}
// run: @ints([7, -7, 7, 5], [3, 3, -3, 0]) == [1, 2, -2, 0]

graph @shapes(%x: f32[2], %y: f32[3]) -> (y: f32[2]) {
  %0 = floor_mod %x, %y : f32[2] // error: (shape)
  return %0
}

graph @mixed(%x: f32[2], %y: f64[2]) -> (y: f32[2]) {
  %0 = floor_mod %x, %y : f32[2] // error: (dtype)
  return %0
}
