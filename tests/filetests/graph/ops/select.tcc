test cat
test run

graph @f(%c: bool[3], %x: f32[3], %y: f32[3]) -> (y: f32[3]) {
  %0 = select %c, %x, %y : f32[3]
  return %0
}
// run: @f([true, false, true], [1, 2, nan], [4, -0.0, 6]) == [1, -0.0, nan]

graph @ints(%c: bool[2], %x: i4[2], %y: i4[2]) -> (y: i4[2]) {
  %0 = select %c, %x, %y : i4[2]
  return %0
}
// run: @ints([true, false], [7, 0], [0, -8]) == [7, -8]

graph @numbers(%c: i32[2], %x: f32[2], %y: f32[2]) -> (y: f32[2]) {
  %0 = select %c, %x, %y : f32[2] // error: (dtype)
  return %0
}

graph @shapes(%c: bool[], %x: f32[2], %y: f32[2]) -> (y: f32[2]) {
  %0 = select %c, %x, %y : f32[2] // error: (shape)
  return %0
}
