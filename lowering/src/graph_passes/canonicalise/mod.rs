//! `canonicalise`: removes what does nothing and joins what is one step.
//!
//! ```tcc
//! graph @f(%x: f32[2, 3]) -> (y: f32[6]) {
//!   %0 = transpose %x perm=[1, 0] : f32[3, 2]
//!   %1 = transpose %0 perm=[1, 0] : f32[2, 3]
//!   %2 = neg %1 : f32[2, 3]
//!   %3 = neg %2 : f32[2, 3]
//!   %4 = reshape %3 shape=[3, 2] : f32[3, 2]
//!   %5 = reshape %4 shape=[6] : f32[6]
//!   return %5
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: f32[2, 3]) -> (y: f32[6]) {
//!   %0 = transpose %x perm=[1, 0] : f32[3, 2]
//!   %1 = neg %x : f32[2, 3]
//!   %2 = reshape %x shape=[3, 2] : f32[3, 2]
//!   %3 = reshape %x shape=[6] : f32[6]
//!   return %3
//! }
//! ```
//!
//! Every rule is exact: adding zero is removed from floats only where that zero is -0.0, since `-0.0 + 0.0` is
//! not `-0.0`. A value is replaced only by one of the very same type. Nodes that are left without use are for
//! `dce` to remove.

mod arithmetic;
mod movement;

use smallvec::SmallVec;
use tcc_ir::graph::{Attrs, Graph, Node, Op, Rewriter, Value};
use tcc_ir::numerics::Numerics;

use super::in_regions;
use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "canonicalise",
    summary: "removes what does nothing and joins what is one step",
    source: include_str!("mod.rs"),
    options: &[],
    numerics: Numerics::Exact,
    run: PassFn::Graph(run),
};

/// A node with one result, about to be added to a graph.
#[derive(Clone, Debug)]
struct Form {
    op: Op,
    operands: SmallVec<[Value; 4]>,
    attrs: Attrs,
}

/// What a form can be replaced by.
enum Simpler {
    /// A value that is there already.
    Value(Value),
    /// Another form of the same type.
    Form(Form),
}

/// Each step makes a form reach past one operand; chains longer than this are left to the next run.
const MAX_STEPS: usize = 16;

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    let mut changed = false;
    for (id, node) in graph.nodes() {
        if node.results().len() == 1 && node.regions.is_empty() && !node.op.def().binds {
            changed |= simplify(&mut rewriter, node, cx)?;
            continue;
        }
        let (regions, inner) = in_regions(node, |region| run(region, cx))?;
        changed |= inner;
        rewriter.copy_with(id, node.attrs.clone(), regions);
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

/// Adds the simplest form of a node, and says whether it is another one.
fn simplify(rewriter: &mut Rewriter<'_>, node: &Node, cx: &mut PassCx<'_>) -> Result<bool, PassError> {
    let operands = node.operands.iter().map(|v| rewriter.get(*v)).collect();
    let mut form = Form { op: node.op, operands, attrs: node.attrs.clone() };
    let ty = rewriter.from.ty(node.result());
    let mut changed = false;
    for _ in 0..MAX_STEPS {
        let to = &rewriter.to;
        let found = movement::simpler(to, &form, ty).or_else(|| arithmetic::simpler(to, &form));
        match found {
            Some(Simpler::Value(value)) if to.ty(value) == ty && cx.rewrite() => {
                rewriter.replace(node.result(), value);
                return Ok(true);
            }
            Some(Simpler::Form(next)) if cx.rewrite() => {
                form = next;
                changed = true;
            }
            _ => break,
        }
    }
    rewriter.push_for(node, form.op, &form.operands, form.attrs)?;
    Ok(changed)
}
