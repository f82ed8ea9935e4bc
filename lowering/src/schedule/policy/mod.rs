//! Default schedules: which steps a nest gets on a machine, from what the nest is and what the machine has.
//!
//! A policy looks at a nest and applies steps one after the other; it changes a nest in no other way, so that
//! its result is always a list of steps that can be printed, edited and applied again.

mod contraction;
mod crossing;
mod products;
mod rows;

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use super::site::{Names, Site};
use super::steps::{Collapse, Split, Step, Tail, Vectorise};
use super::{Machine, Refusal, Schedule};

/// A nest with the steps that made it what it is.
#[derive(Clone, Debug)]
pub struct Draft {
    nest: Nest,
    steps: Vec<Step>,
}

impl Draft {
    /// No steps yet.
    pub fn of(nest: &Nest) -> Draft {
        Draft { nest: nest.clone(), steps: Vec::new() }
    }

    /// The nest after the steps so far.
    pub fn nest(&self) -> &Nest {
        &self.nest
    }

    /// Applies a step; if it is refused, nothing has changed.
    pub fn step(&mut self, step: impl Into<Step>) -> Result<(), Refusal> {
        let step = step.into();
        self.nest = step.apply(&self.nest)?;
        self.steps.push(step);
        Ok(())
    }

    /// The nest and the schedule that leads to it.
    pub fn finish(self) -> (Nest, Schedule) {
        let name = self.nest.name.clone();
        (self.nest, Schedule { name, steps: self.steps })
    }

    /// A name that is not taken.
    pub fn fresh(&self, base: &str) -> Symbol {
        Names::of(&self.nest).fresh(base)
    }

    /// Cuts a loop into vectors, with narrower ones and then a scalar loop for the rest.
    pub fn vectors(&mut self, var: &Symbol, width: i64) -> Result<(), Refusal> {
        let extent = Site::of(&self.nest, var)?.extent.clone();
        if extent.is(width) {
            return self.step(Vectorise { var: var.clone() });
        }
        let whole = extent.floor_div(&Dim::from(width));
        if whole.is(0) {
            return Ok(());
        }
        let [outer, lane, rest] = ["o", "v", "t"].map(|suffix| self.fresh(&format!("{var}{suffix}")));
        self.step(Split {
            var: var.clone(),
            factor: width,
            tail: Tail::Peel,
            loops: vec![outer.clone(), lane.clone(), rest.clone()],
        })?;
        self.step(Vectorise { var: lane })?;
        // One vector alone needs no loop around it.
        if whole.is(1) {
            self.step(Collapse { var: outer })?;
        }
        match Site::of(&self.nest, &rest).ok().and_then(|site| site.extent.as_const()) {
            Some(few) if few >= NARROW => self.vectors(&rest, narrower(few)),
            _ => Ok(()),
        }
    }
}

/// The fewest elements for which a vector is worthwhile.
const NARROW: i64 = 4;

/// The width of the widest vector that so many elements fill.
fn narrower(elements: i64) -> i64 {
    1 << elements.max(1).ilog2()
}

/// The nest under its default schedule, and the schedule. A nest that is scheduled already stays as it is.
pub fn plan(nest: &Nest, machine: &Machine) -> (Nest, Schedule) {
    let mut scheduled = false;
    for stmt in &nest.body {
        stmt.each(&mut |s| {
            let plain = LoopKind::Serial;
            scheduled |= matches!(s, Stmt::For { kind, .. } if *kind != plain && *kind != LoopKind::Parallel);
        });
    }
    if scheduled {
        return Draft::of(nest).finish();
    }
    contraction::draft(nest, machine)
        .or_else(|| crossing::draft(nest, machine))
        .unwrap_or_else(|| rows::draft(nest, machine))
        .finish()
}

/// The parallel loops around everything else, outermost first, and what they stand around.
fn parallel_loops(nest: &Nest) -> (Vec<(Symbol, Dim)>, &[Stmt]) {
    let mut loops = Vec::new();
    let mut body = nest.body.as_slice();
    while let [Stmt::For { var, extent, kind: LoopKind::Parallel, body: inner }] = body {
        loops.push((var.clone(), extent.clone()));
        body = inner;
    }
    (loops, body)
}

/// The names of loops.
fn names(loops: &[(Symbol, Dim)]) -> Vec<Symbol> {
    loops.iter().map(|(var, _)| var.clone()).collect()
}
