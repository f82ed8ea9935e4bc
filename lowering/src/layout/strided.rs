//! Where the elements of a view lie: at fixed distances along every axis, or not.

use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Graph, Op, Value};
use tcc_ir::shape::Shape;

use super::ints;

/// How far the elements of a value lie apart along each axis, if each axis has one distance. A value that is no
/// movement of another one is taken to have memory of its own, row by row.
pub(super) fn distances(graph: &Graph, value: Value) -> Option<Vec<Dim>> {
    let shape = &graph.ty(value).shape;
    let Some(node) = graph.def_node(value) else { return Some(row_by_row(shape)) };
    let from = |i: usize| distances(graph, node.operands[i]);
    match node.op {
        Op::Transpose => {
            let old = from(0)?;
            Some(ints(node, "perm").iter().map(|axis| old[*axis as usize].clone()).collect())
        }
        Op::Slice => {
            let old = from(0)?;
            let steps = ints(node, "steps");
            Some(old.iter().zip(steps).map(|(d, step)| d * &Dim::from(step)).collect())
        }
        Op::Broadcast => {
            let (old, narrow) = (from(0)?, &graph.ty(node.operands[0]).shape);
            let new = shape.rank() - narrow.rank();
            let along = (0..shape.rank()).map(|axis| match axis.checked_sub(new) {
                Some(own) if !narrow[own].is(1) || shape[axis].is(1) => old[own].clone(),
                _ => Dim::ZERO,
            });
            Some(along.collect())
        }
        Op::Reshape => reshaped(graph, &graph.ty(node.operands[0]).shape, &from(0)?, shape),
        Op::Const => match &node.attrs[0] {
            Attr::Tensor(tensor) => Some(tensor.strides().iter().map(|s| Dim::from(*s as i64)).collect()),
            _ => None,
        },
        _ => Some(row_by_row(shape)),
    }
}

fn row_by_row(shape: &Shape) -> Vec<Dim> {
    let mut distance = Dim::ONE;
    let mut distances: Vec<Dim> = Vec::with_capacity(shape.rank());
    for extent in shape.iter().rev() {
        distances.push(distance.clone());
        distance = &distance * extent;
    }
    distances.reverse();
    distances
}

/// Axes that are neighbours in memory count as one, of which the new axes take their parts from the last on.
fn reshaped(graph: &Graph, from: &Shape, distances: &[Dim], to: &Shape) -> Option<Vec<Dim>> {
    let mut old = (0..from.rank()).rev().filter(|axis| !from[*axis].is(1)).peekable();
    let mut new = vec![Dim::ZERO; to.rank()];
    // What is left of the old axis at hand: how many elements, how far apart.
    let mut left: Option<(Dim, Dim)> = None;
    for axis in (0..to.rank()).rev().filter(|axis| !to[*axis].is(1)) {
        let mut wanted = to[axis].clone();
        let (mut extent, distance) = match left.take() {
            Some(rest) => rest,
            None => old.next().map(|axis| (from[axis].clone(), distances[axis].clone()))?,
        };
        new[axis] = distance.clone();
        loop {
            if graph.ranges.equal(&extent, &wanted) {
                break;
            }
            let part = extent.floor_div(&wanted);
            if graph.ranges.equal(&(&part * &wanted), &extent) {
                left = Some((part, &distance * &wanted));
                break;
            }
            // The new axis goes on over the next old one, which must lie right behind this.
            let next = old.next()?;
            let whole = &(&to[axis].floor_div(&wanted) * &extent) * &distance;
            let rest = wanted.floor_div(&extent);
            let goes_on = graph.ranges.equal(&(&rest * &extent), &wanted);
            if !goes_on || !graph.ranges.equal(&distances[next], &whole) {
                return None;
            }
            wanted = rest;
            extent = from[next].clone();
        }
    }
    Some(new)
}
