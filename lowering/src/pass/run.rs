//! Running a pipeline: verification, honesty, dumps, times, checks against the interpreter, fuel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::{
    Checked, Ir, Level, Outcome, Owed, PassCx, PassError, PassFn, Pipeline, Step, compare_runs, unified,
};

/// How many rewrites may still be carried out.
///
/// Every application costs one unit and every rewrite inside it one more, so that the smallest amount with
/// which something goes wrong points at one rewrite.
#[derive(Clone, Copy, Debug)]
pub struct Fuel {
    left: u64,
    spent: u64,
}

impl Fuel {
    /// A bounded amount.
    pub fn of(amount: u64) -> Fuel {
        Fuel { left: amount, spent: 0 }
    }

    /// More than anything needs.
    pub fn unlimited() -> Fuel {
        Fuel::of(u64::MAX)
    }

    /// How much was spent.
    pub fn spent(&self) -> u64 {
        self.spent
    }

    pub(super) fn spend(&mut self) -> bool {
        let more = self.left > 0;
        if more {
            self.left -= 1;
            self.spent += 1;
        }
        more
    }
}

/// What is done around the passes.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Verify after each pass.
    pub verify: bool,
    /// Compare the texts before and after each pass, give their difference, and hold passes to what they say
    /// of having changed anything.
    pub diff: bool,
    /// Interpret before and after each pass and compare.
    pub check: Option<CheckOptions>,
    /// The amount of fuel, if it is bounded.
    pub fuel: Option<u64>,
}

/// How thorough a check is.
#[derive(Clone, Copy, Debug)]
pub struct CheckOptions {
    /// How many random inputs are tried.
    pub samples: usize,
    /// What they depend on.
    pub seed: u64,
}

impl Default for CheckOptions {
    fn default() -> CheckOptions {
        CheckOptions { samples: 4, seed: 0 }
    }
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions { verify: true, diff: false, check: None, fuel: None }
    }
}

/// What one application did.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The pass with its options.
    pub step: String,
    /// Whether it changed anything.
    pub changed: bool,
    /// How long the pass itself took.
    pub time: Duration,
    /// Fuel spent after it, in all.
    pub spent: u64,
    /// The difference of the texts, if asked for.
    pub diff: Option<String>,
    /// What the check saw, if asked for.
    pub checked: Option<Checked>,
    /// The rewrites that the result owes something to, of a pass that keeps account of them.
    pub owed: Vec<Owed>,
}

/// Why a pipeline came to no end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A pass is of another level than the program.
    #[error("pass `{pass}`: expected a {expected}, got a {got}")]
    Level {
        /// The pass.
        pass: String,
        /// Its level.
        expected: Level,
        /// That of the program.
        got: Level,
    },
    /// A pass does not apply to the program.
    #[error("pass `{pass}`: {source}")]
    Refused {
        /// The pass.
        pass: String,
        /// Why.
        source: PassError,
    },
    /// A pass is wrong.
    #[error(transparent)]
    Broken(Box<Broken>),
}

/// A mistake in a pass, with what it takes to see it again.
#[derive(Debug, thiserror::Error)]
#[error("bug in pass `{pass}`: {what}")]
pub struct Broken {
    /// The pass with its options.
    pub pass: String,
    /// What it did.
    pub what: String,
    /// The program before it.
    pub before: String,
}

impl Broken {
    /// A file that shows the mistake: the program, headed by the command to run on it.
    pub fn reproducer(&self) -> String {
        let what = self.what.lines().map(|l| format!("//   {l}\n")).collect::<String>();
        format!("// tcc opt --passes '{}' --check FILE\n// found:\n{what}{}", self.pass, self.before)
    }

    /// A name for that file.
    pub fn file_name(&self) -> String {
        let name = self.pass.split('{').next().unwrap_or_default();
        format!("tcc-bug-in-{name}.tcc")
    }
}

/// Applies the passes in order; `report` hears of each application when it is done.
pub fn run(
    ir: Ir,
    pipeline: &Pipeline,
    options: &RunOptions,
    report: &mut dyn FnMut(&Applied),
) -> Result<Ir, RunError> {
    let mut fuel = options.fuel.map_or(Fuel::unlimited(), Fuel::of);
    let mut ir = ir;
    for step in &pipeline.steps {
        if !fuel.spend() {
            break;
        }
        let (applied, next) = apply(&ir, step, options, &mut fuel)?;
        report(&applied);
        if let Some(next) = next {
            ir = next;
        }
    }
    Ok(ir)
}

/// One application; nothing if it changed nothing.
fn apply(
    ir: &Ir,
    step: &Step,
    options: &RunOptions,
    fuel: &mut Fuel,
) -> Result<(Applied, Option<Ir>), RunError> {
    let name = step.to_string();
    let broken = |what: String| {
        RunError::Broken(Box::new(Broken { pass: name.clone(), what, before: ir.to_string() }))
    };
    let _span = tracing::debug_span!("pass", name = %name).entered();
    let start = Instant::now();
    let mut cx = PassCx::new(&step.options, fuel);
    // A pass owns nothing that a panic could leave half done: its input is borrowed, its output lost.
    let outcome = catch_unwind(AssertUnwindSafe(|| call(ir, step, &mut cx)))
        .map_err(|payload| broken(format!("it panicked: {}", panic_message(payload.as_ref()))))?;
    let time = start.elapsed();
    let owed = std::mem::take(&mut cx.owed);
    let next = match outcome? {
        Outcome::Changed(next) => Some(next),
        Outcome::Unchanged => None,
    };
    let mut applied = Applied {
        step: name.clone(),
        changed: next.is_some(),
        time,
        spent: fuel.spent(),
        diff: None,
        checked: None,
        owed,
    };
    if let Some(next) = &next {
        if options.verify {
            next.verify().map_err(|diags| broken(format!("its result does not verify: {diags}")))?;
        }
        if options.diff {
            let diff = unified(&ir.outline(), &next.outline());
            if diff.is_empty() && ir == next {
                return Err(broken("it said that it changed something, but did not".into()));
            }
            applied.diff = Some(diff);
        }
        if let Some(check) = options.check {
            let checked = compare_runs(ir, next, step.pass.numerics, check.samples, check.seed);
            let wrong = |what| broken(format!("its result computes something else: {what}"));
            applied.checked = Some(checked.map_err(wrong)?);
        }
    }
    Ok((applied, next))
}

fn call(ir: &Ir, step: &Step, cx: &mut PassCx<'_>) -> Result<Outcome<Ir>, RunError> {
    let refused = |source| RunError::Refused { pass: step.to_string(), source };
    match (step.pass.run, ir) {
        (PassFn::Graph(run), Ir::Graph(graph)) => run(graph, cx).map(|o| o.map(Ir::Graph)).map_err(refused),
        (PassFn::Nest(run), Ir::Nest(nest)) => run(nest, cx).map(|o| o.map(Ir::Nest)).map_err(refused),
        (PassFn::Program(run), Ir::Program(program)) => {
            run(program, cx).map(|o| o.map(Ir::Program)).map_err(refused)
        }
        _ => Err(RunError::Level { pass: step.to_string(), expected: step.pass.level(), got: ir.level() }),
    }
}

impl<T> Outcome<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Outcome::Changed(next) => Outcome::Changed(with(next)),
            Outcome::Unchanged => Outcome::Unchanged,
        }
    }
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::{PassDef, Registry};
    use tcc_ir::graph::{Graph, Rewriter};
    use tcc_ir::numerics::Numerics;
    use tcc_ir::scalar::ScalarOp;

    const GRAPH: &str = "graph @f(%x: f32[2]) -> (y: f32[2]) {\n  %0 = neg %x : f32[2]\n  return %0\n}\n";

    fn pass(
        name: &'static str,
        run: fn(&Graph, &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError>,
    ) -> PassDef {
        let numerics = Numerics::Exact;
        PassDef { name, summary: "", source: "", options: &[], numerics, run: PassFn::Graph(run) }
    }

    fn outcome_of(pass: PassDef) -> Result<Ir, RunError> {
        let registry = Registry::empty().with(pass);
        let pipeline = Pipeline::parse(pass.name, &registry).unwrap();
        let options =
            RunOptions { diff: true, check: Some(CheckOptions::default()), ..RunOptions::default() };
        run(Ir::parse(GRAPH).unwrap(), &pipeline, &options, &mut |_| {})
    }

    fn bug(pass: PassDef) -> String {
        match outcome_of(pass) {
            Err(RunError::Broken(broken)) => {
                assert!(broken.reproducer().ends_with(GRAPH));
                broken.to_string()
            }
            other => panic!("expected a bug to be found, got {other:?}"),
        }
    }

    #[test]
    fn mistakes_of_passes_are_named() {
        assert!(bug(pass("panics", |_, _| panic!("oh no"))).contains("it panicked: oh no"));
        assert!(bug(pass("lies", |g, _| Ok(Outcome::Changed(g.clone())))).contains("but did not"));
        let wrong = |graph: &Graph, _: &mut PassCx<'_>| {
            let mut rewriter = Rewriter::new(graph);
            for (_, node) in graph.nodes() {
                let x = rewriter.get(node.operands[0]);
                rewriter.push_for(
                    node,
                    tcc_ir::graph::Op::Scalar(ScalarOp::Abs),
                    &[x],
                    Default::default(),
                )?;
            }
            Ok(Outcome::Changed(rewriter.finish()))
        };
        assert!(bug(pass("wrong", wrong)).contains("computes something else"));
        let broken = |graph: &Graph, _: &mut PassCx<'_>| {
            let mut next = graph.clone();
            next.add_output("y", graph.outputs()[0].1);
            Ok(Outcome::Changed(next))
        };
        assert!(bug(pass("broken", broken)).contains("does not verify"));
    }
}
