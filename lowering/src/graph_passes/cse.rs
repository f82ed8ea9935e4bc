//! `cse`: computes equal things once.
//!
//! ```tcc
//! graph @f(%x: f32[2]) -> (y: f32[2]) {
//!   %0 = neg %x : f32[2]
//!   %1 = neg %x : f32[2]
//!   %2 = add %0, %1 : f32[2]
//!   return %2
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: f32[2]) -> (y: f32[2]) {
//!   %0 = neg %x : f32[2]
//!   %1 = add %0, %0 : f32[2]
//!   return %1
//! }
//! ```
//!
//! Nodes are equal if op, operands, attributes and regions are, floats by their bits. Nodes that name extents
//! are left alone, since each gives names of its own. Large constants are compared by samples first.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};
use smallvec::SmallVec;
use tcc_ir::dtype::Scalar;
use tcc_ir::graph::{Attr, Graph, Node, NodeId, Rewriter, Value};
use tcc_ir::numerics::Numerics;
use tcc_ir::tensor::Tensor;

use super::in_regions;
use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "cse",
    summary: "computes equal things once",
    source: include_str!("cse.rs"),
    options: &[],
    numerics: Numerics::Exact,
    run: PassFn::Graph(run),
};

/// Nodes of one hash that are compared; beyond it, equal ones may stay, so that time stays linear.
const MAX_ALIKE: usize = 8;

/// Elements of a constant that its hash looks at.
const SAMPLED: usize = 64;

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    let mut seen: FxHashMap<u64, SmallVec<[NodeId; 1]>> = FxHashMap::default();
    let mut changed = false;
    for (id, node) in graph.nodes() {
        let operands: SmallVec<[Value; 4]> = node.operands.iter().map(|v| rewriter.get(*v)).collect();
        let hash = hash(node, &operands);
        let alike = seen.entry(hash).or_default();
        let same = |other: &&NodeId| {
            let other = rewriter.to.node(**other);
            other.op == node.op
                && other.operands == operands
                && other.attrs.iter().zip(&node.attrs).all(|(a, b)| same_attr(a, b))
                && other.regions == node.regions
        };
        let known = if node.op.def().binds { None } else { alike.iter().find(same).copied() };
        if let Some(known) = known.filter(|_| cx.rewrite()) {
            rewriter.replace_results(node, known);
            changed = true;
            continue;
        }
        let (regions, inner) = in_regions(node, |region| run(region, cx))?;
        changed |= inner;
        let copy = rewriter.copy_with(id, node.attrs.clone(), regions);
        if alike.len() < MAX_ALIKE {
            alike.push(copy);
        }
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

/// Equality of attributes, of floats by their bits.
pub(crate) fn same_attr(a: &Attr, b: &Attr) -> bool {
    match (a, b) {
        (Attr::Float(a), Attr::Float(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

fn hash(node: &Node, operands: &[Value]) -> u64 {
    let mut state = FxHasher::default();
    node.op.hash(&mut state);
    operands.hash(&mut state);
    node.attrs.iter().for_each(|attr| hash_attr(attr, &mut state));
    node.regions.iter().for_each(|r| r.node_count().hash(&mut state));
    state.finish()
}

/// A hash that agrees with [`same_attr`].
pub(crate) fn hash_attr(attr: &Attr, state: &mut FxHasher) {
    match attr {
        Attr::Bool(v) => v.hash(state),
        Attr::Int(v) => v.hash(state),
        Attr::Float(v) => v.to_bits().hash(state),
        Attr::Text(v) => v.hash(state),
        Attr::Ints(v) => v.hash(state),
        Attr::Dim(v) => v.hash(state),
        Attr::Dims(v) => v.hash(state),
        Attr::DType(v) => v.hash(state),
        Attr::Types(v) => v.hash(state),
        Attr::Tensor(v) => hash_samples(v, state),
    }
}

fn hash_samples(tensor: &Tensor, state: &mut FxHasher) {
    tensor.dtype().hash(state);
    tensor.shape().hash(state);
    let stride = tensor.len().div_ceil(SAMPLED).max(1);
    for position in (0..tensor.len()).step_by(stride) {
        match tensor.get_flat(position) {
            Scalar::Float(v) if v.is_nan() => u64::MAX.hash(state),
            Scalar::Float(v) => v.to_bits().hash(state),
            Scalar::Int(v) => v.hash(state),
        }
    }
}
