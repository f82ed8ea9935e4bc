test cat
test run

graph @f(%x: f32[2]) -> (y: f32[2]) {
  %0 = kernel %x : f32[2]
    region @body(%a: f32[2]) -> (o: f32[2]) {
      %0 = neg %a : f32[2]
      %1 = abs %0 : f32[2]
      return %1
    }
  return %0
}
// run: @f([1, -2]) == [1, 2]

graph @c1_1(%x: f32[3]) -> (y: f32[2]) {
  %0 = kernel %x : f32[2] // error: (C1)
    region @body(%a: f32[2]) -> (o: f32[2]) {
      %0 = neg %a : f32[2]
      %1 = abs %0 : f32[2]
      return %1
    }
  return %0
}
