//! `schedule`: applies a schedule from a file, or the default one of a target.
//!
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for i in 0..N parallel {
//!     y[i] = x[i] * f32(2.0)
//!   }
//! }
//! ```
//! ->
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for tile in 0..(N + 4095) / 4096 parallel {
//!     for eo in 0..(min(4096, N - 4096*tile)) / 16 parallel {
//!       for ev in 0..16 vector {
//!         y[16*eo + ev + 4096*tile] = x[16*eo + ev + 4096*tile] * f32(2.0)
//!       }
//!     }
//!     for et in 0..(min(4096, N - 4096*tile)) % 16 parallel {
//!       y[et + 4096*tile + 16*((min(4096, N - 4096*tile)) / 16)] = x[et + 4096*tile + 16*((min(4096, N - 4096*tile)) / 16)] * f32(2.0)
//!     }
//!   }
//! }
//! ```
//!
//! A file holds a schedule for the nest under its name, as `tcc compile --emit schedule` prints them, or one
//! schedule alone, which is for any nest. Each step is a rewrite of its own, so that a wrong one can be found by
//! fuel.

use tcc_ir::loops::Nest;
use tcc_ir::numerics::Numerics;

use crate::pass::{OptionDef, OptionKind, Outcome, PassCx, PassDef, PassError, PassFn};
use crate::schedule::{Machine, Schedule, parse_schedules, plan};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "schedule",
    summary: "applies a schedule from a file, or the default one of a target",
    source: include_str!("schedule.rs"),
    options: &[
        OptionDef {
            name: "file",
            kind: OptionKind::Word,
            default: "",
            doc: "a file of schedules; without one the default schedule is applied",
        },
        OptionDef {
            name: "target",
            kind: OptionKind::Word,
            default: "x86-64-v4",
            doc: "the target of the default schedule, by name or as a file",
        },
    ],
    numerics: Numerics::Reassociates,
    run: PassFn::Nest(run),
};

fn run(nest: &Nest, cx: &mut PassCx<'_>) -> Result<Outcome<Nest>, PassError> {
    let refused = |what: String| PassError::Refused(what);
    let schedule = match cx.options.word("file") {
        "" => {
            let machine = Machine::of(cx.options.word("target")).map_err(|e| refused(e.to_string()))?;
            plan(nest, &machine).1
        }
        path => from_file(path, nest)?,
    };
    let mut next = nest.clone();
    let mut changed = false;
    for (i, step) in schedule.steps.iter().enumerate() {
        if !cx.rewrite() {
            break;
        }
        let stepped = step.apply(&next).map_err(|e| refused(format!("step {}, {step}: {e}", i + 1)))?;
        changed |= stepped != next;
        next = stepped;
    }
    Ok(Outcome::of(changed && next != *nest, next))
}

/// The schedule for a nest that a file holds.
fn from_file(path: &str, nest: &Nest) -> Result<Schedule, PassError> {
    let refused = |what: String| PassError::Refused(format!("{path}: {what}"));
    let text = std::fs::read_to_string(path).map_err(|e| refused(e.to_string()))?;
    let mut schedules =
        parse_schedules(&text).map_err(|d| refused(format!("\n{}", d.render(path, &text))))?;
    let named = schedules.iter().position(|s| s.name == nest.name);
    match (named, schedules.len()) {
        (Some(at), _) => Ok(schedules.swap_remove(at)),
        (None, 1) => Ok(schedules.swap_remove(0)),
        (None, count) => Err(refused(format!(
            "expected one schedule, or one for @{}, found {count} for others",
            nest.name
        ))),
    }
}
