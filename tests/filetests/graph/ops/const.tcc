test cat
test run

graph @f() -> (a: f32[2, 2], b: i4[3], c: bool[], d: f32[0, 2], e: f16[1000]) {
  %0 = const value=f32[2, 2] [[1.0, -0.0], [inf, nan]] : f32[2, 2]
  %1 = const value=i4[3] [-8, 0, 7] : i4[3]
  %2 = const value=bool[] true : bool[]
  %3 = const value=f32[0, 2] [] : f32[0, 2]
  %4 = const value=f16[1000] splat 0.5 : f16[1000]
  return %0, %1, %2, %3, %4
}
// check: const value=f32[2, 2] [[1.0, -0.0], [inf, nan]] : f32[2, 2]
// check: const value=f16[1000] splat 0.5 : f16[1000]

graph @run() -> (y: f32[3]) {
  %0 = const value=f32[3] [1.0, 2.0, 3.5] : f32[3]
  return %0
}
// run: @run() == [1, 2, 3.5]

graph @missing() -> (y: f32[3]) {
  %0 = const value=f32[3] [1.0, 2.0] : f32[3] // error: (syntax) expected 3 elements
  return %0
}

graph @range() -> (y: i4[1]) {
  %0 = const value=i4[1] [8] : i4[1] // error: (constant)
  return %0
}
