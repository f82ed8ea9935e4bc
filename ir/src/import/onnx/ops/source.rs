//! Operators that make tensors: constants, shapes, ranges, masks, random numbers.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::super::values::{Held, Item};
use crate::dim::{Dim, Range};
use crate::dtype::{DType, Scalar};
use crate::graph::{Op, Value};
use crate::scalar::ScalarOp as S;
use crate::tensor::Tensor;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("Constant", 1, constant),
    ("ConstantOfShape", 9, constant_of_shape),
    ("Shape", 1, shape),
    ("Size", 1, size),
    ("Range", 11, range),
    ("EyeLike", 9, eye_like),
    ("Trilu", 14, trilu),
    ("OneHot", 9, one_hot),
    ("RandomUniform", 1, |c| random(c, Draw::Uniform, false)),
    ("RandomUniformLike", 1, |c| random(c, Draw::Uniform, true)),
    ("RandomNormal", 1, |c| random(c, Draw::Normal, false)),
    ("RandomNormalLike", 1, |c| random(c, Draw::Normal, true)),
    ("Bernoulli", 15, bernoulli),
];

fn constant(cx: &mut Cx<'_, '_>) -> Results {
    if let Some(tensor) = cx.tensor_attr("value")? {
        return Ok(vec![Item::Tensor(Held::constant(tensor))]);
    }
    if let Some(sparse) = cx.attr("sparse_value").and_then(|a| a.sparse_tensor.as_ref()) {
        return Ok(vec![cx.importer.sparse(sparse)?]);
    }
    let tensor = if let Some(a) = cx.attr("value_float") {
        Tensor::from_slice(&[], &[a.f])?
    } else if let Some(a) = cx.attr("value_int") {
        Tensor::from_slice(&[], &[a.i])?
    } else if let Some(list) = cx.floats("value_floats") {
        Tensor::from_slice(&[list.len()], list)?
    } else if let Some(list) = cx.ints("value_ints") {
        Tensor::from_slice(&[list.len()], list)?
    } else {
        return Err(Refusal::new("expected a numeric `value`")
            .nearest("value, value_float(s), value_int(s) or sparse_value"));
    };
    Ok(vec![Item::Tensor(Held::constant(tensor))])
}

fn constant_of_shape(cx: &mut Cx<'_, '_>) -> Results {
    let value = match cx.tensor_attr("value")? {
        Some(tensor) => tensor.reshape(&[])?,
        None => Tensor::scalar(DType::F32, Scalar::Float(0.0)),
    };
    let shape = cx.dims(0, Range::EXTENT)?;
    // A small vector of numbers often is a part of a shape.
    if let [count] = shape.as_slice()
        && let Some(count) = count.as_const().filter(|c| (0..=64).contains(c))
        && value.dtype().is_int()
        && let Ok(number) = i64::try_from(value.get_flat(0).to_i128())
    {
        let elements = vec![Dim::from(number); count as usize];
        return Ok(vec![Item::Tensor(Held::elements_of(value.dtype(), &[count as usize], elements))]);
    }
    let one = cx.g().constant(value)?;
    let y = cx.broadcast(one, &shape)?;
    cx.one(y)
}

fn shape(cx: &mut Cx<'_, '_>) -> Results {
    let extents = cx.held(0)?.ty.shape.clone();
    let rank = extents.rank() as i64;
    let bound = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (bound(cx.int("start", 0)), bound(cx.int("end", i64::MAX)));
    let part = extents[start..end.max(start)].to_vec();
    Ok(vec![Item::Tensor(Held::elements_of(DType::I64, &[part.len()], part))])
}

fn size(cx: &mut Cx<'_, '_>) -> Results {
    let count = cx.held(0)?.ty.shape.elements();
    Ok(vec![Item::Tensor(Held::elements_of(DType::I64, &[], vec![count]))])
}

/// `start + i * step`; the count is an expression if the operands are integers known as such, else it is
/// computed and given a name.
fn range(cx: &mut Cx<'_, '_>) -> Results {
    let dtype = cx.held(0)?.ty.dtype;
    let known = |cx: &Cx<'_, '_>, i: usize| cx.held(i).ok()?.elements()?.first().cloned();
    let count = match (known(cx, 0), known(cx, 1), known(cx, 2)) {
        (Some(start), Some(limit), Some(step)) if step.as_const().is_some_and(|s| s != 0) => {
            let span = if step.as_const() > Some(0) { &limit - &start } else { &start - &limit };
            let step = Dim::from(step.as_const().unwrap_or(1).abs());
            let count = span.ceil_div(&step).maximum(&Dim::ZERO);
            Some(cx.g().ranges.simplify(&count))
        }
        _ => None,
    };
    let mut scalars = Vec::new();
    for i in 0..3 {
        let value = cx.v(i)?;
        scalars.push(cx.reshape(value, &[])?);
    }
    let (start, limit, step) = (scalars[0], scalars[1], scalars[2]);
    let count = match count {
        Some(count) => count,
        None => {
            let wide = |cx: &mut Cx<'_, '_>, x| cx.cast(x, DType::F64);
            let (a, b, d) = (wide(cx, start)?, wide(cx, limit)?, wide(cx, step)?);
            let span = cx.sub(b, a)?;
            let count = cx.div(span, d)?;
            let count = cx.un(S::Ceil, count)?;
            let count = cx.with(S::Max, count, 0.0)?;
            let count = cx.cast(count, DType::I64)?;
            cx.bind(count, Range::EXTENT)?.remove(0)
        }
    };
    let number =
        |cx: &Cx<'_, '_>, i: usize| cx.constant(i).filter(|t| t.len() == 1).map(|t| t.get_flat(0).to_f64());
    let (from, by) = (number(cx, 0), number(cx, 2));
    let mut y = cx.range(&count, dtype)?;
    if by != Some(1.0) {
        y = cx.mul(y, step)?;
    }
    if from != Some(0.0) {
        y = cx.add(y, start)?;
    }
    cx.one(y)
}

fn eye_like(cx: &mut Cx<'_, '_>) -> Results {
    let ty = cx.held(0)?.ty.clone();
    ensure!(ty.shape.rank() == 2, "expected a matrix, got {ty}");
    let dtype = cx.dtype_attr("dtype")?.unwrap_or(ty.dtype);
    let k = cx.int("k", 0);
    let (rows, columns) = (cx.iota(&ty.shape, 0, DType::I64)?, cx.iota(&ty.shape, 1, DType::I64)?);
    let shifted = cx.with(S::Add, rows, k as f64)?;
    let on = cx.bin(S::Eq, shifted, columns)?;
    let y = cx.cast(on, dtype)?;
    cx.one(y)
}

fn trilu(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let rank = cx.rank(x);
    ensure!(rank >= 2, "expected a rank of at least 2, got {rank}");
    let shape = cx.shape(x);
    let plane = &shape[rank - 2..];
    let (rows, columns) = (cx.iota(plane, 0, DType::I64)?, cx.iota(plane, 1, DType::I64)?);
    let rows = match cx.opt(1)? {
        Some(k) => {
            let k = cx.reshape(k, &[])?;
            cx.add(rows, k)?
        }
        None => rows,
    };
    let op = if cx.flag("upper", true) { S::Ge } else { S::Le };
    let kept = cx.bin(op, columns, rows)?;
    let zero = cx.like_zero(x)?;
    let y = cx.select(kept, x, zero)?;
    cx.one(y)
}

impl Cx<'_, '_> {
    /// Zero of a type, or false.
    pub(crate) fn like_zero(&mut self, x: Value) -> Step {
        let zero = Tensor::zeros(self.dtype(x), &[])?;
        Ok(self.g().constant(zero)?)
    }
}

fn one_hot(cx: &mut Cx<'_, '_>) -> Results {
    let (indices, values) = (cx.v(0)?, cx.v(2)?);
    let indices = cx.cast(indices, DType::I64)?;
    let rank = cx.rank(indices);
    let axis = cx.axis("axis", -1, rank + 1)?;
    let depth = if cx.held(1)?.ty.dtype.is_float() {
        let depth = cx.v(1)?;
        let depth = cx.cast(depth, DType::I64)?;
        cx.bind(depth, Range::EXTENT)?
    } else {
        cx.dims(1, Range::EXTENT)?
    };
    let depth = depth.first().cloned().ok_or_else(|| Refusal::new("expected a `depth`"))?;
    // Indices beyond either end are hot nowhere, negative ones count from the end.
    let indices = cx.counted_from_start(indices, &depth)?;
    let indices = cx.unsqueeze(indices, &[axis])?;
    let places = cx.range(&depth, DType::I64)?;
    let places = cx.along(places, axis, rank + 1)?;
    let hot = cx.bin(S::Eq, indices, places)?;
    let (off, on) = (cx.pick(values, 0, &Dim::ZERO)?, cx.pick(values, 0, &Dim::ONE)?);
    let y = cx.select(hot, on, off)?;
    cx.one(y)
}

#[derive(Clone, Copy)]
enum Draw {
    Uniform,
    Normal,
}

impl Cx<'_, '_> {
    /// Uniform numbers in `0 <= x < 1` from 24 random bits each, the same from run to run. Without a seed each
    /// node gets a key of its own.
    pub(crate) fn uniform(&mut self, shape: &[Dim], stream: u64) -> Step {
        let seed = self
            .attr("seed")
            .map_or(self.importer.nodes as u64, |a| (u64::from(a.f.to_bits()) << 8) ^ a.i as u64);
        let key = Tensor::from_slice(&[], &[seed.wrapping_mul(2).wrapping_add(stream)])?;
        let key = self.g().constant(key)?;
        let bits = self.node(Op::RandomBits, &[key], [crate::shape::Shape::from(shape).into()])?;
        let high = self.with(S::Shr, bits, 8.0)?;
        let real = self.cast(high, DType::F32)?;
        self.with(S::Mul, real, (-24f64).exp2())
    }
}

fn random(cx: &mut Cx<'_, '_>, draw: Draw, like: bool) -> Results {
    let given = cx.dtype_attr("dtype")?;
    let (shape, dtype) = if like {
        let ty = cx.held(0)?.ty.clone();
        (ty.shape.to_vec(), given.unwrap_or(ty.dtype))
    } else {
        let shape = cx.ints("shape").ok_or_else(|| Refusal::new("expected the attribute `shape`"))?;
        let extents = super::super::tensor::extents(shape)?;
        (extents.iter().map(|e| Dim::from(*e)).collect(), given.unwrap_or(DType::F32))
    };
    let first = cx.uniform(&shape, 0)?;
    let y = match draw {
        Draw::Uniform => {
            let (low, high) = (cx.float("low", 0.0), cx.float("high", 1.0));
            let scaled = cx.with(S::Mul, first, high - low)?;
            cx.with(S::Add, scaled, low)?
        }
        Draw::Normal => {
            // Box and Muller's transform; one minus the draw keeps the logarithm finite.
            let second = cx.uniform(&shape, 1)?;
            let one = cx.like(first, 1.0)?;
            let positive = cx.sub(one, first)?;
            let log = cx.un(S::Log, positive)?;
            let square = cx.with(S::Mul, log, -2.0)?;
            let radius = cx.un(S::Sqrt, square)?;
            let angle = cx.with(S::Mul, second, std::f64::consts::TAU)?;
            let cosine = cx.un(S::Cos, angle)?;
            let normal = cx.mul(radius, cosine)?;
            let scaled = cx.with(S::Mul, normal, cx.float("scale", 1.0))?;
            cx.with(S::Add, scaled, cx.float("mean", 0.0))?
        }
    };
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

fn bernoulli(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let dtype = cx.dtype_attr("dtype")?.unwrap_or(cx.dtype(x));
    let shape = cx.shape(x);
    let draw = cx.uniform(&shape, 0)?;
    let chance = cx.cast(x, DType::F32)?;
    let hit = cx.bin(S::Lt, draw, chance)?;
    let y = cx.cast(hit, dtype)?;
    cx.one(y)
}
