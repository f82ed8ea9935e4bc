test verify

nest @name(x: f32[2]) -> (y: f32[2]) { // error: (name)
  for i in 0..2 {
    y[i] = z[i]
  }
}

nest @rank(x: f32[2]) -> (y: f32[2]) { // error: (rank)
  for i in 0..2 {
    y[i] = x[i, 0]
  }
}

nest @type(x: f32[2]) -> (y: i32[2]) { // error: (type)
  for i in 0..2 {
    y[i] = x[i]
  }
}

nest @store(x: f32[2]) -> (y: f32[2]) { // error: (store)
  x[0] = y[0]
}
