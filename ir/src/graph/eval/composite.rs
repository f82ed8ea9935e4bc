//! composite

use super::{Call, EvalError};
use crate::tensor::Tensor;

pub(crate) fn softmax(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn log_softmax(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn layer_norm(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn rms_norm(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn group_norm(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn attention(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}

pub(crate) fn det(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}
