test cat
test run

graph @f(%x: f32[2, 2]) -> (y: i64[2, c]) {
  %0 = nonzero %x count=c : i64[2, c]
  return %0
}
// run: @f([[0, 1], [2, 0]]) == [[0, 1], [1, 0]]

graph @c1_1(%x: f32[2]) -> (y: i64[1, 3]) {
  %0 = nonzero %x count=3 : i64[1, 3] // error: (C1)
  return %0
}
