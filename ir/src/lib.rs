//! The three intermediate representations of `tcc`: their types, text, verifiers and interpreters.

pub mod dtype;
pub mod tensor;
pub mod weights;
