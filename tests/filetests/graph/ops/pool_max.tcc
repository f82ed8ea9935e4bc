test cat
test run

graph @f(%x: f32[1, 3]) -> (y: f32[1, 2]) {
  %0 = pool_max %x window=[2] strides=[2] lo=[1] hi=[0] dilation=[1] : f32[1, 2]
  return %0
}
// run: @f([[1, 2, 3]]) == [[1, 3]]

graph @c1_1(%x: f32[3]) -> (y: f32[1]) {
  %0 = pool_max %x window=[2] strides=[2, 2] lo=[0] hi=[0] dilation=[1] : f32[1] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[3]) -> (y: f32[4]) {
  %0 = pool_max %x window=[0] strides=[1] lo=[0] hi=[0] dilation=[1] : f32[4] // error: (C2)
  return %0
}

graph @c3_3(%x: bool[3]) -> (y: bool[2]) {
  %0 = pool_max %x window=[2] strides=[1] lo=[0] hi=[0] dilation=[1] : bool[2] // error: (C3)
  return %0
}
