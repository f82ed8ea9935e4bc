test cat
test run

// One rounding: in f32 the product alone would lose its last bit.
graph @f(%x: f32[2], %y: f32[2], %z: f32[2]) -> (y: f32[2]) {
  %0 = fma %x, %y, %z : f32[2]
  return %0
}
// run: @f([2, 1.000244140625], [3, 1.000244140625], [4, -1]) == [10, 0.0004883408546447754]

graph @ints(%x: i32[2], %y: i32[2], %z: i32[2]) -> (y: i32[2]) {
  %0 = fma %x, %y, %z : i32[2] // error: (dtype)
  return %0
}
