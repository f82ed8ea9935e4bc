//! Types of ops with regions.

use super::{Types, Typing, Violation, require};
use crate::dtype::DType;
use crate::graph::Graph;
use crate::shape::{Shape, TensorType};

/// Whether a tensor of the first type may turn out to be one of the second.
fn compatible(t: &Typing<'_>, a: &TensorType, b: &TensorType) -> bool {
    a.dtype == b.dtype
        && a.shape.rank() == b.shape.rank()
        && a.shape.iter().zip(b.shape.iter()).all(|(x, y)| t.can_equal(x, y))
}

fn list<'a>(types: impl Iterator<Item = &'a TensorType>) -> String {
    types.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn require_params(
    t: &Typing<'_>,
    region: &Graph,
    given: &[&TensorType],
    label: &'static str,
) -> Result<(), Violation> {
    let fits = region.params().len() == given.len()
        && region.param_types().zip(given).all(|(p, g)| compatible(t, p, g));
    require_or(fits, label, || {
        format!(
            "expected region parameters of types {}, got {}",
            list(given.iter().copied()),
            list(region.param_types())
        )
    })
}

fn require_or(holds: bool, label: &'static str, message: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(label, message())) }
}

pub(crate) fn branch(t: &Typing<'_>) -> Result<Types, Violation> {
    require!(
        *t.ty(0) == TensorType::scalar(DType::Bool),
        "C1",
        "expected a condition of type bool[], got {}",
        t.ty(0)
    );
    let types = t.types("types");
    for region in t.regions {
        require_params(t, region, &t.operands[1..], "C2")?;
        let fits = region.outputs().len() == types.len()
            && region.output_types().zip(types.iter()).all(|(o, ty)| compatible(t, o, ty));
        require_or(fits, "C3", || {
            format!("expected outputs of types {}, got {}", list(types.iter()), list(region.output_types()))
        })?;
    }
    Ok(types.iter().cloned().collect())
}

pub(crate) fn repeat(t: &Typing<'_>) -> Result<Types, Violation> {
    let counter = TensorType::scalar(DType::I64);
    let condition = TensorType::scalar(DType::Bool);
    require!(
        *t.ty(0) == counter && *t.ty(1) == condition,
        "C1",
        "expected a trip count i64[] and a condition bool[], got {} and {}",
        t.ty(0),
        t.ty(1)
    );
    let given = &t.operands[2..];
    let carried = t.int("carried");
    let carried = usize::try_from(carried).ok().filter(|c| *c <= given.len()).ok_or_else(|| {
        Violation::new("C2", format!("expected `carried` in 0..={}, got {carried}", given.len()))
    })?;
    let body = &t.regions[0];
    let params: Vec<&TensorType> = std::iter::once(&counter).chain(given.iter().copied()).collect();
    require_params(t, body, &params, "C3")?;

    let types = t.types("types");
    let outputs: Vec<&TensorType> = body.output_types().collect();
    let shaped = outputs.len() == types.len() + 1 && types.len() >= carried && *outputs[0] == condition;
    require!(
        shaped,
        "C4",
        "expected a bool scalar and {} more outputs, {carried} of them carried, got {}",
        types.len(),
        list(outputs.iter().copied())
    );
    let carried_fit =
        (0..carried).all(|i| compatible(t, outputs[i + 1], &types[i]) && compatible(t, given[i], &types[i]));
    let stacked_fit = (carried..types.len()).all(|i| {
        let element = outputs[i + 1];
        let inner: Shape = types[i].shape.iter().skip(1).cloned().collect();
        types[i].shape.rank() > 0 && compatible(t, element, &TensorType::new(types[i].dtype, inner))
    });
    require!(
        carried_fit && stacked_fit,
        "C5",
        "expected results of the carried types and stacks of the others, got {} from {}",
        list(types.iter()),
        list(outputs.iter().copied())
    );
    Ok(types.iter().cloned().collect())
}

pub(crate) fn kernel(t: &Typing<'_>) -> Result<Types, Violation> {
    let body = &t.regions[0];
    require_params(t, body, t.operands, "C1")?;
    Ok(body.output_types().cloned().collect())
}

pub(crate) fn custom_call(t: &Typing<'_>) -> Result<Types, Violation> {
    require!(!t.text("target").is_empty(), "C1", "expected the name of a function, got an empty `target`");
    Ok(t.types("types").iter().cloned().collect())
}
