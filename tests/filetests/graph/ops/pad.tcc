test cat
test run

graph @f(%x: f32[2], %v: f32[]) -> (y: f32[6]) {
  %0 = pad %x, %v lo=[1] hi=[2] inner=[1] : f32[6]
  return %0
}
// run: @f([1, 2], 9) == [9, 1, 9, 2, 9, 9]

graph @c1_1(%x: f32[2], %v: f32[]) -> (y: f32[6]) {
  %0 = pad %x, %v lo=[1, 1] hi=[2] inner=[1] : f32[6] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[2], %v: f32[]) -> (y: f32[3]) {
  %0 = pad %x, %v lo=[-1] hi=[2] inner=[0] : f32[3] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[2], %v: f64[]) -> (y: f32[5]) {
  %0 = pad %x, %v lo=[1] hi=[2] inner=[0] : f32[5] // error: (C3)
  return %0
}
