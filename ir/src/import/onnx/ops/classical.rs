//! Operators of the domain `ai.onnx.ml` that are tensor operations under another name.

use super::super::context::{Cx, Results, Rule, ensure};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::scalar::ScalarOp as S;

/// The rules of this domain.
pub(crate) const RULES: &[(&str, i64, Rule)] =
    &[("ArrayFeatureExtractor", 1, array_feature_extractor), ("Binarizer", 1, binarizer)];

/// Picks along the last axis.
fn array_feature_extractor(cx: &mut Cx<'_, '_>) -> Results {
    let (x, at) = (cx.v(0)?, cx.v(1)?);
    let rank = cx.rank(x);
    ensure!(rank >= 1, "expected a rank of at least 1");
    let count = cx.shape(at).elements();
    let at = cx.reshape(at, std::slice::from_ref(&count))?;
    let at = cx.cast(at, DType::I64)?;
    let y = cx.gather(x, at, rank - 1)?;
    // Of a vector it makes a row.
    let y = if rank == 1 { cx.reshape(y, &[Dim::ONE, count])? } else { y };
    cx.one(y)
}

fn binarizer(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let above = cx.is(S::Gt, x, cx.float("threshold", 0.0))?;
    let y = cx.cast(above, cx.dtype(x))?;
    cx.one(y)
}
