test cat
test run

graph @f(%x: f32[2]) -> (y: u32[2]) {
  %0 = bitcast %x dtype=u32 : u32[2]
  return %0
}
// run: @f([1, -0.0]) == [1065353216, 2147483648]

graph @c1_1(%x: f32[2]) -> (y: f64[2]) {
  %0 = bitcast %x dtype=f64 : f64[2] // error: (C1)
  return %0
}
