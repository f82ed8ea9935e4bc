//! PTX: the instruction set as a table, the parser of modules, and the emulator that runs and checks kernels.

pub mod emulate;
mod isa;
pub mod parse;

pub use parse::{Module, ParseError};
