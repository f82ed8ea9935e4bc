//! `lower-precision`: multiplies in a float type of fewer bits, with sums in f32.
//!
//! ```tcc
//! graph @f(%x: f32[4, 8], %w: f32[8, 3]) -> (y: f32[4, 3]) {
//!   %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[4, 3]
//!   return %0
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: f32[4, 8], %w: f32[8, 3]) -> (y: f32[4, 3]) {
//!   %0 = cast %x dtype=bf16 saturate=true : bf16[4, 8]
//!   %1 = cast %w dtype=bf16 saturate=true : bf16[8, 3]
//!   %2 = dot %0, %1 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[4, 3]
//!   return %2
//! }
//! ```
//!
//! Operands of contractions and convolutions are rounded once; everything else is computed as before, so that
//! normalisations, softmax and residuals keep their precision. Depthwise convolutions stay: they have few products.

use rustc_hash::FxHashMap;
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Attr, Graph, Node, Op, Rewriter, Value, Violation};
use tcc_ir::numerics::Numerics;
use tcc_ir::tensor::Tensor;

use super::in_regions;
use crate::layout::known;
use crate::pass::{OptionDef, OptionKind, Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "lower-precision",
    summary: "multiplies in a float type of fewer bits, with sums in f32",
    source: include_str!("lower_precision.rs"),
    options: &[OptionDef {
        name: "dtype",
        kind: OptionKind::Word,
        default: "bf16",
        doc: "the type that operands are rounded to: bf16 or f16",
    }],
    numerics: Numerics::Approximate { bound: 1 << 18 },
    run: PassFn::Graph(run),
};

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let dtype = match cx.options.word("dtype") {
        "bf16" => DType::BF16,
        "f16" => DType::F16,
        other => return Err(PassError::Refused(format!("expected the type bf16 or f16, got `{other}`"))),
    };
    lowered(graph, dtype, cx)
}

fn lowered(graph: &Graph, dtype: DType, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    let mut rounded: FxHashMap<Value, Value> = FxHashMap::default();
    let mut changed = false;
    for (id, node) in graph.nodes() {
        if is_product(graph, node) && cx.rewrite() {
            let mut operands = Vec::with_capacity(2);
            for operand in &node.operands {
                operands.push(round(&mut rewriter, &mut rounded, *operand, dtype)?);
            }
            rewriter.push_for(node, node.op, &operands, node.attrs.clone())?;
            changed = true;
            continue;
        }
        let (regions, inner) = in_regions(node, |region| lowered(region, dtype, cx))?;
        changed |= inner;
        rewriter.copy_with(id, node.attrs.clone(), regions);
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

/// Whether a node multiplies matrices of f32.
fn is_product(graph: &Graph, node: &Node) -> bool {
    let all_f32 = || node.operands.iter().chain(&[node.result()]).all(|v| graph.ty(*v).dtype == DType::F32);
    match node.op {
        Op::Dot => all_f32(),
        Op::Conv => {
            let depthwise = graph.ty(node.operands[1]).shape[1].is(1);
            !(depthwise && *node.attr("groups") != Attr::Int(1)) && all_f32()
        }
        _ => false,
    }
}

/// A value in fewer bits, rounded once for all that multiply it; a constant at once.
fn round(
    rewriter: &mut Rewriter<'_>,
    rounded: &mut FxHashMap<Value, Value>,
    value: Value,
    dtype: DType,
) -> Result<Value, Violation> {
    if let Some(done) = rounded.get(&value) {
        return Ok(*done);
    }
    let constant: Option<Tensor> = known(rewriter.from, value).and_then(|t| t.cast(dtype, true).ok());
    let done = match constant {
        Some(tensor) => rewriter.to.constant(tensor)?,
        None => {
            let value = rewriter.get(value);
            rewriter.to.cast(value, dtype)?
        }
    };
    rounded.insert(value, done);
    Ok(done)
}
