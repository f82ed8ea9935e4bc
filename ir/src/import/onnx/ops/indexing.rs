//! Gathers, scatters, sorting and what depends on the data.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("Gather", 1, gather),
    ("GatherElements", 11, gather_elements),
    ("GatherND", 11, gather_nd),
    ("Scatter", 9, scatter_elements),
    ("ScatterElements", 11, scatter_elements),
    ("ScatterND", 11, scatter_nd),
    ("TensorScatter", 24, tensor_scatter),
    ("Compress", 9, compress),
    ("NonZero", 9, nonzero),
    ("Unique", 11, unique),
    ("TopK", 1, top_k),
    ("NonMaxSuppression", 10, nms),
];

fn gather(cx: &mut Cx<'_, '_>) -> Results {
    let (x, indices) = (cx.v(0)?, cx.v(1)?);
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let extent = cx.extent(x, axis);
    // One known index is a slice.
    if let Some(at) =
        cx.held(1)?.elements().filter(|e| e.len() == 1 && cx.rank(indices) == 0).map(|e| e[0].clone())
        && let Some(c) = at.as_const()
        && extent.as_const().is_none_or(|n| (-n..n).contains(&c))
    {
        let at = if c < 0 { &extent + &at } else { at };
        let y = cx.pick(x, axis, &at)?;
        return cx.one(y);
    }
    let indices = cx.counted_from_start(indices, &extent)?;
    let y = cx.gather(x, indices, axis)?;
    cx.one(y)
}

fn gather_elements(cx: &mut Cx<'_, '_>) -> Results {
    let (x, indices) = (cx.v(0)?, cx.v(1)?);
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let extent = cx.extent(x, axis);
    let indices = cx.counted_from_start(indices, &extent)?;
    let y = cx.node(Op::GatherElements, &[x, indices], [Attr::Int(axis as i64)])?;
    cx.one(y)
}

/// Coordinates counted from either end as coordinates from the start; `batch` axes stand before them.
fn coordinates(cx: &mut Cx<'_, '_>, x: Value, indices: Value, batch: usize) -> Step {
    let rank = cx.rank(indices);
    ensure!(rank >= 1, "expected indices of rank at least 1");
    let depth = cx.fixed(indices, rank - 1)?;
    let shape = cx.shape(x);
    ensure!(
        batch + depth <= shape.rank(),
        "expected coordinates of at most {} axes, got {depth}",
        shape.rank()
    );
    let zero = cx.like(indices, 0.0)?;
    let negative = cx.bin(S::Lt, indices, zero)?;
    let extents = cx.dims_value(&shape[batch..batch + depth])?;
    let extents = cx.cast(extents, cx.dtype(indices))?;
    let shifted = cx.add(indices, extents)?;
    cx.select(negative, shifted, indices)
}

fn gather_nd(cx: &mut Cx<'_, '_>) -> Results {
    let (x, indices) = (cx.v(0)?, cx.v(1)?);
    let batch = cx.int("batch_dims", 0);
    ensure!((0..cx.rank(x) as i64).contains(&batch), "expected `batch_dims` below the rank, got {batch}");
    let indices = coordinates(cx, x, indices, batch as usize)?;
    let y = cx.node(Op::GatherNd, &[x, indices], [Attr::Int(batch)])?;
    cx.one(y)
}

fn scatter_elements(cx: &mut Cx<'_, '_>) -> Results {
    let (x, indices, updates) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let extent = cx.extent(x, axis);
    let indices = cx.counted_from_start(indices, &extent)?;
    let reduce = cx.text("reduction", "none");
    let y = cx.node(
        Op::ScatterElements,
        &[x, indices, updates],
        [Attr::Int(axis as i64), reduce.as_str().into()],
    )?;
    cx.one(y)
}

fn scatter_nd(cx: &mut Cx<'_, '_>) -> Results {
    let (x, indices, updates) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let indices = coordinates(cx, x, indices, 0)?;
    let reduce = cx.text("reduction", "none");
    let y = cx.node(Op::ScatterNd, &[x, indices, updates], [reduce.as_str().into()])?;
    cx.one(y)
}

/// Updates of each sample go to the axis from the sample's index on, around its end if `circular`.
fn tensor_scatter(cx: &mut Cx<'_, '_>) -> Results {
    let (x, updates) = (cx.v(0)?, cx.v(1)?);
    let rank = cx.rank(x);
    let axis = cx.axis("axis", -2, rank)?;
    ensure!(axis > 0, "expected an axis behind the batch, got {axis}");
    let shape = cx.shape(updates);
    let mut at = cx.iota(&shape, axis, DType::I64)?;
    if let Some(starts) = cx.opt(2)? {
        let starts = cx.cast(starts, DType::I64)?;
        let starts = cx.along(starts, 0, rank)?;
        at = cx.add(at, starts)?;
    }
    if cx.text("mode", "linear") == "circular" {
        let extent = cx.dim_value(&cx.extent(x, axis), DType::I64)?;
        at = cx.bin(S::FloorMod, at, extent)?;
    }
    let y = cx.node(Op::ScatterElements, &[x, at, updates], [Attr::Int(axis as i64), "none".into()])?;
    cx.one(y)
}

fn compress(cx: &mut Cx<'_, '_>) -> Results {
    let (x, condition) = (cx.v(0)?, cx.v(1)?);
    let (x, axis) = match cx.attr("axis") {
        Some(axis) => (x, cx.axis_of(axis.i, cx.rank(x))?),
        None => (cx.reshape(x, &[cx.shape(x).elements()])?, 0),
    };
    let count = cx.fresh(Range::EXTENT);
    let hits = cx.node(Op::NonZero, &[condition], [count.clone().into()])?;
    let hits = cx.reshape(hits, &[count])?;
    let y = cx.gather(x, hits, axis)?;
    cx.one(y)
}

fn nonzero(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let count = cx.fresh(Range::EXTENT);
    let y = cx.node(Op::NonZero, &[x], [count.into()])?;
    cx.one(y)
}

fn unique(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let (x, axis) = match cx.attr("axis") {
        Some(axis) => (x, cx.axis_of(axis.i, cx.rank(x))?),
        None => (cx.reshape(x, &[cx.shape(x).elements()])?, 0),
    };
    let count = cx.fresh(Range::EXTENT);
    let sorted = cx.flag("sorted", true);
    let results = cx.nodes(Op::Unique, &[x], [Attr::Int(axis as i64), Attr::Bool(sorted), count.into()])?;
    cx.many(&results)
}

fn top_k(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let axis = cx.axis("axis", -1, cx.rank(x))?;
    let k = if cx.opset < 10 { vec![Dim::from(cx.int("k", 0))] } else { cx.dims(1, Range::EXTENT)? };
    let k = k.first().cloned().ok_or_else(|| Refusal::new("expected a `k`"))?;
    let largest = cx.flag("largest", true);
    let results = cx.nodes(Op::TopK, &[x], [k.into(), Attr::Int(axis as i64), Attr::Bool(largest)])?;
    cx.many(&results)
}

fn nms(cx: &mut Cx<'_, '_>) -> Results {
    let (boxes, scores) = (cx.v(0)?, cx.v(1)?);
    let dtype = cx.dtype(boxes);
    let scalar = |cx: &mut Cx<'_, '_>, i: usize, dtype: DType, default: f64| -> Step {
        match cx.opt(i)? {
            Some(v) => {
                let v = cx.reshape(v, &[])?;
                cx.cast(v, dtype)
            }
            None => cx.number(dtype, default),
        }
    };
    let limit = scalar(cx, 2, DType::I64, 0.0)?;
    let overlap = scalar(cx, 3, dtype, 0.0)?;
    let least = scalar(cx, 4, dtype, f64::NEG_INFINITY)?;
    let count = cx.fresh(Range::EXTENT);
    let centered = cx.int("center_point_box", 0) != 0;
    let y =
        cx.node(Op::Nms, &[boxes, scores, limit, overlap, least], [Attr::Bool(centered), count.into()])?;
    cx.one(y)
}
