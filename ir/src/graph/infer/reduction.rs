//! Types of reductions, windowed reductions and running sums.

use super::contraction::windows;
use super::{Types, Typing, Violation, one, require};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::shape::TensorType;

/// Sums and products, of numbers only.
pub(crate) fn arithmetic(t: &Typing<'_>) -> Result<Types, Violation> {
    let reduced = extremum(t)?;
    require!(t.ty(0).dtype != DType::Bool, "C2", "expected a float or integer type, got {}", t.ty(0));
    Ok(reduced)
}

/// Largest and smallest, of any type.
pub(crate) fn extremum(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    let axes = t.axes("axes", x.shape.rank(), "C1")?;
    one(TensorType::new(x.dtype, x.shape.without(&axes)))
}

pub(crate) fn arg(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    let axis = t.axis("axis", x.shape.rank(), "C1")?;
    one(TensorType::new(DType::I64, x.shape.without(&[axis])))
}

pub(crate) fn pool(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    let axes = t.ints("window").len();
    require!(
        axes <= x.shape.rank(),
        "C1",
        "expected at most {} entries of `window`, got {axes}",
        x.shape.rank()
    );
    t.entries(&["strides", "lo", "hi", "dilation"], axes, "C1")?;
    let positive = ["window", "strides", "dilation"].iter().all(|n| t.ints(n).iter().all(|v| *v > 0));
    let padded = ["lo", "hi"].iter().all(|n| t.ints(n).iter().all(|v| *v >= 0));
    require!(
        positive && padded,
        "C2",
        "expected positive windows, strides and dilations and paddings that are not negative"
    );
    require!(x.dtype != DType::Bool, "C3", "expected a float or integer type, got {x}");
    let kept = x.shape.rank() - axes;
    let pooled = (0..axes).map(|i| {
        let at = |name: &str| Dim::from(t.ints(name)[i]);
        let padded = &(&x.shape[kept + i] + &at("lo")) + &at("hi");
        windows(&padded, &at("window"), &at("strides"), &at("dilation"))
    });
    one(TensorType::new(x.dtype, x.shape[..kept].iter().cloned().chain(pooled).collect()))
}

pub(crate) fn pool_argmax(t: &Typing<'_>) -> Result<Types, Violation> {
    pool(t)?.into_iter().map(|ty| Ok(ty.of(DType::I64))).collect()
}

pub(crate) fn cumulative(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    t.axis("axis", x.shape.rank(), "C1")?;
    require!(x.dtype != DType::Bool, "C2", "expected a float or integer type, got {x}");
    one(x.clone())
}
