test cat
test run

graph @f(%x: f32[6]) -> (y: f32[2]) {
  %0 = slice %x starts=[1] sizes=[2] steps=[3] : f32[2]
  return %0
}
// run: @f([0, 1, 2, 3, 4, 5]) == [1, 4]

graph @backwards(%x: f32[3]) -> (y: f32[3]) {
  %0 = slice %x starts=[2] sizes=[3] steps=[-1] : f32[3]
  return %0
}
// run: @backwards([1, 2, 3]) == [3, 2, 1]

graph @last(%x: f32[N]) -> (y: f32[1]) where N in 1..=9 {
  %0 = slice %x starts=[N - 1] sizes=[1] steps=[1] : f32[1]
  return %0
}
// run: @last([1, 2, 3]) == [3]

graph @c1_1(%x: f32[4]) -> (y: f32[1]) {
  %0 = slice %x starts=[0, 0] sizes=[1] steps=[1] : f32[1] // error: (C1)
  return %0
}

graph @c2_2(%x: f32[4]) -> (y: f32[2]) {
  %0 = slice %x starts=[0] sizes=[2] steps=[0] : f32[2] // error: (C2)
  return %0
}

graph @c3_3(%x: f32[4]) -> (y: f32[2]) {
  %0 = slice %x starts=[3] sizes=[2] steps=[1] : f32[2] // error: (C3)
  return %0
}
