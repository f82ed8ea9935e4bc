test cat
test run

graph @f(%x: f32[1, 1, 3], %w: f32[1, 1, 3]) -> (y: f32[1, 1, 3]) {
  %0 = conv %x, %w strides=[1] lo=[1] hi=[1] dilation=[1] base=[1] groups=1 dtype=f32 : f32[1, 1, 3]
  return %0
}
// run: @f([[[1, 2, 3]]], [[[1, 10, 100]]]) == [[[210, 321, 32]]]

graph @grouped(%x: f32[1, 2, 2], %w: f32[2, 1, 1]) -> (y: f32[1, 2, 2]) {
  %0 = conv %x, %w strides=[1] lo=[0] hi=[0] dilation=[1] base=[1] groups=2 dtype=f32 : f32[1, 2, 2]
  return %0
}
// run: @grouped([[[1, 2], [3, 4]]], [[[10]], [[100]]]) == [[[10, 20], [300, 400]]]

graph @c1_1(%x: f32[1], %w: f32[1]) -> (y: f32[1]) {
  %0 = conv %x, %w strides=[] lo=[] hi=[] dilation=[] base=[] groups=1 dtype=f32 : f32[1] // error: (C1)
  return %0
}

graph @c1_2(%x: f32[1, 1, 3], %w: f32[1, 1, 3]) -> (y: f32[1, 1, 3]) {
  %0 = conv %x, %w strides=[1, 1] lo=[1] hi=[1] dilation=[1] base=[1] groups=1 dtype=f32 : f32[1, 1, 3] // error: (C1)
  return %0
}

graph @c2_3(%x: f32[1, 1, 3], %w: f32[1, 1, 3]) -> (y: f32[1, 1, 3]) {
  %0 = conv %x, %w strides=[0] lo=[1] hi=[1] dilation=[1] base=[1] groups=1 dtype=f32 : f32[1, 1, 3] // error: (C2)
  return %0
}

graph @c3_4(%x: f32[1, 3, 3], %w: f32[2, 1, 3]) -> (y: f32[1, 2, 3]) {
  %0 = conv %x, %w strides=[1] lo=[1] hi=[1] dilation=[1] base=[1] groups=2 dtype=f32 : f32[1, 2, 3] // error: (C3)
  return %0
}

graph @c4_5(%x: f32[1, 1, 3], %w: i8[1, 1, 3]) -> (y: f32[1, 1, 3]) {
  %0 = conv %x, %w strides=[1] lo=[1] hi=[1] dilation=[1] base=[1] groups=1 dtype=f32 : f32[1, 1, 3] // error: (C4)
  return %0
}
