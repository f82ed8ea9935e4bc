//! Passes from nest to nest. Schedules are not among them: they name the loops that they are about.

pub mod drop_unit_loops;
pub mod unroll_small;

use crate::pass::PassDef;

/// The passes of this module in order of name.
pub static PASSES: &[&PassDef] = &[&drop_unit_loops::PASS, &unroll_small::PASS];
