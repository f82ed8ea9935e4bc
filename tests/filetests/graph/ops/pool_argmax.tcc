test cat
test run

graph @f(%x: f32[1, 3]) -> (y: i64[1, 2]) {
  %0 = pool_argmax %x window=[2] strides=[2] lo=[1] hi=[0] dilation=[1] : i64[1, 2]
  return %0
}
// run: @f([[1, 2, 3]]) == [[0, 2]]

graph @c1_1(%x: f32[3]) -> (y: i64[1]) {
  %0 = pool_argmax %x window=[2] strides=[2, 2] lo=[0] hi=[0] dilation=[1] : i64[1] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[3]) -> (y: i64[4]) {
  %0 = pool_argmax %x window=[0] strides=[1] lo=[0] hi=[0] dilation=[1] : i64[4] // error: (C2)
  return %0
}

graph @c3_3(%x: bool[3]) -> (y: bool[2]) {
  %0 = pool_argmax %x window=[2] strides=[1] lo=[0] hi=[0] dilation=[1] : bool[2] // error: (C3)
  return %0
}
