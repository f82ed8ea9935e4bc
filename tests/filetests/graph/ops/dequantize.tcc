test cat
test run

graph @f(%x: i8[4], %s: f32[1], %z: i8[1]) -> (y: f32[4]) {
  %0 = dequantize %x, %s, %z dtype=f32 : f32[4]
  return %0
}
// run: @f([5, 1, 3, -128], [0.5], [3]) == [1, -1, 0, -65.5]

graph @c1_1(%x: i8[4], %s: f32[1], %z: i8[1]) -> (y: i32[4]) {
  %0 = dequantize %x, %s, %z dtype=i32 : i32[4] // error: (C1)
  return %0
}

graph @c2_2(%x: i8[4], %s: f32[1], %z: u8[1]) -> (y: f32[4]) {
  %0 = dequantize %x, %s, %z dtype=f32 : f32[4] // error: (C2)
  return %0
}

graph @c3_3(%x: i8[4], %s: f32[3], %z: i8[3]) -> (y: f32[4]) {
  %0 = dequantize %x, %s, %z dtype=f32 : f32[4] // error: (C3)
  return %0
}
