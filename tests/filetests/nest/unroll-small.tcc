test pass unroll-small{limit=4}
test run

nest @two(x: f32[2]) -> (y: f32[2]) {
  for i in 0..2 {
    y[i] = x[i] + f32(1.0)
  }
}
// check: y[0] = x[0] + f32(1.0)
// next:  y[1] = x[1] + f32(1.0)
// not:   for
// run: @two([1, 2]) == [2, 3]

nest @stays(x: f32[5]) -> (y: f32[5]) {
  for i in 0..5 {
    y[i] = x[i]
  }
}
// check: for i in 0..5
// run: @stays([1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]
