test cat
test run

graph @f() -> (y: f32[2, 3]) {
  %0 = iota shape=[2, 3] axis=1 dtype=f32 : f32[2, 3]
  return %0
}
// run: @f() == [[0, 1, 2], [0, 1, 2]]

graph @symbolic(%x: f32[N]) -> (y: u8[N]) {
  %0 = iota shape=[N] axis=0 dtype=u8 : u8[N]
  return %0
}
// run: @symbolic([0, 0, 0]) == [0, 1, 2]

graph @c1_1() -> (y: f32[2]) {
  %0 = iota shape=[2] axis=1 dtype=f32 : f32[2] // error: (C1)
  return %0
}

graph @c2_2() -> (y: bool[2]) {
  %0 = iota shape=[2] axis=0 dtype=bool : bool[2] // error: (C2)
  return %0
}
