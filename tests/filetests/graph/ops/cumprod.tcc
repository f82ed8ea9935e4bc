test cat
test run

graph @f(%x: f32[3]) -> (y: f32[3]) {
  %0 = cumprod %x axis=0 exclusive=false reverse=false : f32[3]
  return %0
}
// run: @f([1, 2, 3]) == [1, 2, 6]

graph @from_the_end(%x: f32[3]) -> (y: f32[3]) {
  %0 = cumprod %x axis=0 exclusive=true reverse=true : f32[3]
  return %0
}
// run: @from_the_end([1, 2, 3]) == [6, 3, 1]

graph @c1_1(%x: f32[3]) -> (y: f32[3]) {
  %0 = cumprod %x axis=-1 exclusive=false reverse=false : f32[3] // error: (C1)
  return %0
}

graph @c2_2(%x: bool[3]) -> (y: bool[3]) {
  %0 = cumprod %x axis=0 exclusive=false reverse=false : bool[3] // error: (C2)
  return %0
}
