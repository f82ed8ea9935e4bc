//! The three intermediate representations of `tcc`: their types, text, verifiers and interpreters.

pub mod diag;
pub mod dim;
pub mod dtype;
pub mod graph;
pub mod import;
pub mod loops;
pub mod mem;
pub mod numerics;
pub mod scalar;
pub mod shape;
pub mod tensor;
pub mod text;
pub mod weights;
pub mod winograd;

/// No tensor may have more elements than this, so that byte offsets fit an `i64` with room to spare.
pub const MAX_ELEMENTS: i64 = 1 << 47;
