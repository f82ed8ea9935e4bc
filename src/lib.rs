//! `tcc`, a tensor compiler: the facade over its crates.
//!
//! [`compile::Compiler`] takes a graph to a [`compile::Compiled`] model, which runs in this process. [`ir`] holds
//! the levels of representation, [`lowering`] the passes over them, [`codegen`] the backends, [`autotune`] the
//! search for schedules and [`runtime`] what executes compiled models. [`cli`] is the command line, which a driver
//! with passes of its own can start too.

#[cfg(feature = "cli")]
pub mod cli;
pub mod compile;
pub mod reference;
pub mod support;

pub use tcc_autotune as autotune;
pub use tcc_codegen as codegen;
pub use tcc_ir as ir;
pub use tcc_lowering as lowering;
pub use tcc_runtime as runtime;

/// The examples of the README are tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
