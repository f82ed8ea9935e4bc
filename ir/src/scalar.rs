//! The scalar operations: what an elementwise op of a graph, an expression of a loop nest and an instruction
//! of a program mean for one element.
//!
//! All three levels share this table, so an operation is defined once. Float arithmetic is done in `f64` and
//! rounded once to the type, which for sums, products, quotients and roots of narrower types gives the
//! correctly rounded result. Integer arithmetic wraps. Every operation is total: integer division by zero is
//! zero, shifts by the width or more give what shifting one by one would.

use crate::dtype::{DType, Scalar};
use crate::numerics::Numerics;

/// Which types an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(u8);

impl Domain {
    /// Floating-point types.
    pub const FLOAT: Domain = Domain(1);
    /// Integers.
    pub const INT: Domain = Domain(2);
    /// Truth values.
    pub const BOOL: Domain = Domain(4);
    /// Floats and integers.
    pub const NUMBER: Domain = Domain(3);
    /// Integers and truth values.
    pub const BITS: Domain = Domain(6);
    /// Every type.
    pub const ANY: Domain = Domain(7);

    /// Whether a type belongs to it.
    pub fn has(self, dtype: DType) -> bool {
        let class = match dtype {
            DType::Bool => Domain::BOOL,
            d if d.is_float() => Domain::FLOAT,
            _ => Domain::INT,
        };
        self.0 & class.0 != 0
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match *self {
            Domain::FLOAT => "a float type",
            Domain::INT => "an integer type",
            Domain::BOOL => "bool",
            Domain::NUMBER => "a float or integer type",
            Domain::BITS => "an integer type or bool",
            _ => "any type",
        })
    }
}

/// How the types of operands and result hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signature {
    /// All operands and the result are of one type.
    Same,
    /// All operands are of one type, the result is bool.
    Test,
    /// A bool, then two operands of the type of the result.
    Select,
}

/// Everything known of a scalar operation.
pub struct ScalarDef {
    /// The name in text.
    pub name: &'static str,
    /// The names of the operands.
    pub operands: &'static [&'static str],
    /// The types of operands and result.
    pub signature: Signature,
    /// The types it takes.
    pub domain: Domain,
    /// How far a backend's result may be off.
    pub numerics: Numerics,
    /// What it computes.
    pub doc: &'static str,
    float: fn([f64; 3], DType) -> f64,
    int: fn([i128; 3], DType) -> i128,
}

macro_rules! scalar_ops {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal ($($operand:ident),*) $sig:ident
       [$domain:ident, $numerics:expr] { $(float |$fargs:pat_param, $fty:pat_param| $float:expr;)?
       $(int |$iargs:pat_param, $ity:pat_param| $int:expr;)? })*) => {
        /// A scalar operation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum ScalarOp { $($(#[doc = $doc])* $variant),* }

        impl ScalarOp {
            /// Every scalar operation, in the order of the table.
            pub const ALL: &'static [ScalarOp] = &[$(ScalarOp::$variant),*];
        }

        static TABLE: &[ScalarDef] = &[$(ScalarDef {
            name: $name,
            operands: &[$(stringify!($operand)),*],
            signature: Signature::$sig,
            domain: Domain::$domain,
            numerics: $numerics,
            doc: concat!($($doc, "\n"),*),
            float: either!([$(|$fargs: [f64; 3], $fty: DType| -> f64 { $float })?] |_, _| f64::NAN),
            int: either!([$(|$iargs: [i128; 3], $ity: DType| -> i128 { $int })?] |_, _| 0),
        }),*];
    };
}

/// The first expression if there is one, else the second.
macro_rules! either {
    ([] $default:expr) => {
        $default
    };
    ([$given:expr] $default:expr) => {
        $given
    };
}

const EXACT: Numerics = Numerics::Exact;
/// A hardware instruction or a short polynomial reaches this.
const FEW: Numerics = Numerics::Rounding { ulps: 4 };
/// Compositions of several roundings.
const SOME: Numerics = Numerics::Rounding { ulps: 16 };

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}

#[rustfmt::skip]
scalar_ops! {
    /// `-x`.
    Neg = "neg"(x) Same [NUMBER, EXACT] { float |[x, ..], _| -x; int |[x, ..], _| -x; }
    /// The absolute value; that of the least integer is itself.
    Abs = "abs"(x) Same [NUMBER, EXACT] { float |[x, ..], _| x.abs(); int |[x, ..], _| x.abs(); }
    /// -1, 0 or 1; zeros and NaN give themselves.
    Sign = "sign"(x) Same [NUMBER, EXACT] {
        float |[x, ..], _| if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { x }; int |[x, ..], _| x.signum(); }
    /// The largest integer not above.
    Floor = "floor"(x) Same [FLOAT, EXACT] { float |[x, ..], _| x.floor(); }
    /// The smallest integer not below.
    Ceil = "ceil"(x) Same [FLOAT, EXACT] { float |[x, ..], _| x.ceil(); }
    /// The nearest integer, ties to even.
    Round = "round"(x) Same [FLOAT, EXACT] { float |[x, ..], _| x.round_ties_even(); }
    /// The integer part.
    Trunc = "trunc"(x) Same [FLOAT, EXACT] { float |[x, ..], _| x.trunc(); }
    /// The square root.
    Sqrt = "sqrt"(x) Same [FLOAT, EXACT] { float |[x, ..], _| x.sqrt(); }
    /// `1 / sqrt(x)`.
    Rsqrt = "rsqrt"(x) Same [FLOAT, FEW] { float |[x, ..], _| 1.0 / x.sqrt(); }
    /// `e^x`.
    Exp = "exp"(x) Same [FLOAT, FEW] { float |[x, ..], _| x.exp(); }
    /// `2^x`.
    Exp2 = "exp2"(x) Same [FLOAT, FEW] { float |[x, ..], _| x.exp2(); }
    /// `e^x - 1`, accurate near zero.
    Expm1 = "expm1"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.exp_m1(); }
    /// The natural logarithm.
    Log = "log"(x) Same [FLOAT, FEW] { float |[x, ..], _| x.ln(); }
    /// The logarithm to base 2.
    Log2 = "log2"(x) Same [FLOAT, FEW] { float |[x, ..], _| x.log2(); }
    /// `ln(1 + x)`, accurate near zero.
    Log1p = "log1p"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.ln_1p(); }
    /// The sine.
    Sin = "sin"(x) Same [FLOAT, FEW] { float |[x, ..], _| x.sin(); }
    /// The cosine.
    Cos = "cos"(x) Same [FLOAT, FEW] { float |[x, ..], _| x.cos(); }
    /// The tangent.
    Tan = "tan"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.tan(); }
    /// The inverse sine.
    Asin = "asin"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.asin(); }
    /// The inverse cosine.
    Acos = "acos"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.acos(); }
    /// The inverse tangent.
    Atan = "atan"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.atan(); }
    /// The hyperbolic sine.
    Sinh = "sinh"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.sinh(); }
    /// The hyperbolic cosine.
    Cosh = "cosh"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.cosh(); }
    /// The hyperbolic tangent.
    Tanh = "tanh"(x) Same [FLOAT, FEW] { float |[x, ..], _| x.tanh(); }
    /// The inverse hyperbolic sine.
    Asinh = "asinh"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.asinh(); }
    /// The inverse hyperbolic cosine.
    Acosh = "acosh"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.acosh(); }
    /// The inverse hyperbolic tangent.
    Atanh = "atanh"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.atanh(); }
    /// The error function.
    Erf = "erf"(x) Same [FLOAT, FEW] { float |[x, ..], _| libm::erf(x); }
    /// The logistic function `1 / (1 + e^-x)`.
    Sigmoid = "sigmoid"(x) Same [FLOAT, SOME] { float |[x, ..], _| 1.0 / (1.0 + (-x).exp()); }
    /// `ln(1 + e^x)`, without overflow.
    Softplus = "softplus"(x) Same [FLOAT, SOME] { float |[x, ..], _| x.max(0.0) + (-x.abs()).exp().ln_1p(); }
    /// `x / (1 + e^-x)`.
    Silu = "silu"(x) Same [FLOAT, SOME] { float |[x, ..], _| x / (1.0 + (-x).exp()); }
    /// `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu = "gelu"(x) Same [FLOAT, SOME] { float |[x, ..], _| 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2); }
    /// `x * (1 + tanh(sqrt(2/π) * (x + 0.044715 x³))) / 2`.
    GeluTanh = "gelu_tanh"(x) Same [FLOAT, SOME] {
        float |[x, ..], _| 0.5 * x * (1.0 + (GELU_TANH_SCALE * (x + 0.044_715 * x * x * x)).tanh()); }
    /// Whether NaN.
    IsNan = "is_nan"(x) Test [FLOAT, EXACT] { float |[x, ..], _| truth(x.is_nan()); }
    /// Whether infinite.
    IsInf = "is_inf"(x) Test [FLOAT, EXACT] { float |[x, ..], _| truth(x.is_infinite()); }
    /// The complement of every bit; of a bool, the other one.
    Not = "not"(x) Same [BITS, EXACT] { int |[x, ..], t| if t == DType::Bool { 1 - x } else { !x }; }
    /// `x + y`.
    Add = "add"(x, y) Same [NUMBER, EXACT] { float |[x, y, _], _| x + y; int |[x, y, _], _| x + y; }
    /// `x - y`.
    Sub = "sub"(x, y) Same [NUMBER, EXACT] { float |[x, y, _], _| x - y; int |[x, y, _], _| x - y; }
    /// `x * y`.
    Mul = "mul"(x, y) Same [NUMBER, EXACT] { float |[x, y, _], _| x * y; int |[x, y, _], _| x.wrapping_mul(y); }
    /// `x / y`; of integers rounded towards zero, and zero when `y` is.
    Div = "div"(x, y) Same [NUMBER, EXACT] { float |[x, y, _], _| x / y; int |[x, y, _], _| x.checked_div(y).unwrap_or(0); }
    /// The remainder of the truncated division, of the sign of `x`; of integers zero when `y` is.
    Rem = "rem"(x, y) Same [NUMBER, EXACT] { float |[x, y, _], _| x % y; int |[x, y, _], _| x.checked_rem(y).unwrap_or(0); }
    /// The remainder of the floored division, of the sign of `y`; of integers zero when `y` is.
    FloorMod = "floor_mod"(x, y) Same [NUMBER, EXACT] {
        float |[x, y, _], _| floor_mod(x, y);
        int |[x, y, _], _| match x.checked_rem(y) { None => 0, Some(r) if r != 0 && (r < 0) != (y < 0) => r + y, Some(r) => r }; }
    /// `x` to the power of `y`; of integers zero for a negative `y` unless `x` is 1 or -1.
    Pow = "pow"(x, y) Same [NUMBER, SOME] { float |[x, y, _], _| x.powf(y); int |[x, y, _], t| int_pow(x, y, t); }
    /// The angle of the point (y, x).
    Atan2 = "atan2"(y, x) Same [FLOAT, SOME] { float |[y, x, _], _| y.atan2(x); }
    /// The smaller; NaN if either is.
    Min = "min"(x, y) Same [ANY, EXACT] { float |[x, y, _], _| extremum(x, y, x < y || (x == y && x.is_sign_negative())); int |[x, y, _], _| x.min(y); }
    /// The larger; NaN if either is.
    Max = "max"(x, y) Same [ANY, EXACT] { float |[x, y, _], _| extremum(x, y, x > y || (x == y && x.is_sign_positive())); int |[x, y, _], _| x.max(y); }
    /// Bitwise and.
    And = "and"(x, y) Same [BITS, EXACT] { int |[x, y, _], _| x & y; }
    /// Bitwise or.
    Or = "or"(x, y) Same [BITS, EXACT] { int |[x, y, _], _| x | y; }
    /// Bitwise exclusive or.
    Xor = "xor"(x, y) Same [BITS, EXACT] { int |[x, y, _], _| x ^ y; }
    /// Shift towards the high bits.
    Shl = "shl"(x, y) Same [INT, EXACT] { int |[x, y, _], _| if (0..64).contains(&y) { x << y } else { 0 }; }
    /// Shift towards the low bits, filling with the sign of a signed type.
    Shr = "shr"(x, y) Same [INT, EXACT] { int |[x, y, _], _| x >> y.clamp(0, 127); }
    /// `x == y`; NaN equals nothing.
    Eq = "eq"(x, y) Test [ANY, EXACT] { float |[x, y, _], _| truth(x == y); int |[x, y, _], _| i128::from(x == y); }
    /// `x != y`.
    Ne = "ne"(x, y) Test [ANY, EXACT] { float |[x, y, _], _| truth(x != y); int |[x, y, _], _| i128::from(x != y); }
    /// `x < y`.
    Lt = "lt"(x, y) Test [ANY, EXACT] { float |[x, y, _], _| truth(x < y); int |[x, y, _], _| i128::from(x < y); }
    /// `x <= y`.
    Le = "le"(x, y) Test [ANY, EXACT] { float |[x, y, _], _| truth(x <= y); int |[x, y, _], _| i128::from(x <= y); }
    /// `x > y`.
    Gt = "gt"(x, y) Test [ANY, EXACT] { float |[x, y, _], _| truth(x > y); int |[x, y, _], _| i128::from(x > y); }
    /// `x >= y`.
    Ge = "ge"(x, y) Test [ANY, EXACT] { float |[x, y, _], _| truth(x >= y); int |[x, y, _], _| i128::from(x >= y); }
    /// `x * y + z` with one rounding.
    Fma = "fma"(x, y, z) Same [FLOAT, EXACT] { float |[x, y, z], t| fma(x, y, z, t); }
    /// `x` where `c` is true, else `y`.
    Select = "select"(c, x, y) Select [ANY, EXACT] { float |[c, x, y], _| if c != 0.0 { x } else { y };
        int |[c, x, y], _| if c != 0 { x } else { y }; }
}

/// `sqrt(2 / π)`.
const GELU_TANH_SCALE: f64 = 0.797_884_560_802_865_4;

/// NaN propagates and `-0.0` is below `0.0`, as IEEE 754's minimum and maximum have it.
fn extremum(x: f64, y: f64, first: bool) -> f64 {
    if x.is_nan() || y.is_nan() {
        f64::NAN
    } else if first {
        x
    } else {
        y
    }
}

fn floor_mod(x: f64, y: f64) -> f64 {
    let r = x % y;
    if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
}

/// Wraps after every step, so that huge exponents cost only their logarithm.
fn int_pow(x: i128, y: i128, dtype: DType) -> i128 {
    if y < 0 {
        return match x {
            1 => 1,
            -1 => 1 - 2 * (y & 1),
            _ => 0,
        };
    }
    let (mut base, mut exponent, mut result) = (x, y, 1i128);
    let wrap = |v: i128| match Scalar::Int(v).round_to(dtype) {
        Scalar::Int(v) => v,
        Scalar::Float(_) => 0,
    };
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = wrap(result.wrapping_mul(base));
        }
        base = wrap(base.wrapping_mul(base));
        exponent >>= 1;
    }
    result
}

/// A product of two `f32` is exact in `f64` but the sum then rounds twice, so `f32` has its own.
fn fma(x: f64, y: f64, z: f64, dtype: DType) -> f64 {
    match dtype {
        DType::F32 => f64::from((x as f32).mul_add(y as f32, z as f32)),
        _ => x.mul_add(y, z),
    }
}

impl ScalarOp {
    /// The table entry.
    pub fn def(self) -> &'static ScalarDef {
        &TABLE[self as usize]
    }

    /// The name in text.
    pub fn name(self) -> &'static str {
        self.def().name
    }

    /// The operation of a name.
    pub fn from_name(name: &str) -> Option<ScalarOp> {
        ScalarOp::ALL.iter().copied().find(|op| op.name() == name)
    }

    /// The number of operands.
    pub fn arity(self) -> usize {
        self.def().operands.len()
    }

    /// The type of the result, or what was expected of the operands.
    pub fn result(self, operands: &[DType]) -> Result<DType, String> {
        let def = self.def();
        if operands.len() != def.operands.len() {
            return Err(format!("expected {} operands, got {}", def.operands.len(), operands.len()));
        }
        let values = match def.signature {
            Signature::Select => {
                if operands[0] != DType::Bool {
                    return Err(format!("expected `{}` of type bool, got {}", def.operands[0], operands[0]));
                }
                &operands[1..]
            }
            _ => operands,
        };
        let first = values[0];
        if let Some(other) = values.iter().find(|d| **d != first) {
            return Err(format!("expected operands of one type, got {first} and {other}"));
        }
        if !def.domain.has(first) {
            return Err(format!("expected operands of {}, got {first}", def.domain));
        }
        Ok(if def.signature == Signature::Test { DType::Bool } else { first })
    }

    /// The value for one element; `dtype` is the type of the last operand.
    pub fn eval(self, operands: &[Scalar], dtype: DType) -> Scalar {
        let def = self.def();
        let result = if def.signature == Signature::Test { DType::Bool } else { dtype };
        if dtype.is_float() {
            let value = (def.float)(spread(operands, |s| s.to_f64()), dtype);
            if result == DType::Bool {
                Scalar::Int(i128::from(value != 0.0))
            } else {
                Scalar::Float(value).round_to(result)
            }
        } else {
            Scalar::Int((def.int)(spread(operands, |s| s.to_i128()), dtype)).round_to(result)
        }
    }

    /// The value for one element of a float type, before rounding to it; truth is one.
    pub fn eval_f64(self, operands: [f64; 3], dtype: DType) -> f64 {
        (self.def().float)(operands, dtype)
    }
}

fn spread<T: Default + Copy>(operands: &[Scalar], get: impl Fn(Scalar) -> T) -> [T; 3] {
    let mut all = [T::default(); 3];
    for (slot, operand) in all.iter_mut().zip(operands) {
        *slot = get(*operand);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f(op: ScalarOp, args: &[f64], t: DType) -> f64 {
        op.eval(&args.iter().map(|a| Scalar::Float(*a)).collect::<Vec<_>>(), t).to_f64()
    }

    fn i(op: ScalarOp, args: &[i128], t: DType) -> i128 {
        op.eval(&args.iter().map(|a| Scalar::Int(*a)).collect::<Vec<_>>(), t).to_i128()
    }

    #[test]
    fn integers_wrap_and_are_total() {
        assert_eq!(i(ScalarOp::Add, &[127, 1], DType::I8), -128);
        assert_eq!(i(ScalarOp::Neg, &[-128], DType::I8), -128);
        assert_eq!(i(ScalarOp::Div, &[7, 0], DType::I32), 0);
        assert_eq!(i(ScalarOp::Div, &[i128::from(i32::MIN), -1], DType::I32), i128::from(i32::MIN));
        assert_eq!(i(ScalarOp::FloorMod, &[-7, 3], DType::I32), 2);
        assert_eq!(i(ScalarOp::Pow, &[3, 5], DType::U8), 243);
        assert_eq!(i(ScalarOp::Pow, &[2, 9], DType::U8), 0);
        assert_eq!(i(ScalarOp::Not, &[1], DType::Bool), 0);
        assert_eq!(i(ScalarOp::Not, &[0], DType::U8), 255);
        assert_eq!(i(ScalarOp::Shr, &[-8, 1], DType::I8), -4);
    }

    #[test]
    fn floats_round_once_and_keep_nan() {
        assert_eq!(f(ScalarOp::Add, &[1.0, 2f64.powi(-25)], DType::F32), 1.0);
        assert!(f(ScalarOp::Max, &[f64::NAN, 1.0], DType::F32).is_nan());
        assert_eq!(f(ScalarOp::Round, &[2.5], DType::F32), 2.0);
        assert_eq!(f(ScalarOp::Lt, &[1.0, 2.0], DType::F16), 1.0);
        assert_eq!(f(ScalarOp::Max, &[-0.0, 0.0], DType::F32).to_bits(), 0);
        assert_eq!(f(ScalarOp::Min, &[0.0, -0.0], DType::F32).to_bits(), (-0.0f64).to_bits());
    }

    #[test]
    fn types_are_checked() {
        assert_eq!(ScalarOp::Lt.result(&[DType::F32, DType::F32]), Ok(DType::Bool));
        assert!(ScalarOp::Sqrt.result(&[DType::I32]).unwrap_err().contains("a float type"));
        assert!(ScalarOp::Add.result(&[DType::Bool, DType::Bool]).is_err());
        assert!(ScalarOp::Select.result(&[DType::F32, DType::F32, DType::F32]).is_err());
    }
}
