test cat
test run

graph @f(%x: f32[4]) -> (a: f32[c], b: i64[c], c: i64[4], d: i64[c]) {
  %0, %1, %2, %3 = unique %x axis=0 sorted=true count=c : f32[c], i64[c], i64[4], i64[c]
  return %0, %1, %2, %3
}
// run: @f([3, 1, 3, 2]) == [1, 2, 3], [1, 3, 0], [2, 0, 2, 1], [1, 1, 2]

graph @as_they_come(%x: f32[4]) -> (a: f32[c], b: i64[c], c: i64[4], d: i64[c]) {
  %0, %1, %2, %3 = unique %x axis=0 sorted=false count=c : f32[c], i64[c], i64[4], i64[c]
  return %0, %1, %2, %3
}
// run: @as_they_come([3, 1, 3, 2]) == [3, 1, 2], [0, 1, 3], [0, 1, 0, 2], [2, 1, 1]

graph @c1_1(%x: f32[4]) -> (a: f32[c], b: i64[c], c: i64[4], d: i64[c]) {
  %0, %1, %2, %3 = unique %x axis=1 sorted=true count=c : f32[c], i64[c], i64[4], i64[c] // error: (C1)
  return %0, %1, %2, %3
}

graph @c2_2(%x: f32[4]) -> (a: f32[4], b: i64[4], c: i64[4], d: i64[4]) {
  %0, %1, %2, %3 = unique %x axis=0 sorted=true count=4 : f32[4], i64[4], i64[4], i64[4] // error: (C2)
  return %0, %1, %2, %3
}
