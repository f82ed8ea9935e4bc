//! Types of ops without tensor operands.

use super::{Types, Typing, Violation, one, require};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::shape::{Shape, TensorType};

pub(crate) fn constant(t: &Typing<'_>) -> Result<Types, Violation> {
    let value = t.tensor("value");
    one(TensorType::fixed(value.dtype(), value.shape()))
}

pub(crate) fn iota(t: &Typing<'_>) -> Result<Types, Violation> {
    let shape = t.dims("shape");
    t.axis("axis", shape.rank(), "C1")?;
    let dtype = t.dtype("dtype");
    require!(dtype != DType::Bool, "C2", "expected a float or integer type, got {dtype}");
    one(TensorType::new(dtype, shape.clone()))
}

pub(crate) fn dims(t: &Typing<'_>) -> Result<Types, Violation> {
    one(TensorType::fixed(DType::I64, &[t.dims("values").rank()]))
}

pub(crate) fn bind_dims(t: &Typing<'_>) -> Result<Types, Violation> {
    let (sizes, symbols) = (t.ty(0), t.dims("symbols"));
    let expected = TensorType::new(DType::I64, Shape::fixed(&[symbols.rank()]));
    require!(
        sizes.dtype == DType::I64
            && sizes.shape.rank() == 1
            && t.can_equal(&sizes.shape[0], &expected.shape[0]),
        "C1",
        "expected sizes of type {expected}, got {sizes}"
    );
    for symbol in symbols.iter() {
        require!(symbol.as_symbol().is_some(), "C2", "expected a name, got `{symbol}`");
    }
    one(expected)
}

pub(crate) fn random_bits(t: &Typing<'_>) -> Result<Types, Violation> {
    let key = t.ty(0);
    require!(*key == TensorType::scalar(DType::U64), "C1", "expected a key of type u64[], got {key}");
    one(TensorType::new(DType::U32, t.dims("shape").clone()))
}

/// Requires an attribute to be one fresh name.
pub(super) fn require_name(dim: &Dim, label: &'static str) -> Result<(), Violation> {
    match dim.as_symbol() {
        Some(_) => Ok(()),
        None => Err(Violation::new(label, format!("expected a name, got `{dim}`"))),
    }
}
