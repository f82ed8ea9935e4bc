//! Fourier transforms as contractions with matrices of sines and cosines, and windows.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Op, Value};
use crate::scalar::ScalarOp as S;
use crate::tensor::Tensor;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("DFT", 17, dft),
    ("STFT", 17, stft),
    ("HannWindow", 17, |c| window(c, &[0.5, -0.5])),
    ("HammingWindow", 17, |c| window(c, &[25.0 / 46.0, -21.0 / 46.0])),
    ("BlackmanWindow", 17, |c| window(c, &[0.42, -0.5, 0.08])),
    ("MelWeightMatrix", 17, mel_weights),
];

/// Larger matrices are refused.
const MOST_POINTS: usize = 1 << 13;

/// A sum of cosines over the window.
fn window(cx: &mut Cx<'_, '_>, factors: &[f64]) -> Results {
    let dtype = cx.dtype_attr("output_datatype")?.unwrap_or(DType::F32);
    let size =
        cx.dims(0, Range::EXTENT)?.first().cloned().ok_or_else(|| Refusal::new("expected a `size`"))?;
    let wide = DType::F64;
    let steps = cx.range(&size, wide)?;
    let period = if cx.flag("periodic", true) { size.clone() } else { &size - &Dim::ONE };
    let period = cx.dim_value(&period, wide)?;
    let turns = cx.div(steps, period)?;
    let mut sum = cx.number(wide, factors[0])?;
    for (i, factor) in factors.iter().enumerate().skip(1) {
        let angle = cx.with(S::Mul, turns, std::f64::consts::TAU * i as f64)?;
        let cosine = cx.un(S::Cos, angle)?;
        let part = cx.with(S::Mul, cosine, *factor)?;
        sum = cx.add(sum, part)?;
    }
    let y = cx.broadcast(sum, &[size])?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// Cosines and sines of `2π·row·column / n`, as `rows x columns` matrices.
fn waves(cx: &mut Cx<'_, '_>, dtype: DType, rows: &Dim, columns: &Dim, n: &Dim) -> Step<(Value, Value)> {
    let sizes = [rows, columns, n].map(|d| d.as_const().and_then(|c| usize::try_from(c).ok()));
    if let [Some(rows), Some(columns), Some(n)] = sizes {
        return known_waves(cx, dtype, rows, columns, n);
    }
    let plane = [rows.clone(), columns.clone()];
    let (row, column) = (cx.iota(&plane, 0, DType::I64)?, cx.iota(&plane, 1, DType::I64)?);
    let product = cx.mul(row, column)?;
    let whole = cx.dim_value(n, DType::I64)?;
    // What is left of whole turns is exact, which the functions are not far from zero.
    let part = cx.bin(S::Rem, product, whole)?;
    let (part, whole) = (cx.cast(part, DType::F64)?, cx.cast(whole, DType::F64)?);
    let turns = cx.div(part, whole)?;
    let angle = cx.with(S::Mul, turns, std::f64::consts::TAU)?;
    let (cosines, sines) = (cx.un(S::Cos, angle)?, cx.un(S::Sin, angle)?);
    Ok((cx.cast(cosines, dtype)?, cx.cast(sines, dtype)?))
}

fn known_waves(
    cx: &mut Cx<'_, '_>,
    dtype: DType,
    rows: usize,
    columns: usize,
    n: usize,
) -> Step<(Value, Value)> {
    ensure!(rows.max(columns).max(n) <= MOST_POINTS, "expected at most {MOST_POINTS} points, got {n}");
    ensure!(n > 0, "expected a positive length");
    let wave = |f: fn(f64) -> f64| {
        let all = (0..rows).flat_map(|r| (0..columns).map(move |c| (r * c) % n));
        Tensor::from_f64_iter(
            dtype,
            &[rows, columns],
            all.map(|p| f(std::f64::consts::TAU * p as f64 / n as f64)),
        )
    };
    let (cosines, sines) = (wave(f64::cos)?, wave(f64::sin)?);
    Ok((cx.g().constant(cosines)?, cx.g().constant(sines)?))
}

/// Real and imaginary parts of the transform along an axis of a tensor whose last axis holds both, or the real.
fn transform(cx: &mut Cx<'_, '_>, x: Value, axis: usize, n: &Dim, inverse: bool, onesided: bool) -> Step {
    let rank = cx.rank(x);
    let dtype = cx.dtype(x);
    let parts = cx.fixed(x, rank - 1)?;
    let given = cx.extent(x, axis);
    let back_to_real = inverse && onesided;
    let bins = &n.floor_div(&Dim::from(2i64)) + &Dim::ONE;
    // Longer signals are cut, shorter ones are as if followed by zeros.
    let used = given.minimum(if back_to_real { &bins } else { n });
    let x = if used == given { x } else { cx.slice(x, axis, &Dim::ZERO, &used)? };
    let real = cx.pick(x, rank - 1, &Dim::ZERO)?;
    let imaginary = if parts == 2 { Some(cx.pick(x, rank - 1, &Dim::ONE)?) } else { None };
    let outputs = if onesided && !inverse { bins } else { n.clone() };
    let (mut cosines, mut sines) = waves(cx, dtype, &used, &outputs, n)?;
    if back_to_real {
        // The other half mirrors this one, but for the ends.
        let place = cx.range(&used, DType::I64)?;
        let (twice, whole) = (cx.with(S::Mul, place, 2.0)?, cx.dim_value(n, DType::I64)?);
        let (first, last) = (cx.is(S::Eq, place, 0.0)?, cx.bin(S::Eq, twice, whole)?);
        let end = cx.bin(S::Or, first, last)?;
        let (one, two) = (cx.number(dtype, 1.0)?, cx.number(dtype, 2.0)?);
        let factors = cx.select(end, one, two)?;
        let factors = cx.along(factors, 0, 2)?;
        cosines = cx.mul(cosines, factors)?;
        sines = cx.mul(sines, factors)?;
    }
    let along = |cx: &mut Cx<'_, '_>, v: Value, m: Value| {
        let y = cx.dot((v, m), (&[], &[]), (&[axis as i64], &[0]), dtype)?;
        cx.move_axis(y, rank - 2, axis)
    };
    // e^(-iθ) forwards, e^(iθ) backwards.
    let mut out_real = along(cx, real, cosines)?;
    let mut out_imaginary = along(cx, real, sines)?;
    if !inverse {
        out_imaginary = cx.un(S::Neg, out_imaginary)?;
    }
    if let Some(imaginary) = imaginary {
        let (c, s) = (along(cx, imaginary, cosines)?, along(cx, imaginary, sines)?);
        out_real = if inverse { cx.sub(out_real, s)? } else { cx.add(out_real, s)? };
        out_imaginary = cx.add(out_imaginary, c)?;
    }
    if inverse {
        let points = cx.dim_value(n, dtype)?;
        out_real = cx.div(out_real, points)?;
        out_imaginary = cx.div(out_imaginary, points)?;
    }
    let out_real = cx.unsqueeze(out_real, &[rank - 1])?;
    if back_to_real {
        return Ok(out_real);
    }
    let out_imaginary = cx.unsqueeze(out_imaginary, &[rank - 1])?;
    cx.concat(&[out_real, out_imaginary], rank - 1)
}

/// The one number of an operand that is an extent, or a name for it.
fn count(cx: &mut Cx<'_, '_>, operand: usize, what: &str) -> Step<Dim> {
    let all = cx.dims(operand, Range { lo: 1, ..Range::EXTENT })?;
    let one = all.first().filter(|d| d.as_const().is_none_or(|c| c > 0));
    one.cloned().ok_or_else(|| Refusal::new(format!("expected a positive `{what}`, got {all:?}")))
}

fn dft(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    ensure!(rank >= 2, "expected a rank of at least 2, got {rank}");
    let axis = if cx.opset < 20 {
        Some(cx.int("axis", 1))
    } else if cx.has(2) {
        cx.const_ints(2, "axis").ok().and_then(|axes| axes.first().copied())
    } else {
        Some(-2)
    };
    let Some(axis) = axis else { return dft_along_runtime_axis(cx, x) };
    let axis = cx.axis_of(axis, rank)?;
    ensure!(axis + 1 < rank, "expected an axis before the last one, got {axis}");
    let y = dft_along(cx, x, axis)?;
    cx.one(y)
}

fn dft_along(cx: &mut Cx<'_, '_>, x: Value, axis: usize) -> Step {
    let (inverse, onesided) = (cx.flag("inverse", false), cx.flag("onesided", false));
    let given = cx.extent(x, axis);
    let n = if cx.has(1) {
        count(cx, 1, "dft_length")?
    } else if inverse && onesided {
        &(&given - &Dim::ONE) * &Dim::from(2i64)
    } else {
        given
    };
    transform(cx, x, axis, &n, inverse, onesided)
}

/// The axes before and behind one that only running shows are joined, and taken apart again.
fn dft_along_runtime_axis(cx: &mut Cx<'_, '_>, x: Value) -> Results {
    let shape = cx.shape(x);
    let (last, rest) = shape.split_last().ok_or_else(|| Refusal::new("expected axes"))?;
    let axis = cx.v(2)?;
    let axis = cx.cast(axis, DType::I64)?;
    let axis = cx.reshape(axis, &[])?;
    let axis = cx.counted_from_start(axis, &Dim::from(shape.rank()))?;
    let places = cx.range(&Dim::from(rest.len()), DType::I64)?;
    let extents = cx.dims_value(rest)?;
    let one = cx.number(DType::I64, 1.0)?;
    let mut sizes = Vec::new();
    for side in [S::Lt, S::Eq, S::Gt] {
        let there = cx.bin(side, places, axis)?;
        let kept = cx.select(there, extents, one)?;
        sizes.push(cx.reduce(Op::ReduceProd, kept, &[0], true)?);
    }
    let sizes = cx.concat(&sizes, 0)?;
    let mut joined = cx.bind(sizes, Range::EXTENT)?;
    joined.push(last.clone());
    let x = cx.reshape(x, &joined)?;
    let y = dft_along(cx, x, 1)?;
    let (bins, parts) = (cx.extent(y, 1), cx.extent(y, 3));
    let bins = cx.dim_value(&bins, DType::I64)?;
    let own = cx.bin(S::Eq, places, axis)?;
    let extents = cx.select(own, bins, extents)?;
    let mut shape = cx.bind(extents, Range::EXTENT)?;
    shape.push(parts);
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

fn stft(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let step = count(cx, 1, "frame_step")?;
    let shape = cx.shape(x);
    ensure!((2..=3).contains(&shape.rank()), "expected a signal of rank 2 or 3, got {shape}");
    let length = shape[1].clone();
    let frame = if cx.has(3) {
        count(cx, 3, "frame_length")?
    } else {
        let window = cx.v(2)?;
        cx.extent(window, 0)
    };
    let rest = &length - &frame;
    ensure!(rest.as_const().is_none_or(|r| r >= 0), "expected a frame of at most {length}, got {frame}");
    let x = if shape.rank() == 2 { cx.unsqueeze(x, &[2])? } else { x };
    let frames = &rest.floor_div(&step) + &Dim::ONE;
    let plane = [frames, frame.clone()];
    let (starts, offsets) = (cx.iota(&plane, 0, DType::I64)?, cx.iota(&plane, 1, DType::I64)?);
    let step = cx.dim_value(&step, DType::I64)?;
    let starts = cx.mul(starts, step)?;
    let at = cx.add(starts, offsets)?;
    let mut framed = cx.gather(x, at, 1)?;
    if let Some(window) = cx.opt(2)? {
        let window = cx.along(window, 2, 4)?;
        framed = cx.mul(framed, window)?;
    }
    let y = transform(cx, framed, 2, &frame, false, cx.flag("onesided", true))?;
    cx.one(y)
}

/// Triangles on a scale of pitch.
fn mel_weights(cx: &mut Cx<'_, '_>) -> Results {
    let wide = DType::F64;
    let bins = count(cx, 0, "num_mel_bins")?;
    let length = count(cx, 1, "dft_length")?;
    let mut scalar = |i: usize| -> Step {
        let value = cx.v(i)?;
        let value = cx.cast(value, wide)?;
        cx.reshape(value, &[])
    };
    let (rate, low, high) = (scalar(2)?, scalar(3)?, scalar(4)?);
    let mel = |cx: &mut Cx<'_, '_>, hertz: Value| {
        let ratio = cx.with(S::Div, hertz, 700.0)?;
        let log = cx.un(S::Log1p, ratio)?;
        cx.with(S::Mul, log, 2595.0 / std::f64::consts::LN_10)
    };
    let (low, high) = (mel(cx, low)?, mel(cx, high)?);
    let edges = &bins + &Dim::from(2i64);
    let (span, count) = (cx.sub(high, low)?, cx.dim_value(&edges, wide)?);
    let step = cx.div(span, count)?;
    let place = cx.range(&edges, wide)?;
    let place = cx.mul(place, step)?;
    let place = cx.add(place, low)?;
    let exponent = cx.with(S::Div, place, 2595.0)?;
    let ten = cx.number(wide, 10.0)?;
    let power = cx.bin(S::Pow, ten, exponent)?;
    let power = cx.with(S::Sub, power, 1.0)?;
    let hertz = cx.with(S::Mul, power, 700.0)?;
    let points = cx.dim_value(&(&length + &Dim::ONE), wide)?;
    let scaled = cx.mul(points, hertz)?;
    let scaled = cx.div(scaled, rate)?;
    let place = cx.un(S::Floor, scaled)?;
    let [left, center, right] = [0i64, 1, 2].map(|first| cx.slice(place, 0, &Dim::from(first), &bins));
    let (left, center, right) = (left?, center?, right?);
    let rows = &length.floor_div(&Dim::from(2i64)) + &Dim::ONE;
    let row = cx.range(&rows, wide)?;
    let row = cx.unsqueeze(row, &[1])?;
    let (zero, one) = (cx.number(wide, 0.0)?, cx.number(wide, 1.0)?);
    // A triangle without a left half begins at its top.
    let (narrow, top) = (cx.bin(S::Eq, left, center)?, cx.bin(S::Eq, row, center)?);
    let alone = cx.bin(S::And, narrow, top)?;
    let mut weights = cx.select(alone, one, zero)?;
    for (from, to, last) in [(left, center, S::Le), (right, center, S::Lt)] {
        let (height, width) = (cx.sub(row, from)?, cx.sub(to, from)?);
        let slope = cx.div(height, width)?;
        let rises = from == left;
        let (start, end) = if rises { (left, center) } else { (center, right) };
        let (after, before) = (cx.bin(S::Ge, row, start)?, cx.bin(last, row, end)?);
        let (inside, wide_enough) = (cx.bin(S::And, after, before)?, cx.is(S::Ne, width, 0.0)?);
        let inside = cx.bin(S::And, inside, wide_enough)?;
        weights = cx.select(inside, slope, weights)?;
    }
    let dtype = cx.dtype_attr("output_datatype")?.unwrap_or(DType::F32);
    let weights = cx.cast(weights, dtype)?;
    cx.one(weights)
}
