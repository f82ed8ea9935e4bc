test pass simplify-shapes
test run

graph @bounds(%x: f32[N]) -> (y: f32[max(1, N)]) where N in 1..=8 {
  %0 = reshape %x shape=[max(1, N)] : f32[max(1, N)]
  return %0
}
// check: (y: f32[N])
// check: shape=[N] : f32[N]
// run: @bounds([1, 2]) == [1, 2]

graph @numbers(%x: f32[6]) -> (y: f32[a, b]) {
  %0 = dims values=[2, 3] : i64[2]
  %1 = bind_dims %0 symbols=[a, b] : i64[2]
  %2 = reshape %x shape=[a, b] : f32[a, b]
  return %2
}
// check: (y: f32[2, 3])
// check: const value=i64[2] [2, 3]
// next: reshape %x shape=[2, 3]
// run: @numbers([1, 2, 3, 4, 5, 6]) == [[1, 2, 3], [4, 5, 6]]

// A value outside of the range stays an error of the run.
graph @outside() -> (y: i64[1]) where a in 1..=2 {
  %0 = const value=i64[1] [9] : i64[1]
  %1 = bind_dims %0 symbols=[a] : i64[1]
  return %1
}
// check: bind_dims
// run: @outside() error: a in 1..=2

// The name is one that a parameter gave already: it says that both are equal.
graph @equal(%x: f32[a]) -> (y: i64[1]) {
  %0 = const value=i64[1] [2] : i64[1]
  %1 = bind_dims %0 symbols=[a] : i64[1]
  return %1
}
// check: bind_dims
// run: @equal([0, 0]) == [2]
// run: @equal([0]) error: a = 1
