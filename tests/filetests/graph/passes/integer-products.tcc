// Zero points leave products of bytes; the right operand becomes signed.

test pass integer-products
test run

graph @centred(%x: u8[2, 4], %w: i8[4, 2]) -> (y: i32[2, 2]) {
  %0 = cast %x dtype=i32 saturate=true : i32[2, 4]
  %1 = const value=i32[] 3 : i32[]
  %2 = broadcast %1 shape=[2, 4] : i32[2, 4]
  %3 = sub %0, %2 : i32[2, 4]
  %4 = cast %w dtype=i32 saturate=true : i32[4, 2]
  %5 = dot %3, %4 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=i32 : i32[2, 2]
  return %5
}
// check: dot %x, %w
// check: reduce_sum
// check: sub
// run: @centred([[3, 4, 5, 255], [0, 0, 0, 3]], [[1, -1], [2, -2], [-128, 127], [1, 0]]) == [[-2, 252], [375, -372]]

graph @unsigned(%x: u8[1, 3], %w: u8[3, 2]) -> (y: i32[1, 2]) {
  %0 = cast %x dtype=i32 saturate=true : i32[1, 3]
  %1 = cast %w dtype=i32 saturate=true : i32[3, 2]
  %2 = dot %0, %1 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=i32 : i32[1, 2]
  return %2
}
// check: xor
// check: bitcast
// run: @unsigned([[255, 1, 2]], [[255, 0], [1, 128], [7, 200]]) == [[65040, 528]]

graph @image(%x: u8[1, 1, 3], %w: i8[1, 1, 3]) -> (y: i32[1, 1, 3]) {
  %0 = cast %x dtype=i32 saturate=true : i32[1, 1, 3]
  %1 = const value=i32[] 10 : i32[]
  %2 = broadcast %1 shape=[1, 1, 3] : i32[1, 1, 3]
  %3 = sub %0, %2 : i32[1, 1, 3]
  %4 = cast %w dtype=i32 saturate=true : i32[1, 1, 3]
  %5 = conv %3, %4 strides=[1] lo=[1] hi=[1] dilation=[1] base=[1] groups=1 dtype=i32 : i32[1, 1, 3]
  return %5
}
// check: pad
// check: conv
// same: lo=[0] hi=[0]
// run: @image([[[10, 11, 12]]], [[[1, 1, 1]]]) == [[[1, 3, 3]]]
