test cat
test run

graph @f(%b: f32[1, 3, 4], %s: f32[1, 1, 3], %n: i64[], %o: f32[], %m: f32[]) -> (y: i64[c, 3]) {
  %0 = nms %b, %s, %n, %o, %m centered=false count=c : i64[c, 3]
  return %0
}
// run: @f([[[0, 0, 2, 2], [0, 0, 2, 1.9], [5, 5, 6, 6]]], [[[0.9, 0.8, 0.7]]], 9, 0.5, 0) == [[0, 0, 0], [0, 0, 2]]
// run: @f([[[0, 0, 2, 2], [0, 0, 2, 1.9], [5, 5, 6, 6]]], [[[0.9, 0.8, 0.7]]], 1, 0.5, 0) == [[0, 0, 0]]

graph @c1_1(%b: f32[1, 3, 5], %s: f32[1, 1, 3], %n: i64[], %o: f32[], %m: f32[]) -> (y: i64[c, 3]) {
  %0 = nms %b, %s, %n, %o, %m centered=false count=c : i64[c, 3] // error: (C1)
  return %0
}

graph @c2_2(%b: f32[1, 3, 4], %s: f32[1, 1, 3], %n: i32[], %o: f32[], %m: f32[]) -> (y: i64[c, 3]) {
  %0 = nms %b, %s, %n, %o, %m centered=false count=c : i64[c, 3] // error: (C2)
  return %0
}

graph @c3_3(%b: f32[1, 3, 4], %s: f32[1, 1, 3], %n: i64[], %o: f32[], %m: f32[]) -> (y: i64[2 * k, 3]) {
  %0 = nms %b, %s, %n, %o, %m centered=false count=2 * k : i64[2 * k, 3] // error: (C3)
  return %0
}
