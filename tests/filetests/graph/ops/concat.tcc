test cat
test run

graph @f(%x: f32[1, 2], %y: f32[2, 2]) -> (y: f32[3, 2]) {
  %0 = concat %x, %y axis=0 : f32[3, 2]
  return %0
}
// run: @f([[1, 2]], [[3, 4], [5, 6]]) == [[1, 2], [3, 4], [5, 6]]

graph @symbolic(%x: f32[N], %y: f32[M]) -> (y: f32[M + N]) {
  %0 = concat %x, %y axis=0 : f32[M + N]
  return %0
}
// run: @symbolic([1], [2, 3]) == [1, 2, 3]

graph @c1_1() -> (y: f32[]) {
  %0 = concat axis=0 : f32[] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[1], %y: f64[1]) -> (y: f32[2]) {
  %0 = concat %x, %y axis=0 : f32[2] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[1]) -> (y: f32[1]) {
  %0 = concat %x axis=1 : f32[1] // error: (C3)
  return %0
}

graph @c4_4(%x: f32[1, 2], %y: f32[1, 3]) -> (y: f32[2, 2]) {
  %0 = concat %x, %y axis=0 : f32[2, 2] // error: (C4)
  return %0
}
