//! Passes from program to program of the memory level.

pub mod expand_functions;

use crate::pass::PassDef;

pub use expand_functions::expand_functions;

/// The passes of this module in order of name.
pub static PASSES: &[&PassDef] = &[&expand_functions::PASS];
