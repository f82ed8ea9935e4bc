test pass dce
test run

graph @names(%x: f32[4], %w: f32[2]) -> (y: f32[c]) {
  %0 = nonzero %x count=c : i64[1, c]
  %1 = exp %w : f32[2]
  %2 = const value=f32[] 2.0 : f32[]
  %3 = broadcast %2 shape=[c] : f32[c]
  return %3
}
// The name that `nonzero` gives is used, its result is not.
// check: nonzero
// not: exp
// run: @names([0, 1, 2, 0], [1, 1]) == [2, 2]

graph @inside(%c: bool[], %x: f32[2]) -> (y: f32[2]) {
  %0 = if %c, %x types=(f32[2]) : f32[2]
    region @then_branch(%a: f32[2]) -> (o: f32[2]) {
      %0 = exp %a : f32[2]
      %1 = neg %a : f32[2]
      return %1
    }
    region @else_branch(%a: f32[2]) -> (o: f32[2]) {
      return %a
    }
  return %0
}
// not: exp
// check: neg %a
// run: @inside(true, [1, 2]) == [-1, -2]
