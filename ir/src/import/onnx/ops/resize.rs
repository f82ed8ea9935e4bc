//! Resizing: each axis is interpolated on its own, from places and weights that the graph computes.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::image::cubic_weight;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[("Resize", 10, resize), ("Upsample", 1, upsample)];

/// One axis to resize.
struct Axis {
    axis: usize,
    input: Dim,
    output: Dim,
    /// The factor, if it is a number; else the ratio of the extents.
    scale: Option<f64>,
    /// The factor, if only running shows it: a scalar of f64.
    factor: Option<Value>,
    /// Where the part that is resized starts and ends, as scalars of f64.
    roi: Option<(Value, Value)>,
}

struct Modes {
    mode: String,
    coordinates: String,
    nearest: String,
    cubic: f64,
    exclude_outside: bool,
    antialias: bool,
    extrapolation: f64,
}

fn upsample(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    let mode = cx.text("mode", "nearest");
    let mode = if mode == "bilinear" { "linear".to_owned() } else { mode };
    if cx.opset >= 9 && cx.held(1)?.as_constant().is_none() {
        let axes: Vec<usize> = (0..rank).collect();
        let plan = by_runtime_scales(cx, x, &axes, 1)?;
        let y = interpolate(cx, x, &plan, &asymmetric(mode))?;
        return cx.one(y);
    }
    let scales = if cx.opset >= 9 {
        cx.const_floats(1, "scales")?
    } else if let Some(scales) = cx.floats("scales") {
        scales.iter().map(|s| f64::from(*s)).collect()
    } else {
        ensure!(rank == 4, "expected a rank of 4, got {rank}");
        vec![1.0, 1.0, cx.float("height_scale", 1.0), cx.float("width_scale", 1.0)]
    };
    by_old_scales(cx, x, &scales, mode)
}

/// What resizing was before version 11.
fn asymmetric(mode: String) -> Modes {
    Modes {
        mode,
        coordinates: "asymmetric".into(),
        nearest: "floor".into(),
        cubic: -0.75,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
    }
}

fn by_old_scales(cx: &mut Cx<'_, '_>, x: Value, scales: &[f64], mode: String) -> Results {
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    let plan = by_scales(cx, x, &axes, scales)?;
    let y = interpolate(cx, x, &plan, &asymmetric(mode))?;
    cx.one(y)
}

fn by_scales(cx: &Cx<'_, '_>, x: Value, axes: &[usize], scales: &[f64]) -> Step<Vec<Axis>> {
    ensure!(scales.len() == axes.len(), "expected {} scales, got {}", axes.len(), scales.len());
    axes.iter()
        .zip(scales)
        .map(|(axis, scale)| {
            ensure!(*scale > 0.0 && scale.is_finite(), "expected positive scales, got {scales:?}");
            let input = cx.extent(x, *axis);
            let output = match input.as_const() {
                Some(n) => Dim::from((n as f64 * scale).floor() as i64),
                None => scaled(&input, *scale)?,
            };
            Ok(Axis { axis: *axis, input, output, scale: Some(*scale), factor: None, roi: None })
        })
        .collect()
}

/// `floor(extent * scale)` of a symbolic extent and a scale that is a ratio of small numbers.
fn scaled(extent: &Dim, scale: f64) -> Step<Dim> {
    for divisor in 1..=64i64 {
        let times = scale * divisor as f64;
        if (times - times.round()).abs() < 1e-5 * divisor as f64 && times.round() >= 1.0 {
            return Ok((extent * &Dim::from(times.round() as i64)).floor_div(&Dim::from(divisor)));
        }
    }
    Err(Refusal::new(format!(
        "expected a scale that is a ratio of small numbers for the extent {extent}, got {scale}"
    ))
    .nearest("`sizes`, or this extent bound to a number"))
}

fn resize(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    let mode = cx.text("mode", "nearest");
    if cx.opset < 11 {
        let scales = cx.const_floats(1, "scales")?;
        return by_old_scales(cx, x, &scales, mode);
    }
    let modes = Modes {
        mode,
        coordinates: cx.text("coordinate_transformation_mode", "half_pixel"),
        nearest: cx.text("nearest_mode", "round_prefer_floor"),
        cubic: cx.float("cubic_coeff_a", -0.75),
        exclude_outside: cx.flag("exclude_outside", false),
        antialias: cx.flag("antialias", false),
        extrapolation: cx.float("extrapolation_value", 0.0),
    };
    let axes = match cx.ints("axes") {
        Some(axes) => cx.axes_of(axes, rank)?,
        None => (0..rank).collect(),
    };
    let empty =
        |cx: &Cx<'_, '_>, i: usize| !cx.has(i) || cx.held(i).is_ok_and(|h| h.ty.shape.elements().is(0));
    let mut plan = if !empty(cx, 2) && cx.held(2)?.as_constant().is_none() && !modes.antialias {
        by_runtime_scales(cx, x, &axes, 2)?
    } else if !empty(cx, 2) {
        let scales = cx.const_floats(2, "scales")?;
        by_scales(cx, x, &axes, &scales)?
    } else {
        ensure!(!empty(cx, 3), "expected `scales` or `sizes`");
        let sizes = cx.dims(3, crate::dim::Range { lo: 1, ..crate::dim::Range::EXTENT })?;
        by_sizes(cx, x, &axes, &sizes)?
    };
    if modes.coordinates == "tf_crop_and_resize" {
        let roi = cx.v(1)?;
        let count = cx.fixed(roi, 0)?;
        ensure!(count == 2 * axes.len(), "expected {} entries of `roi`, got {count}", 2 * axes.len());
        let roi = cx.cast(roi, DType::F64)?;
        for (i, axis) in plan.iter_mut().enumerate() {
            let (start, end) = (Dim::from(i), Dim::from(axes.len() + i));
            axis.roi = Some((cx.pick(roi, 0, &start)?, cx.pick(roi, 0, &end)?));
        }
    }
    let y = interpolate(cx, x, &plan, &modes)?;
    cx.one(y)
}

/// Extents follow from the scales when the graph runs.
fn by_runtime_scales(cx: &mut Cx<'_, '_>, x: Value, axes: &[usize], operand: usize) -> Step<Vec<Axis>> {
    let scales = cx.v(operand)?;
    let count = cx.fixed(scales, 0)?;
    ensure!(count == axes.len(), "expected {} scales, got {count}", axes.len());
    let scales = cx.cast(scales, DType::F64)?;
    let inputs: Vec<Dim> = axes.iter().map(|a| cx.extent(x, *a)).collect();
    let extents = cx.dims_value(&inputs)?;
    let extents = cx.cast(extents, DType::F64)?;
    let sizes = cx.mul(extents, scales)?;
    let sizes = cx.un(S::Floor, sizes)?;
    runtime_plan(cx, axes, inputs, sizes, scales)
}

/// The sizes of one ratio to the extents, the smallest or the largest of those to the sizes given.
fn by_runtime_ratio(cx: &mut Cx<'_, '_>, x: Value, axes: &[usize], sizes: &[Dim], op: Op) -> Step<Vec<Axis>> {
    let inputs: Vec<Dim> = axes.iter().map(|a| cx.extent(x, *a)).collect();
    let (sizes, extents) = (cx.dims_value(sizes)?, cx.dims_value(&inputs)?);
    let (sizes, extents) = (cx.cast(sizes, DType::F64)?, cx.cast(extents, DType::F64)?);
    let ratios = cx.div(sizes, extents)?;
    let ratio = cx.reduce(op, ratios, &[0], true)?;
    let scales = cx.broadcast(ratio, &[Dim::from(axes.len())])?;
    let sizes = cx.mul(extents, scales)?;
    let sizes = cx.with(S::Add, sizes, 0.5)?;
    let sizes = cx.un(S::Floor, sizes)?;
    runtime_plan(cx, axes, inputs, sizes, scales)
}

fn runtime_plan(
    cx: &mut Cx<'_, '_>,
    axes: &[usize],
    inputs: Vec<Dim>,
    sizes: Value,
    scales: Value,
) -> Step<Vec<Axis>> {
    let sizes = cx.cast(sizes, DType::I64)?;
    let outputs = cx.bind(sizes, crate::dim::Range::EXTENT)?;
    let mut plan = Vec::new();
    for (i, (axis, (input, output))) in axes.iter().zip(inputs.into_iter().zip(outputs)).enumerate() {
        let factor = Some(cx.pick(scales, 0, &Dim::from(i))?);
        plan.push(Axis { axis: *axis, input, output, scale: None, factor, roi: None });
    }
    Ok(plan)
}

fn by_sizes(cx: &mut Cx<'_, '_>, x: Value, axes: &[usize], sizes: &[Dim]) -> Step<Vec<Axis>> {
    ensure!(sizes.len() == axes.len(), "expected {} sizes, got {}", axes.len(), sizes.len());
    let policy = cx.text("keep_aspect_ratio_policy", "stretch");
    if policy == "stretch" {
        let axis = |(axis, size): (&usize, &Dim)| {
            let input = cx.extent(x, *axis);
            let ratio = input
                .as_const()
                .zip(size.as_const())
                .filter(|(n, _)| *n > 0)
                .map(|(n, m)| m as f64 / n as f64);
            Axis { axis: *axis, input, output: size.clone(), scale: ratio, factor: None, roi: None }
        };
        return Ok(axes.iter().zip(sizes).map(axis).collect());
    }
    let op = match policy.as_str() {
        "not_larger" => Op::ReduceMin,
        "not_smaller" => Op::ReduceMax,
        other => {
            return Err(Refusal::new(format!("expected a known `keep_aspect_ratio_policy`, got `{other}`")));
        }
    };
    let known = |(axis, size): (&usize, &Dim)| {
        Some(size.as_const()? as f64 / cx.extent(x, *axis).as_const()?.max(1) as f64)
    };
    let Some(ratios) = axes.iter().zip(sizes).map(known).collect::<Option<Vec<f64>>>() else {
        return by_runtime_ratio(cx, x, axes, sizes, op);
    };
    let scale = match op {
        Op::ReduceMin => ratios.iter().copied().fold(f64::INFINITY, f64::min),
        _ => ratios.iter().copied().fold(0.0, f64::max),
    };
    axes.iter()
        .map(|axis| {
            let n = cx.fixed(x, *axis)?;
            let output = Dim::from((n as f64 * scale + 0.5).floor() as i64);
            Ok(Axis { axis: *axis, input: Dim::from(n), output, scale: Some(scale), factor: None, roi: None })
        })
        .collect()
}

fn interpolate(cx: &mut Cx<'_, '_>, x: Value, plan: &[Axis], modes: &Modes) -> Step {
    let dtype = cx.dtype(x);
    let nearest = modes.mode == "nearest";
    let mut y = if nearest || dtype.is_float() { x } else { cx.cast(x, DType::F32)? };
    let mut outside: Option<Value> = None;
    let rank = cx.rank(x);
    for axis in plan {
        let same = axis.input == axis.output && axis.scale.is_none_or(|s| s == 1.0);
        if same && modes.coordinates != "tf_crop_and_resize" {
            continue;
        }
        let place = places(cx, axis, modes)?;
        if modes.coordinates == "tf_crop_and_resize" {
            let last = cx.dim_value(&(&axis.input - &Dim::ONE), DType::F64)?;
            let (low, high) = (cx.is(S::Lt, place, 0.0)?, cx.bin(S::Gt, place, last)?);
            let beyond = cx.bin(S::Or, low, high)?;
            let beyond = cx.along(beyond, axis.axis, rank)?;
            outside = Some(match outside {
                Some(so_far) => cx.bin(S::Or, so_far, beyond)?,
                None => beyond,
            });
        }
        y = if nearest {
            let index = nearest_index(cx, place, &modes.nearest)?;
            let index = limited(cx, index, &axis.input)?;
            cx.gather(y, index, axis.axis)?
        } else {
            weighted(cx, y, place, axis, modes)?
        };
    }
    if let Some(outside) = outside {
        let other = cx.like(y, modes.extrapolation)?;
        y = cx.select(outside, other, y)?;
    }
    if cx.dtype(y) != dtype {
        y = cx.un(S::Round, y)?;
    }
    cx.cast(y, dtype)
}

/// Where each element of the result lies in the input, as f64.
fn places(cx: &mut Cx<'_, '_>, axis: &Axis, modes: &Modes) -> Step {
    let wide = DType::F64;
    let steps = cx.range(&axis.output, wide)?;
    let (input, output) = (cx.dim_value(&axis.input, wide)?, cx.dim_value(&axis.output, wide)?);
    let scale = match (axis.factor, axis.scale) {
        (Some(factor), _) => factor,
        (None, Some(scale)) => cx.number(wide, scale)?,
        (None, None) => cx.div(output, input)?,
    };
    // The extent before it was rounded to a whole number.
    let exact = cx.mul(scale, input)?;
    let half_pixel = |cx: &mut Cx<'_, '_>| {
        let middles = cx.with(S::Add, steps, 0.5)?;
        let scaled = cx.div(middles, scale)?;
        cx.with(S::Sub, scaled, 0.5)
    };
    let single = |cx: &mut Cx<'_, '_>, otherwise: Value, alone: f64| {
        let one = cx.is(S::Eq, exact, 1.0)?;
        let alone = cx.number(wide, alone)?;
        cx.select(one, alone, otherwise)
    };
    match modes.coordinates.as_str() {
        "half_pixel" => half_pixel(cx),
        "pytorch_half_pixel" => {
            let place = half_pixel(cx)?;
            single(cx, place, -0.5)
        }
        "half_pixel_symmetric" => {
            let place = half_pixel(cx)?;
            let adjustment = cx.div(output, exact)?;
            let one = cx.number(wide, 1.0)?;
            let rest = cx.sub(one, adjustment)?;
            let center = cx.with(S::Div, input, 2.0)?;
            let offset = cx.mul(center, rest)?;
            cx.add(place, offset)
        }
        "asymmetric" => cx.div(steps, scale),
        "align_corners" => {
            let (last, span) = (cx.with(S::Sub, input, 1.0)?, cx.with(S::Sub, exact, 1.0)?);
            let scaled = cx.mul(steps, last)?;
            let place = cx.div(scaled, span)?;
            single(cx, place, 0.0)
        }
        "tf_crop_and_resize" => {
            let (start, end) = axis.roi.ok_or_else(|| Refusal::new("expected a `roi`"))?;
            let part = cx.sub(end, start)?;
            let (last, span) = (cx.with(S::Sub, input, 1.0)?, cx.with(S::Sub, exact, 1.0)?);
            let width = cx.mul(last, part)?;
            let scaled = cx.mul(steps, width)?;
            let place = cx.div(scaled, span)?;
            let middle = cx.with(S::Mul, width, 0.5)?;
            let one = cx.is(S::Eq, exact, 1.0)?;
            let place = cx.select(one, middle, place)?;
            let first = cx.mul(last, start)?;
            cx.add(place, first)
        }
        other => {
            Err(Refusal::new(format!("expected a known `coordinate_transformation_mode`, got `{other}`")))
        }
    }
}

fn nearest_index(cx: &mut Cx<'_, '_>, place: Value, mode: &str) -> Step {
    match mode {
        "floor" => cx.un(S::Floor, place),
        "ceil" => cx.un(S::Ceil, place),
        "round_prefer_floor" => {
            let shifted = cx.with(S::Sub, place, 0.5)?;
            cx.un(S::Ceil, shifted)
        }
        "round_prefer_ceil" => {
            let shifted = cx.with(S::Add, place, 0.5)?;
            cx.un(S::Floor, shifted)
        }
        other => Err(Refusal::new(format!("expected a known `nearest_mode`, got `{other}`"))),
    }
}

fn limited(cx: &mut Cx<'_, '_>, index: Value, extent: &Dim) -> Step {
    let index = cx.cast(index, DType::I64)?;
    let last = cx.dim_value(&(extent - &Dim::ONE), DType::I64)?;
    let index = cx.with(S::Max, index, 0.0)?;
    cx.bin(S::Min, index, last)
}

/// A sum of neighbours by weight; the place lies in `(base, base + 1]`.
fn weighted(cx: &mut Cx<'_, '_>, x: Value, place: Value, axis: &Axis, modes: &Modes) -> Step {
    let linear = match modes.mode.as_str() {
        "linear" | "bilinear" => true,
        "cubic" => false,
        other => {
            return Err(Refusal::new(format!("expected `mode` nearest, linear or cubic, got `{other}`")));
        }
    };
    // Shrinking with antialiasing widens the kernel.
    let shrink = match (modes.antialias, axis.scale) {
        (true, Some(scale)) => scale.min(1.0),
        (true, None) => return Err(Refusal::not_constant("sizes")),
        (false, _) => 1.0,
    };
    let radius = if linear { 1.0 } else { 2.0 };
    let first = (-radius / shrink).floor() as i64 + 1;
    ensure!(first > -4096, "expected a scale of at least 1/2048, got {shrink}");
    let above = cx.un(S::Ceil, place)?;
    let base = cx.with(S::Sub, above, 1.0)?;
    let ratio = cx.sub(place, base)?;
    let wide = DType::F64;
    let (mut taps, mut sum): (Vec<(Value, Value)>, Option<Value>) = (Vec::new(), None);
    for tap in first..=1 - first {
        let at = cx.with(S::Add, base, tap as f64)?;
        let number = cx.number(wide, tap as f64)?;
        let distance = cx.sub(number, ratio)?;
        let distance = cx.with(S::Mul, distance, shrink)?;
        let mut weight = if linear {
            let size = cx.un(S::Abs, distance)?;
            let one = cx.number(wide, 1.0)?;
            let rest = cx.sub(one, size)?;
            cx.clamp(rest, 0.0, 1.0)?
        } else {
            cubic_weight(cx, distance, modes.cubic)?
        };
        if modes.exclude_outside {
            let last = cx.dim_value(&(&axis.input - &Dim::ONE), wide)?;
            let (low, high) = (cx.is(S::Ge, at, 0.0)?, cx.bin(S::Le, at, last)?);
            let inside = cx.bin(S::And, low, high)?;
            let zero = cx.number(wide, 0.0)?;
            weight = cx.select(inside, weight, zero)?;
        }
        sum = Some(match sum {
            Some(so_far) => cx.add(so_far, weight)?,
            None => weight,
        });
        taps.push((limited(cx, at, &axis.input)?, weight));
    }
    let rank = cx.rank(x);
    let dtype = cx.dtype(x);
    let mut result: Option<Value> = None;
    for (index, mut weight) in taps {
        if let Some(sum) = sum.filter(|_| modes.exclude_outside || shrink < 1.0) {
            weight = cx.div(weight, sum)?;
        }
        let weight = cx.cast(weight, dtype)?;
        let weight = cx.along(weight, axis.axis, rank)?;
        let part = cx.node(Op::Gather, &[x, index], [crate::graph::Attr::Int(axis.axis as i64)])?;
        let part = cx.mul(part, weight)?;
        result = Some(match result {
            Some(so_far) => cx.add(so_far, part)?,
            None => part,
        });
    }
    Ok(result.unwrap_or(x))
}
