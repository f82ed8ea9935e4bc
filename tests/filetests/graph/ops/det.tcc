test cat
test run

graph @f(%x: f32[2, 2, 2]) -> (y: f32[2]) {
  %0 = det %x : f32[2]
  return %0
}
// run: @f([[[1, 2], [3, 4]], [[0, 1], [1, 0]]]) ~= [-2, -1]

graph @c1_1(%x: f32[2, 3]) -> (y: f32[]) {
  %0 = det %x : f32[] // error: (C1)
  return %0
}

graph @c2_2(%x: i32[2, 2]) -> (y: i32[]) {
  %0 = det %x : i32[] // error: (C2)
  return %0
}
