test cat
test run

graph @f(%sizes: i64[2]) -> (y: f32[a, b]) where a in 0..=9 {
  %0 = bind_dims %sizes symbols=[a, b] : i64[2]
  %1 = iota shape=[a, b] axis=0 dtype=f32 : f32[a, b]
  return %1
}
// run: @f([2, 3]) == [[0, 0, 0], [1, 1, 1]]
// run: @f([10, 1]) error: expected a in 0..=9, got 10

graph @c1_1(%s: i32[1]) -> (y: i64[1]) {
  %0 = bind_dims %s symbols=[a] : i64[1] // error: (C1)
  return %0
}

graph @c1_2(%s: i64[3]) -> (y: i64[1]) {
  %0 = bind_dims %s symbols=[a] : i64[1] // error: (C1)
  return %0
}

graph @c2_3(%s: i64[1]) -> (y: i64[1]) {
  %0 = bind_dims %s symbols=[4] : i64[1] // error: (C2)
  return %0
}
