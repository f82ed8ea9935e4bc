//! Rules for ops that move elements: what moves nothing, and two moves that are one.

use smallvec::SmallVec;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Attrs, Graph, Ints, Node, Op, Value};
use tcc_ir::shape::{Shape, TensorType};

use super::{Form, Simpler};

/// What a movement of type `ty` can be replaced by.
pub(super) fn simpler(graph: &Graph, form: &Form, ty: &TensorType) -> Option<Simpler> {
    let x = *form.operands.first()?;
    if is_idle(graph, form, x, ty) {
        return Some(Simpler::Value(x));
    }
    let inner = graph.def_node(x)?;
    match (form.op, inner.op) {
        (Op::Reshape, Op::Reshape) => joined_reshape(graph, form, inner, ty),
        (Op::Transpose, Op::Transpose) => joined_transpose(form, inner),
        (Op::Broadcast, Op::Broadcast) => joined_broadcast(graph, form, inner, ty),
        // One number repeated is the same in any arrangement.
        (Op::Reshape | Op::Transpose | Op::Reverse, Op::Broadcast) => {
            let one = *inner.operands.first()?;
            (graph.ty(one).shape.rank() == 0).then(|| broadcast(one, &ty.shape))
        }
        (Op::Reshape, Op::Const) => reshaped_constant(inner, ty),
        _ => None,
    }
}

/// Whether the result is the operand.
fn is_idle(graph: &Graph, form: &Form, x: Value, ty: &TensorType) -> bool {
    let same_type = graph.ty(x) == ty;
    let shape = &graph.ty(x).shape;
    match form.op {
        Op::Reshape | Op::Broadcast | Op::Cast | Op::Bitcast => same_type,
        Op::Transpose => ints(form, 0).iter().enumerate().all(|(i, p)| *p == i as i64),
        Op::Slice => {
            same_type
                && dims(form, 0).iter().all(|d| d.is(0))
                && ints(form, 2).iter().zip(shape.iter()).all(|(step, n)| *step == 1 || n.is(1))
        }
        Op::Pad => {
            same_type
                && dims(form, 0).iter().chain(dims(form, 1)).all(|d| d.is(0))
                && ints(form, 2).iter().zip(shape.iter()).all(|(inner, n)| *inner == 0 || n.is(1))
        }
        Op::Concat => form.operands.len() == 1,
        Op::Reverse => ints(form, 0).iter().all(|axis| shape[*axis as usize].is(1)),
        Op::ReduceMax | Op::ReduceMin => ints(form, 0).is_empty(),
        _ => false,
    }
}

/// Only where the counts are provably equal, so that no check is lost.
fn joined_reshape(graph: &Graph, form: &Form, inner: &Node, ty: &TensorType) -> Option<Simpler> {
    let x = *inner.operands.first()?;
    let (from, to) = (graph.ty(x).shape.elements(), ty.shape.elements());
    let between = graph.ty(inner.result()).shape.elements();
    let kept = graph.ranges.equal(&from, &between) && graph.ranges.equal(&between, &to);
    let joined = Form { op: form.op, operands: SmallVec::from_iter([x]), attrs: form.attrs.clone() };
    kept.then_some(Simpler::Form(joined))
}

fn joined_transpose(form: &Form, inner: &Node) -> Option<Simpler> {
    let Some(Attr::Ints(first)) = inner.attrs.first() else { return None };
    let joined: Ints = ints(form, 0).iter().map(|p| first[*p as usize]).collect();
    let operands = SmallVec::from_iter([*inner.operands.first()?]);
    Some(Simpler::Form(Form { op: Op::Transpose, operands, attrs: Attrs::from_iter([Attr::Ints(joined)]) }))
}

/// Only where each step provably repeats or keeps an axis.
fn joined_broadcast(graph: &Graph, form: &Form, inner: &Node, ty: &TensorType) -> Option<Simpler> {
    let x = *inner.operands.first()?;
    let grows = |from: &Shape, to: &Shape| {
        let aligned = &to[to.rank() - from.rank()..];
        from.iter().zip(aligned).all(|(a, b): (&Dim, &Dim)| a.is(1) || a == b)
    };
    let (from, between) = (&graph.ty(x).shape, &graph.ty(form.operands[0]).shape);
    (grows(from, between) && grows(between, &ty.shape)).then(|| broadcast(x, &ty.shape))
}

fn broadcast(x: Value, shape: &Shape) -> Simpler {
    let attrs = Attrs::from_iter([Attr::Dims(shape.clone())]);
    Simpler::Form(Form { op: Op::Broadcast, operands: SmallVec::from_iter([x]), attrs })
}

/// A view of the same bytes; a constant with gaps between its elements would be copied and is left alone.
fn reshaped_constant(inner: &Node, ty: &TensorType) -> Option<Simpler> {
    let Some(Attr::Tensor(tensor)) = inner.attrs.first() else { return None };
    let extents = ty.shape.as_fixed().filter(|_| tensor.is_contiguous())?;
    let reshaped = tensor.reshape(&extents).ok()?;
    let attrs = Attrs::from_iter([Attr::Tensor(reshaped)]);
    Some(Simpler::Form(Form { op: Op::Const, operands: SmallVec::new(), attrs }))
}

fn ints(form: &Form, at: usize) -> &[i64] {
    match &form.attrs[at] {
        Attr::Ints(ints) => ints,
        _ => &[],
    }
}

fn dims(form: &Form, at: usize) -> &[Dim] {
    match &form.attrs[at] {
        Attr::Dims(dims) => dims,
        _ => &[],
    }
}
