test pass drop-unit-loops
test run

nest @f(x: f32[1, 2]) -> (y: f32[1, 2]) {
  for i in 0..1 parallel {
    for j in 0..2 {
      if i < 1 {
        y[i, j] = x[i, j]
      }
    }
  }
}
// check: for j in 0..2
// check: y[0, j] = x[0, j]
// run: @f([[1, 2]]) == [[1, 2]]
