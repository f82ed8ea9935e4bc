test cat
test run

graph @f(%x: i8[4], %y: i8[4]) -> (y: i8[4]) {
  %0 = shl %x, %y : i8[4]
  return %0
}
// run: @f([1, 3, -1, 1], [3, 7, 1, 8]) == [8, -128, -2, 0]

graph @bools(%x: bool[2], %y: bool[2]) -> (y: bool[2]) {
  %0 = shl %x, %y : bool[2] // error: (dtype)
  return %0
}
