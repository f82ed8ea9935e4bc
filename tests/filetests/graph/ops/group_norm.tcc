test cat
test run

graph @f(%x: f32[1, 2, 2], %s: f32[2], %b: f32[2]) -> (y: f32[1, 2, 2]) {
  %0 = group_norm %x, %s, %b groups=2 eps=0.0 : f32[1, 2, 2]
  return %0
}
// run: @f([[[1, 3], [10, 20]]], [1, 2], [0, 1]) ~= [[[-1, 1], [-1, 3]]]

graph @c1_1(%x: f32[2], %s: f32[2], %b: f32[2]) -> (y: f32[2]) {
  %0 = group_norm %x, %s, %b groups=1 eps=0.1 : f32[2] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[1, 3], %s: f32[3], %b: f32[3]) -> (y: f32[1, 3]) {
  %0 = group_norm %x, %s, %b groups=2 eps=0.1 : f32[1, 3] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[1, 3], %s: f32[1], %b: f32[3]) -> (y: f32[1, 3]) {
  %0 = group_norm %x, %s, %b groups=1 eps=0.1 : f32[1, 3] // error: (C3)
  return %0
}
