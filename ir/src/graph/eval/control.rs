//! control

use super::{Call, EvalError};
use crate::tensor::Tensor;

pub(crate) fn branch(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn repeat(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn kernel(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn custom_call(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}
