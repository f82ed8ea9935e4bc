//! Passes from nest to nest. Schedules name the loops that they are about; one pass applies any of them.

pub mod drop_unit_loops;
pub mod schedule;
pub mod unroll_small;

use crate::pass::PassDef;

/// The passes of this module in order of name.
pub static PASSES: &[&PassDef] = &[&drop_unit_loops::PASS, &schedule::PASS, &unroll_small::PASS];
