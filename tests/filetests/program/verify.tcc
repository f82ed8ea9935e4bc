test verify

program @several(x: f32[4]) -> (y: f32[4]) {
  %0: f32x4 = load z[0] // error: (name)
  for i in 0..4 {
    store y[i] = %1 // error: (unassigned)
    %1: f32 = 1.0
  }
  %2: f32x4 = add %0, %3 // error: (unassigned)
  %3: f32x4 = 0.0
  store x[0] = %0 // error: (store)
}

program @syntax(x: f32[4]) -> (y: f32[4]) {
  %0: f32x4 = loaad x[0] // error: (syntax) expected a value
  for i in 0.. { // error: (syntax)
    store y[i] = %0
  }
  stoore y[0] = %0 // error: (syntax) expected an instruction
}

program @copies(x: f32[4]) -> (y: f32[4]) {
  alloc s: f32[4] in shared
  alloc t: f32[4] in stack
  copy 4 t[0] = x[0] // error: (space)
  copy 0 s[0] = x[0] // error: (lanes)
  copy 1 s[0] = s[1] // error: (space)
}
