test cat
test run

graph @f(%x: f32[3]) -> (y: bool[3]) {
  %0 = is_inf %x : bool[3]
  return %0
}
// run: @f([nan, -inf, inf]) == [false, true, true]

graph @ints(%x: i32[2]) -> (y: bool[2]) {
  %0 = is_inf %x : bool[2] // error: (dtype)
  return %0
}
