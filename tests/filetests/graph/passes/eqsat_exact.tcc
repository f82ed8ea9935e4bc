test pass eqsat{numerics=exact}
test run

// Nothing that rounds elsewhere is done in the strict class; what is exact is.
graph @strict(%x: f32[2, 3]) -> (y: f32[3, 2]) {
  %0 = sigmoid %x : f32[2, 3]
  %1 = mul %x, %0 : f32[2, 3]
  %2 = transpose %1 perm=[1, 0] : f32[3, 2]
  %3 = transpose %2 perm=[1, 0] : f32[2, 3]
  %4 = transpose %3 perm=[1, 0] : f32[3, 2]
  return %4
}
// check: sigmoid
// next: mul
// next: transpose
// next: return
// run: @strict([[0, 0, 0], [0, 0, 0]]) == [[0, 0], [0, 0], [0, 0]]
