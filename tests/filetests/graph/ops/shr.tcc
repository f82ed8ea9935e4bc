test cat
test run

graph @f(%x: i8[4], %y: i8[4]) -> (y: i8[4]) {
  %0 = shr %x, %y : i8[4]
  return %0
}
// run: @f([8, -8, -1, 127], [2, 2, 100, 9]) == [2, -2, -1, 0]

graph @unsigned(%x: u8[2], %y: u8[2]) -> (y: u8[2]) {
  %0 = shr %x, %y : u8[2]
  return %0
}
// run: @unsigned([255, 8], [4, 3]) == [15, 1]

graph @floats(%x: f32[2], %y: f32[2]) -> (y: f32[2]) {
  %0 = shr %x, %y : f32[2] // error: (dtype)
  return %0
}
