test cat
test run

graph @f(%x: f32[5]) -> (y: i8[5]) {
  %0 = cast %x dtype=i8 saturate=true : i8[5]
  return %0
}
// run: @f([1.9, -1.9, 300, -300, nan]) == [1, -1, 127, -128, 0]

graph @wraps(%x: i32[3]) -> (y: i8[3]) {
  %0 = cast %x dtype=i8 saturate=true : i8[3]
  return %0
}
// run: @wraps([1, 200, -129]) == [1, -56, 127]

graph @truth(%x: f32[3]) -> (y: bool[3]) {
  %0 = cast %x dtype=bool saturate=true : bool[3]
  return %0
}
// run: @truth([0, -0.0, 0.5]) == [false, false, true]

graph @narrow(%x: f32[2]) -> (y: f8e4m3[2]) {
  %0 = cast %x dtype=f8e4m3 saturate=false : f8e4m3[2]
  return %0
}
// run: @narrow([1.0625, 1000]) == [1, nan]

graph @attributes_1(%x: f32[2]) -> (y: i8[2]) {
  %0 = cast %x dtype=i8 : i8[2] // error: (attributes) saturate
  return %0
}
