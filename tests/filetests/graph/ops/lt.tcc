test cat
test run

graph @f(%x: f32[4], %y: f32[4]) -> (y: bool[4]) {
  %0 = lt %x, %y : bool[4]
  return %0
}
// run: @f([1.0, 2.0, -0.0, nan], [2.0, 2.0, 0.0, nan]) == [true, false, false, false]

graph @unsigned(%x: u64[2], %y: u64[2]) -> (y: bool[2]) {
  %0 = lt %x, %y : bool[2]
  return %0
}
// run: @unsigned([18446744073709551615, 3], [1, 3]) == [false, false]

graph @shapes(%x: f32[2], %y: f32[]) -> (y: bool[2]) {
  %0 = lt %x, %y : bool[2] // error: (shape)
  return %0
}

graph @mixed(%x: i32[2], %y: i64[2]) -> (y: bool[2]) {
  %0 = lt %x, %y : bool[2] // error: (dtype)
  return %0
}
