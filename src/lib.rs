//! `tcc`, a tensor compiler: the facade over its crates.
//!
//! [`compile::Compiler`] takes a graph to a [`compile::Compiled`] model, which runs in this process.

pub mod compile;

pub use tcc_codegen as codegen;
pub use tcc_ir as ir;
pub use tcc_lowering as lowering;
pub use tcc_runtime as runtime;
