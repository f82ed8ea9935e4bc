test cat
test run

graph @f(%x: f32[16, 1, 1, 1, 1]) -> (y: f32[1, 2, 1, 1]) {
  %0 = winograd_out %x m=2 sizes=[2, 1] : f32[1, 2, 1, 1]
  return %0
}
// run: @f([[[[[1]]]], [[[[2]]]], [[[[3]]]], [[[[4]]]], [[[[5]]]], [[[[6]]]], [[[[7]]]], [[[[8]]]], [[[[9]]]], [[[[10]]]], [[[[11]]]], [[[[12]]]], [[[[13]]]], [[[[14]]]], [[[[15]]]], [[[[16]]]]]) == [[[[54]], [[30]]]]

graph @whole(%x: f32[36, N, 1, 2, 3]) -> (y: f32[N, 4, 5, 3]) where N in 1..=4 {
  %0 = winograd_out %x m=4 sizes=[4, 5] : f32[N, 4, 5, 3]
  return %0
}

graph @c1(%x: f32[16, 1, 1, 1]) -> (y: f32[1, 2, 1, 1]) {
  %0 = winograd_out %x m=2 sizes=[2, 1] : f32[1, 2, 1, 1] // error: (C1)
  return %0
}

graph @c2(%x: f32[16, 1, 1, 1, 1]) -> (y: f32[1, 2, 1, 1]) {
  %0 = winograd_out %x m=1 sizes=[2, 1] : f32[1, 2, 1, 1] // error: (C2)
  return %0
}

graph @c3(%x: f32[36, 1, 1, 1, 1]) -> (y: f32[1, 2, 1, 1]) {
  %0 = winograd_out %x m=2 sizes=[2, 1] : f32[1, 2, 1, 1] // error: (C3)
  return %0
}

graph @c4(%x: f32[16, 1, 1, 1, 1]) -> (y: f32[1, 2, 3, 1]) {
  %0 = winograd_out %x m=2 sizes=[2, 3] : f32[1, 2, 3, 1] // error: (C4)
  return %0
}
