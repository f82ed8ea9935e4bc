test pass cse
test run

graph @twice(%x: f32[2]) -> (y: f32[2]) {
  %0 = neg %x : f32[2]
  %1 = neg %x : f32[2]
  %2 = add %0, %1 : f32[2]
  return %2
}
// check: neg %x
// next:  add %0, %0
// run: @twice([1, -2.5]) == [-2, 5]

// Numbers of equal value but other bits are not the same.
graph @zeros() -> (a: f32[], b: f32[]) {
  %0 = const value=f32[] 0.0 : f32[]
  %1 = const value=f32[] -0.0 : f32[]
  return %0, %1
}
// check: return %0, %1
// run: @zeros() == 0.0, -0.0

// Each of the nodes gives a name of its own to what it finds.
graph @names(%x: f32[3]) -> (a: i64[1, c], b: i64[1, d]) {
  %0 = nonzero %x count=c : i64[1, c]
  %1 = nonzero %x count=d : i64[1, d]
  return %0, %1
}
// check: count=c
// next:  count=d
// run: @names([0, 1, 2]) == [[1, 2]], [[1, 2]]
