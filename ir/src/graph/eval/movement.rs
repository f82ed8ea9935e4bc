//! movement

use super::{Call, EvalError};
use crate::tensor::Tensor;

pub(crate) fn reshape(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn transpose(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn broadcast(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn slice(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn pad(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn concat(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn reverse(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}
