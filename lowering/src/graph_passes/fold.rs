//! `fold`: computes nodes whose operands are constants.
//!
//! ```tcc
//! graph @f() -> (y: f32[2]) {
//!   %0 = const value=f32[2] [1.0, 2.0] : f32[2]
//!   %1 = neg %0 : f32[2]
//!   return %1
//! }
//! ```
//! ->
//! ```tcc
//! graph @f() -> (y: f32[2]) {
//!   %0 = const value=f32[2] [1.0, 2.0] : f32[2]
//!   %1 = const value=f32[2] [-1.0, -2.0] : f32[2]
//!   return %1
//! }
//! ```
//!
//! The interpreter computes them, which for exact ops gives the bits of every target; others are folded only
//! on request. Ops that make much out of little (`broadcast`, `iota`) are folded only where the result is
//! small, and all that is made stays within a budget.

use smallvec::SmallVec;
use tcc_ir::dim::Bindings;
use tcc_ir::dtype::Scalar;
use tcc_ir::graph::eval::Call;
use tcc_ir::graph::{Attr, Graph, Node, Op, Rewriter, Typing, Value};
use tcc_ir::numerics::Numerics;
use tcc_ir::shape::TensorType;
use tcc_ir::tensor::Tensor;

use super::in_regions;
use crate::pass::{OptionDef, OptionKind, Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "fold",
    summary: "computes nodes whose operands are constants",
    source: include_str!("fold.rs"),
    options: &[
        OptionDef {
            name: "limit",
            kind: OptionKind::Count,
            default: "1048576",
            doc: "the largest constant that is made, in bytes",
        },
        OptionDef {
            name: "budget",
            kind: OptionKind::Count,
            default: "67108864",
            doc: "the size of all constants that are made, in bytes",
        },
        OptionDef {
            name: "inexact",
            kind: OptionKind::Flag,
            default: "false",
            doc: "folds ops of which a target may compute other bits too",
        },
    ],
    numerics: Numerics::Exact,
    run: PassFn::Graph(run),
};

/// Results that are larger than all operands together are folded up to this many bytes.
const MAX_GROWN: u64 = 16384;

/// Contractions cost more than their sizes: the product of the sizes of operands is bounded by this.
const MAX_WORK: u64 = 1 << 24;

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut budget = cx.options.count("budget");
    fold(graph, cx, &mut budget)
}

fn fold(graph: &Graph, cx: &mut PassCx<'_>, budget: &mut u64) -> Result<Outcome<Graph>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    let mut changed = false;
    for (id, node) in graph.nodes() {
        if let Some(constants) = computed(&rewriter, node, cx, budget) {
            for (old, constant) in node.results().zip(constants) {
                let attrs = SmallVec::from_iter([Attr::Tensor(constant)]);
                let id = rewriter.to.push_from(Op::Const, &[], attrs, Vec::new(), node.origin.clone())?;
                let new = rewriter.to.node(id).result();
                rewriter.replace(old, new);
            }
            changed = true;
            continue;
        }
        let (regions, inner) = in_regions(node, |region| fold(region, cx, budget))?;
        changed |= inner;
        rewriter.copy_with(id, node.attrs.clone(), regions);
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

/// The values of a node that can and should be computed now.
fn computed(
    rewriter: &Rewriter<'_>,
    node: &Node,
    cx: &mut PassCx<'_>,
    budget: &mut u64,
) -> Option<Vec<Tensor>> {
    let def = node.op.def();
    let exact = def.numerics == Numerics::Exact || cx.options.flag("inexact");
    if node.op == Op::Const || def.binds || !node.regions.is_empty() || !exact {
        return None;
    }
    let inputs: SmallVec<[Tensor; 4]> =
        node.operands.iter().map(|v| constant(&rewriter.to, rewriter.get(*v))).collect::<Option<_>>()?;
    let types: SmallVec<[TensorType; 2]> = node.results().map(|v| rewriter.from.ty(v).clone()).collect();
    let made = types.iter().map(bytes).sum::<Option<u64>>()?;
    let given: u64 = inputs.iter().map(|t| t.byte_len() as u64).sum();
    let work = inputs.iter().fold(1u64, |n, t| n.saturating_mul(t.len() as u64));
    let small = made <= cx.options.count("limit").min(*budget) && (made <= given || made <= MAX_GROWN);
    if !small || (def.numerics == Numerics::Reassociates && work > MAX_WORK) {
        return None;
    }
    let operands: SmallVec<[&TensorType; 4]> = node.operands.iter().map(|v| rewriter.from.ty(*v)).collect();
    let typing = Typing {
        op: node.op,
        operands: &operands,
        attrs: &node.attrs,
        regions: &[],
        ranges: &rewriter.from.ranges,
    };
    let call = Call { inputs: &inputs, typing, bindings: &Bindings::new(), results: &types };
    // A node that has no value keeps its error for when it runs.
    let values = (def.eval)(&call).ok()?;
    let fits = |(value, ty): (&Tensor, &TensorType)| TensorType::fixed(value.dtype(), value.shape()) == *ty;
    if !values.iter().zip(&types).all(fits) || !cx.rewrite() {
        return None;
    }
    *budget -= made;
    values.into_iter().map(with_plain_nans).collect()
}

/// The text of a constant has one NaN only, so no other may be made.
pub(crate) fn with_plain_nans(tensor: Tensor) -> Option<Tensor> {
    if !tensor.dtype().is_float() || !tensor.iter_scalars().any(Scalar::is_nan) {
        return Some(tensor);
    }
    let plain = |s: Scalar| if s.is_nan() { Scalar::Float(f64::NAN) } else { s };
    let scalars: Vec<Scalar> = tensor.iter_scalars().map(plain).collect();
    Tensor::from_scalars(tensor.dtype(), tensor.shape(), &scalars).ok()
}

/// The value of a constant.
pub(super) fn constant(graph: &Graph, value: Value) -> Option<Tensor> {
    let node = graph.def_node(value).filter(|n| n.op == Op::Const)?;
    match node.attrs.first() {
        Some(Attr::Tensor(tensor)) => Some(tensor.clone()),
        _ => None,
    }
}

fn bytes(ty: &TensorType) -> Option<u64> {
    let elements = ty.shape.elements().as_const().and_then(|n| u64::try_from(n).ok())?;
    Some(elements.saturating_mul(ty.dtype.bits() as u64).div_ceil(8))
}
