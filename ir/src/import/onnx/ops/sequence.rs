//! Sequences and optional values, which exist at import time only.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure, sequence};
use super::super::values::{Held, Item};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::graph::Value;
use crate::tensor::Tensor;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("SequenceEmpty", 11, |_| sequence(Vec::new())),
    ("SequenceConstruct", 11, construct),
    ("SequenceInsert", 11, insert),
    ("SequenceErase", 11, erase),
    ("SequenceAt", 11, at),
    ("SequenceLength", 11, length),
    ("ConcatFromSequence", 11, concat),
    ("Optional", 15, optional),
    ("OptionalHasElement", 15, has_element),
    ("OptionalGetElement", 15, get_element),
];

fn items(cx: &Cx<'_, '_>, index: usize) -> Step<Vec<Item>> {
    match cx.item(index)? {
        Item::Sequence(items) => Ok(items.to_vec()),
        Item::Optional(Some(inner)) => match &**inner {
            Item::Sequence(items) => Ok(items.to_vec()),
            _ => Err(Refusal::new("expected a sequence")),
        },
        _ => Err(Refusal::new("expected a sequence")),
    }
}

fn position(cx: &Cx<'_, '_>, index: usize, length: usize) -> Step<usize> {
    let at = cx.const_ints(index, "position")?.first().copied().unwrap_or(0);
    let from_start = if at < 0 { at.saturating_add(length as i64) } else { at };
    usize::try_from(from_start)
        .ok()
        .filter(|p| *p <= length)
        .ok_or_else(|| Refusal::new(format!("expected a position in a sequence of {length}, got {at}")))
}

fn construct(cx: &mut Cx<'_, '_>) -> Results {
    let all = (0..cx.inputs.len()).map(|i| cx.item(i).cloned()).collect::<Step<Vec<Item>>>()?;
    sequence(all)
}

fn insert(cx: &mut Cx<'_, '_>) -> Results {
    let mut all = items(cx, 0)?;
    let at = if cx.has(2) { position(cx, 2, all.len())? } else { all.len() };
    all.insert(at, cx.item(1)?.clone());
    sequence(all)
}

fn erase(cx: &mut Cx<'_, '_>) -> Results {
    let mut all = items(cx, 0)?;
    ensure!(!all.is_empty(), "expected a sequence that is not empty");
    let at = if cx.has(1) { position(cx, 1, all.len())? } else { all.len() - 1 };
    ensure!(at < all.len(), "expected a position below {}, got {at}", all.len());
    all.remove(at);
    sequence(all)
}

fn at(cx: &mut Cx<'_, '_>) -> Results {
    let all = items(cx, 0)?;
    let at = position(cx, 1, all.len())?;
    let item = all
        .get(at)
        .ok_or_else(|| Refusal::new(format!("expected a position below {}, got {at}", all.len())))?;
    Ok(vec![item.clone()])
}

fn length(cx: &mut Cx<'_, '_>) -> Results {
    let count = items(cx, 0)?.len();
    Ok(vec![Item::Tensor(Held::elements_of(DType::I64, &[], vec![Dim::from(count)]))])
}

fn concat(cx: &mut Cx<'_, '_>) -> Results {
    let mut values: Vec<Value> = Vec::new();
    for item in items(cx, 0)? {
        match item {
            Item::Tensor(held) => values.push(cx.place(&held)?),
            _ => return Err(Refusal::new("expected a sequence of tensors")),
        }
    }
    let first = *values.first().ok_or_else(|| Refusal::new("expected a sequence that is not empty"))?;
    let stacked = cx.flag("new_axis", false);
    let axis = cx.axis("axis", 0, cx.rank(first) + usize::from(stacked))?;
    if stacked {
        values = values.into_iter().map(|v| cx.unsqueeze(v, &[axis])).collect::<Step<Vec<Value>>>()?;
    }
    let y = cx.concat(&values, axis)?;
    cx.one(y)
}

fn optional(cx: &mut Cx<'_, '_>) -> Results {
    let inner = if cx.has(0) { Some(Box::new(cx.item(0)?.clone())) } else { None };
    Ok(vec![Item::Optional(inner)])
}

fn has_element(cx: &mut Cx<'_, '_>) -> Results {
    let present = cx.has(0) && !matches!(cx.item(0)?, Item::Optional(None));
    Ok(vec![Item::Tensor(Held::constant(Tensor::scalar(DType::Bool, Scalar::Int(present.into()))))])
}

fn get_element(cx: &mut Cx<'_, '_>) -> Results {
    match cx.item(0)? {
        Item::Optional(Some(inner)) => Ok(vec![(**inner).clone()]),
        Item::Optional(None) => Err(Refusal::new("expected an optional value that is present")),
        other => Ok(vec![other.clone()]),
    }
}
