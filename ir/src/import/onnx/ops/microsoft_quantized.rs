//! Quantised operators of the domain `com.microsoft`, as ONNX Runtime's quantiser and optimiser write them.
//!
//! Those without a product are computed on real values in between, as the runtime's own kernels define them.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::elementwise::activate;
use super::pooling::averaged;
use super::quantized::{centered, dequantize, dynamically_quantized, quantize, requantized};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("QuantizeLinear", 1, quantize),
    ("DequantizeLinear", 1, dequantize),
    ("MatMulNBits", 1, matmul_n_bits),
    ("MatMulIntegerToFloat", 1, matmul_integer_to_float),
    ("DynamicQuantizeMatMul", 1, dynamic_quantize_matmul),
    ("QGemm", 1, qgemm),
    ("QLinearAdd", 1, |c| qlinear_binary(c, S::Add)),
    ("QLinearMul", 1, |c| qlinear_binary(c, S::Mul)),
    ("QLinearSigmoid", 1, |c| qlinear_unary(c, |c, x| activate(c, "Sigmoid", x, None, None))),
    ("QLinearLeakyRelu", 1, |c| {
        let alpha = c.float("alpha", 0.01);
        qlinear_unary(c, |c, x| activate(c, "LeakyRelu", x, Some(alpha), None))
    }),
    ("QLinearAveragePool", 1, |c| qlinear_pool(c, averaged)),
    ("QLinearGlobalAveragePool", 1, |c| {
        qlinear_pool(c, |c, x| {
            let axes: Vec<usize> = (2..c.rank(x)).collect();
            c.mean(x, &axes, true)
        })
    }),
    ("QLinearSoftmax", 1, qlinear_softmax),
    ("QLinearConcat", 1, qlinear_concat),
];

/// A product with a matrix of few bits, in blocks along its columns with a scale each.
fn matmul_n_bits(cx: &mut Cx<'_, '_>) -> Results {
    let (x, packed, scales) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    ensure!(!cx.has(4), "expected no `g_idx`");
    let (k, n) = (cx.int("K", 0), cx.int("N", 0));
    let (bits, block) = (cx.int("bits", 4), cx.int("block_size", 0));
    ensure!(k > 0 && n > 0 && block > 0, "expected positive `K`, `N` and `block_size`");
    ensure!(bits == 4 || bits == 8, "expected 4 or 8 bits, got {bits}");
    let blocks = (k + block - 1) / block;
    let dtype = cx.dtype(x);
    // Bytes hold two elements, the first in the low half.
    let unpack = |cx: &mut Cx<'_, '_>, bytes: Value, rows: i64, columns: i64| -> Step {
        if bits == 8 {
            return cx.reshape(bytes, &[Dim::from(rows), Dim::from(columns)]);
        }
        let count = (columns + 1) / 2;
        let bytes = cx.reshape(bytes, &[Dim::from(rows), Dim::from(count)])?;
        let (low, high) = (cx.with(S::And, bytes, 15.0)?, cx.with(S::Shr, bytes, 4.0)?);
        let (low, high) = (cx.unsqueeze(low, &[2])?, cx.unsqueeze(high, &[2])?);
        let pairs = cx.concat(&[low, high], 2)?;
        let all = cx.reshape(pairs, &[Dim::from(rows), Dim::from(2 * count)])?;
        cx.slice(all, 1, &Dim::ZERO, &Dim::from(columns))
    };
    let weights = unpack(cx, packed, n * blocks, block)?;
    let zero = match cx.opt(3)? {
        Some(zero) if cx.dtype(zero) == DType::U8 => {
            let zero = unpack(cx, zero, n, blocks)?;
            cx.cast(zero, dtype)?
        }
        Some(zero) => cx.cast(zero, dtype)?,
        None => cx.number(dtype, (1i64 << (bits - 1)) as f64)?,
    };
    let laid = [Dim::from(n * blocks), Dim::ONE];
    let zero = if cx.rank(zero) == 0 { zero } else { cx.reshape(zero, &laid)? };
    let scales = cx.reshape(scales, &laid)?;
    let scales = cx.cast(scales, dtype)?;
    let weights = cx.cast(weights, dtype)?;
    let weights = cx.sub(weights, zero)?;
    let weights = cx.mul(weights, scales)?;
    let weights = cx.reshape(weights, &[Dim::from(n), Dim::from(blocks * block)])?;
    let weights = cx.slice(weights, 1, &Dim::ZERO, &Dim::from(k))?;
    let rank = cx.rank(x) as i64;
    let mut y = cx.dot((x, weights), (&[], &[]), (&[rank - 1], &[1]), dtype)?;
    if let Some(bias) = cx.opt(5)? {
        y = cx.add(y, bias)?;
    }
    cx.one(y)
}

/// Operands: two matrices, their scales, their zero points, a bias.
fn matmul_integer_to_float(cx: &mut Cx<'_, '_>) -> Results {
    let (a, b, sa, sb) = (cx.v(0)?, cx.v(1)?, cx.v(2)?, cx.v(3)?);
    let (za, zb, bias) = (cx.opt(4)?, cx.opt(5)?, cx.opt(6)?);
    let y = scaled_product(cx, [(a, sa, za), (b, sb, zb)], bias)?;
    cx.one(y)
}

/// As above, with the first matrix quantised by its own range.
fn dynamic_quantize_matmul(cx: &mut Cx<'_, '_>) -> Results {
    let (a, b, sb) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let (zb, bias) = (cx.opt(3)?, cx.opt(4)?);
    let [a, sa, za] = dynamically_quantized(cx, a)?;
    let y = scaled_product(cx, [(a, sa, Some(za)), (b, sb, zb)], bias)?;
    cx.one(y)
}

/// A matrix, its scale and its zero point.
type Scaled = (Value, Value, Option<Value>);

fn scaled_product(cx: &mut Cx<'_, '_>, [a, b]: [Scaled; 2], bias: Option<Value>) -> Step {
    let scale = cx.mul(a.1, b.1)?;
    let dtype = cx.dtype(scale);
    let (a, b) = (centered(cx, a.0, a.2, 2)?, centered(cx, b.0, b.2, 1)?);
    let sums = cx.product(a, b, DType::I32)?;
    let sums = cx.cast(sums, dtype)?;
    let y = cx.mul(sums, scale)?;
    bias.map_or(Ok(y), |bias| cx.add(y, bias))
}

/// Operands: two matrices with scale and zero point each, a bias of i32, and scale and zero point of the result,
/// which is real without them.
fn qgemm(cx: &mut Cx<'_, '_>) -> Results {
    let (a, sa, za) = (cx.v(0)?, cx.v(1)?, cx.opt(2)?);
    let (b, sb, zb) = (cx.v(3)?, cx.v(4)?, cx.opt(5)?);
    ensure!(cx.rank(a) == 2 && cx.rank(b) == 2, "expected two matrices");
    let turn_b = cx.flag("transB", false);
    let (mut a, mut b) = (centered(cx, a, za, 2)?, centered(cx, b, zb, if turn_b { 2 } else { 1 })?);
    if cx.flag("transA", false) {
        a = cx.swap_last(a)?;
    }
    if turn_b {
        b = cx.swap_last(b)?;
    }
    let mut sums = cx.product(a, b, DType::I32)?;
    if let Some(bias) = cx.opt(6)? {
        sums = cx.add(sums, bias)?;
    }
    let sa = cx.with(S::Mul, sa, cx.float("alpha", 1.0))?;
    if cx.has(7) {
        let (sy, zy) = (cx.v(7)?, cx.v(8)?);
        let y = requantized(cx, sums, [sa, sb, sy], zy, 1)?;
        return cx.one(y);
    }
    let scale = cx.mul(sa, sb)?;
    let real = cx.cast(sums, cx.dtype(scale))?;
    let y = cx.mul(real, scale)?;
    cx.one(y)
}

/// The real value of a quantised operand, its scale and zero point.
fn real(cx: &mut Cx<'_, '_>, x: usize, scale: usize, zero: usize) -> Step {
    let (x, scale) = (cx.v(x)?, cx.v(scale)?);
    let source = cx.dtype(x);
    let zero = cx.zero_point(zero, source, scale)?;
    let (scale, zero) = (cx.laid_out(scale, x, 1, 0)?, cx.laid_out(zero, x, 1, 0)?);
    cx.node(Op::Dequantize, &[x, scale, zero], [DType::F32.into()])
}

fn quantized(cx: &mut Cx<'_, '_>, x: Value, scale: usize, zero: usize, dtype: DType) -> Results {
    let scale = cx.v(scale)?;
    let zero = cx.zero_point(zero, dtype, scale)?;
    let (scale, zero) = (cx.laid_out(scale, x, 1, 0)?, cx.laid_out(zero, x, 1, 0)?);
    let y = cx.node(Op::Quantize, &[x, scale, zero], [dtype.into()])?;
    cx.one(y)
}

fn qlinear_binary(cx: &mut Cx<'_, '_>, op: S) -> Results {
    let dtype = cx.held(0)?.ty.dtype;
    let (a, b) = (real(cx, 0, 1, 2)?, real(cx, 3, 4, 5)?);
    let y = cx.bin(op, a, b)?;
    quantized(cx, y, 6, 7, dtype)
}

fn qlinear_unary(cx: &mut Cx<'_, '_>, f: impl Fn(&mut Cx<'_, '_>, Value) -> Step) -> Results {
    let dtype = cx.held(0)?.ty.dtype;
    let x = real(cx, 0, 1, 2)?;
    let y = f(cx, x)?;
    quantized(cx, y, 3, 4, dtype)
}

/// Pools over all axes but the first two, or but the first and the last.
fn qlinear_pool(cx: &mut Cx<'_, '_>, pool: fn(&mut Cx<'_, '_>, Value) -> Step) -> Results {
    let last = cx.flag("channels_last", false);
    qlinear_unary(cx, |cx, x| {
        let rank = cx.rank(x);
        if !last || rank < 2 {
            return pool(cx, x);
        }
        let x = cx.move_axis(x, rank - 1, 1)?;
        let y = pool(cx, x)?;
        cx.move_axis(y, 1, rank - 1)
    })
}

/// Up to version 12 of the standard everything behind the axis is taken as one axis.
fn qlinear_softmax(cx: &mut Cx<'_, '_>) -> Results {
    let flat = cx.int("opset", 13) < 13;
    qlinear_unary(cx, |cx, x| {
        let shape = cx.shape(x);
        let axis = cx.axis("axis", -1, shape.rank())?;
        if !flat {
            return cx.node(Op::Softmax, &[x], [Attr::Int(axis as i64)]);
        }
        let product = |dims: &[Dim]| dims.iter().cloned().product::<Dim>();
        let rows = cx.reshape(x, &[product(&shape[..axis]), product(&shape[axis..])])?;
        let y = cx.node(Op::Softmax, &[rows], [Attr::Int(1)])?;
        cx.reshape(y, &shape)
    })
}

/// Operands: the scale and zero point of the result, then three for each part.
fn qlinear_concat(cx: &mut Cx<'_, '_>) -> Results {
    let dtype = cx.held(1)?.ty.dtype;
    let count = cx.inputs.len().saturating_sub(2) / 3;
    let parts =
        (0..count).map(|i| real(cx, 2 + 3 * i, 3 + 3 * i, 4 + 3 * i)).collect::<Step<Vec<Value>>>()?;
    let first = *parts.first().ok_or_else(|| Refusal::new("expected at least one part"))?;
    let axis = cx.axis("axis", 1, cx.rank(first))?;
    let y = cx.concat(&parts, axis)?;
    quantized(cx, y, 0, 1, dtype)
}
