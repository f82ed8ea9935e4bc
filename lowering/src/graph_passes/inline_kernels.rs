//! `inline-kernels`: puts the nodes of kernels back into the graph around them.
//!
//! ```tcc
//! graph @f(%x: f32[2]) -> (y: f32[2]) {
//!   %0 = kernel %x : f32[2]
//!     region @body(%a: f32[2]) -> (b: f32[2]) {
//!       %0 = neg %a : f32[2]
//!       return %0
//!     }
//!   return %0
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: f32[2]) -> (y: f32[2]) {
//!   %0 = neg %x : f32[2]
//!   return %0
//! }
//! ```
//!
//! A kernel whose parameters are of other types than its operands stays, since its nodes were checked against
//! those of the parameters.

use tcc_ir::graph::{Graph, Node, Op, Rewriter, Value};
use tcc_ir::numerics::Numerics;

use super::in_regions;
use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "inline-kernels",
    summary: "puts the nodes of kernels back into the graph around them",
    source: include_str!("inline_kernels.rs"),
    options: &[],
    numerics: Numerics::Exact,
    run: PassFn::Graph(run),
};

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    let mut changed = false;
    for (id, node) in graph.nodes() {
        let (regions, inner) = in_regions(node, |region| run(region, cx))?;
        changed |= inner;
        if let [body] = &regions[..]
            && node.op == Op::Kernel
            && can_inline(graph, node, body)
            && cx.rewrite()
        {
            inline(&mut rewriter, node, body)?;
            changed = true;
            continue;
        }
        rewriter.copy_with(id, node.attrs.clone(), regions);
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

/// Types must be the same and no name be given to an extent twice.
fn can_inline(graph: &Graph, node: &Node, body: &Graph) -> bool {
    let types = node.operands.iter().map(|v| graph.ty(*v));
    types.eq(body.param_types()) && !body.nodes().any(|(_, n)| n.op.def().binds)
}

fn inline(rewriter: &mut Rewriter<'_>, node: &Node, body: &Graph) -> Result<(), PassError> {
    let mut map: Vec<Value> = node.operands.iter().map(|v| rewriter.get(*v)).collect();
    for (_, inner) in body.nodes() {
        let operands: Vec<Value> = inner.operands.iter().map(|v| map[v.index()]).collect();
        let origin = inner.origin.clone().or_else(|| node.origin.clone());
        let id = rewriter.to.push_from(
            inner.op,
            &operands,
            inner.attrs.clone(),
            inner.regions.to_vec(),
            origin,
        )?;
        map.extend(rewriter.to.node(id).results());
    }
    for (result, (_, output)) in node.results().zip(body.outputs()) {
        rewriter.replace(result, map[output.index()]);
    }
    Ok(())
}
