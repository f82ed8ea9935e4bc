test cat
test run

graph @f(%x: f32[4]) -> (a: f32[2], b: i64[2]) {
  %0, %1 = top_k %x k=2 axis=0 largest=true : f32[2], i64[2]
  return %0, %1
}
// run: @f([1, 5, 3, 5]) == [5, 5], [1, 3]

graph @c1_1(%x: f32[4]) -> (a: f32[2], b: i64[2]) {
  %0, %1 = top_k %x k=2 axis=1 largest=true : f32[2], i64[2] // error: (C1)
  return %0, %1
}

graph @c2_2(%x: f32[4]) -> (a: f32[5], b: i64[5]) {
  %0, %1 = top_k %x k=5 axis=0 largest=true : f32[5], i64[5] // error: (C2)
  return %0, %1
}
