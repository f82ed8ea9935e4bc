//! Quantised operators: conversions to and from few bits, and products of integers.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Op, Value};
use crate::scalar::ScalarOp as S;
use crate::tensor::Tensor;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("QuantizeLinear", 10, quantize),
    ("DequantizeLinear", 10, dequantize),
    ("DynamicQuantizeLinear", 11, dynamic_quantize),
    ("MatMulInteger", 10, matmul_integer),
    ("ConvInteger", 10, conv_integer),
    ("QLinearMatMul", 10, qlinear_matmul),
    ("QLinearConv", 10, qlinear_conv),
];

impl Cx<'_, '_> {
    /// Scale or zero point laid out for a tensor: one for all, a vector along an axis, or one for each block.
    pub(crate) fn laid_out(&mut self, factor: Value, x: Value, axis: i64, block: i64) -> Step {
        let rank = self.rank(x);
        let own = self.rank(factor);
        if own == 0 || (own == 1 && rank != 1 && self.extent(factor, 0).is(1)) {
            return self.reshape(factor, &vec![Dim::ONE; rank]);
        }
        if own == 1 && block == 0 {
            // A vector of one axis needs none named.
            let axis = if rank == 1 { 0 } else { self.axis_of(axis, rank)? };
            return self.along(factor, axis, rank);
        }
        ensure!(own == rank, "expected a scale of rank 0, 1 or {rank}, got {own}");
        Ok(factor)
    }

    /// A zero point, of zeros where none is given.
    pub(crate) fn zero_point(&mut self, index: usize, dtype: DType, scale: Value) -> Step {
        match self.opt(index)? {
            Some(zero) => Ok(zero),
            None => {
                let zero = self.g().constant(Tensor::zeros(dtype, &[])?)?;
                let shape = self.shape(scale);
                self.broadcast(zero, &shape)
            }
        }
    }
}

pub(crate) fn quantize(cx: &mut Cx<'_, '_>) -> Results {
    let (x, scale) = (cx.v(0)?, cx.v(1)?);
    let dtype = match (cx.has(2), cx.dtype_attr("output_dtype")?) {
        (true, _) => cx.held(2)?.ty.dtype,
        (false, given) => given.unwrap_or(DType::U8),
    };
    let zero = cx.zero_point(2, dtype, scale)?;
    let (axis, block) = (cx.int("axis", 1), cx.int("block_size", 0));
    let x = if cx.dtype(x).is_float() { x } else { cx.cast(x, DType::F32)? };
    let (scale, zero) = (cx.laid_out(scale, x, axis, block)?, cx.laid_out(zero, x, axis, block)?);
    let scale = if cx.dtype(scale).is_float() { scale } else { cx.cast(scale, DType::F32)? };
    let y = cx.node(Op::Quantize, &[x, scale, zero], [dtype.into()])?;
    cx.one(y)
}

pub(crate) fn dequantize(cx: &mut Cx<'_, '_>) -> Results {
    let (x, scale) = (cx.v(0)?, cx.v(1)?);
    let dtype = cx.dtype_attr("output_dtype")?.unwrap_or(cx.dtype(scale));
    let source = cx.dtype(x);
    let zero = cx.zero_point(2, source, scale)?;
    let (axis, block) = (cx.int("axis", 1), cx.int("block_size", 0));
    let (scale, zero) = (cx.laid_out(scale, x, axis, block)?, cx.laid_out(zero, x, axis, block)?);
    let y = cx.node(Op::Dequantize, &[x, scale, zero], [dtype.into()])?;
    cx.one(y)
}

fn dynamic_quantize(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let results = dynamically_quantized(cx, x)?;
    cx.many(&results)
}

/// Codes, scale and zero point, which follow from the smallest and largest element, with zero among them.
pub(crate) fn dynamically_quantized(cx: &mut Cx<'_, '_>, x: Value) -> Step<[Value; 3]> {
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    let low = cx.reduce(Op::ReduceMin, x, &axes, false)?;
    let low = cx.with(S::Min, low, 0.0)?;
    let high = cx.reduce(Op::ReduceMax, x, &axes, false)?;
    let high = cx.with(S::Max, high, 0.0)?;
    let span = cx.sub(high, low)?;
    let scale = cx.with(S::Div, span, 255.0)?;
    let start = cx.div(low, scale)?;
    let start = cx.un(S::Neg, start)?;
    let start = cx.clamp(start, 0.0, 255.0)?;
    let start = cx.un(S::Round, start)?;
    let zero = cx.cast(start, DType::U8)?;
    let (s, z) = (cx.laid_out(scale, x, 0, 0)?, cx.laid_out(zero, x, 0, 0)?);
    let y = cx.node(Op::Quantize, &[x, s, z], [DType::U8.into()])?;
    Ok([y, scale, zero])
}

/// `x - zero` as i32; a vector of zero points lies along an axis counted from the end.
pub(crate) fn centered(cx: &mut Cx<'_, '_>, x: Value, zero: Option<Value>, axis_from_end: usize) -> Step {
    let wide = cx.cast(x, DType::I32)?;
    let Some(zero) = zero else { return Ok(wide) };
    let zero = cx.cast(zero, DType::I32)?;
    let rank = cx.rank(x);
    let zero = match cx.rank(zero) {
        0 => zero,
        1 if cx.extent(zero, 0).is(1) => cx.reshape(zero, &[])?,
        1 if rank >= axis_from_end => cx.along(zero, rank - axis_from_end, rank)?,
        _ => zero,
    };
    cx.sub(wide, zero)
}

fn matmul_integer(cx: &mut Cx<'_, '_>) -> Results {
    let (a, b, za, zb) = (cx.v(0)?, cx.v(1)?, cx.opt(2)?, cx.opt(3)?);
    // Zero points of rows of the first and of columns of the second operand.
    let a = centered(cx, a, za, 2)?;
    let b = centered(cx, b, zb, 1)?;
    let y = cx.product(a, b, DType::I32)?;
    cx.one(y)
}

fn conv_integer(cx: &mut Cx<'_, '_>) -> Results {
    let (zx, zw) = (cx.opt(2)?, cx.opt(3)?);
    let y = integer_convolution(cx, 0, 1, zx, zw)?;
    cx.one(y)
}

fn integer_convolution(
    cx: &mut Cx<'_, '_>,
    x: usize,
    w: usize,
    zx: Option<Value>,
    zw: Option<Value>,
) -> Step {
    let (x, w) = (cx.v(x)?, cx.v(w)?);
    let rank = cx.rank(w);
    ensure!(rank >= 3 && cx.rank(x) == rank, "expected one rank of at least 3");
    let x = centered(cx, x, zx, rank)?;
    let w = centered(cx, w, zw, rank)?;
    let size = cx.window_of(w, 2)?;
    let window = cx.window(x, size)?;
    cx.convolve(x, w, &window, cx.int("group", 1), DType::I32)
}

/// `sums * (scale_a * scale_b / scale_y) + zero_y`, rounded and limited to the type of `zero_y`.
pub(crate) fn requantized(
    cx: &mut Cx<'_, '_>,
    sums: Value,
    scales: [Value; 3],
    zero: Value,
    axis: usize,
) -> Step {
    let rank = cx.rank(sums);
    let mut factors = Vec::new();
    for scale in scales {
        let scale = cx.cast(scale, DType::F32)?;
        factors.push(match cx.rank(scale) {
            1 if cx.extent(scale, 0).is(1) => cx.reshape(scale, &[])?,
            1 => cx.along(scale, axis, rank)?,
            _ => scale,
        });
    }
    let real = cx.cast(sums, DType::F32)?;
    let joint = cx.mul(factors[0], factors[1])?;
    let product = cx.mul(real, joint)?;
    let dtype = cx.dtype(zero);
    let shape = cx.shape(factors[2]);
    let zero = if cx.rank(zero) == 1 && cx.extent(zero, 0).is(1) { cx.reshape(zero, &[])? } else { zero };
    let zero = if cx.rank(zero) == 1 { cx.along(zero, axis, rank)? } else { zero };
    let zero = cx.broadcast(zero, &shape)?;
    let (scale, zero) =
        (cx.laid_out(factors[2], product, axis as i64, 0)?, cx.laid_out(zero, product, axis as i64, 0)?);
    cx.node(Op::Quantize, &[product, scale, zero], [dtype.into()])
}

fn qlinear_matmul(cx: &mut Cx<'_, '_>) -> Results {
    let (a, sa, za) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let (b, sb, zb) = (cx.v(3)?, cx.v(4)?, cx.v(5)?);
    let (sy, zy) = (cx.v(6)?, cx.v(7)?);
    let row_scaled = cx.rank(sa) == 1 && !cx.extent(sa, 0).is(1);
    if row_scaled {
        return Err(Refusal::new("expected one scale of the first operand").nearest("a scalar `a_scale`"));
    }
    let a = centered(cx, a, Some(za), 2)?;
    let b = centered(cx, b, Some(zb), 1)?;
    let sums = cx.product(a, b, DType::I32)?;
    let axis = cx.rank(sums).saturating_sub(1);
    let y = requantized(cx, sums, [sa, sb, sy], zy, axis)?;
    cx.one(y)
}

fn qlinear_conv(cx: &mut Cx<'_, '_>) -> Results {
    let (sx, zx, sw, zw) = (cx.v(1)?, cx.v(2)?, cx.v(4)?, cx.v(5)?);
    let (sy, zy) = (cx.v(6)?, cx.v(7)?);
    let mut sums = integer_convolution(cx, 0, 3, Some(zx), Some(zw))?;
    if let Some(bias) = cx.opt(8)? {
        sums = cx.add_channels(sums, bias)?;
    }
    let y = requantized(cx, sums, [sx, sw, sy], zy, 1)?;
    cx.one(y)
}
