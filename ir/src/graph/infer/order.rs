//! Types of sorting, selecting and suppressing.

use super::source::require_name;
use super::{Types, Typing, Violation, one, require};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::shape::{Shape, TensorType};

pub(crate) fn sort(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    t.axis("axis", x.shape.rank(), "C1")?;
    Ok(Types::from_iter([x.clone(), x.of(DType::I64)]))
}

pub(crate) fn top_k(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, k) = (t.ty(0), t.dim("k"));
    let axis = t.axis("axis", x.shape.rank(), "C1")?;
    let bounds = t.ranges.bounds(k);
    require!(
        bounds.hi >= 0 && !t.ranges.less(&x.shape[axis], k),
        "C2",
        "expected `k` in 0..={}, got {k}",
        x.shape[axis]
    );
    let values = TensorType::new(x.dtype, x.shape.with(axis, k.clone()));
    let indices = values.of(DType::I64);
    Ok(Types::from_iter([values, indices]))
}

pub(crate) fn nonzero(t: &Typing<'_>) -> Result<Types, Violation> {
    let count = t.dim("count");
    require_name(count, "C1")?;
    one(TensorType::new(DType::I64, [Dim::from(t.rank(0)), count.clone()].into_iter().collect()))
}

pub(crate) fn unique(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, count) = (t.ty(0), t.dim("count"));
    let axis = t.axis("axis", x.shape.rank(), "C1")?;
    require_name(count, "C2")?;
    let vector = |extent: &Dim| TensorType::new(DType::I64, [extent.clone()].into_iter().collect());
    let values = TensorType::new(x.dtype, x.shape.with(axis, count.clone()));
    Ok(Types::from_iter([values, vector(count), vector(&x.shape[axis]), vector(count)]))
}

pub(crate) fn nms(t: &Typing<'_>) -> Result<Types, Violation> {
    let (boxes, scores, count) = (t.ty(0), t.ty(1), t.dim("count"));
    let shaped = boxes.shape.rank() == 3
        && scores.shape.rank() == 3
        && t.can_equal(&boxes.shape[0], &scores.shape[0])
        && t.can_equal(&boxes.shape[1], &scores.shape[2])
        && t.can_equal(&boxes.shape[2], &Dim::from(4i64));
    require!(
        shaped,
        "C1",
        "expected boxes [B, N, 4] and scores [B, C, N], got {} and {}",
        boxes.shape,
        scores.shape
    );
    let scalar = |i: usize, dtype| *t.ty(i) == TensorType::scalar(dtype);
    let typed = boxes.dtype.is_float()
        && scores.dtype == boxes.dtype
        && scalar(2, DType::I64)
        && scalar(3, boxes.dtype)
        && scalar(4, boxes.dtype);
    require!(typed, "C2", "expected one float type, an i64 limit and scalar thresholds, got {}", list(t));
    require_name(count, "C3")?;
    let shape: Shape = [count.clone(), Dim::from(3i64)].into_iter().collect();
    one(TensorType::new(DType::I64, shape))
}

fn list(t: &Typing<'_>) -> String {
    t.operands.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
