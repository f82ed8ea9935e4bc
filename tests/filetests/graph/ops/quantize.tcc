test cat
test run

graph @f(%x: f32[4], %s: f32[1], %z: i8[1]) -> (y: i8[4]) {
  %0 = quantize %x, %s, %z dtype=i8 : i8[4]
  return %0
}
// run: @f([1, -1, 0.25, 1000], [0.5], [3]) == [5, 1, 3, 127]

graph @groups(%x: f32[4], %s: f32[2], %z: u8[2]) -> (y: u8[4]) {
  %0 = quantize %x, %s, %z dtype=u8 : u8[4]
  return %0
}
// run: @groups([1, 2, 3, 4], [1, 0.5], [0, 10]) == [1, 2, 16, 18]

graph @c1_1(%x: i8[4], %s: f32[1], %z: i8[1]) -> (y: i8[4]) {
  %0 = quantize %x, %s, %z dtype=i8 : i8[4] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[4], %s: f32[1], %z: u8[1]) -> (y: i8[4]) {
  %0 = quantize %x, %s, %z dtype=i8 : i8[4] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[4], %s: f32[3], %z: i8[3]) -> (y: i8[4]) {
  %0 = quantize %x, %s, %z dtype=i8 : i8[4] // error: (C3)
  return %0
}
