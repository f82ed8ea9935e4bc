//! Layouts of attention: keys in panels in which neighbouring keys are neighbours, so that blocks of scores are
//! micro-tiles.
//!
//! ```text
//! %1 = attention %q, %k, %v
//! ->
//! %p = copy of %k as [batch, heads, keys / c, depth, c]
//! %1 = attention %q, %view_of_p, %v
//! ```
//!
//! Values lie right already if their rows can be read as wide as a tile; else they get panels too.

use tcc_ir::dim::Dim;
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Graph, NodeId, Op, Rewriter, Value, Violation};

use super::panels::{ROWS_WORTH_PACKING, from_panels, to_panels};
use super::settled;
use super::strided::distances;
use crate::schedule::Machine;

/// Brings every attention that micro-tiles can carry out into their layout.
pub fn lay_out_attention(graph: &Graph, machine: &Machine) -> Graph {
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        let done = node.op == Op::Attention && lay_out(&mut rewriter, id, machine).is_some();
        if !done {
            rewriter.copy(id);
        }
    }
    rewriter.finish()
}

fn lay_out(rewriter: &mut Rewriter<'_>, id: NodeId, machine: &Machine) -> Option<()> {
    let from = rewriter.from;
    let node = from.node(id);
    let [q, k, v] = [node.operands[0], node.operands[1], node.operands[2]];
    let all_f32 = [q, k, v].iter().all(|x| from.ty(*x).dtype == DType::F32);
    let few = from.ty(q).shape[2].as_const().is_some_and(|queries| queries < ROWS_WORTH_PACKING);
    if !all_f32 || few {
        return None;
    }
    let width = Dim::from(machine.tile_columns);
    let mut operands: Vec<Value> = node.operands.iter().map(|x| rewriter.get(*x)).collect();
    operands[0] = in_rows(rewriter, q).ok()?;
    operands[1] = in_panels(rewriter, k, &[0, 1, 3, 2], &width).ok()?;
    let columns = &from.ty(v).shape[3];
    let whole = columns.as_const().is_some_and(|c| c % machine.tile_columns == 0);
    let straight = distances(from, v).is_some_and(|d| d[3].is(1));
    if !whole || !straight {
        operands[2] = in_panels(rewriter, v, &[0, 1, 2, 3], &width).ok()?;
    }
    rewriter.push_for(node, Op::Attention, &operands, node.attrs.clone()).ok()?;
    Some(())
}

/// The value itself if its elements lie at fixed distances, else a copy.
pub(super) fn in_rows(rewriter: &mut Rewriter<'_>, value: Value) -> Result<Value, Violation> {
    match distances(rewriter.from, value) {
        Some(_) => Ok(rewriter.get(value)),
        None => settled(rewriter, value, |_, value| Ok(value)),
    }
}

/// The view of panels made of a value, whose axes are `perm` with rows and columns of the panels last.
fn in_panels(
    rewriter: &mut Rewriter<'_>,
    value: Value,
    perm: &[usize],
    width: &Dim,
) -> Result<Value, Violation> {
    let columns = rewriter.from.ty(value).shape[perm[3]].clone();
    let panels = settled(rewriter, value, |graph, value| to_panels(graph, value, perm, width))?;
    let view = from_panels(&mut rewriter.to, panels, &columns)?;
    // Either order of the last two axes is its own inverse.
    rewriter.to.transpose(view, perm)
}
