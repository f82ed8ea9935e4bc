test cat
test run

graph @f(%x: i8[3]) -> (y: i8[3]) {
  %0 = not %x : i8[3]
  return %0
}
// run: @f([0, -1, 5]) == [-1, 0, -6]

graph @bools(%x: bool[2]) -> (y: bool[2]) {
  %0 = not %x : bool[2]
  return %0
}
// run: @bools([true, false]) == [false, true]

graph @unsigned(%x: u8[2]) -> (y: u8[2]) {
  %0 = not %x : u8[2]
  return %0
}
// run: @unsigned([0, 240]) == [255, 15]

graph @floats(%x: f32[2]) -> (y: f32[2]) {
  %0 = not %x : f32[2] // error: (dtype)
  return %0
}
