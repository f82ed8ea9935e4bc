test cat
test run

graph @f(%x: f32[N, M]) -> (y: i64[3]) {
  %0 = dims values=[N, 2 * M, N + M] : i64[3]
  return %0
}
// run: @f([[0, 0, 0], [0, 0, 0]]) == [2, 6, 5]

graph @scope_1(%x: f32[N]) -> (y: i64[1]) {
  %0 = dims values=[K] : i64[1] // error: (scope) `K`
  return %0
}
