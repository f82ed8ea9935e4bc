//! Finding the rewrite with which a pipeline goes wrong.

use super::{CheckOptions, Ir, Pipeline, RunError, RunOptions, compare_runs, run, unified};
use tcc_ir::numerics::Numerics;

/// The first rewrite after which things are wrong.
#[derive(Clone, Debug)]
pub struct Culprit {
    /// The pass with its options.
    pub pass: String,
    /// The position of its application in the pipeline.
    pub application: usize,
    /// The fuel with which it happens; one less is still right.
    pub fuel: u64,
    /// What is wrong.
    pub what: String,
    /// What the rewrite changes in the text, where it leaves a program.
    pub diff: String,
    /// The program before the application.
    pub before: String,
}

/// Searches for the smallest amount of fuel with which the pipeline changes what the program computes, breaks
/// it or panics; nothing if it does none of that.
///
/// Once wrong, a program is taken to stay wrong under the rewrites that follow.
pub fn bisect(ir: &Ir, pipeline: &Pipeline, check: CheckOptions) -> Result<Option<Culprit>, RunError> {
    let total = match attempt(ir, pipeline, None, check)? {
        Attempt::Right { .. } => return Ok(None),
        Attempt::Wrong { spent, .. } => spent,
    };
    let (mut right, mut wrong) = (0, total);
    while wrong - right > 1 {
        let middle = right + (wrong - right) / 2;
        match attempt(ir, pipeline, Some(middle), check)? {
            Attempt::Right { .. } => right = middle,
            Attempt::Wrong { .. } => wrong = middle,
        }
    }
    let before_rewrite = match attempt(ir, pipeline, Some(right), check)? {
        Attempt::Right { ir } => ir,
        Attempt::Wrong { .. } => ir.clone(),
    };
    let Attempt::Wrong { what, applications, result, .. } = attempt(ir, pipeline, Some(wrong), check)? else {
        return Ok(None);
    };
    let application = applications.saturating_sub(1).min(pipeline.steps.len().saturating_sub(1));
    let prefix = Pipeline { steps: pipeline.steps[..application].to_vec() };
    let before = run(ir.clone(), &prefix, &RunOptions::default(), &mut |_| {})?;
    Ok(Some(Culprit {
        pass: pipeline.steps[application].to_string(),
        application,
        fuel: wrong,
        what,
        diff: result.map_or(String::new(), |after| unified(&before_rewrite.outline(), &after.outline())),
        before: before.to_string(),
    }))
}

enum Attempt {
    Right { ir: Ir },
    Wrong { what: String, spent: u64, applications: usize, result: Option<Ir> },
}

fn attempt(
    ir: &Ir,
    pipeline: &Pipeline,
    fuel: Option<u64>,
    check: CheckOptions,
) -> Result<Attempt, RunError> {
    let options = RunOptions { fuel, ..RunOptions::default() };
    let (mut spent, mut applications) = (0, 0);
    let mut numerics = Numerics::Exact;
    let ran = run(ir.clone(), pipeline, &options, &mut |applied| {
        spent = applied.spent;
        applications += 1;
    });
    for step in &pipeline.steps[..applications.min(pipeline.steps.len())] {
        numerics = numerics.max(step.pass.numerics);
    }
    match ran {
        Ok(after) => match compare_runs(ir, &after, numerics, check.samples, check.seed) {
            Ok(_) => Ok(Attempt::Right { ir: after }),
            Err(what) => Ok(Attempt::Wrong { what, spent, applications, result: Some(after) }),
        },
        Err(RunError::Broken(broken)) => Ok(Attempt::Wrong {
            what: broken.what,
            // What a pass spent before it failed is not known, but is bounded by the fuel given.
            spent: fuel.unwrap_or_else(|| enough(ir)),
            applications: applications + 1,
            result: None,
        }),
        Err(other) => Err(other),
    }
}

/// More fuel than a pipeline that panics can have spent on a program of this size.
fn enough(ir: &Ir) -> u64 {
    (ir.outline().len() as u64).saturating_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn, Registry};
    use tcc_ir::graph::{Graph, Op, Rewriter};
    use tcc_ir::scalar::ScalarOp;

    /// Takes one exponential for another; before that it carries out rewrites that change nothing.
    fn wrong(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
        let mut rewriter = Rewriter::new(graph);
        let mut changed = false;
        for (id, node) in graph.nodes() {
            let x = node.operands.first().map(|v| rewriter.get(*v));
            match (node.op, x) {
                (Op::Scalar(ScalarOp::Exp), Some(x)) if cx.rewrite() => {
                    rewriter.push_for(node, Op::Scalar(ScalarOp::Exp2), &[x], Default::default())?;
                    changed = true;
                }
                (Op::Scalar(ScalarOp::Neg), _) if cx.rewrite() => {
                    rewriter.copy(id);
                }
                _ => {
                    rewriter.copy(id);
                }
            }
        }
        Ok(Outcome::of(changed, rewriter.finish()))
    }

    #[test]
    fn the_first_wrong_rewrite_is_found() {
        let numerics = Numerics::Exact;
        let run = PassFn::Graph(wrong);
        let pass = PassDef { name: "wrong", summary: "", source: "", options: &[], numerics, run };
        let registry = Registry::builtin().with(pass);
        let pipeline = Pipeline::parse("cse,wrong,dce", &registry).unwrap();
        let text = "graph @f(%x: f32[4]) -> (y: f32[4]) {
  %0 = neg %x : f32[4]
  %1 = exp %0 : f32[4]
  %2 = exp %1 : f32[4]
  return %2
}";
        let ir = Ir::parse(text).unwrap_or_else(|d| panic!("{d}"));
        let culprit = bisect(&ir, &pipeline, CheckOptions::default()).unwrap().unwrap();
        // One unit for each application, one for the rewrite of `neg` and one for the first `exp`.
        assert_eq!((culprit.pass.as_str(), culprit.application, culprit.fuel), ("wrong", 1, 4));
        assert!(culprit.diff.contains("-  %1 = exp %0") && culprit.diff.contains("+  %1 = exp2 %0"));
        let right = Pipeline::parse("cse,dce", &registry).unwrap();
        assert!(bisect(&ir, &right, CheckOptions::default()).unwrap().is_none());
    }
}
