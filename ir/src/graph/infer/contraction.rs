//! Types of contractions and convolutions.

use super::{Types, Typing, Violation, one, require};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::shape::{Shape, TensorType};

pub(crate) fn dot(t: &Typing<'_>) -> Result<Types, Violation> {
    let (lhs, rhs) = (t.ty(0), t.ty(1));
    let lists = |batch: &str, contract: &str, ty: &TensorType| {
        let rank = ty.shape.rank();
        let (batch_axes, contract_axes) = (t.axes(batch, rank, "C1")?, t.axes(contract, rank, "C1")?);
        let overlap = batch_axes.iter().any(|a| contract_axes.contains(a));
        require!(
            !overlap,
            "C1",
            "expected `{batch}` and `{contract}` to be distinct, got {batch_axes:?} and {contract_axes:?}"
        );
        Ok((batch_axes, contract_axes))
    };
    let (lhs_batch, lhs_contract) = lists("lhs_batch", "lhs_contract", lhs)?;
    let (rhs_batch, rhs_contract) = lists("rhs_batch", "rhs_contract", rhs)?;
    require!(
        lhs_batch.len() == rhs_batch.len() && lhs_contract.len() == rhs_contract.len(),
        "C2",
        "expected paired lists of one length, got {lhs_batch:?} with {rhs_batch:?} and {lhs_contract:?} with {rhs_contract:?}"
    );
    for (l, r) in lhs_batch.iter().zip(&rhs_batch).chain(lhs_contract.iter().zip(&rhs_contract)) {
        require!(
            t.can_equal(&lhs.shape[*l], &rhs.shape[*r]),
            "C3",
            "expected equal extents of axis {l} of {lhs} and axis {r} of {rhs}"
        );
    }
    let dtype = product_type(t, "C4")?;
    let free =
        |ty: &TensorType, batch: &[usize], contract: &[usize]| ty.shape.without(&[batch, contract].concat());
    let batch: Shape = lhs_batch.iter().map(|a| lhs.shape[*a].clone()).collect();
    let lhs_free = free(lhs, &lhs_batch, &lhs_contract);
    let rhs_free = free(rhs, &rhs_batch, &rhs_contract);
    one(TensorType::new(dtype, batch.iter().chain(lhs_free.iter()).chain(rhs_free.iter()).cloned().collect()))
}

/// The declared result type, which must be of the class of both operands.
fn product_type(t: &Typing<'_>, label: &'static str) -> Result<DType, Violation> {
    let (lhs, rhs, dtype) = (t.ty(0).dtype, t.ty(1).dtype, t.dtype("dtype"));
    let class = |all: fn(DType) -> bool| [lhs, rhs, dtype].into_iter().all(all);
    if class(|d| d.is_float()) || class(|d| d.is_int()) {
        return Ok(dtype);
    }
    Err(Violation::new(
        label,
        format!("expected three float or three integer types, got {lhs}, {rhs} and {dtype}"),
    ))
}

pub(crate) fn conv(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, w) = (t.ty(0), t.ty(1));
    let rank = x.shape.rank();
    require!(rank >= 2 && w.shape.rank() == rank, "C1", "expected one rank of at least 2, got {x} and {w}");
    t.entries(&["strides", "lo", "hi", "dilation", "base"], rank - 2, "C1")?;
    for name in ["strides", "dilation", "base"] {
        require!(
            t.ints(name).iter().all(|v| *v > 0),
            "C2",
            "expected positive `{name}`, got {:?}",
            t.ints(name)
        );
    }
    let groups = t.int("groups");
    let group_dim = Dim::from(groups.max(1));
    let divided = |extent: &Dim| extent.as_const().is_none_or(|c| c % groups.max(1) == 0);
    require!(
        groups > 0
            && divided(&x.shape[1])
            && divided(&w.shape[0])
            && t.can_equal(&x.shape[1], &(&w.shape[1] * &group_dim)),
        "C3",
        "expected {groups} groups of the channels of {x} and {w}"
    );
    let dtype = product_type(t, "C4")?;
    let spatial = (0..rank - 2).map(|i| {
        let at = |name: &str| Dim::from(t.ints(name)[i]);
        let spread = &(&(&x.shape[i + 2] - &Dim::ONE) * &at("base")) + &Dim::ONE;
        let padded = &(&spread + &at("lo")) + &at("hi");
        windows(&padded, &w.shape[i + 2], &at("strides"), &at("dilation"))
    });
    one(TensorType::new(dtype, [x.shape[0].clone(), w.shape[0].clone()].into_iter().chain(spatial).collect()))
}

/// How often a window fits: none if it is larger than what it slides over.
pub(super) fn windows(extent: &Dim, window: &Dim, stride: &Dim, dilation: &Dim) -> Dim {
    let reach = &(&(window - &Dim::ONE) * dilation) + &Dim::ONE;
    let count = &(extent - &reach).floor_div(stride) + &Dim::ONE;
    match count.as_const() {
        Some(c) => Dim::from(c.max(0)),
        None => count,
    }
}
