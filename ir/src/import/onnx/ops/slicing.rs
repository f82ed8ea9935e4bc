//! Slices and splits, with ends that are numbers, expressions or known only when the graph runs.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure, sequence};
use super::runtime_axes;
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Ints, Op, Value};
use crate::scalar::ScalarOp as S;
use crate::shape::Shape;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] =
    &[("Split", 1, split), ("SplitToSequence", 11, split_to_sequence), ("Slice", 1, slice)];

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
    let hidden = |i: usize| cx.opset >= 10 && cx.has(i) && cx.held(i).is_ok_and(|h| h.elements().is_none());
    if hidden(3) || hidden(4) {
        let y = runtime_axes::slice(cx, x)?;
        return cx.one(y);
    }
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
        let at = cx.counted_from_start(at, extent)?;
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
