//! elementwise

use super::{Call, EvalError};
use crate::tensor::Tensor;

pub(crate) fn scalar(_: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Err(EvalError::value("unwritten"))
}
