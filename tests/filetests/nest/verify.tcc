test verify

nest @name(x: f32[2]) -> (y: f32[2]) {
  for i in 0..2 {
    y[i] = z[i] // error: (name)
  }
}

nest @rank(x: f32[2]) -> (y: f32[2]) {
  for i in 0..2 {
    y[i] = x[i, 0] // error: (rank)
  }
}

nest @type(x: f32[2]) -> (y: i32[2]) {
  for i in 0..2 {
    y[i] = x[i] // error: (type)
  }
}

nest @store(x: f32[2]) -> (y: f32[2]) {
  x[0] = y[0] // error: (store)
}

nest @several(x: f32[2], x: f32[N]) -> (y: f32[2]) { // error: (name)
  for i in 0..N vector { // error: (extent)
    y[i] = z[i] // error: (name)
  }
  y[0] = x[j] // error: (name)
}

nest @syntax(x: f32[2]) -> (y: f32[2]) {
  for i in 0.. { // error: (syntax) expected
    y[i] = x[i]
  }
  y[0] = (x[0], x[1]) // error: (syntax)
  for i in 0..2 { y[i] = } // error: (syntax)
  y[1] = nope(x[0]) // error: (syntax) expected the name of an operation
}
