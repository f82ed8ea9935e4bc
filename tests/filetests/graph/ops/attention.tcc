test cat
test run

graph @f(%q: f32[1, 1, 2, 1], %k: f32[1, 1, 2, 1], %v: f32[1, 1, 2, 1]) -> (y: f32[1, 1, 2, 1]) {
  %0 = attention %q, %k, %v scale=1.0 causal=false softcap=0.0 : f32[1, 1, 2, 1]
  return %0
}
// run: @f([[[[0], [0]]]], [[[[1], [2]]]], [[[[10], [20]]]]) ~= [[[[15], [15]]]]

graph @causal(%q: f32[1, 1, 2, 1], %k: f32[1, 1, 2, 1], %v: f32[1, 1, 2, 1]) -> (y: f32[1, 1, 2, 1]) {
  %0 = attention %q, %k, %v scale=1.0 causal=true softcap=0.0 : f32[1, 1, 2, 1]
  return %0
}
// run: @causal([[[[0], [0]]]], [[[[1], [2]]]], [[[[10], [20]]]]) ~= [[[[10], [15]]]]

graph @masked(%q: f32[1, 1, 2, 1], %k: f32[1, 1, 2, 1], %v: f32[1, 1, 2, 1], %m: bool[2]) -> (y: f32[1, 1, 2, 1]) {
  %0 = attention %q, %k, %v, %m scale=1.0 causal=false softcap=0.0 : f32[1, 1, 2, 1]
  return %0
}
// run: @masked([[[[0], [0]]]], [[[[1], [2]]]], [[[[10], [20]]]], [false, true]) ~= [[[[20], [20]]]]
// run: @masked([[[[0], [0]]]], [[[[1], [2]]]], [[[[10], [20]]]], [false, false]) ~= [[[[0], [0]]]]

graph @c1_1(%q: f32[1, 2, 1], %k: f32[1, 2, 1], %v: f32[1, 2, 1]) -> (y: f32[1, 2, 1]) {
  %0 = attention %q, %k, %v scale=1.0 causal=false softcap=0.0 : f32[1, 2, 1] // error: (C1)
  return %0
}

graph @c2_2(%q: f32[1, 3, 2, 1], %k: f32[1, 2, 2, 1], %v: f32[1, 2, 2, 1]) -> (y: f32[1, 3, 2, 1]) {
  %0 = attention %q, %k, %v scale=1.0 causal=false softcap=0.0 : f32[1, 3, 2, 1] // error: (C2)
  return %0
}

graph @c3_3(%q: f32[1, 1, 2, 1], %k: f32[1, 1, 2, 1], %v: f32[1, 1, 2, 1], %m: i32[2]) -> (y: f32[1, 1, 2, 1]) {
  %0 = attention %q, %k, %v, %m scale=1.0 causal=false softcap=0.0 : f32[1, 1, 2, 1] // error: (C3)
  return %0
}
