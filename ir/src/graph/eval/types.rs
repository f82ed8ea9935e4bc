//! types

use super::{Call, EvalError};
use crate::tensor::Tensor;

pub(crate) fn cast(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn bitcast(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn quantize(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn dequantize(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}
