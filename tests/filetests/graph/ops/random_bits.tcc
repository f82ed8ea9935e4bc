test cat
test run

// The same key gives the same bits, and a longer tensor begins with those of a shorter one.
graph @f(%key: u64[]) -> (same: bool[4]) {
  %0 = random_bits %key shape=[4] : u32[4]
  %1 = random_bits %key shape=[2, 4] : u32[2, 4]
  %2 = slice %1 starts=[0, 0] sizes=[1, 4] steps=[1, 1] : u32[1, 4]
  %3 = reshape %2 shape=[4] : u32[4]
  %4 = eq %0, %3 : bool[4]
  return %4
}
// run: @f(7) == [true, true, true, true]

// The first word of Philox-4x32-10 for key and counter zero, as its authors publish it.
graph @known(%key: u64[]) -> (y: u32[4]) {
  %0 = random_bits %key shape=[4] : u32[4]
  return %0
}
// run: @known(0) == [1713891541, 3781805453, 3159862348, 2600524760]

graph @c1_1(%key: i64[]) -> (y: u32[4]) {
  %0 = random_bits %key shape=[4] : u32[4] // error: (C1)
  return %0
}

graph @c1_2(%key: u64[1]) -> (y: u32[4]) {
  %0 = random_bits %key shape=[4] : u32[4] // error: (C1)
  return %0
}
