//! Checks a graph as a whole, for passes that might have broken it.

use super::{Graph, Typing};
use crate::diag::{Diag, Diags};
use crate::shape::TensorType;

/// Everything that must hold of a graph; all problems are collected.
pub(super) fn verify(graph: &Graph) -> Result<(), Diags> {
    let mut diags = Diags::default();
    check(graph, &mut diags, 0);
    diags.into_result()
}

/// Regions nested beyond this are refused, so that no input can exhaust the stack.
pub(super) const MAX_REGION_DEPTH: usize = 32;

fn check(graph: &Graph, diags: &mut Diags, depth: usize) {
    if depth > MAX_REGION_DEPTH {
        diags.push(Diag::of(
            format!("@{}", graph.name),
            "depth",
            format!("expected at most {MAX_REGION_DEPTH} levels of regions"),
        ));
        return;
    }
    for (name, value) in graph.params() {
        if let Err(message) = check_size(graph.ty(*value), graph) {
            diags.push(Diag::of(format!("parameter %{name}"), "size", message));
        }
    }
    for (_, node) in graph.nodes() {
        if diags.is_full() {
            return;
        }
        let place = || format!("%{} = {}", node.result().index(), node.describe());
        if node.operands.iter().any(|v| v.index() >= node.result().index()) {
            diags.push(Diag::of(place(), "order", "expected operands to be defined before their use"));
            continue;
        }
        let operands: Vec<&TensorType> = node.operands.iter().map(|v| graph.ty(*v)).collect();
        let typing = Typing {
            op: node.op,
            operands: &operands,
            attrs: &node.attrs,
            regions: &node.regions,
            ranges: &graph.ranges,
        };
        match typing.infer() {
            Err(violation) => diags.push(Diag::of(place(), violation.label, violation.message)),
            Ok(types) => {
                let stored: Vec<&TensorType> = node.results().map(|v| graph.ty(v)).collect();
                if !types.iter().eq(stored.iter().copied()) {
                    let message = format!(
                        "expected results of type {}, got {}",
                        list(types.iter()),
                        list(stored.into_iter())
                    );
                    diags.push(Diag::of(place(), "type", message));
                }
                if let Err(violation) = graph.check_scope(node.op, &node.attrs, &types) {
                    diags.push(Diag::of(place(), violation.label, violation.message));
                }
            }
        }
        node.regions.iter().for_each(|region| check(region, diags, depth + 1));
    }
    let mut names: Vec<&str> = graph.params().iter().map(|(n, _)| &**n).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
        diags.push(Diag::of(
            format!("parameter %{}", pair[0]),
            "name",
            "expected distinct names of parameters",
        ));
    }
    let mut names: Vec<&str> = graph.outputs().iter().map(|(n, _)| &**n).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|w| w[0] == w[1]) {
        diags.push(Diag::of(format!("output {}", pair[0]), "name", "expected distinct names of outputs"));
    }
}

fn list<'a>(types: impl Iterator<Item = &'a TensorType>) -> String {
    types.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A tensor must be addressable: no negative extent, not too many elements.
pub(super) fn check_size(ty: &TensorType, graph: &Graph) -> Result<(), String> {
    super::infer::check_size(ty, &graph.ranges)
}
