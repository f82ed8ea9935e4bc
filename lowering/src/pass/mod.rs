//! Passes as values: what a pass is, which ones there are, how a pipeline of them is written and run.
//!
//! A pass is a function from a program to the next one, with a name, a summary, options and the numerics that
//! it may change. It owns no state: the same input and options give the same output. Everything around it
//! (verification, dumps, times, checks against the interpreter, fuel) is the work of [`run`].

mod bisect;
mod check;
mod diff;
mod inputs;
mod level;
mod options;
mod pipeline;
mod reduce;
mod registry;
mod run;

pub use bisect::{Culprit, bisect};
pub use check::{Checked, compare, compare_runs};
pub use diff::unified;
pub use inputs::{InputError, Sample, random_inputs};
pub use level::{Ir, Level};
pub use options::{OptionDef, OptionKind, OptionValue, Options};
pub use pipeline::{Pipeline, Step, write_pipeline};
pub use reduce::{ReduceOptions, reduce};
pub use registry::Registry;
pub use run::{Applied, Broken, CheckOptions, Fuel, RunError, RunOptions, run};

use tcc_ir::diag::Diags;
use tcc_ir::graph::{Graph, Violation};
use tcc_ir::loops::Nest;
use tcc_ir::mem::Program;
use tcc_ir::numerics::Numerics;

/// A transformation of one level.
#[derive(Clone, Copy, Debug)]
pub struct PassDef {
    /// The name in pipelines.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The source of its file, whose header shows what it does before → after.
    pub source: &'static str,
    /// What can be set.
    pub options: &'static [OptionDef],
    /// How far its result may be from that of its input.
    pub numerics: Numerics,
    /// The function, which says the level.
    pub run: PassFn,
}

/// What a pass calls, by level.
#[derive(Clone, Copy, Debug)]
pub enum PassFn {
    /// From graph to graph.
    Graph(fn(&Graph, &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError>),
    /// From nest to nest.
    Nest(fn(&Nest, &mut PassCx<'_>) -> Result<Outcome<Nest>, PassError>),
    /// From program to program of the memory level.
    Program(fn(&Program, &mut PassCx<'_>) -> Result<Outcome<Program>, PassError>),
}

/// What a pass made of its input. `Unchanged` promises that the text is the same, and tests hold it to that.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T> {
    /// The next program.
    Changed(T),
    /// There was nothing to do.
    Unchanged,
}

impl<T> Outcome<T> {
    /// `Changed` if anything was.
    pub fn of(changed: bool, next: T) -> Outcome<T> {
        if changed { Outcome::Changed(next) } else { Outcome::Unchanged }
    }
}

/// What a pass sees beside the program.
pub struct PassCx<'a> {
    /// The options as given, with defaults for the others.
    pub options: &'a Options,
    fuel: &'a mut Fuel,
    owed: Vec<Owed>,
}

/// A rewrite that a result owes something to.
#[derive(Clone, Debug, PartialEq)]
pub struct Owed {
    /// Its name.
    pub rewrite: String,
    /// What it may do to numbers.
    pub numerics: Numerics,
    /// How often.
    pub count: usize,
}

impl<'a> PassCx<'a> {
    /// The surroundings of one application.
    pub fn new(options: &'a Options, fuel: &'a mut Fuel) -> PassCx<'a> {
        PassCx { options, fuel, owed: Vec::new() }
    }

    /// Notes what the result owes to a rewrite.
    pub fn owe(&mut self, owed: Owed) {
        self.owed.push(owed);
    }

    /// Asks to carry out one rewrite; once the fuel is spent the answer is no, and the pass leaves things as
    /// they are.
    pub fn rewrite(&mut self) -> bool {
        self.fuel.spend()
    }
}

/// Why a pass cannot be carried out on a valid program.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PassError {
    /// The program is not of the kind that the pass is for.
    #[error("{0}")]
    Refused(String),
    /// A node that the pass built is not well typed.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Several problems.
    #[error(transparent)]
    Diags(#[from] Diags),
}

impl PassDef {
    /// The level it works on.
    pub fn level(&self) -> Level {
        match self.run {
            PassFn::Graph(_) => Level::Graph,
            PassFn::Nest(_) => Level::Nest,
            PassFn::Program(_) => Level::Program,
        }
    }

    /// The header of its file: the lines that start with `//!`, without that.
    pub fn doc(&self) -> String {
        let lines = self.source.lines().take_while(|l| l.starts_with("//!"));
        let text: Vec<&str> =
            lines.map(|l| l.trim_start_matches("//!")).map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
        text.join("\n")
    }
}
