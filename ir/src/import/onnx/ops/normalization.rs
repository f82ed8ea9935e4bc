//! Normalisations, softmaxes and losses.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;
use crate::shape::Shape;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("Softmax", 1, |c| softmax(c, Op::Softmax)),
    ("LogSoftmax", 1, |c| softmax(c, Op::LogSoftmax)),
    ("Hardmax", 1, hardmax),
    ("BatchNormalization", 1, batch_norm),
    ("InstanceNormalization", 1, instance_norm),
    ("GroupNormalization", 18, group_norm),
    ("LayerNormalization", 17, layer_norm),
    ("RMSNormalization", 23, rms_norm),
    ("LRN", 1, lrn),
    ("MeanVarianceNormalization", 9, mean_variance),
    ("LpNormalization", 1, lp_norm),
    ("NegativeLogLikelihoodLoss", 12, |c| loss(c, false)),
    ("SoftmaxCrossEntropyLoss", 12, |c| loss(c, true)),
];

/// Up to version 12 everything behind the axis is taken as one axis.
fn over_axis(cx: &mut Cx<'_, '_>, f: impl Fn(&mut Cx<'_, '_>, Value, usize) -> Step) -> Results {
    let x = cx.v(0)?;
    let shape = cx.shape(x);
    if cx.opset >= 13 {
        let axis = cx.axis("axis", -1, shape.rank())?;
        let y = f(cx, x, axis)?;
        return cx.one(y);
    }
    let given = cx.int("axis", 1);
    let axis = if given == shape.rank() as i64 { shape.rank() } else { cx.axis_of(given, shape.rank())? };
    if axis + 1 == shape.rank() {
        let y = f(cx, x, axis)?;
        return cx.one(y);
    }
    let product = |dims: &[Dim]| dims.iter().cloned().product::<Dim>();
    let flat = cx.reshape(x, &[product(&shape[..axis]), product(&shape[axis..])])?;
    let y = f(cx, flat, 1)?;
    let y = cx.reshape(y, &shape)?;
    cx.one(y)
}

fn softmax(cx: &mut Cx<'_, '_>, op: Op) -> Results {
    over_axis(cx, |cx, x, axis| cx.node(op, &[x], [Attr::Int(axis as i64)]))
}

fn hardmax(cx: &mut Cx<'_, '_>) -> Results {
    over_axis(cx, |cx, x, axis| {
        let best = cx.node(Op::ArgMax, &[x], [Attr::Int(axis as i64), Attr::Bool(false)])?;
        let best = cx.unsqueeze(best, &[axis])?;
        let shape = cx.shape(x);
        let places = cx.range(&shape[axis], DType::I64)?;
        let places = cx.along(places, axis, shape.rank())?;
        let hit = cx.bin(S::Eq, best, places)?;
        let dtype = cx.dtype(x);
        cx.cast(hit, dtype)
    })
}

impl Cx<'_, '_> {
    /// `(x - mean) / sqrt(variance + eps)` over axes, with mean and the divisor's inverse.
    pub(crate) fn standardize(&mut self, x: Value, axes: &[usize], eps: f64) -> Step<(Value, Value, Value)> {
        let mean = self.mean(x, axes, true)?;
        let centered = self.sub(x, mean)?;
        let squares = self.mul(centered, centered)?;
        let variance = self.mean(squares, axes, true)?;
        let shifted = self.with(S::Add, variance, eps)?;
        let inverse = self.un(S::Rsqrt, shifted)?;
        let y = self.mul(centered, inverse)?;
        Ok((y, mean, inverse))
    }
}

/// `(x - mean) * scale / sqrt(variance + eps) + bias` with a value of each for each channel.
fn batch_norm(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    ensure!(rank >= 1, "expected a rank of at least 1");
    let dtype = cx.dtype(x);
    let eps = cx.float("epsilon", 1e-5);
    let momentum = cx.float("momentum", 0.9);
    let axis = usize::from(rank > 1);
    let training = cx.flag("training_mode", false) || (cx.opset < 7 && !cx.flag("is_test", false));
    let wide = if training && dtype.bits() < 32 { DType::F32 } else { dtype };
    let channel = |cx: &mut Cx<'_, '_>, i: usize| -> Step {
        let v = cx.v(i)?;
        cx.cast(v, wide)
    };
    let (scale, bias, mean, variance) = (channel(cx, 1)?, channel(cx, 2)?, channel(cx, 3)?, channel(cx, 4)?);
    let input = cx.cast(x, wide)?;
    let (used_mean, used_variance, running) = if training {
        let axes: Vec<usize> = (0..rank).filter(|a| *a != axis).collect();
        let now = cx.mean(input, &axes, false)?;
        let spread = cx.along(now, axis, rank)?;
        let centered = cx.sub(input, spread)?;
        let squares = cx.mul(centered, centered)?;
        let now_variance = cx.mean(squares, &axes, false)?;
        let blend = |cx: &mut Cx<'_, '_>, old: Value, new: Value| -> Step {
            let (a, b) = (cx.with(S::Mul, old, momentum)?, cx.with(S::Mul, new, 1.0 - momentum)?);
            cx.add(a, b)
        };
        let running = [blend(cx, mean, now)?, blend(cx, variance, now_variance)?];
        (now, now_variance, Some(running))
    } else {
        (mean, variance, None)
    };
    let shifted = cx.with(S::Add, used_variance, eps)?;
    let root = cx.un(S::Sqrt, shifted)?;
    let factor = cx.div(scale, root)?;
    let moved = cx.mul(used_mean, factor)?;
    let offset = cx.sub(bias, moved)?;
    let (factor, offset) = (cx.along(factor, axis, rank)?, cx.along(offset, axis, rank)?);
    let y = cx.mul(input, factor)?;
    let y = cx.add(y, offset)?;
    let y = cx.cast(y, dtype)?;
    let mut results = vec![y];
    for (i, value) in running.into_iter().flatten().enumerate() {
        let to = cx.held(3 + i)?.ty.dtype;
        results.push(cx.cast(value, to)?);
    }
    cx.many(&results)
}

/// Each channel is a group of its own.
fn instance_norm(cx: &mut Cx<'_, '_>) -> Results {
    let (x, scale, bias) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let rank = cx.rank(x);
    ensure!(rank >= 3, "expected a rank of at least 3, got {rank}");
    let eps = cx.float("epsilon", 1e-5);
    let y = if let Some(groups) = cx.extent(x, 1).as_const() {
        cx.node(Op::GroupNorm, &[x, scale, bias], [Attr::Int(groups), Attr::Float(eps)])?
    } else {
        let axes: Vec<usize> = (2..rank).collect();
        let (y, ..) = cx.standardize(x, &axes, eps)?;
        let (scale, bias) = (cx.along(scale, 1, rank)?, cx.along(bias, 1, rank)?);
        let y = cx.mul(y, scale)?;
        cx.add(y, bias)?
    };
    cx.one(y)
}

/// Up to version 20 scale and bias have a value for each group.
fn group_norm(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let groups = cx.int("num_groups", 0);
    let channels = cx.extent(x, 1);
    ensure!(groups > 0, "expected a positive `num_groups`, got {groups}");
    let mut factors = Vec::new();
    for i in [1, 2] {
        let mut v = cx.v(i)?;
        if cx.opset < 21 {
            let each = channels.floor_div(&Dim::from(groups));
            let laid = cx.reshape(v, &[Dim::from(groups), Dim::ONE])?;
            let spread = cx.broadcast(laid, &[Dim::from(groups), each])?;
            v = cx.reshape(spread, std::slice::from_ref(&channels))?;
        }
        factors.push(v);
    }
    let eps = cx.float("epsilon", 1e-5);
    let y = cx.node(Op::GroupNorm, &[x, factors[0], factors[1]], [Attr::Int(groups), Attr::Float(eps)])?;
    cx.one(y)
}

fn layer_norm(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let (scale, bias) = (cx.v(1)?, cx.opt(2)?);
    let axis = cx.axis("axis", -1, cx.rank(x))?;
    let eps = cx.float("epsilon", 1e-5);
    let y = normalized(cx, x, Some(scale), bias, axis, eps)?;
    let mut results = vec![y];
    if cx.wants(1) || cx.wants(2) {
        let axes: Vec<usize> = (axis..cx.rank(x)).collect();
        let wide = cx.cast(x, if cx.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 })?;
        let (_, mean, inverse) = cx.standardize(wide, &axes, eps)?;
        results.extend([mean, inverse]);
    }
    cx.many(&results)
}

/// The composite, with a bias of zeros if there is none.
pub(crate) fn normalized(
    cx: &mut Cx<'_, '_>,
    x: Value,
    scale: Option<Value>,
    bias: Option<Value>,
    axis: usize,
    eps: f64,
) -> Step {
    let inner = Shape::from(&cx.shape(x)[axis..]);
    let dtype = cx.dtype(x);
    let factor = |cx: &mut Cx<'_, '_>, given: Option<Value>, number: f64| -> Step {
        let v = match given {
            Some(v) => cx.cast(v, dtype)?,
            None => cx.number(dtype, number)?,
        };
        cx.broadcast(v, &inner)
    };
    let (scale, bias) = (factor(cx, scale, 1.0)?, factor(cx, bias, 0.0)?);
    cx.node(Op::LayerNorm, &[x, scale, bias], [Attr::Int(axis as i64), Attr::Float(eps)])
}

fn rms_norm(cx: &mut Cx<'_, '_>) -> Results {
    let (x, scale) = (cx.v(0)?, cx.v(1)?);
    let axis = cx.axis("axis", -1, cx.rank(x))?;
    let y = rms_normalized(cx, x, scale, axis, cx.float("epsilon", 1e-5))?;
    cx.one(y)
}

/// The composite; a scale of a narrower shape is repeated.
pub(crate) fn rms_normalized(cx: &mut Cx<'_, '_>, x: Value, scale: Value, axis: usize, eps: f64) -> Step {
    let inner = Shape::from(&cx.shape(x)[axis..]);
    let dtype = cx.dtype(x);
    let scale = cx.cast(scale, dtype)?;
    let scale = cx.broadcast(scale, &inner)?;
    cx.node(Op::RmsNorm, &[x, scale], [Attr::Int(axis as i64), Attr::Float(eps)])
}

fn lrn(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let size = cx.int("size", 0);
    ensure!((1..1 << 20).contains(&size) && cx.rank(x) >= 2, "expected a positive `size`, got {size}");
    let (alpha, beta, bias) = (cx.float("alpha", 1e-4), cx.float("beta", 0.75), cx.float("bias", 1.0));
    let squares = cx.mul(x, x)?;
    // Channels last, so that they are what is pooled.
    let rank = cx.rank(x);
    let moved = cx.move_axis(squares, 1, rank - 1)?;
    let (lo, hi) = ((size - 1) / 2, size - 1 - (size - 1) / 2);
    let attrs: [Attr; 5] = [[size].into(), [1].into(), [lo].into(), [hi].into(), [1].into()];
    let sums = cx.node(Op::PoolSum, &[moved], attrs)?;
    let sums = cx.move_axis(sums, rank - 1, 1)?;
    let scaled = cx.with(S::Mul, sums, alpha / size as f64)?;
    let shifted = cx.with(S::Add, scaled, bias)?;
    let divisor = cx.with(S::Pow, shifted, beta)?;
    let y = cx.div(x, divisor)?;
    cx.one(y)
}

fn mean_variance(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let axes = cx.ints("axes").map_or_else(|| vec![0, 2, 3], <[i64]>::to_vec);
    let axes = cx.axes_of(&axes, cx.rank(x))?;
    let mean = cx.mean(x, &axes, true)?;
    let centered = cx.sub(x, mean)?;
    let squares = cx.mul(centered, centered)?;
    let variance = cx.mean(squares, &axes, true)?;
    let deviation = cx.un(S::Sqrt, variance)?;
    let divisor = cx.with(S::Add, deviation, 1e-9)?;
    let y = cx.div(centered, divisor)?;
    cx.one(y)
}

/// Vectors of zeros stay zeros.
fn lp_norm(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let axis = cx.axis("axis", -1, cx.rank(x))?;
    let p = cx.int("p", 2);
    ensure!(p == 1 || p == 2, "expected `p` 1 or 2, got {p}");
    let size = if p == 1 { cx.un(S::Abs, x)? } else { cx.mul(x, x)? };
    let sum = cx.sum(size, &[axis], true)?;
    let norm = if p == 1 { sum } else { cx.un(S::Sqrt, sum)? };
    let none = cx.is(S::Eq, norm, 0.0)?;
    let one = cx.like(norm, 1.0)?;
    let divisor = cx.select(none, one, norm)?;
    let y = cx.div(x, divisor)?;
    cx.one(y)
}

/// The weighted negative of the score of the right class (axis 1).
fn loss(cx: &mut Cx<'_, '_>, from_scores: bool) -> Results {
    let (x, target) = (cx.v(0)?, cx.v(1)?);
    let rank = cx.rank(x);
    ensure!(
        rank >= 2 && cx.rank(target) + 1 == rank,
        "expected [N, C, …] and [N, …], got {} and {}",
        cx.ty(x),
        cx.ty(target)
    );
    let logs = if from_scores { cx.node(Op::LogSoftmax, &[x], [Attr::Int(1)])? } else { x };
    let target = cx.cast(target, DType::I64)?;
    let ignored = match cx.attr("ignore_index").map(|a| a.i) {
        Some(index) => Some(cx.is(S::Eq, target, index as f64)?),
        None => None,
    };
    let zero = cx.like(target, 0.0)?;
    let class = match ignored {
        Some(ignored) => cx.select(ignored, zero, target)?,
        None => target,
    };
    let column = cx.unsqueeze(class, &[1])?;
    let picked = cx.node(Op::GatherElements, &[logs, column], [Attr::Int(1)])?;
    let picked = cx.squeeze(picked, &[1])?;
    let negative = cx.un(S::Neg, picked)?;
    let weights = match cx.opt(2)? {
        Some(weights) => Some(cx.gather(weights, class, 0)?),
        None => None,
    };
    let one = cx.like(negative, 1.0)?;
    let none = cx.like(negative, 0.0)?;
    let weights = match (weights, ignored) {
        (Some(w), Some(i)) => Some(cx.select(i, none, w)?),
        (None, Some(i)) => Some(cx.select(i, none, one)?),
        (w, None) => w,
    };
    let losses = match weights {
        Some(w) => cx.mul(negative, w)?,
        None => negative,
    };
    let axes: Vec<usize> = (0..rank - 1).collect();
    let y = match cx.text("reduction", "mean").as_str() {
        "none" => losses,
        "sum" => cx.sum(losses, &axes, false)?,
        "mean" => match weights {
            Some(w) => {
                let shape = cx.shape(losses);
                let w = cx.broadcast(w, &shape)?;
                let (total, weight) = (cx.sum(losses, &axes, false)?, cx.sum(w, &axes, false)?);
                cx.div(total, weight)?
            }
            None => cx.mean(losses, &axes, false)?,
        },
        other => return Err(Refusal::new(format!("expected `reduction` none, sum or mean, got `{other}`"))),
    };
    cx.many(&[y, logs])
}
