//! `simplify-shapes`: simplifies extents by what is known of their symbols, and lets extents that turn out to
//! be known take the place of their names.
//!
//! ```tcc
//! graph @f(%x: f32[N, 4]) -> (y: f32[c]) where N in 1..=8 {
//!   %0 = dims values=[4*N] : i64[1]
//!   %1 = bind_dims %0 symbols=[c] : i64[1]
//!   %2 = reshape %x shape=[c] : f32[c]
//!   return %2
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: f32[N, 4]) -> (y: f32[4*N]) where N in 1..=8 {
//!   %0 = dims values=[4*N] : i64[1]
//!   %1 = reshape %x shape=[4*N] : f32[4*N]
//!   return %1
//! }
//! ```
//!
//! `dims` of numbers becomes a constant. A name that a `bind_dims` gives to something known is replaced
//! everywhere behind it, provided that it was new there and what it stands for lies in its range. The types of
//! parameters stay.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Attr, Attrs, Graph, Node, Op, Rewriter, Value};
use tcc_ir::numerics::Numerics;
use tcc_ir::shape::{Shape, TensorType};
use tcc_ir::tensor::Tensor;

use super::fold::constant;
use super::in_regions;
use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "simplify-shapes",
    summary: "simplifies extents by what is known of their symbols",
    source: include_str!("simplify_shapes.rs"),
    options: &[],
    numerics: Numerics::Exact,
    run: PassFn::Graph(run),
};

/// What names stand for.
type Known = FxHashMap<Symbol, Dim>;

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    simplify(graph, &Known::default(), cx)
}

fn simplify(graph: &Graph, outer: &Known, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut known = outer.clone();
    let mut start = Graph::clone(graph);
    let mut changed = false;
    // What the graph around has replaced is replaced in all types of a region first.
    if !outer.is_empty() {
        start = start.substitute(&|s| known.get(s).cloned())?;
        changed = start != *graph;
    }
    let graph = &start;
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        if let Some(value) = replaced_names(&rewriter, node, &mut known, cx) {
            rewriter.replace(node.result(), value);
            changed = true;
            continue;
        }
        if let Some(constant) = constant_dims(node, &known, &graph.ranges)
            && cx.rewrite()
        {
            rewriter.push_for(node, Op::Const, &[], SmallVec::from_iter([Attr::Tensor(constant)]))?;
            changed = true;
            continue;
        }
        let simpler: Attrs = node.attrs.iter().map(|a| simpler(a, &known, &graph.ranges)).collect();
        // Names that this node gives are kept: they are not new expressions.
        let attrs = if simpler != node.attrs && (needed(node, &known) || cx.rewrite()) {
            changed = true;
            simpler
        } else {
            node.attrs.clone()
        };
        let (regions, inner) = in_regions(node, |region| simplify(region, &known, cx))?;
        changed |= inner;
        let operands: SmallVec<[Value; 4]> = node.operands.iter().map(|v| rewriter.get(*v)).collect();
        let copy = rewriter
            .to
            .push_from(node.op, &operands, attrs, regions, node.origin.clone())
            .map_err(|v| v.within(&node.describe()))?;
        rewriter.replace_results(graph.node(id), copy);
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

/// A node that mentions a name which is no longer given must be changed, fuel or not.
fn needed(node: &Node, known: &Known) -> bool {
    let mut found = false;
    node.attrs.iter().for_each(|a| a.each_symbol(&mut |s| found |= known.contains_key(s)));
    found
}

fn simpler(attr: &Attr, known: &Known, ranges: &Ranges) -> Attr {
    let one = |dim: &Dim| ranges.simplify(&dim.substitute(&|s| known.get(s).cloned()));
    match attr {
        Attr::Dim(dim) => Attr::Dim(one(dim)),
        Attr::Dims(dims) => Attr::Dims(dims.iter().map(one).collect()),
        Attr::Types(types) => Attr::Types(
            types.iter().map(|t| TensorType::new(t.dtype, t.shape.iter().map(one).collect())).collect(),
        ),
        other => other.clone(),
    }
}

/// The constant that a `dims` of numbers is.
fn constant_dims(node: &Node, known: &Known, ranges: &Ranges) -> Option<Tensor> {
    let (Op::Dims, Some(values)) = (node.op, node.attrs.first()) else { return None };
    let Attr::Dims(values) = simpler(values, known, ranges) else { return None };
    let numbers: Option<Vec<Scalar>> =
        values.iter().map(|d| d.as_const().map(|c| Scalar::Int(i128::from(c)))).collect();
    let numbers = numbers?;
    Tensor::from_scalars(DType::I64, &[numbers.len()], &numbers).ok()
}

/// Notes what the names of a `bind_dims` stand for and gives its operand, which is its result too.
fn replaced_names(
    rewriter: &Rewriter<'_>,
    node: &Node,
    known: &mut Known,
    cx: &mut PassCx<'_>,
) -> Option<Value> {
    let (Op::BindDims, Some(Attr::Dims(symbols))) = (node.op, node.attrs.first()) else { return None };
    let sizes = rewriter.get(node.operands[0]);
    let values = known_sizes(&rewriter.to, sizes)?;
    if values.rank() != symbols.rank() || rewriter.to.ty(sizes) != rewriter.from.ty(node.result()) {
        return None;
    }
    let ranges = &rewriter.to.ranges;
    let mut new: Vec<(Symbol, Dim)> = Vec::new();
    for (symbol, value) in symbols.iter().zip(values.iter()) {
        let symbol = symbol.as_symbol()?;
        let (range, bounds) = (ranges.get(symbol), ranges.bounds(value));
        let is_new = !rewriter.to.in_scope(symbol)
            && !known.contains_key(symbol)
            && !new.iter().any(|(s, _)| s == symbol);
        if !is_new || bounds.lo < range.lo || bounds.hi > range.hi {
            return None;
        }
        new.push((symbol.clone(), value.clone()));
    }
    if !cx.rewrite() {
        return None;
    }
    known.extend(new);
    Some(sizes)
}

/// The elements of a vector of sizes, as far as the graph says them.
fn known_sizes(graph: &Graph, sizes: Value) -> Option<Shape> {
    if let Some(tensor) = constant(graph, sizes) {
        let size = |s: Scalar| i64::try_from(s.to_i128()).ok().map(Dim::from);
        return tensor.iter_scalars().map(size).collect::<Option<Vec<Dim>>>().map(Shape::from_iter);
    }
    let node = graph.def_node(sizes).filter(|n| n.op == Op::Dims)?;
    match node.attrs.first() {
        Some(Attr::Dims(values)) => Some(values.clone()),
        _ => None,
    }
}
