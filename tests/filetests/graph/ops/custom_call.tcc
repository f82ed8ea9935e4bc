test cat
test run

graph @f(%x: f32[2]) -> (y: f32[2]) {
  %0 = custom_call %x target="mine" types=(f32[2]) : f32[2]
  return %0
}
// run: @f([1, 2]) error: mine

graph @c1_1(%x: f32[2]) -> (y: f32[2]) {
  %0 = custom_call %x target="" types=(f32[2]) : f32[2] // error: (C1)
  return %0
}
