//! Groups of steps: for elements of few bits, micro-kernels read several steps of a sum side by side.
//!
//! ```text
//! panels [.., k, c]  ->  groups [.., k / g, c, g]
//! ```

use smallvec::smallvec;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Graph, Ints, Op, Value, Violation};
use tcc_ir::shape::Shape;

/// `x` with zeros behind it along an axis, so that the extent there is made of whole groups.
pub(super) fn fill_groups(graph: &mut Graph, x: Value, axis: usize, group: i64) -> Result<Value, Violation> {
    let extent = graph.ty(x).shape[axis].clone();
    let whole = extent.round_up(&Dim::from(group));
    let fill = graph.ranges.simplify(&(&whole - &extent));
    fill_up(graph, x, axis, fill)
}

/// `x` with so many zeros behind it along an axis.
pub(super) fn fill_up(graph: &mut Graph, x: Value, axis: usize, fill: Dim) -> Result<Value, Violation> {
    if fill.is(0) {
        return Ok(x);
    }
    let ty = graph.ty(x).clone();
    let zero = graph.number(ty.dtype, 0.0)?;
    let none: Shape = ty.shape.iter().map(|_| Dim::ZERO).collect();
    let inner: Ints = smallvec![0; ty.shape.rank()];
    let attrs = smallvec![none.clone().into(), none.with(axis, fill).into(), inner.into()];
    graph.op(Op::Pad, &[x, zero], attrs)
}

/// Panels `[.., k, c]` as `[.., k / group, c, group]`.
pub(super) fn to_groups(graph: &mut Graph, panels: Value, group: i64) -> Result<Value, Violation> {
    if group == 1 {
        return Ok(panels);
    }
    let shape = graph.ty(panels).shape.clone();
    let (rank, group) = (shape.rank(), Dim::from(group));
    let outer = shape[..rank - 2].iter().cloned();
    let split: Shape =
        outer.chain([shape[rank - 2].floor_div(&group), group, shape[rank - 1].clone()]).collect();
    let x = graph.reshape(panels, &split)?;
    graph.transpose(x, &exchanged(rank + 1))
}

/// The view of groups as the panels they were made from.
pub(super) fn from_groups(graph: &mut Graph, groups: Value, group: i64) -> Result<Value, Violation> {
    if group == 1 {
        return Ok(groups);
    }
    let rank = graph.ty(groups).shape.rank();
    let x = graph.transpose(groups, &exchanged(rank))?;
    let shape = graph.ty(x).shape.clone();
    let steps = &shape[rank - 3] * &shape[rank - 2];
    let joined: Shape = shape[..rank - 3].iter().cloned().chain([steps, shape[rank - 1].clone()]).collect();
    graph.reshape(x, &joined)
}

/// The permutation that exchanges the last two axes.
fn exchanged(rank: usize) -> Vec<usize> {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 2, rank - 1);
    perm
}
