test pass fold
test run

graph @small() -> (y: f32[2], z: i64[]) {
  %0 = const value=f32[3] [1.0, -2.0, 4.0] : f32[3]
  %1 = const value=i64[2] [2, 0] : i64[2]
  %2 = gather %0, %1 axis=0 : f32[2]
  %3 = argmax %0 axis=0 last=false : i64[]
  return %2, %3
}
// check: const value=f32[2] [4.0, 1.0]
// check: const value=i64[] 2
// not: gather
// run: @small() == [4, 1], 2

// An index out of bounds stays an error of the run, not of the compiler.
graph @fails() -> (y: f32[]) {
  %0 = const value=f32[1] [1.0] : f32[1]
  %1 = const value=i64[] 7 : i64[]
  %2 = gather %0, %1 axis=0 : f32[]
  return %2
}
// check: gather
// run: @fails() error: 7

// Of little, much: nothing is made that a target makes better.
graph @large() -> (a: f32[1000, 1000], b: i32[100000]) {
  %0 = const value=f32[] 1.0 : f32[]
  %1 = broadcast %0 shape=[1000, 1000] : f32[1000, 1000]
  %2 = iota shape=[100000] axis=0 dtype=i32 : i32[100000]
  return %1, %2
}
// check: broadcast
// next: iota

// A target may round the exponential differently.
graph @inexact() -> (y: f32[]) {
  %0 = const value=f32[] 1.0 : f32[]
  %1 = exp %0 : f32[]
  return %1
}
// check: exp
// run: @inexact() ~= 2.7182817
