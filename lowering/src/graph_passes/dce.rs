//! `dce`: removes nodes that no output needs.
//!
//! ```tcc
//! graph @f(%x: f32[2]) -> (y: f32[2]) {
//!   %0 = neg %x : f32[2]
//!   %1 = exp %x : f32[2]
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
//! A node that gives a name to an extent is needed where the name is used. Removing a node removes the errors
//! that it might have raised.

use tcc_ir::graph::{Graph, Rewriter};
use tcc_ir::numerics::Numerics;

use super::in_regions;
use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "dce",
    summary: "removes nodes that no output needs",
    source: include_str!("dce.rs"),
    options: &[],
    numerics: Numerics::Exact,
    run: PassFn::Graph(run),
};

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut live = graph.live_nodes();
    let mut changed = live.contains(&false) && cx.rewrite();
    if !changed {
        live.fill(true);
    }
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        let (regions, inner) = in_regions(node, |region| run(region, cx))?;
        changed |= inner;
        rewriter.copy_with(id, node.attrs.clone(), regions);
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}
