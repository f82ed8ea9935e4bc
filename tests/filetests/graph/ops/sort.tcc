test cat
test run

graph @f(%x: f32[4]) -> (a: f32[4], b: i64[4]) {
  %0, %1 = sort %x axis=0 descending=false : f32[4], i64[4]
  return %0, %1
}
// run: @f([3, nan, 1, 3]) == [1, 3, 3, nan], [2, 0, 3, 1]

graph @c1_1(%x: f32[4]) -> (a: f32[4], b: i64[4]) {
  %0, %1 = sort %x axis=1 descending=false : f32[4], i64[4] // error: (C1)
  return %0, %1
}
