test cat
test run

graph @f(%x: f32[2, 3]) -> (y: f32[3, 2]) {
  %0 = transpose %x perm=[1, 0] : f32[3, 2]
  %1 = copy %0 : f32[3, 2]
  return %1
}
// run: @f([[1, 2, 3], [4, 5, 6]]) == [[1, 4], [2, 5], [3, 6]]
