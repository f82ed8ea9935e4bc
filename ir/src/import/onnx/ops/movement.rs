//! Operators that move elements: reshapes, slices, joins, paddings.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure, sequence};
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Ints, Op, Value};
use crate::scalar::ScalarOp as S;
use crate::shape::Shape;

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
    ("Split", 1, split),
    ("SplitToSequence", 11, split_to_sequence),
    ("Slice", 1, slice),
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

fn split(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let sizes = if cx.has(1) {
        cx.dims(1, Range::EXTENT)?
    } else if let Some(sizes) = cx.ints("split") {
        sizes.iter().map(|s| Dim::from(*s)).collect()
    } else {
        let parts = cx.int("num_outputs", cx.node.output.len() as i64);
        ensure!((1..=1 << 16).contains(&parts), "expected a positive number of parts, got {parts}");
        let extent = cx.extent(x, axis);
        let size = extent.ceil_div(&Dim::from(parts));
        let size = extent.exact_div(&Dim::from(parts)).unwrap_or(size);
        let last = &extent - &(&size * &Dim::from(parts - 1));
        let mut sizes = vec![size; parts as usize - 1];
        sizes.push(last);
        sizes
    };
    let parts = cut(cx, x, axis, &sizes)?;
    cx.many(&parts)
}

fn cut(cx: &mut Cx<'_, '_>, x: Value, axis: usize, sizes: &[Dim]) -> Step<Vec<Value>> {
    let mut start = Dim::ZERO;
    let mut parts = Vec::new();
    for size in sizes {
        parts.push(cx.slice(x, axis, &start, size)?);
        start = &start + size;
    }
    Ok(parts)
}

fn split_to_sequence(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let axis = cx.axis("axis", 0, cx.rank(x))?;
    let extent = cx.fixed(x, axis)? as i64;
    let sizes: Vec<i64> = if !cx.has(1) {
        vec![1; extent as usize]
    } else {
        let given = cx.const_ints(1, "split")?;
        if cx.held(1)?.ty.shape.rank() == 0 {
            let size = given.first().copied().unwrap_or(1);
            ensure!(size > 0, "expected a positive `split`, got {size}");
            (0..extent).step_by(size as usize).map(|at| size.min(extent - at)).collect()
        } else {
            given
        }
    };
    let sizes: Vec<Dim> = sizes.into_iter().map(Dim::from).collect();
    let mut parts = cut(cx, x, axis, &sizes)?;
    if !cx.has(1) && !cx.flag("keepdims", true) {
        parts = parts.into_iter().map(|p| cx.squeeze(p, &[axis])).collect::<Step<Vec<Value>>>()?;
    }
    let items = parts.into_iter().map(|p| cx.out(p)).collect();
    sequence(items)
}

/// The first index and the number of indices of a slice of numbers, cut to the extent.
pub(crate) fn clamped(start: i64, end: i64, step: i64, extent: i64) -> Option<(i64, i64)> {
    let from_start = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
    if step > 0 {
        let start = from_start(start).clamp(0, extent);
        let end = from_start(end).clamp(0, extent);
        Some((start, ((end - start).max(0) as u64).div_ceil(step as u64) as i64))
    } else if step < 0 {
        let start = from_start(start).clamp(-1, extent - 1);
        let end = from_start(end).clamp(-1, extent - 1);
        let size = ((start - end).max(0) as u64).div_ceil(step.unsigned_abs()) as i64;
        Some((if size == 0 { 0 } else { start }, size))
    } else {
        None
    }
}

fn slice(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    let rank = shape.rank();
    let numbers =
        |name: &str| -> Option<Vec<Dim>> { Some(cx.ints(name)?.iter().map(|v| Dim::from(*v)).collect()) };
    let (starts, ends, axes, steps) = if cx.opset < 10 {
        let missing = || Refusal::new("expected `starts` and `ends`");
        let (starts, ends) = (numbers("starts").ok_or_else(missing)?, numbers("ends").ok_or_else(missing)?);
        (Some(starts), Some(ends), cx.ints("axes").map(<[i64]>::to_vec), None)
    } else {
        let axes = if cx.has(3) { Some(cx.const_ints(3, "axes")?) } else { None };
        let steps = if cx.has(4) { Some(cx.const_ints(4, "steps")?) } else { None };
        let known = |i: usize| -> Step<Option<Vec<Dim>>> { Ok(cx.held(i)?.elements().map(|e| e.to_vec())) };
        (known(1)?, known(2)?, axes, steps)
    };
    let count = match &starts {
        Some(starts) => starts.len(),
        None => cx.held(1)?.ty.shape.elements().as_const().unwrap_or(0) as usize,
    };
    let axes = cx.axes_of(&axes.unwrap_or_else(|| (0..count as i64).collect()), rank)?;
    let steps = steps.unwrap_or_else(|| vec![1; count]);
    let paired =
        axes.len() == count && steps.len() == count && ends.as_ref().is_none_or(|e| e.len() == count);
    ensure!(paired, "expected {count} entries of `ends`, `axes` and `steps`");
    let (mut all_starts, mut all_sizes) = (vec![Dim::ZERO; rank], shape.to_vec());
    let mut all_steps: Ints = (0..rank).map(|_| 1).collect();
    for (i, axis) in axes.into_iter().enumerate() {
        let (start, end) = (starts.as_ref().map(|s| &s[i]), ends.as_ref().map(|e| &e[i]));
        let bounds = match symbolic_slice(cx, start, end, steps[i], &shape[axis])? {
            Some(bounds) => bounds,
            None => runtime_slice(cx, i, steps[i], &shape[axis])?,
        };
        (all_starts[axis], all_sizes[axis]) = bounds;
        all_steps[axis] = steps[i];
    }
    if all_steps.iter().all(|s| *s == 1) && all_starts.iter().all(|s| s.is(0)) && *all_sizes == *shape {
        return cx.one(x);
    }
    let attrs = [Shape::from(&all_starts[..]).into(), Shape::from(&all_sizes[..]).into(), all_steps.into()];
    let y = cx.node(Op::Slice, &[x], attrs)?;
    cx.one(y)
}

/// Start and size of a slice whose ends are of known sign.
fn symbolic_slice(
    cx: &mut Cx<'_, '_>,
    start: Option<&Dim>,
    end: Option<&Dim>,
    step: i64,
    extent: &Dim,
) -> Step<Option<(Dim, Dim)>> {
    ensure!(step != 0, "expected steps other than 0");
    let (Some(start), Some(end)) = (start, end) else { return Ok(None) };
    if let (Some(s), Some(e), Some(n)) = (start.as_const(), end.as_const(), extent.as_const()) {
        return Ok(clamped(s, e, step, n).map(|(s, n)| (Dim::from(s), Dim::from(n))));
    }
    let ranges = &cx.importer.graph.ranges;
    let huge = |d: &Dim| d.as_const().is_some_and(|c| c >= i64::from(i32::MAX));
    let least = |d: &Dim| d.as_const().is_some_and(|c| c <= -i64::from(i32::MAX));
    let from_start = |d: &Dim| match ranges.bounds(d) {
        b if b.lo >= 0 => Some(d.clone()),
        b if b.hi < 0 => Some(d + extent),
        _ => None,
    };
    let cut = |at: &Dim, lo: &Dim, hi: &Dim| ranges.simplify(&at.minimum(hi).maximum(lo));
    let last = extent - &Dim::ONE;
    let (lo, hi) = if step > 0 { (Dim::ZERO, extent.clone()) } else { (Dim::from(-1i64), last) };
    let place = |d: &Dim| {
        if huge(d) {
            return Some(hi.clone());
        }
        if least(d) {
            return Some(lo.clone());
        }
        from_start(d).map(|at| cut(&at, &lo, &hi))
    };
    let (Some(start), Some(end)) = (place(start), place(end)) else { return Ok(None) };
    let span = if step > 0 { &end - &start } else { &start - &end };
    let size = span.ceil_div(&Dim::from(step.saturating_abs()));
    Ok(Some((start, ranges.simplify(&size.maximum(&Dim::ZERO)))))
}

/// Start and size of the slice along one axis, computed when the graph runs.
fn runtime_slice(cx: &mut Cx<'_, '_>, i: usize, step: i64, extent: &Dim) -> Step<(Dim, Dim)> {
    ensure!(step != 0, "expected steps other than 0");
    let n = cx.dim_value(extent, DType::I64)?;
    let (lo, hi) = if step > 0 {
        (cx.number(DType::I64, 0.0)?, n)
    } else {
        (cx.number(DType::I64, -1.0)?, cx.with(S::Sub, n, 1.0)?)
    };
    let mut ends = Vec::new();
    for operand in [1, 2] {
        let all = cx.v(operand)?;
        let at = cx.pick(all, 0, &Dim::from(i))?;
        let at = cx.cast(at, DType::I64)?;
        let at = cx.from_start(at, extent)?;
        let at = cx.bin(S::Max, at, lo)?;
        ends.push(cx.bin(S::Min, at, hi)?);
    }
    let (first, last) = if step > 0 { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
    let span = cx.sub(last, first)?;
    let width = step.saturating_abs() as f64;
    let rounded = cx.with(S::Add, span, width - 1.0)?;
    let size = cx.with(S::Div, rounded, width)?;
    let size = cx.with(S::Max, size, 0.0)?;
    let start = cx.with(S::Max, ends[0], 0.0)?;
    let both = [cx.reshape(start, &[Dim::ONE])?, cx.reshape(size, &[Dim::ONE])?];
    let both = cx.concat(&both, 0)?;
    let mut names = cx.bind(both, Range::EXTENT)?;
    let size = names.remove(1);
    Ok((names.remove(0), size))
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
    let axes = if !old && cx.has(3) {
        let axes = cx.const_ints(3, "axes")?;
        cx.axes_of(&axes, rank)?
    } else {
        (0..rank).collect()
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
