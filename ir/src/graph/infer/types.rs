//! Types of conversions between element types.

use super::{Types, Typing, Violation, one, require};
use crate::shape::TensorType;

pub(crate) fn cast(t: &Typing<'_>) -> Result<Types, Violation> {
    one(t.ty(0).of(t.dtype("dtype")))
}

pub(crate) fn bitcast(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, dtype) = (t.ty(0), t.dtype("dtype"));
    require!(x.dtype.bits() == dtype.bits(), "C1", "expected a type of {} bits, got {dtype}", x.dtype.bits());
    one(x.of(dtype))
}

pub(crate) fn quantize(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, scale, zero, dtype) = (t.ty(0), t.ty(1), t.ty(2), t.dtype("dtype"));
    require!(x.dtype.is_float(), "C1", "expected a float type, got {x}");
    require!(
        scale.dtype.is_float() && zero.dtype == dtype,
        "C2",
        "expected a float scale and a zero of type {dtype}, got {scale} and {zero}"
    );
    require_divisors(t)?;
    one(x.of(dtype))
}

pub(crate) fn dequantize(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, scale, zero, dtype) = (t.ty(0), t.ty(1), t.ty(2), t.dtype("dtype"));
    require!(dtype.is_float(), "C1", "expected a float type, got {dtype}");
    require!(
        scale.dtype.is_float() && zero.dtype == x.dtype,
        "C2",
        "expected a float scale and a zero of type {}, got {scale} and {zero}",
        x.dtype
    );
    require_divisors(t)?;
    one(x.of(dtype))
}

/// Scale and zero have a value for each of equal parts of each axis.
fn require_divisors(t: &Typing<'_>) -> Result<(), Violation> {
    let (x, scale, zero): (&TensorType, _, _) = (t.ty(0), t.ty(1), t.ty(2));
    let divides = scale.shape.rank() == x.shape.rank()
        && scale.shape.equal(&zero.shape, t.ranges)
        && scale.shape.iter().zip(x.shape.iter()).all(|(part, whole)| {
            match (part.as_const(), whole.as_const()) {
                (Some(p), Some(w)) => p > 0 && w % p == 0 || w == 0,
                (Some(1), None) => true,
                _ => t.ranges.divides(part, whole),
            }
        });
    require!(
        divides,
        "C3",
        "expected extents of scale and zero to divide those of {x}, got {scale} and {zero}"
    );
    Ok(())
}
