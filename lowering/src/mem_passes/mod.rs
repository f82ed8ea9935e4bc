//! Passes over programs.

mod expand_functions;
mod fuse_multiply_adds;

pub use expand_functions::expand_functions;
pub use fuse_multiply_adds::fuse_multiply_adds;
