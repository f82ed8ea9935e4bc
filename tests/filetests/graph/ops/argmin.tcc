test cat
test run

graph @f(%x: f32[4]) -> (y: i64[]) {
  %0 = argmin %x axis=0 last=false : i64[]
  return %0
}
// run: @f([1, 5, 5, 1]) == 0

graph @last(%x: f32[4]) -> (y: i64[]) {
  %0 = argmin %x axis=0 last=true : i64[]
  return %0
}
// run: @last([1, 5, 5, 1]) == 3

graph @c1_1(%x: f32[4]) -> (y: i64[]) {
  %0 = argmin %x axis=1 last=false : i64[] // error: (C1)
  return %0
}
