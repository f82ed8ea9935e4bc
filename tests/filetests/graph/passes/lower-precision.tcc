// Products of f32 in bf16: operands are rounded once, sums stay f32.

test pass lower-precision{dtype=bf16},cse,dce

graph @twice(%x: f32[2, 3], %v: f32[3, 2], %w: f32[3, 2]) -> (y: f32[2, 2], z: f32[2, 2]) {
  %0 = dot %x, %v lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[2, 2]
  %1 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[2, 2]
  return %0, %1
}
// check: cast %x dtype=bf16
// next: cast %v dtype=bf16
// next: dot %0, %1
// same: dtype=f32 : f32[2, 2]
// next: cast %w dtype=bf16
// next: dot %0, %3
