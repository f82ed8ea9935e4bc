test pass eqsat
test run

// The scale of a batch normalisation goes into the weights.
graph @conv_scale(%x: f32[1, 2, 4]) -> (y: f32[1, 1, 4]) {
  %0 = const value=f32[1, 2, 1] [[[1.0], [2.0]]] : f32[1, 2, 1]
  %1 = conv %x, %0 strides=[1] lo=[0] hi=[0] dilation=[1] base=[1] groups=1 dtype=f32 : f32[1, 1, 4]
  %2 = const value=f32[1, 1, 1] [[[3.0]]] : f32[1, 1, 1]
  %3 = broadcast %2 shape=[1, 1, 4] : f32[1, 1, 4]
  %4 = mul %1, %3 : f32[1, 1, 4]
  return %4
}
// check: const value=f32[1, 2, 1] [[[3.0], [6.0]]]
// not: mul
// run: @conv_scale([[[1, 0, 0, 0], [0, 1, 0, 0]]]) == [[[3, 6, 0, 0]]]

// Transposes meet their inverses through arithmetic.
graph @moved(%x: f32[2, 3]) -> (y: f32[2, 3]) {
  %0 = transpose %x perm=[1, 0] : f32[3, 2]
  %1 = exp %0 : f32[3, 2]
  %2 = transpose %1 perm=[1, 0] : f32[2, 3]
  return %2
}
// not: transpose
// run: @moved([[0, 0, 0], [0, 0, 0]]) == [[1, 1, 1], [1, 1, 1]]

// The usual form of a softmax.
graph @softmax(%x: f32[2, 3]) -> (y: f32[2, 3]) {
  %0 = reduce_max %x axes=[1] : f32[2]
  %1 = reshape %0 shape=[2, 1] : f32[2, 1]
  %2 = broadcast %1 shape=[2, 3] : f32[2, 3]
  %3 = sub %x, %2 : f32[2, 3]
  %4 = exp %3 : f32[2, 3]
  %5 = reduce_sum %4 axes=[1] : f32[2]
  %6 = reshape %5 shape=[2, 1] : f32[2, 1]
  %7 = broadcast %6 shape=[2, 3] : f32[2, 3]
  %8 = div %4, %7 : f32[2, 3]
  return %8
}
// check: %0 = softmax %x axis=1
// next: return

// A layer normalisation as PyTorch exports it, with scale and bias.
graph @layer_norm(%x: f32[2, 4]) -> (y: f32[2, 4]) {
  %0 = const value=f32[] 4.0 : f32[]
  %1 = broadcast %0 shape=[2, 1] : f32[2, 1]
  %2 = reduce_sum %x axes=[1] : f32[2]
  %3 = reshape %2 shape=[2, 1] : f32[2, 1]
  %4 = div %3, %1 : f32[2, 1]
  %5 = broadcast %4 shape=[2, 4] : f32[2, 4]
  %6 = sub %x, %5 : f32[2, 4]
  %7 = const value=f32[] 2.0 : f32[]
  %8 = broadcast %7 shape=[2, 4] : f32[2, 4]
  %9 = pow %6, %8 : f32[2, 4]
  %10 = reduce_sum %9 axes=[1] : f32[2]
  %11 = reshape %10 shape=[2, 1] : f32[2, 1]
  %12 = div %11, %1 : f32[2, 1]
  %13 = const value=f32[] 0.00001 : f32[]
  %14 = broadcast %13 shape=[2, 1] : f32[2, 1]
  %15 = add %12, %14 : f32[2, 1]
  %16 = sqrt %15 : f32[2, 1]
  %17 = broadcast %16 shape=[2, 4] : f32[2, 4]
  %18 = div %6, %17 : f32[2, 4]
  %19 = const value=f32[4] [1.0, 2.0, 3.0, 4.0] : f32[4]
  %20 = broadcast %19 shape=[2, 4] : f32[2, 4]
  %21 = mul %18, %20 : f32[2, 4]
  %22 = const value=f32[4] [0.5, 0.25, 0.125, 1.0] : f32[4]
  %23 = broadcast %22 shape=[2, 4] : f32[2, 4]
  %24 = add %21, %23 : f32[2, 4]
  return %24
}
// check: layer_norm
// not: reduce_sum

// The exact form of GELU.
graph @gelu(%x: f32[4]) -> (y: f32[4]) {
  %0 = const value=f32[] 1.4142135 : f32[]
  %1 = broadcast %0 shape=[4] : f32[4]
  %2 = div %x, %1 : f32[4]
  %3 = erf %2 : f32[4]
  %4 = const value=f32[] 1.0 : f32[]
  %5 = broadcast %4 shape=[4] : f32[4]
  %6 = add %3, %5 : f32[4]
  %7 = mul %x, %6 : f32[4]
  %8 = const value=f32[] 0.5 : f32[]
  %9 = broadcast %8 shape=[4] : f32[4]
  %10 = mul %7, %9 : f32[4]
  return %10
}
// check: %0 = gelu %x
// next: return

// What shares an operand is one product.
graph @siblings(%x: f32[1, 2]) -> (y: f32[1, 2], z: f32[1, 1]) {
  %0 = const value=f32[2, 2] [[1.0, 2.0], [3.0, 4.0]] : f32[2, 2]
  %1 = dot %x, %0 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[1, 2]
  %2 = const value=f32[2, 1] [[5.0], [6.0]] : f32[2, 1]
  %3 = dot %x, %2 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[1, 1]
  return %1, %3
}
// check: const value=f32[2, 3] [[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]
// next: dot
// check: slice
// check: slice
// run: @siblings([[1, 1]]) == [[4, 6]], [[11]]
