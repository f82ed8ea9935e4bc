//! Schedules: how the loops of a nest are cut, ordered and mapped onto a processor, as lists of steps.
//!
//! Lowering marks loops whose iterations are independent as parallel. A [`Schedule`] is a list of small steps
//! that name loops and buffers; each is checked and keeps the meaning of the nest, or is refused with what it
//! expected and what it found. [`plan`] gives the default schedule of a nest: one parallel loop over tiles,
//! vectors of what is neighbouring in memory, micro-tiles of contractions.

pub mod gpu;
mod independence;
mod machine;
mod panel;
mod policy;
mod rewrite;
mod site;
pub mod steps;
mod text;

use tcc_ir::loops::Nest;

pub use self::machine::{Facts, Machine, MachineError, MicroTile, TARGETS, TargetFile};
pub(crate) use self::panel::right_panel;
pub use self::policy::{Draft, plan};
pub use self::steps::Step;
pub use self::text::{parse_schedules, parse_steps};

/// The steps for one nest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The name of the nest.
    pub name: String,
    /// The steps in order.
    pub steps: Vec<Step>,
}

/// Why a step does not apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found {found}")]
pub struct Refusal {
    /// What must hold.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Refusal {
    /// What must hold and what is there.
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Refusal {
        Refusal { expected: expected.into(), found: found.into() }
    }
}

/// A step of a schedule that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {number}, {step}: {refusal}")]
pub struct Refused {
    /// Its position, from one.
    pub number: usize,
    /// The step.
    pub step: String,
    /// Why.
    pub refusal: Refusal,
}

impl Schedule {
    /// The nest after all steps.
    pub fn apply(&self, nest: &Nest) -> Result<Nest, Refused> {
        let mut nest = nest.clone();
        for (i, step) in self.steps.iter().enumerate() {
            nest = step.apply(&nest).map_err(|refusal| Refused {
                number: i + 1,
                step: step.to_string(),
                refusal,
            })?;
        }
        Ok(nest)
    }
}

/// The nest under its default schedule.
pub fn schedule(nest: &Nest, machine: &Machine) -> Nest {
    plan(nest, machine).0
}
