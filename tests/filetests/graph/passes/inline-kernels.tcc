test pass inline-kernels
test run

graph @f(%x: f32[2]) -> (y: f32[2]) {
  %0 = kernel %x : f32[2]
    region @body(%a: f32[2]) -> (o: f32[2]) {
      %0 = neg %a : f32[2]
      %1 = kernel %0 : f32[2]
        region @body(%b: f32[2]) -> (o: f32[2]) {
          %0 = abs %b : f32[2]
          return %0
        }
      return %1
    }
  return %0
}
// check: neg %x
// next: abs %0
// not: kernel
// run: @f([1, -2]) == [1, 2]
