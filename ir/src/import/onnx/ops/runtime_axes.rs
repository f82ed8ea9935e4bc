//! Axes that only running the graph shows: reductions, squeezes and slices along them.
//!
//! How many axes there are is known, so ranks are; which ones they are becomes a mask, and extents that depend
//! on it get names.

use super::super::context::{Cx, Step};
use crate::dim::{Dim, Range};
use crate::dtype::{DType, Scalar};
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;
use crate::tensor::Tensor;

/// Some axes of a tensor.
pub(crate) enum Axes {
    /// These.
    Known(Vec<usize>),
    /// Those of a mask.
    Masked(Mask),
}

/// Which axes of a tensor of a rank are meant.
pub(crate) struct Mask {
    rank: usize,
    count: usize,
    /// `bool[rank]`
    chosen: Value,
}

impl Mask {
    /// From a vector of axes counted from either end.
    pub(crate) fn new(cx: &mut Cx<'_, '_>, axes: Value, rank: usize) -> Step<Mask> {
        let flat = cx.shape(axes).elements();
        let axes = cx.reshape(axes, std::slice::from_ref(&flat))?;
        let count = cx.fixed(axes, 0)?;
        let axes = cx.cast(axes, DType::I64)?;
        let axes = cx.counted_from_start(axes, &Dim::from(rank))?;
        let one = cx.number(DType::I64, 1.0)?;
        let ones = cx.broadcast(one, &[Dim::from(count)])?;
        let marks = scattered(cx, 0.0, rank, axes, ones)?;
        let chosen = cx.is(S::Ne, marks, 0.0)?;
        Ok(Mask { rank, count, chosen })
    }

    /// The elements of a vector of the rank that stand at axes not chosen.
    fn others(&self, cx: &mut Cx<'_, '_>, vector: Value) -> Step {
        let places = self.other_places(cx)?;
        cx.gather(vector, places, 0)
    }

    fn other_places(&self, cx: &mut Cx<'_, '_>) -> Step {
        let places = cx.range(&Dim::from(self.rank), DType::I64)?;
        let last = cx.number(DType::I64, self.rank as f64)?;
        let keys = cx.select(self.chosen, last, places)?;
        let kept = Dim::from(self.rank.saturating_sub(self.count));
        Ok(cx.nodes(Op::TopK, &[keys], [kept.into(), Attr::Int(0), Attr::Bool(false)])?[0])
    }

    /// The tensor without the axes chosen, whose extents are 1.
    pub(crate) fn squeeze(&self, cx: &mut Cx<'_, '_>, x: Value) -> Step {
        let shape = cx.shape(x);
        let extents = cx.dims_value(&shape)?;
        let kept = self.others(cx, extents)?;
        let sizes = cx.bind(kept, Range::EXTENT)?;
        cx.reshape(x, &sizes)
    }

    /// The tensor with new axes at those chosen, of which this is a mask over the result.
    pub(crate) fn unsqueeze(&self, cx: &mut Cx<'_, '_>, x: Value) -> Step {
        let shape = cx.shape(x);
        let extents = cx.dims_value(&shape)?;
        let places = self.other_places(cx)?;
        let sizes = scattered(cx, 1.0, self.rank, places, extents)?;
        let sizes = cx.bind(sizes, Range::EXTENT)?;
        cx.reshape(x, &sizes)
    }

    /// Combines along the axes chosen, which stay with extent 1: each axis is scattered to where its elements
    /// stay or meet.
    fn fold(&self, cx: &mut Cx<'_, '_>, op: Op, x: Value) -> Step {
        let dtype = cx.dtype(x);
        let shape = cx.shape(x);
        let extents = cx.dims_value(&shape)?;
        let one = cx.number(DType::I64, 1.0)?;
        let sizes = cx.select(self.chosen, one, extents)?;
        let sizes = cx.bind(sizes, Range::EXTENT)?;
        let working = if dtype.is_bool() { DType::U8 } else { dtype };
        let (word, start) = match op {
            Op::ReduceSum => ("add", Scalar::zero(working)),
            Op::ReduceProd => ("mul", Scalar::one(working)),
            Op::ReduceMax => ("max", working.int_min().map_or(Scalar::Float(f64::NEG_INFINITY), Scalar::Int)),
            _ => ("min", working.int_max().map_or(Scalar::Float(f64::INFINITY), Scalar::Int)),
        };
        let mut y = cx.cast(x, working)?;
        for (axis, size) in sizes.iter().enumerate() {
            let current = cx.shape(y);
            let start = cx.g().constant(Tensor::scalar(working, start))?;
            let target = cx.broadcast(start, &current.with(axis, size.clone()))?;
            let chosen = cx.pick(self.chosen, 0, &Dim::from(axis))?;
            let places = cx.iota(&current, axis, DType::I64)?;
            let zero = cx.number(DType::I64, 0.0)?;
            let places = cx.select(chosen, zero, places)?;
            y = cx.node(Op::ScatterElements, &[target, places, y], [Attr::Int(axis as i64), word.into()])?;
        }
        cx.cast(y, dtype)
    }

    /// How many elements meet.
    fn size(&self, cx: &mut Cx<'_, '_>, x: Value) -> Step {
        let shape = cx.shape(x);
        let extents = cx.dims_value(&shape)?;
        let one = cx.number(DType::I64, 1.0)?;
        let sizes = cx.select(self.chosen, extents, one)?;
        cx.reduce(Op::ReduceProd, sizes, &[0], false)
    }
}

/// `start` repeated `rank` times, with `values` put at `places`.
pub(crate) fn scattered(cx: &mut Cx<'_, '_>, start: f64, rank: usize, places: Value, values: Value) -> Step {
    let start = cx.number(DType::I64, start)?;
    let target = cx.broadcast(start, &[Dim::from(rank)])?;
    cx.node(Op::ScatterElements, &[target, places, values], [Attr::Int(0), "none".into()])
}

impl Axes {
    /// Combines along the axes.
    pub(crate) fn fold(&self, cx: &mut Cx<'_, '_>, op: Op, x: Value, keep: bool) -> Step {
        match self {
            Axes::Known(axes) => cx.reduce(op, x, axes, keep),
            Axes::Masked(mask) => {
                let y = mask.fold(cx, op, x)?;
                if keep { Ok(y) } else { mask.squeeze(cx, y) }
            }
        }
    }

    /// The mean along the axes.
    pub(crate) fn mean(&self, cx: &mut Cx<'_, '_>, x: Value, keep: bool) -> Step {
        match self {
            Axes::Known(axes) => cx.mean(x, axes, keep),
            Axes::Masked(mask) => {
                let sum = self.fold(cx, Op::ReduceSum, x, keep)?;
                let count = mask.size(cx, x)?;
                let count = cx.cast(count, cx.dtype(sum))?;
                cx.div(sum, count)
            }
        }
    }

    /// The tensor without the axes, whose extents are 1.
    pub(crate) fn squeeze(&self, cx: &mut Cx<'_, '_>, x: Value) -> Step {
        match self {
            Axes::Known(axes) => cx.squeeze(x, axes),
            Axes::Masked(mask) => mask.squeeze(cx, x),
        }
    }
}

/// The slice of a tensor along axes and with steps known only at run time, each axis gathered.
pub(crate) fn slice(cx: &mut Cx<'_, '_>, x: Value) -> Step {
    let rank = cx.rank(x);
    let (starts, ends) = (cx.v(1)?, cx.v(2)?);
    let count = cx.extent(starts, 0);
    let axes = match cx.opt(3)? {
        Some(axes) => cx.cast(axes, DType::I64)?,
        None => cx.range(&count, DType::I64)?,
    };
    let axes = cx.counted_from_start(axes, &Dim::from(rank))?;
    let mut vectors = Vec::new();
    for (given, default) in [(Some(starts), 0.0), (Some(ends), f64::from(i32::MAX)), (cx.opt(4)?, 1.0)] {
        vectors.push(match given {
            Some(given) => {
                let given = cx.cast(given, DType::I64)?;
                scattered(cx, default, rank, axes, given)?
            }
            None => {
                let one = cx.number(DType::I64, default)?;
                cx.broadcast(one, &[Dim::from(rank)])?
            }
        });
    }
    let mut y = x;
    for axis in 0..rank {
        let extent = cx.extent(y, axis);
        let at = Dim::from(axis);
        let (start, end, step) =
            (cx.pick(vectors[0], 0, &at)?, cx.pick(vectors[1], 0, &at)?, cx.pick(vectors[2], 0, &at)?);
        let forwards = cx.is(S::Gt, step, 0.0)?;
        let n = cx.dim_value(&extent, DType::I64)?;
        let (zero, before) = (cx.number(DType::I64, 0.0)?, cx.number(DType::I64, -1.0)?);
        let last = cx.add(n, before)?;
        let (low, high) = (cx.select(forwards, zero, before)?, cx.select(forwards, n, last)?);
        let within = |cx: &mut Cx<'_, '_>, v: Value| {
            let v = cx.counted_from_start(v, &extent)?;
            let v = cx.bin(S::Max, v, low)?;
            cx.bin(S::Min, v, high)
        };
        let (start, end) = (within(cx, start)?, within(cx, end)?);
        let span = cx.sub(end, start)?;
        let sign = cx.un(S::Sign, step)?;
        let rounded = cx.add(span, step)?;
        let rounded = cx.sub(rounded, sign)?;
        let size = cx.div(rounded, step)?;
        let size = cx.with(S::Max, size, 0.0)?;
        let size = cx.bind(size, Range::EXTENT)?.remove(0);
        let steps = cx.range(&size, DType::I64)?;
        let steps = cx.mul(steps, step)?;
        let places = cx.add(steps, start)?;
        y = cx.gather(y, places, axis)?;
    }
    Ok(y)
}
