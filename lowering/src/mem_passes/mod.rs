//! Passes from program to program of the memory level.

pub mod expand_functions;
pub mod fuse_multiply_adds;

use crate::pass::PassDef;

pub use expand_functions::expand_functions;
pub use fuse_multiply_adds::fuse_multiply_adds;

/// The passes of this module in order of name.
pub static PASSES: &[&PassDef] = &[&expand_functions::PASS, &fuse_multiply_adds::PASS];
