test cat
test run

nest @matmul(x: f32[N, 2], w: f32[2, 2]) -> (y: f32[N, 2]) where N in 1..=8 {
  for i in 0..N parallel {
    for j in 0..2 {
      y[i, j] = f32(0.0)
      for k in 0..2 {
        y[i, j] += x[i, k] * w[k, j]
      }
    }
  }
}
// run: @matmul([[1, 2], [3, 4]], [[5, 6], [7, 8]]) == [[19, 22], [43, 50]]

nest @race(x: f32[4]) -> (y: f32[]) {
  y[] = f32(0.0)
  for i in 0..4 parallel {
    y[] += x[i]
  }
}
// run: @race([1, 2, 3, 4]) error: iterations

nest @bounds(x: f32[2]) -> (y: f32[2]) {
  for i in 0..2 {
    y[i] = x[i + 1]
  }
}
// run: @bounds([1, 2]) error: x

nest @unwritten() -> (y: f32[2]) {
  y[0] = f32(0.0)
}
// run: @unwritten() error: y
