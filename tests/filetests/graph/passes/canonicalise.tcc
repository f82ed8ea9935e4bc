test pass canonicalise
test run

// Only the zero that is neutral is removed.
graph @zeros(%x: f32[2]) -> (a: f32[2], b: f32[2], c: f32[2]) {
  %0 = const value=f32[2] splat 0.0 : f32[2]
  %1 = const value=f32[2] splat -0.0 : f32[2]
  %2 = add %x, %0 : f32[2]
  %3 = add %1, %x : f32[2]
  %4 = sub %x, %0 : f32[2]
  return %2, %3, %4
}
// check: add %x, %0
// check: return %2, %x, %x
// run: @zeros([-0.0, nan]) == [0, nan], [-0.0, nan], [-0.0, nan]

graph @ints(%x: i32[N], %one: i32[]) -> (a: i32[N], b: i32[N], c: i32[N], d: i32[N]) {
  %0 = const value=i32[] 1 : i32[]
  %1 = broadcast %0 shape=[N] : i32[N]
  %2 = mul %1, %x : i32[N]
  %3 = div %2, %1 : i32[N]
  %4 = const value=i32[] -1 : i32[]
  %5 = broadcast %4 shape=[N] : i32[N]
  %6 = and %3, %5 : i32[N]
  %7 = min %6, %6 : i32[N]
  %8 = not %7 : i32[N]
  %9 = not %8 : i32[N]
  return %2, %6, %7, %9
}
// check: return %x, %x, %x, %x
// run: @ints([3, -4], 1) == [3, -4], [3, -4], [3, -4], [3, -4]

graph @moves(%x: f32[2, 3]) -> (a: f32[2, 3], b: f32[3, 2], c: f32[2, 2, 3], d: f32[2, 3]) {
  %0 = slice %x starts=[0, 0] sizes=[2, 3] steps=[1, 1] : f32[2, 3]
  %1 = transpose %0 perm=[1, 0] : f32[3, 2]
  %2 = reshape %x shape=[6] : f32[6]
  %3 = reshape %2 shape=[3, 2] : f32[3, 2]
  %4 = broadcast %x shape=[1, 2, 3] : f32[1, 2, 3]
  %5 = broadcast %4 shape=[2, 2, 3] : f32[2, 2, 3]
  %6 = transpose %1 perm=[1, 0] : f32[2, 3]
  return %0, %3, %5, %6
}
// check: reshape %x shape=[3, 2]
// check: broadcast %x shape=[2, 2, 3]
// check: return %x, %2, %4, %x
// run: @moves([[1, 2, 3], [4, 5, 6]]) == [[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6]], [[[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 6]]], [[1, 2, 3], [4, 5, 6]]

// A narrower type in between loses what does not fit it.
graph @casts(%x: f16[2], %y: f32[2]) -> (a: f16[2], b: f32[2]) {
  %0 = cast %x dtype=f32 saturate=true : f32[2]
  %1 = cast %0 dtype=f16 saturate=true : f16[2]
  %2 = cast %y dtype=f16 saturate=true : f16[2]
  %3 = cast %2 dtype=f32 saturate=true : f32[2]
  return %1, %3
}
// check: return %x, %
// run: @casts([1.5, nan], [0.1, 3]) == [1.5, nan], [0.099975586, 3]

graph @chosen(%x: f32[2], %y: f32[2], %c: bool[2]) -> (a: f32[2], b: f32[2]) {
  %0 = const value=bool[2] splat false : bool[2]
  %1 = select %0, %x, %y : f32[2]
  %2 = select %c, %x, %x : f32[2]
  return %1, %2
}
// check: return %y, %x
// run: @chosen([1, 2], [3, 4], [true, false]) == [3, 4], [1, 2]
