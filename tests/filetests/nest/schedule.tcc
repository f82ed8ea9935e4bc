test pass schedule{target=x86-64-v3}
test run

nest @twice(x: f32[2, 9]) -> (y: f32[2, 9]) {
  for i in 0..2 parallel {
    for j in 0..9 parallel {
      y[i, j] = x[i, j] * f32(2.0)
    }
  }
}
// check: for tile in 0..1 parallel
// next: for eo in 0..2 parallel
// next: vector
// check: for et in 0..2 parallel
// run: @twice([[1, 2, 3, 4, 5, 6, 7, 8, 9], [0, 0, 0, 0, 0, 0, 0, 0, 1]]) == [[2, 4, 6, 8, 10, 12, 14, 16, 18], [0, 0, 0, 0, 0, 0, 0, 0, 2]]
