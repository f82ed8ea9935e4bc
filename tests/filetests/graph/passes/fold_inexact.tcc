test pass fold{inexact,limit=64}
test run

graph @inexact() -> (y: f32[]) {
  %0 = const value=f32[] 0.0 : f32[]
  %1 = exp %0 : f32[]
  return %1
}
// not: exp
// run: @inexact() == 1
