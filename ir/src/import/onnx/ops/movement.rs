//! Operators that move elements: reshapes, slices, joins, paddings.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::runtime_axes::{Mask, scattered};
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("Reshape", 1, reshape),
    ("Flatten", 1, flatten),
    ("Squeeze", 1, squeeze),
    ("Unsqueeze", 1, unsqueeze),
    ("Transpose", 1, transpose),
    ("Expand", 8, expand),
    ("Tile", 6, tile),
    ("Concat", 1, concat),
    ("Pad", 1, pad),
    ("DepthToSpace", 1, depth_to_space),
    ("SpaceToDepth", 1, space_to_depth),
    ("CenterCropPad", 18, center_crop_pad),
    ("ReverseSequence", 10, reverse_sequence),
];

/// Shape operands may hold the values -1 and 0, which mean something.
const SIZES: Range = Range { lo: -1, hi: (1 << 31) - 1 };

fn reshape(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    let target = if cx.opset < 5 {
        let list = cx.ints("shape").ok_or_else(|| Refusal::new("expected the attribute `shape`"))?;
        list.iter().map(|d| Dim::from(*d)).collect()
    } else {
        match cx.held(1)?.elements() {
            Some(elements) => elements.to_vec(),
            None => {
                let sizes = runtime_shape(cx, x)?;
                let y = cx.reshape(x, &sizes)?;
                return cx.one(y);
            }
        }
    };
    let copies = !cx.flag("allowzero", false);
    let mut result = Vec::new();
    for (i, dim) in target.iter().enumerate() {
        if dim.is(0) && copies {
            ensure!(i < shape.rank(), "expected an axis {i} to copy, got {shape}");
            result.push(shape[i].clone());
        } else {
            result.push(dim.clone());
        }
    }
    if let Some(hole) = result.iter().position(|d| d.is(-1)) {
        let rest: Dim =
            result.iter().enumerate().filter(|(i, _)| *i != hole).map(|(_, d)| d.clone()).product();
        ensure!(!rest.is(0), "expected an extent that follows from others that are not 0, got {target:?}");
        let all = shape.elements();
        let whole = all.exact_div(&rest).unwrap_or_else(|| all.floor_div(&rest));
        result[hole] = cx.g().ranges.simplify(&whole);
    }
    let y = cx.reshape(x, &result)?;
    cx.one(y)
}

/// The meaning of -1 and 0 is worked out when the graph runs.
fn runtime_shape(cx: &mut Cx<'_, '_>, x: Value) -> Step<Vec<Dim>> {
    let sizes = cx.v(1)?;
    let shape = cx.shape(x);
    let count = cx.fixed(sizes, 0)?;
    let mut sizes = cx.cast(sizes, DType::I64)?;
    if !cx.flag("allowzero", false) {
        let copied: Vec<Dim> = (0..count).map(|i| shape.get(i).cloned().unwrap_or(Dim::ZERO)).collect();
        let copied = cx.dims_value(&copied)?;
        let zero = cx.is(S::Eq, sizes, 0.0)?;
        sizes = cx.select(zero, copied, sizes)?;
    }
    let hole = cx.is(S::Eq, sizes, -1.0)?;
    let one = cx.like(sizes, 1.0)?;
    let known = cx.select(hole, one, sizes)?;
    let product = cx.reduce(Op::ReduceProd, known, &[0], false)?;
    let all = cx.dim_value(&shape.elements(), DType::I64)?;
    let rest = cx.div(all, product)?;
    let sizes = cx.select(hole, rest, sizes)?;
    cx.bind(sizes, Range::EXTENT)
}

fn flatten(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    let rank = shape.rank() as i64;
    let axis = cx.int("axis", 1);
    ensure!((-rank..=rank).contains(&axis), "expected an axis in -{rank}..={rank}, got {axis}");
    let axis = (if axis < 0 { axis + rank } else { axis }) as usize;
    let product = |dims: &[Dim]| dims.iter().cloned().product::<Dim>();
    let y = cx.reshape(x, &[product(&shape[..axis]), product(&shape[axis..])])?;
    cx.one(y)
}

fn squeeze(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    if cx.has(1) && cx.held(1)?.elements().is_none() {
        let axes = cx.v(1)?;
        let y = Mask::new(cx, axes, shape.rank())?.squeeze(cx, x)?;
        return cx.one(y);
    }
    let axes = match cx.axes_attr_or_input(1)? {
        Some(axes) => cx.axes_of(&axes, shape.rank())?,
        None => (0..shape.rank()).filter(|i| shape[*i].is(1)).collect(),
    };
    for axis in &axes {
        let differs = cx.g().ranges.differ(&shape[*axis], &Dim::ONE);
        ensure!(!differs, "expected extent 1 of axis {axis}, got {shape}");
    }
    let y = cx.squeeze(x, &axes)?;
    cx.one(y)
}

fn unsqueeze(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    if cx.has(1) && cx.held(1)?.elements().is_none() {
        let axes = cx.v(1)?;
        let rank = cx.rank(x) + cx.fixed(axes, 0)?;
        let y = Mask::new(cx, axes, rank)?.unsqueeze(cx, x)?;
        return cx.one(y);
    }
    let axes = cx.axes_attr_or_input(1)?.ok_or_else(|| Refusal::new("expected `axes`"))?;
    let axes = cx.axes_of(&axes, cx.rank(x) + axes.len())?;
    let y = cx.unsqueeze(x, &axes)?;
    cx.one(y)
}

fn transpose(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    let perm = match cx.ints("perm") {
        Some(perm) => cx.axes_of(perm, rank)?,
        None => (0..rank).rev().collect(),
    };
    ensure!(perm.len() == rank, "expected a permutation of {rank} axes, got {perm:?}");
    let y = cx.transpose(x, &perm)?;
    cx.one(y)
}

fn expand(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let target = cx.dims(1, Range::EXTENT)?;
    let y = expand_to(cx, x, &target)?;
    cx.one(y)
}

/// Broadcasting in both directions.
fn expand_to(cx: &mut Cx<'_, '_>, x: Value, target: &[Dim]) -> Step {
    let shape = cx.shape(x);
    let rank = shape.rank().max(target.len());
    let at = |s: &[Dim], i: usize| (i + s.len()).checked_sub(rank).map_or(Dim::ONE, |j| s[j].clone());
    let mut common = Vec::new();
    for i in 0..rank {
        let (a, b) = (at(&shape, i), at(target, i));
        common.push(match (a.as_const(), b.as_const()) {
            (_, Some(1)) => a,
            (Some(1), _) => b,
            (_, Some(-1)) => a,
            _ if cx.g().ranges.equal(&a, &b) => a,
            (Some(_), None) => a,
            (None, Some(_)) => b,
            (Some(p), Some(q)) => {
                return Err(Refusal::new(format!("expected extents that are equal or 1, got {p} and {q}")));
            }
            (None, None) => a.maximum(&b),
        });
    }
    cx.broadcast(x, &common)
}

/// Each axis is preceded by a new one that is repeated.
fn tile(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    let repeats = cx.dims(1, Range::EXTENT)?;
    ensure!(repeats.len() == shape.rank(), "expected {} repeats, got {}", shape.rank(), repeats.len());
    let (mut split, mut spread, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    for (repeat, extent) in repeats.iter().zip(shape.iter()) {
        split.extend([Dim::ONE, extent.clone()]);
        spread.extend([repeat.clone(), extent.clone()]);
        joined.push(repeat * extent);
    }
    if repeats.iter().all(|r| r.is(1)) {
        return cx.one(x);
    }
    if split.len() > crate::shape::MAX_RANK {
        return Err(Refusal::new(format!("expected at most {} axes", crate::shape::MAX_RANK / 2)));
    }
    let x = cx.reshape(x, &split)?;
    let x = cx.broadcast(x, &spread)?;
    let y = cx.reshape(x, &joined)?;
    cx.one(y)
}

fn concat(cx: &mut Cx<'_, '_>) -> Results {
    let all = cx.all()?;
    let first = *all.first().ok_or_else(|| Refusal::new("expected at least one operand"))?;
    let axis = cx.axis("axis", 1, cx.rank(first))?;
    let y = cx.concat(&all, axis)?;
    cx.one(y)
}

fn pad(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    let rank = shape.rank();
    let old = cx.opset < 11;
    let pads: Vec<Dim> = if old {
        let list = cx.ints("pads").or_else(|| cx.ints("paddings"));
        let list = list.ok_or_else(|| Refusal::new("expected the attribute `pads`"))?;
        list.iter().map(|v| Dim::from(*v)).collect()
    } else {
        cx.dims(1, Range { lo: 0, ..SIZES })?
    };
    let hidden = !old && cx.has(3) && cx.held(3)?.elements().is_none();
    let (pads, axes) = if hidden {
        (runtime_pads(cx, rank)?, (0..rank).collect())
    } else if !old && cx.has(3) {
        let axes = cx.const_ints(3, "axes")?;
        (pads, cx.axes_of(&axes, rank)?)
    } else {
        (pads, (0..rank).collect())
    };
    ensure!(pads.len() == 2 * axes.len(), "expected {} pads, got {}", 2 * axes.len(), pads.len());
    let (mut lo, mut hi) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
    for (i, axis) in axes.iter().enumerate() {
        lo[*axis] = pads[i].clone();
        hi[*axis] = pads[i + axes.len()].clone();
    }
    let mode = cx.text("mode", "constant");
    if mode != "constant" {
        let y = pad_by_index(cx, x, &lo, &hi, &mode)?;
        return cx.one(y);
    }
    // Negative paddings crop.
    let zero = Dim::ZERO;
    let mut y = x;
    for axis in 0..rank {
        let crop = |d: &Dim| (&zero - d).maximum(&zero);
        let ranges = &cx.importer.graph.ranges;
        let (a, b) = (ranges.simplify(&crop(&lo[axis])), ranges.simplify(&crop(&hi[axis])));
        let size = &(&cx.extent(y, axis) - &a) - &b;
        y = cx.slice(y, axis, &a, &size)?;
        let ranges = &cx.importer.graph.ranges;
        lo[axis] = ranges.simplify(&lo[axis].maximum(&zero));
        hi[axis] = ranges.simplify(&hi[axis].maximum(&zero));
    }
    if lo.iter().chain(&hi).all(|d| d.is(0)) {
        return cx.one(y);
    }
    let value = if old {
        let number = cx.float("value", 0.0);
        cx.like(x, number)?
    } else {
        match cx.opt(2)? {
            Some(value) => {
                let value = cx.reshape(value, &[])?;
                cx.cast(value, cx.dtype(x))?
            }
            None => cx.like_zero(x)?,
        }
    };
    let y = cx.pad_with(y, value, &lo, &hi)?;
    cx.one(y)
}

/// The paddings of every axis, of which those not among the axes given at run time have none.
fn runtime_pads(cx: &mut Cx<'_, '_>, rank: usize) -> Step<Vec<Dim>> {
    let (pads, axes) = (cx.v(1)?, cx.v(3)?);
    let pads = cx.cast(pads, DType::I64)?;
    let axes = cx.cast(axes, DType::I64)?;
    let axes = cx.counted_from_start(axes, &Dim::from(rank))?;
    let count = cx.extent(axes, 0);
    let mut both = Vec::new();
    for start in [Dim::ZERO, count.clone()] {
        let given = cx.slice(pads, 0, &start, &count)?;
        both.push(scattered(cx, 0.0, rank, axes, given)?);
    }
    let all = cx.concat(&both, 0)?;
    cx.bind(all, Range { lo: 0, ..SIZES })
}

/// Each padded axis is gathered from where its element mirrors, repeats or wraps around to.
fn pad_by_index(cx: &mut Cx<'_, '_>, x: Value, lo: &[Dim], hi: &[Dim], mode: &str) -> Step {
    let mut y = x;
    for axis in 0..lo.len() {
        if lo[axis].is(0) && hi[axis].is(0) {
            continue;
        }
        let extent = cx.extent(y, axis);
        let count = &(&lo[axis] + &hi[axis]) + &extent;
        let places = cx.range(&count, DType::I64)?;
        let before = cx.dim_value(&lo[axis], DType::I64)?;
        let at = cx.sub(places, before)?;
        let last = cx.dim_value(&(&extent - &Dim::ONE), DType::I64)?;
        let n = cx.dim_value(&extent, DType::I64)?;
        let index = match mode {
            "edge" => {
                let at = cx.with(S::Max, at, 0.0)?;
                cx.bin(S::Min, at, last)?
            }
            "wrap" => cx.bin(S::FloorMod, at, n)?,
            "reflect" => {
                // A triangle wave of period 2 (n - 1); an axis of one element repeats it.
                let period = cx.with(S::Mul, last, 2.0)?;
                let period = cx.with(S::Max, period, 1.0)?;
                let phase = cx.bin(S::FloorMod, at, period)?;
                let mirrored = cx.sub(period, phase)?;
                let index = cx.bin(S::Min, phase, mirrored)?;
                cx.bin(S::Min, index, last)?
            }
            other => {
                return Err(Refusal::new(format!(
                    "expected `mode` constant, edge, reflect or wrap, got `{other}`"
                )));
            }
        };
        y = cx.gather(y, index, axis)?;
    }
    Ok(y)
}

fn depth_to_space(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    ensure!(shape.rank() == 4, "expected a rank of 4, got {shape}");
    let b = cx.int("blocksize", 0);
    ensure!(b > 0, "expected a positive `blocksize`, got {b}");
    let block = Dim::from(b);
    let depth = shape[1].floor_div(&Dim::from(b.saturating_mul(b)));
    let (split, perm): (Vec<Dim>, _) = if cx.text("mode", "DCR") == "CRD" {
        (
            vec![
                shape[0].clone(),
                depth.clone(),
                block.clone(),
                block.clone(),
                shape[2].clone(),
                shape[3].clone(),
            ],
            [0, 1, 4, 2, 5, 3],
        )
    } else {
        (
            vec![
                shape[0].clone(),
                block.clone(),
                block.clone(),
                depth.clone(),
                shape[2].clone(),
                shape[3].clone(),
            ],
            [0, 3, 4, 1, 5, 2],
        )
    };
    let x = cx.reshape(x, &split)?;
    let x = cx.transpose(x, &perm)?;
    let y = cx.reshape(x, &[shape[0].clone(), depth, &shape[2] * &block, &shape[3] * &block])?;
    cx.one(y)
}

fn space_to_depth(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    ensure!(shape.rank() == 4, "expected a rank of 4, got {shape}");
    let b = cx.int("blocksize", 0);
    ensure!(b > 0, "expected a positive `blocksize`, got {b}");
    let block = Dim::from(b);
    let (h, w) = (shape[2].floor_div(&block), shape[3].floor_div(&block));
    let split = [shape[0].clone(), shape[1].clone(), h.clone(), block.clone(), w.clone(), block.clone()];
    let x = cx.reshape(x, &split)?;
    let x = cx.transpose(x, &[0, 3, 5, 1, 2, 4])?;
    let y = cx.reshape(x, &[shape[0].clone(), &shape[1] * &Dim::from(b.saturating_mul(b)), h, w])?;
    cx.one(y)
}

fn center_crop_pad(cx: &mut Cx<'_, '_>) -> Results {
    let mut x = cx.v(0)?;
    let rank = cx.rank(x);
    let axes = match cx.ints("axes") {
        Some(axes) => cx.axes_of(axes, rank)?,
        None => (0..rank).collect(),
    };
    let target = cx.dims(1, Range::EXTENT)?;
    ensure!(target.len() == axes.len(), "expected {} extents, got {}", axes.len(), target.len());
    let two = Dim::from(2i64);
    for (axis, wanted) in axes.into_iter().zip(&target) {
        let extent = cx.extent(x, axis);
        let ranges = &cx.importer.graph.ranges;
        let surplus = ranges.simplify(&(&extent - wanted).maximum(&Dim::ZERO));
        let kept = ranges.simplify(&extent.minimum(wanted));
        let start = ranges.simplify(&surplus.floor_div(&two));
        x = cx.slice(x, axis, &start, &kept)?;
        let ranges = &cx.importer.graph.ranges;
        let missing = ranges.simplify(&(wanted - &kept));
        if missing.is(0) {
            continue;
        }
        let (mut lo, mut hi) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
        lo[axis] = missing.floor_div(&two);
        hi[axis] = &missing - &lo[axis];
        let zero = cx.like_zero(x)?;
        x = cx.pad_with(x, zero, &lo, &hi)?;
    }
    cx.one(x)
}

/// Element t of a sequence of length n comes from n - 1 - t if that is one of the sequence, else from t.
fn reverse_sequence(cx: &mut Cx<'_, '_>) -> Results {
    let (x, lengths) = (cx.v(0)?, cx.v(1)?);
    let (time, batch) = (cx.int("time_axis", 0), cx.int("batch_axis", 1));
    let (time, batch) = (cx.axis_of(time, cx.rank(x))?, cx.axis_of(batch, cx.rank(x))?);
    let y = reverse_within(cx, x, lengths, time, batch)?;
    cx.one(y)
}

/// The start of each sequence reversed, up to its length.
pub(crate) fn reverse_within(
    cx: &mut Cx<'_, '_>,
    x: Value,
    lengths: Value,
    time: usize,
    batch: usize,
) -> Step {
    let shape = cx.shape(x);
    let steps = cx.iota(&shape, time, DType::I64)?;
    let lengths = cx.cast(lengths, DType::I64)?;
    let lengths = cx.along(lengths, batch, shape.rank())?;
    let last = cx.with(S::Sub, lengths, 1.0)?;
    let mirrored = cx.sub(last, steps)?;
    let inside = cx.is(S::Ge, mirrored, 0.0)?;
    let from = cx.select(inside, mirrored, steps)?;
    cx.node(Op::GatherElements, &[x, from], [crate::graph::Attr::Int(time as i64)])
}
