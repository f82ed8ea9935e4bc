test cat
test run

graph @f(%x: i32[3], %y: i32[3]) -> (y: i32[3]) {
  %0 = xor %x, %y : i32[3]
  return %0
}
// run: @f([12, -1, 7], [10, 5, 0]) == [6, -6, 7]

graph @bools(%x: bool[4], %y: bool[4]) -> (y: bool[4]) {
  %0 = xor %x, %y : bool[4]
  return %0
}
// run: @bools([false, false, true, true], [false, true, false, true]) == [false, true, true, false]

graph @floats(%x: f32[2], %y: f32[2]) -> (y: f32[2]) {
  %0 = xor %x, %y : f32[2] // error: (dtype)
  return %0
}
