//! Fourier transforms as contractions with matrices of sines and cosines, and windows.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::super::values::{Held, Item};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::Value;
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
    let size = cx
        .dims(0, crate::dim::Range::EXTENT)?
        .first()
        .cloned()
        .ok_or_else(|| Refusal::new("expected a `size`"))?;
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
fn waves(cx: &mut Cx<'_, '_>, dtype: DType, rows: usize, columns: usize, n: usize) -> Step<(Value, Value)> {
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
fn transform(cx: &mut Cx<'_, '_>, x: Value, axis: usize, n: usize, inverse: bool, onesided: bool) -> Step {
    let rank = cx.rank(x);
    let dtype = cx.dtype(x);
    let parts = cx.fixed(x, rank - 1)?;
    let given = cx.fixed(x, axis)?;
    let back_to_real = inverse && onesided;
    let bins = n / 2 + 1;
    // Longer signals are cut, shorter ones are as if followed by zeros.
    let used = given.min(if back_to_real { bins } else { n });
    let x = cx.slice(x, axis, &Dim::ZERO, &Dim::from(used))?;
    let real = cx.pick(x, rank - 1, &Dim::ZERO)?;
    let imaginary = if parts == 2 { Some(cx.pick(x, rank - 1, &Dim::ONE)?) } else { None };
    let outputs = if onesided && !inverse { bins } else { n };
    let (mut cosines, mut sines) = waves(cx, dtype, used, outputs, n)?;
    if back_to_real {
        // The other half mirrors this one, but for the ends.
        let twice = |i: usize| if i == 0 || 2 * i == n { 1.0 } else { 2.0 };
        let factors: Vec<f64> = (0..used).map(twice).collect();
        let factors = cx.vector(dtype, &factors)?;
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
        out_real = cx.with(S::Div, out_real, n as f64)?;
        out_imaginary = cx.with(S::Div, out_imaginary, n as f64)?;
    }
    let out_real = cx.unsqueeze(out_real, &[rank - 1])?;
    if back_to_real {
        return Ok(out_real);
    }
    let out_imaginary = cx.unsqueeze(out_imaginary, &[rank - 1])?;
    cx.concat(&[out_real, out_imaginary], rank - 1)
}

fn dft(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    ensure!(rank >= 2, "expected a rank of at least 2, got {rank}");
    let axis = if cx.opset < 20 {
        cx.int("axis", 1)
    } else if cx.has(2) {
        cx.const_ints(2, "axis")?.first().copied().unwrap_or(-2)
    } else {
        -2
    };
    let axis = cx.axis_of(axis, rank)?;
    ensure!(axis + 1 < rank, "expected an axis before the last one, got {axis}");
    let (inverse, onesided) = (cx.flag("inverse", false), cx.flag("onesided", false));
    let n = if cx.has(1) {
        usize::try_from(cx.const_ints(1, "dft_length")?.first().copied().unwrap_or(0)).unwrap_or(0)
    } else {
        let given = cx.fixed(x, axis)?;
        if inverse && onesided { 2 * given.saturating_sub(1) } else { given }
    };
    let y = transform(cx, x, axis, n, inverse, onesided)?;
    cx.one(y)
}

fn stft(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let step = cx.const_ints(1, "frame_step")?.first().copied().unwrap_or(0);
    let shape = cx.shape(x);
    let length = cx.fixed(x, 1)? as i64;
    let frame = if cx.has(3) {
        cx.const_ints(3, "frame_length")?.first().copied().unwrap_or(0)
    } else {
        let window = cx.v(2)?;
        cx.fixed(window, 0)? as i64
    };
    ensure!(
        step > 0 && frame > 0 && frame <= length,
        "expected a positive step and a frame of at most {length}, got {step} and {frame}"
    );
    let x = if shape.rank() == 2 { cx.unsqueeze(x, &[2])? } else { x };
    let frames = (length - frame) / step + 1;
    let plane = [Dim::from(frames), Dim::from(frame)];
    let (starts, offsets) = (cx.iota(&plane, 0, DType::I64)?, cx.iota(&plane, 1, DType::I64)?);
    let starts = cx.with(S::Mul, starts, step as f64)?;
    let at = cx.add(starts, offsets)?;
    let mut framed = cx.gather(x, at, 1)?;
    if let Some(window) = cx.opt(2)? {
        let window = cx.along(window, 2, 4)?;
        framed = cx.mul(framed, window)?;
    }
    let y = transform(cx, framed, 2, frame as usize, false, cx.flag("onesided", true))?;
    cx.one(y)
}

/// Triangles on a scale of pitch; all operands are constants, and so is the result.
fn mel_weights(cx: &mut Cx<'_, '_>) -> Results {
    let number = |cx: &Cx<'_, '_>, i: usize, what: &str| -> Step<f64> {
        Ok(cx.const_floats(i, what)?.first().copied().unwrap_or(0.0))
    };
    let bins = number(cx, 0, "num_mel_bins")? as usize;
    let length = number(cx, 1, "dft_length")? as usize;
    let rate = number(cx, 2, "sample_rate")?;
    let (low, high) = (number(cx, 3, "lower_edge_hertz")?, number(cx, 4, "upper_edge_hertz")?);
    ensure!(
        bins <= MOST_POINTS && length <= MOST_POINTS && rate > 0.0,
        "expected at most {MOST_POINTS} bins and a positive rate"
    );
    let dtype = cx.dtype_attr("output_datatype")?.unwrap_or(DType::F32);
    let rows = length / 2 + 1;
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let step = (mel(high) - mel(low)) / (bins + 2) as f64;
    let place = |i: usize| {
        let hertz = 700.0 * (10f64.powf((i as f64 * step + mel(low)) / 2595.0) - 1.0);
        ((length + 1) as f64 * hertz / rate).floor() as i64
    };
    let mut weights = vec![0.0; rows * bins];
    let mut set = |row: i64, column: usize, value: f64| {
        if let Some(slot) =
            usize::try_from(row).ok().filter(|r| *r < rows).and_then(|r| weights.get_mut(r * bins + column))
        {
            *slot = value;
        }
    };
    for i in 0..bins {
        let (left, center, right) = (place(i), place(i + 1), place(i + 2));
        if left == center {
            set(center, i, 1.0);
        }
        let limit = |v: i64| v.clamp(0, rows as i64);
        for j in limit(left)..limit(center + 1) {
            if center > left {
                set(j, i, (j - left) as f64 / (center - left) as f64);
            }
        }
        for j in limit(center)..limit(right) {
            set(j, i, (right - j) as f64 / (right - center) as f64);
        }
    }
    let tensor = Tensor::from_f64_iter(dtype, &[rows, bins], weights)?;
    Ok(vec![Item::Tensor(Held::constant(tensor))])
}
