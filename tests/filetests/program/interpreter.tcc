test cat
test run

program @copied(x: f32[6]) -> (y: f32[8]) {
  for b in 0..1 block.x {
    alloc s: f32[8] in shared
    for t in 0..2 thread.x {
      copy 4 s[4*t] = x[4*t active 6 - 4*t]
      commit
      wait 0
      barrier
      %0: f32x4 = load s[4 - 4*t]
      store y[4*t] = %0
    }
  }
}
// run: @copied([1, 2, 3, 4, 5, 6]) == [5, 6, 0, 0, 1, 2, 3, 4]

program @unwaited(x: f32[4]) -> (y: f32[4]) {
  for b in 0..1 block.x {
    alloc s: f32[4] in shared
    for t in 0..1 thread.x {
      copy 4 s[0] = x[0]
      commit
      %0: f32x4 = load s[0]
      store y[0] = %0
    }
  }
}
// run: @unwaited([1, 2, 3, 4]) error: to be waited for

program @beyond(x: f32[4]) -> (y: f32[4]) {
  %0: f32x4 = load x[1]
  store y[0] = %0
}
// run: @beyond([1, 2, 3, 4]) error: expected an element of `x` in 0..4, got 4

program @unwritten(x: f32[4]) -> (y: f32[4]) {
  %0: f32x2 = load x[0]
  store y[0] = %0
}
// run: @unwritten([1, 2, 3, 4]) error: to be written

program @race(x: f32[4]) -> (y: f32[1]) {
  for i in 0..4 parallel {
    %0: f32 = load x[i]
    store y[0] = %0
  }
}
// run: @race([1, 2, 3, 4]) error: iterations
