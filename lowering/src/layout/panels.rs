//! Layouts of contractions: the right operand in panels as wide as a micro-tile.
//!
//! ```text
//! %1 = dot %x, %w : f32[m, n]
//! ->
//! %p = copy of %w as [n / c, k, c]         (constant if %w is)
//! %v = the view of %p as [k, n]
//! %1 = dot %x, %v : f32[m, n]
//! ```
//!
//! Panels of constants are made at compile time. Others cost a copy, which pays off when the left operand has
//! more than a few rows, or when columns are not neighbours.

use smallvec::smallvec;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Graph, Ints, NodeId, Op, Rewriter, Value, Violation};
use tcc_ir::shape::Shape;

use super::attention::in_rows;
use super::groups::{fill_groups, fill_up, from_groups, to_groups};
use super::strided::distances;
use super::{known, list, settled};
use crate::schedule::Machine;

/// With at least this many rows a copy of the right operand pays off.
pub(super) const ROWS_WORTH_PACKING: i64 = 8;

/// Brings every contraction that micro-tiles can carry out into their layout.
pub fn pack_contractions(graph: &Graph, machine: &Machine) -> Graph {
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        let packed = node.op == Op::Dot
            && (pack(&mut rewriter, id, machine).is_some() || straighten(&mut rewriter, id).is_some());
        if !packed {
            rewriter.copy(id);
        }
    }
    rewriter.finish()
}

fn pack(rewriter: &mut Rewriter<'_>, id: NodeId, machine: &Machine) -> Option<()> {
    let node = rewriter.from.node(id);
    let [lhs, rhs] = [node.operands[0], node.operands[1]];
    let (lhs_ty, rhs_ty) = (rewriter.from.ty(lhs), rewriter.from.ty(rhs));
    let tile = machine.tile(lhs_ty.dtype, rhs_ty.dtype)?;
    // A result of more bits than the sums of a micro-kernel is summed by other means.
    if rewriter.from.ty(node.result()).dtype.bits() > 32 {
        return None;
    }
    let (batch, contract) = (list(node, "rhs_batch"), list(node, "rhs_contract"));
    let free: Vec<usize> =
        (0..rhs_ty.shape.rank()).filter(|a| !batch.contains(a) && !contract.contains(a)).collect();
    let ([k], [n]) = (contract.as_slice(), free.as_slice()) else { return None };
    let width = Dim::from(tile.columns);
    let columns = rhs_ty.shape[*n].clone();
    if known(rewriter.from, rhs).is_none() {
        let (lhs_batch, lhs_contract) = (list(node, "lhs_batch"), list(node, "lhs_contract"));
        let rows: Dim = (0..lhs_ty.shape.rank())
            .filter(|a| !lhs_batch.contains(a) && !lhs_contract.contains(a))
            .map(|a| lhs_ty.shape[a].clone())
            .product();
        let few = rows.as_const().is_some_and(|r| r < ROWS_WORTH_PACKING);
        let narrow = columns.as_const().is_some_and(|c| c * 4 < tile.columns);
        // Without its groups of steps a matrix of few bits is of no use to a micro-kernel.
        if (few && tile.group == 1) || narrow {
            return None;
        }
    }
    let perm: Vec<usize> = batch.iter().copied().chain([*k, *n]).collect();
    let group = tile.group;
    let panels = settled(rewriter, rhs, |graph, value| {
        let value = fill_groups(graph, value, *k, group)?;
        let panels = to_panels(graph, value, &perm, &width)?;
        to_groups(graph, panels, group)
    });
    let depth = rhs_ty.shape[*k].clone();
    let panels = from_groups(&mut rewriter.to, panels.ok()?, group).ok()?;
    let view = from_panels(&mut rewriter.to, panels, &columns).ok()?;
    let view = rewriter.to.slice_axis(view, batch.len(), &Dim::ZERO, &depth).ok()?;
    let batches: Ints = (0..batch.len() as i64).collect();
    let attrs = smallvec![
        node.attr("lhs_batch").clone(),
        Attr::Ints(batches),
        node.attr("lhs_contract").clone(),
        [batch.len() as i64].into(),
        node.attr("dtype").clone(),
    ];
    let lhs = in_rows(rewriter, lhs).ok()?;
    rewriter.push_for(node, Op::Dot, &[lhs, view], attrs).ok()?;
    Some(())
}

/// An operand whose elements lie at no fixed distances is copied: each of them is read many times.
fn straighten(rewriter: &mut Rewriter<'_>, id: NodeId) -> Option<()> {
    let node = rewriter.from.node(id);
    if node.operands.iter().all(|x| distances(rewriter.from, *x).is_some()) {
        return None;
    }
    let operands: Vec<Value> =
        node.operands.iter().map(|x| in_rows(rewriter, *x)).collect::<Result<_, _>>().ok()?;
    rewriter.push_for(node, Op::Dot, &operands, node.attrs.clone()).ok()?;
    Some(())
}

/// `[…, k, n]` as `[…, n / width, k, width]`, with zeros to fill up the last panel.
pub(super) fn to_panels(
    graph: &mut Graph,
    x: Value,
    perm: &[usize],
    width: &Dim,
) -> Result<Value, Violation> {
    let x = graph.transpose(x, perm)?;
    let shape = graph.ty(x).shape.clone();
    let rank = shape.rank();
    let panels = shape[rank - 1].ceil_div(width);
    let fill = graph.ranges.simplify(&(&(&panels * width) - &shape[rank - 1]));
    let x = fill_up(graph, x, rank - 1, fill)?;
    let split: Shape = shape[..rank - 1].iter().cloned().chain([panels, width.clone()]).collect();
    let x = graph.reshape(x, &split)?;
    graph.transpose(x, &swap(rank + 1))
}

/// The view of panels as the matrix they were made from.
pub(super) fn from_panels(graph: &mut Graph, panels: Value, columns: &Dim) -> Result<Value, Violation> {
    let rank = graph.ty(panels).shape.rank();
    let x = graph.transpose(panels, &swap(rank))?;
    let shape = graph.ty(x).shape.clone();
    let padded = &shape[rank - 2] * &shape[rank - 1];
    let joined: Shape = shape[..rank - 2].iter().cloned().chain([padded]).collect();
    let x = graph.reshape(x, &joined)?;
    graph.slice_axis(x, rank - 2, &Dim::ZERO, columns)
}

/// The permutation that exchanges the second and third axis from the end.
fn swap(rank: usize) -> Vec<usize> {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 3, rank - 2);
    perm
}
