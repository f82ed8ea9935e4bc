//! Operators on elements: arithmetic, comparisons, activations, conversions.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use crate::dtype::{DType, Scalar};
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;
use crate::tensor::Tensor;

macro_rules! unary {
    ($($name:literal $since:literal $op:ident),* $(,)?) => { [$(($name, $since, |c| unary(c, S::$op))),*] };
}
macro_rules! binary {
    ($($name:literal $since:literal $op:ident),* $(,)?) => { [$(($name, $since, |c| binary(c, S::$op))),*] };
}

/// Operators of one operand that are scalar operations.
pub(crate) const UNARY: &[(&str, i64, Rule)] = &unary![
    "Abs" 1 Abs, "Neg" 1 Neg, "Sign" 9 Sign, "Floor" 1 Floor, "Ceil" 1 Ceil, "Round" 11 Round, "Sqrt" 1 Sqrt,
    "Exp" 1 Exp, "Log" 1 Log, "Sin" 7 Sin, "Cos" 7 Cos, "Tan" 7 Tan, "Asin" 7 Asin, "Acos" 7 Acos, "Atan" 7 Atan,
    "Sinh" 9 Sinh, "Cosh" 9 Cosh, "Tanh" 1 Tanh, "Asinh" 9 Asinh, "Acosh" 9 Acosh, "Atanh" 9 Atanh, "Erf" 9 Erf,
    "Sigmoid" 1 Sigmoid, "Softplus" 1 Softplus, "Not" 1 Not, "BitwiseNot" 18 Not, "IsNaN" 9 IsNan,
];

/// Operators of two operands that are scalar operations.
pub(crate) const BINARY: &[(&str, i64, Rule)] = &binary![
    "Add" 1 Add, "Sub" 1 Sub, "Mul" 1 Mul, "Div" 1 Div, "And" 1 And, "Or" 1 Or, "Xor" 1 Xor,
    "BitwiseAnd" 18 And, "BitwiseOr" 18 Or, "BitwiseXor" 18 Xor, "Equal" 1 Eq, "Less" 1 Lt, "LessOrEqual" 12 Le,
    "Greater" 1 Gt, "GreaterOrEqual" 12 Ge,
];

/// The others.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("Identity", 1, |c| Ok(vec![c.item(0)?.clone()])),
    ("Reciprocal", 1, reciprocal),
    ("Pow", 1, pow),
    ("Mod", 10, modulo),
    ("BitShift", 11, bit_shift),
    ("Min", 1, |c| fold(c, S::Min)),
    ("Max", 1, |c| fold(c, S::Max)),
    ("Sum", 1, |c| fold(c, S::Add)),
    ("Mean", 1, mean),
    ("Where", 9, pick),
    ("Clip", 1, clip),
    ("IsInf", 10, is_inf),
    ("Cast", 1, cast),
    ("CastLike", 15, cast_like),
    ("BitCast", 25, bit_cast),
    ("Relu", 1, |c| activation(c, "Relu")),
    ("LeakyRelu", 1, |c| activation(c, "LeakyRelu")),
    ("ThresholdedRelu", 1, |c| activation(c, "ThresholdedRelu")),
    ("Elu", 1, |c| activation(c, "Elu")),
    ("Selu", 1, selu),
    ("Celu", 12, celu),
    ("PRelu", 1, prelu),
    ("HardSigmoid", 1, |c| activation(c, "HardSigmoid")),
    ("HardSwish", 14, hard_swish),
    ("Softsign", 1, |c| activation(c, "Softsign")),
    ("Mish", 18, mish),
    ("Swish", 24, swish),
    ("Gelu", 20, gelu),
    ("Shrink", 9, shrink),
    ("Dropout", 1, dropout),
];

fn unary(cx: &mut Cx<'_, '_>, op: S) -> Results {
    let x = cx.v(0)?;
    let y = cx.un(op, x)?;
    cx.one(y)
}

fn binary(cx: &mut Cx<'_, '_>, op: S) -> Results {
    let (x, y) = operands(cx)?;
    let z = cx.bin(op, x, y)?;
    cx.one(z)
}

/// Two operands; before version 7, broadcasting was asked for and the second could be laid along an axis.
fn operands(cx: &mut Cx<'_, '_>) -> Step<(Value, Value)> {
    let (x, y) = (cx.v(0)?, cx.v(1)?);
    if cx.opset >= 7 || cx.attr("axis").is_none() || !cx.flag("broadcast", false) {
        return Ok((x, y));
    }
    let (rank, own) = (cx.rank(x), cx.rank(y));
    let axis = cx.axis("axis", 0, rank.max(1))?;
    let mut shape = cx.shape(y).to_vec();
    ensure!(axis + own <= rank, "expected at most {} axes from axis {axis}, got {own}", rank - axis);
    shape.extend(std::iter::repeat_n(crate::dim::Dim::ONE, rank - axis - own));
    let y = cx.reshape(y, &shape)?;
    Ok((x, y))
}

fn reciprocal(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let one = cx.like(x, 1.0)?;
    let y = cx.div(one, x)?;
    cx.one(y)
}

/// The exponent may be of another type; the result has that of the base.
fn pow(cx: &mut Cx<'_, '_>) -> Results {
    let (x, mut y) = operands(cx)?;
    let dtype = cx.dtype(x);
    if cx.dtype(y) == dtype {
        let z = cx.bin(S::Pow, x, y)?;
        return cx.one(z);
    }
    let mut base = x;
    if cx.dtype(y).is_float() && !dtype.is_float() {
        base = cx.cast(x, DType::F64)?;
    }
    y = cx.cast(y, cx.dtype(base))?;
    let z = cx.bin(S::Pow, base, y)?;
    let z = cx.cast(z, dtype)?;
    cx.one(z)
}

fn modulo(cx: &mut Cx<'_, '_>) -> Results {
    let op = if cx.flag("fmod", false) { S::Rem } else { S::FloorMod };
    binary(cx, op)
}

fn bit_shift(cx: &mut Cx<'_, '_>) -> Results {
    let op = match cx.text("direction", "").as_str() {
        "LEFT" => S::Shl,
        "RIGHT" => S::Shr,
        other => return Err(Refusal::new(format!("expected `direction` LEFT or RIGHT, got `{other}`"))),
    };
    binary(cx, op)
}

fn fold(cx: &mut Cx<'_, '_>, op: S) -> Results {
    let all = cx.all()?;
    let Some((first, rest)) = all.split_first() else {
        return Err(Refusal::new("expected at least one operand"));
    };
    let mut result = *first;
    for x in rest {
        result = cx.bin(op, result, *x)?;
    }
    cx.one(result)
}

fn mean(cx: &mut Cx<'_, '_>) -> Results {
    let count = cx.inputs.len();
    let sum = fold(cx, S::Add)?;
    cx.inputs = sum.into_iter().map(Some).collect();
    let sum = cx.v(0)?;
    let y = cx.with(S::Div, sum, count as f64)?;
    cx.one(y)
}

fn pick(cx: &mut Cx<'_, '_>) -> Results {
    let (c, x, y) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let z = cx.select(c, x, y)?;
    cx.one(z)
}

fn clip(cx: &mut Cx<'_, '_>) -> Results {
    let mut x = cx.v(0)?;
    let bound = |cx: &mut Cx<'_, '_>, index: usize, name: &str| -> Step<Option<Value>> {
        if cx.opset >= 11 {
            return cx.opt(index);
        }
        let given = cx.attr(name).map(|a| f64::from(a.f));
        given.map(|b| cx.like(x, b)).transpose()
    };
    let (lo, hi) = (bound(cx, 1, "min")?, bound(cx, 2, "max")?);
    let shape = cx.shape(x);
    for (op, bound) in [(S::Max, lo), (S::Min, hi)] {
        if let Some(bound) = bound {
            let bound = if cx.shape(bound).elements().is(1) { cx.reshape(bound, &[])? } else { bound };
            let bound = cx.broadcast(bound, &shape)?;
            x = cx.bin(op, x, bound)?;
        }
    }
    cx.one(x)
}

fn is_inf(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let (negative, positive) = (cx.flag("detect_negative", true), cx.flag("detect_positive", true));
    let infinite = cx.un(S::IsInf, x)?;
    let y = match (negative, positive) {
        (true, true) => infinite,
        (false, false) => cx.bin(S::Xor, infinite, infinite)?,
        (true, false) => {
            let sign = cx.is(S::Lt, x, 0.0)?;
            cx.bin(S::And, infinite, sign)?
        }
        (false, true) => {
            let sign = cx.is(S::Gt, x, 0.0)?;
            cx.bin(S::And, infinite, sign)?
        }
    };
    cx.one(y)
}

fn convert(cx: &mut Cx<'_, '_>, x: Value, to: DType) -> Results {
    let saturate = cx.flag("saturate", true);
    let from_float = cx.dtype(x).is_float();
    let mut x = x;
    if from_float && to.is_int() && to.is_sub_byte() {
        // Floats beyond the range of a narrow integer keep their low bits.
        x = cx.cast(x, DType::I32)?;
    } else if from_float && to == DType::F4E2M1 {
        // The type has no NaN; the standard's cast gives a negative zero.
        let nan = cx.un(S::IsNan, x)?;
        let zero = cx.like(x, -0.0)?;
        x = cx.select(nan, zero, x)?;
    }
    if from_float && to == DType::F8E8M0 {
        x = power_of_two(cx, x, &cx.text("round_mode", "up"))?;
    }
    let y = cx.node(Op::Cast, &[x], [to.into(), Attr::Bool(saturate)])?;
    cx.one(y)
}

/// The neighbouring power of two: not below, not above, or the nearest.
fn power_of_two(cx: &mut Cx<'_, '_>, x: Value, mode: &str) -> Step {
    let nearest = cx.node(Op::Cast, &[x], [DType::F8E8M0.into(), Attr::Bool(true)])?;
    let wide = cx.cast(x, DType::F32)?;
    let nearest = cx.cast(nearest, DType::F32)?;
    let (beyond, factor) = match mode {
        "up" => (S::Lt, 2.0),
        "down" => (S::Gt, 0.5),
        "nearest" => return Ok(nearest),
        other => {
            return Err(Refusal::new(format!("expected `round_mode` up, down or nearest, got `{other}`")));
        }
    };
    let wrong = cx.bin(beyond, nearest, wide)?;
    let other = cx.with(S::Mul, nearest, factor)?;
    cx.select(wrong, other, nearest)
}

fn cast(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let to = if cx.opset < 6 { named_type(&cx.text("to", ""))? } else { cx.dtype_attr("to")? };
    let to = to.ok_or_else(|| Refusal::new("expected the attribute `to`"))?;
    convert(cx, x, to)
}

fn named_type(name: &str) -> Step<Option<DType>> {
    let names = [
        ("FLOAT", 1),
        ("UINT8", 2),
        ("INT8", 3),
        ("UINT16", 4),
        ("INT16", 5),
        ("INT32", 6),
        ("INT64", 7),
        ("BOOL", 9),
        ("FLOAT16", 10),
        ("DOUBLE", 11),
        ("UINT32", 12),
        ("UINT64", 13),
    ];
    let code = names.iter().find(|(n, _)| *n == name).map(|(_, code)| *code);
    Ok(code.map(super::super::tensor::dtype_of).transpose()?)
}

fn cast_like(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let to = cx.held(1)?.ty.dtype;
    convert(cx, x, to)
}

fn bit_cast(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let to = cx.dtype_attr("to")?.ok_or_else(|| Refusal::new("expected the attribute `to`"))?;
    let y = cx.node(Op::Bitcast, &[x], [to.into()])?;
    cx.one(y)
}

/// An activation of one tensor by name, with `alpha` and `beta` from the attributes.
fn activation(cx: &mut Cx<'_, '_>, name: &str) -> Results {
    let x = cx.v(0)?;
    let given = |n: &str| cx.attr(n).map(|a| f64::from(a.f));
    let y = activate(cx, name, x, given("alpha"), given("beta"))?;
    cx.one(y)
}

/// The activations that operators and recurrent layers share, with the standard's defaults.
pub(crate) fn activate(
    cx: &mut Cx<'_, '_>,
    name: &str,
    x: Value,
    alpha: Option<f64>,
    beta: Option<f64>,
) -> Step {
    match name {
        "Relu" => cx.with(S::Max, x, 0.0),
        "Tanh" => cx.un(S::Tanh, x),
        "Sigmoid" => cx.un(S::Sigmoid, x),
        "Softplus" => cx.un(S::Softplus, x),
        "LeakyRelu" => {
            let scaled = cx.with(S::Mul, x, alpha.unwrap_or(0.01))?;
            let negative = cx.is(S::Lt, x, 0.0)?;
            cx.select(negative, scaled, x)
        }
        "ThresholdedRelu" => {
            let above = cx.is(S::Gt, x, alpha.unwrap_or(1.0))?;
            let zero = cx.like(x, 0.0)?;
            cx.select(above, x, zero)
        }
        "Elu" => elu(cx, x, alpha.unwrap_or(1.0), 1.0, 1.0),
        "HardSigmoid" => {
            let scaled = cx.with(S::Mul, x, alpha.unwrap_or(0.2))?;
            let shifted = cx.with(S::Add, scaled, beta.unwrap_or(0.5))?;
            cx.clamp(shifted, 0.0, 1.0)
        }
        "Softsign" => {
            let size = cx.un(S::Abs, x)?;
            let divisor = cx.with(S::Add, size, 1.0)?;
            cx.div(x, divisor)
        }
        "Affine" => {
            let scaled = cx.with(S::Mul, x, alpha.unwrap_or(1.0))?;
            cx.with(S::Add, scaled, beta.unwrap_or(0.0))
        }
        "ScaledTanh" => {
            let scaled = cx.with(S::Mul, x, beta.unwrap_or(1.0))?;
            let y = cx.un(S::Tanh, scaled)?;
            cx.with(S::Mul, y, alpha.unwrap_or(1.0))
        }
        other => Err(Refusal::new(format!("expected a known activation, got `{other}`"))
            .nearest("Relu, Tanh, Sigmoid, LeakyRelu, ThresholdedRelu, Elu, HardSigmoid, Softsign, Softplus, Affine or ScaledTanh")),
    }
}

/// `gamma * x` where positive, else `gamma * alpha * (exp(x / width) - 1)`.
fn elu(cx: &mut Cx<'_, '_>, x: Value, alpha: f64, gamma: f64, width: f64) -> Step {
    let inner = if width == 1.0 { x } else { cx.with(S::Div, x, width)? };
    let grown = cx.un(S::Expm1, inner)?;
    let low = cx.with(S::Mul, grown, alpha * gamma)?;
    let high = if gamma == 1.0 { x } else { cx.with(S::Mul, x, gamma)? };
    let positive = cx.is(S::Gt, x, 0.0)?;
    cx.select(positive, high, low)
}

fn selu(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let old = cx.opset < 6;
    let (alpha, gamma) =
        if old { (1.6732, 1.0507) } else { (1.673_263_192_176_818_8, 1.050_701_022_148_132_3) };
    let y = elu(cx, x, cx.float("alpha", alpha), cx.float("gamma", gamma), 1.0)?;
    cx.one(y)
}

fn celu(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let alpha = cx.float("alpha", 1.0);
    let y = elu(cx, x, alpha, 1.0, alpha)?;
    cx.one(y)
}

fn prelu(cx: &mut Cx<'_, '_>) -> Results {
    let (x, mut slope) = (cx.v(0)?, cx.v(1)?);
    // Before version 7 a slope for each channel was a vector.
    if cx.opset < 7 && cx.rank(slope) == 1 && cx.rank(x) > 1 {
        slope = cx.along(slope, 1, cx.rank(x))?;
    }
    let scaled = cx.mul(x, slope)?;
    let negative = cx.is(S::Lt, x, 0.0)?;
    let y = cx.select(negative, scaled, x)?;
    cx.one(y)
}

fn hard_swish(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let gate = activate(cx, "HardSigmoid", x, Some(1.0 / 6.0), Some(0.5))?;
    let y = cx.mul(x, gate)?;
    cx.one(y)
}

fn mish(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let soft = cx.un(S::Softplus, x)?;
    let gate = cx.un(S::Tanh, soft)?;
    let y = cx.mul(x, gate)?;
    cx.one(y)
}

fn swish(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let alpha = cx.float("alpha", 1.0);
    let y = sigmoid_gate(cx, x, alpha)?;
    cx.one(y)
}

/// `x * sigmoid(alpha * x)`.
pub(crate) fn sigmoid_gate(cx: &mut Cx<'_, '_>, x: Value, alpha: f64) -> Step {
    if alpha == 1.0 {
        return cx.un(S::Silu, x);
    }
    let scaled = cx.with(S::Mul, x, alpha)?;
    let gate = cx.un(S::Sigmoid, scaled)?;
    cx.mul(x, gate)
}

fn gelu(cx: &mut Cx<'_, '_>) -> Results {
    let op = match cx.text("approximate", "none").as_str() {
        "none" => S::Gelu,
        "tanh" => S::GeluTanh,
        other => return Err(Refusal::new(format!("expected `approximate` none or tanh, got `{other}`"))),
    };
    unary(cx, op)
}

fn shrink(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let (lambda, bias) = (cx.float("lambd", 0.5), cx.float("bias", 0.0));
    // Of integers the sums are fractions that are cut off at the end.
    let dtype = cx.dtype(x);
    let x = if dtype.is_float() { x } else { cx.cast(x, DType::F64)? };
    let (below, above) = (cx.is(S::Lt, x, -lambda)?, cx.is(S::Gt, x, lambda)?);
    let (up, down) = (cx.with(S::Add, x, bias)?, cx.with(S::Sub, x, bias)?);
    let zero = cx.like(x, 0.0)?;
    let high = cx.select(above, down, zero)?;
    let y = cx.select(below, up, high)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// Inference passes everything; the mask then is true everywhere.
fn dropout(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    if cx.opset >= 12 && cx.has(2) {
        let off = cx.constant(2).is_some_and(|t| t.len() == 1 && !t.get_flat(0).is_truthy());
        let none = cx.constant(1).is_some_and(|t| t.len() == 1 && t.get_flat(0).to_f64() == 0.0);
        if !off && !none {
            return dropped(cx, x);
        }
    }
    let shape = cx.shape(x);
    let mut results = cx.one(x)?;
    if cx.wants(1) {
        let yes = cx.g().constant(Tensor::scalar(DType::Bool, Scalar::Int(1)))?;
        let mask = cx.broadcast(yes, &shape)?;
        let mask = if cx.opset < 10 { cx.cast(mask, cx.dtype(x))? } else { mask };
        results.push(cx.out(mask));
    }
    Ok(results)
}

/// What is drawn depends on the seed alone, as for all random operators.
fn dropped(cx: &mut Cx<'_, '_>, x: Value) -> Results {
    let (dtype, shape) = (cx.dtype(x), cx.shape(x));
    let training = cx.v(2)?;
    let training = cx.reshape(training, &[])?;
    let ratio = match cx.opt(1)? {
        Some(ratio) => cx.cast(ratio, DType::F32)?,
        None => cx.number(DType::F32, 0.5)?,
    };
    let ratio = cx.reshape(ratio, &[])?;
    let zero = cx.like(ratio, 0.0)?;
    let ratio = cx.select(training, ratio, zero)?;
    let draw = cx.uniform(&shape, 0)?;
    let kept = cx.bin(S::Ge, draw, ratio)?;
    let one = cx.like(ratio, 1.0)?;
    let left = cx.sub(one, ratio)?;
    let left = cx.cast(left, dtype)?;
    let scaled = cx.div(x, left)?;
    let nothing = cx.like_zero(x)?;
    let y = cx.select(kept, scaled, nothing)?;
    cx.many(&[y, kept])
}
