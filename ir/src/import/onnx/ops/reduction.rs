//! Reductions, arg-reductions and running sums.

use super::super::context::{Cx, Results, Rule, Step};
use super::runtime_axes::{Axes, Mask};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("ReduceSum", 1, |c| reduce(c, |c, x, a, k| a.fold(c, Op::ReduceSum, x, k))),
    ("ReduceMean", 1, |c| reduce(c, |c, x, a, k| a.mean(c, x, k))),
    ("ReduceMax", 1, |c| reduce(c, |c, x, a, k| a.fold(c, Op::ReduceMax, x, k))),
    ("ReduceMin", 1, |c| reduce(c, |c, x, a, k| a.fold(c, Op::ReduceMin, x, k))),
    ("ReduceProd", 1, |c| reduce(c, |c, x, a, k| a.fold(c, Op::ReduceProd, x, k))),
    ("ReduceL1", 1, |c| reduce(c, l1)),
    ("ReduceL2", 1, |c| reduce(c, l2)),
    ("ReduceSumSquare", 1, |c| reduce(c, sum_of_squares)),
    ("ReduceLogSum", 1, |c| reduce(c, log_sum)),
    ("ReduceLogSumExp", 1, |c| reduce(c, log_sum_exp)),
    ("ArgMax", 1, |c| arg(c, Op::ArgMax)),
    ("ArgMin", 1, |c| arg(c, Op::ArgMin)),
    ("CumSum", 11, |c| cumulative(c, Op::CumSum)),
    ("CumProd", 25, |c| cumulative(c, Op::CumProd)),
];

type Reduction = fn(&mut Cx<'_, '_>, Value, &Axes, bool) -> Step;

fn reduce(cx: &mut Cx<'_, '_>, f: Reduction) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    if cx.has(1) && cx.held(1)?.elements().is_none() {
        let axes = cx.v(1)?;
        let axes = Axes::Masked(Mask::new(cx, axes, rank)?);
        let y = f(cx, x, &axes, cx.flag("keepdims", true))?;
        return cx.one(y);
    }
    let axes = cx.axes_attr_or_input(1)?.unwrap_or_default();
    if axes.is_empty() && cx.flag("noop_with_empty_axes", false) {
        let y = f(cx, x, &Axes::Known(Vec::new()), true)?;
        return cx.one(y);
    }
    let axes = if axes.is_empty() { (0..rank).collect() } else { cx.axes_of(&axes, rank)? };
    let y = f(cx, x, &Axes::Known(axes), cx.flag("keepdims", true))?;
    cx.one(y)
}

fn l1(cx: &mut Cx<'_, '_>, x: Value, axes: &Axes, keep: bool) -> Step {
    let x = cx.un(S::Abs, x)?;
    axes.fold(cx, Op::ReduceSum, x, keep)
}

fn sum_of_squares(cx: &mut Cx<'_, '_>, x: Value, axes: &Axes, keep: bool) -> Step {
    let x = cx.mul(x, x)?;
    axes.fold(cx, Op::ReduceSum, x, keep)
}

fn l2(cx: &mut Cx<'_, '_>, x: Value, axes: &Axes, keep: bool) -> Step {
    let dtype = cx.dtype(x);
    let sum = sum_of_squares(cx, x, axes, keep)?;
    let sum = if dtype.is_float() { sum } else { cx.cast(sum, DType::F64)? };
    let y = cx.un(S::Sqrt, sum)?;
    cx.cast(y, dtype)
}

fn log_sum(cx: &mut Cx<'_, '_>, x: Value, axes: &Axes, keep: bool) -> Step {
    let sum = axes.fold(cx, Op::ReduceSum, x, keep)?;
    logarithm(cx, sum)
}

fn logarithm(cx: &mut Cx<'_, '_>, x: Value) -> Step {
    let dtype = cx.dtype(x);
    let x = if dtype.is_float() { x } else { cx.cast(x, DType::F64)? };
    let y = cx.un(S::Log, x)?;
    cx.cast(y, dtype)
}

/// The largest element is taken out so that exponentials do not overflow; one that is infinite stays in.
fn log_sum_exp(cx: &mut Cx<'_, '_>, x: Value, axes: &Axes, keep: bool) -> Step {
    let dtype = cx.dtype(x);
    let x = if dtype.is_float() { x } else { cx.cast(x, DType::F64)? };
    let peak = axes.fold(cx, Op::ReduceMax, x, true)?;
    let infinite = cx.un(S::IsInf, peak)?;
    let zero = cx.like(x, 0.0)?;
    let peak = cx.select(infinite, zero, peak)?;
    let shifted = cx.sub(x, peak)?;
    let grown = cx.un(S::Exp, shifted)?;
    let sum = axes.fold(cx, Op::ReduceSum, grown, true)?;
    let log = cx.un(S::Log, sum)?;
    let y = cx.add(log, peak)?;
    let y = if keep { y } else { axes.squeeze(cx, y)? };
    cx.cast(y, dtype)
}

fn arg(cx: &mut Cx<'_, '_>, op: Op) -> Results {
    let x = cx.v(0)?;
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let last = cx.flag("select_last_index", false);
    let y = cx.node(op, &[x], [Attr::Int(axis as i64), Attr::Bool(last)])?;
    let y = if cx.flag("keepdims", true) { cx.unsqueeze(y, &[axis])? } else { y };
    cx.one(y)
}

fn cumulative(cx: &mut Cx<'_, '_>, op: Op) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    let (exclusive, reverse) = (cx.flag("exclusive", false), cx.flag("reverse", false));
    let along = |cx: &mut Cx<'_, '_>, axis: usize| {
        cx.node(op, &[x], [Attr::Int(axis as i64), Attr::Bool(exclusive), Attr::Bool(reverse)])
    };
    if let Some(axis) = cx.held(1)?.elements().and_then(|e| e.first()?.as_const()) {
        let axis = cx.axis_of(axis, rank)?;
        let y = along(cx, axis)?;
        return cx.one(y);
    }
    // An axis known only at run time chooses among the sums along each.
    let axis = cx.v(1)?;
    let axis = cx.reshape(axis, &[])?;
    let axis = cx.counted_from_start(axis, &Dim::from(rank))?;
    let mut y = x;
    for candidate in 0..rank {
        let chosen = cx.is(S::Eq, axis, candidate as f64)?;
        let sums = along(cx, candidate)?;
        y = cx.select(chosen, sums, y)?;
    }
    cx.one(y)
}
