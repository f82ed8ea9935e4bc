//! Functions that devices have no instruction for become arithmetic of f64, in which f32 and narrower results are
//! exact up to their last rounding. What a shorter expansion in f32 exists for is expanded before.
//!
//! ```text
//! %1: f32 = sin %0
//! ->
//! %2: f64 = cast %0
//! … the sine of %2 …
//! %1: f32 = cast %9
//! ```
//!
//! Results of f64 are within some units of the last place, powers within the magnitude of their logarithm. Sines
//! lose digits for arguments beyond a hundred million. The error function of f64 has no expansion.

use smallvec::SmallVec;
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::mem::{Inst, Program, Reg, RegType, Rhs};
use tcc_ir::scalar::ScalarOp::{self, *};
use tcc_ir::scalar::Signature;

/// Expands every function that has an expansion.
pub fn expand_device_functions(program: &mut Program) {
    let body = std::mem::take(&mut program.body);
    program.body = block(program, body);
}

fn block(program: &mut Program, body: Vec<Inst>) -> Vec<Inst> {
    let mut out = Vec::with_capacity(body.len());
    for inst in body {
        match inst {
            Inst::Set { reg, value: Rhs::Op(op, args) } if expands(op, program.ty(args[0]).dtype) => {
                let ty = program.ty(args[0]);
                let mut build = Build { program, out: &mut out, lanes: ty.lanes };
                let wide: Vec<Reg> = args.iter().map(|a| build.cast(*a, DType::F64)).collect();
                let value = build.function(op, &wide);
                out.push(Inst::Set { reg, value: Rhs::Cast { value, saturate: true } });
            }
            Inst::For { var, extent, kind, body } => {
                let body = block(program, body);
                out.push(Inst::For { var, extent, kind, body });
            }
            Inst::If { conds, then, otherwise } => {
                let then = block(program, then);
                let otherwise = block(program, otherwise);
                out.push(Inst::If { conds, then, otherwise });
            }
            other => out.push(other),
        }
    }
    out
}

fn expands(op: ScalarOp, dtype: DType) -> bool {
    let function = matches!(
        op,
        Exp | Exp2
            | Expm1
            | Log
            | Log2
            | Log1p
            | Sin
            | Cos
            | Tan
            | Asin
            | Acos
            | Atan
            | Sinh
            | Cosh
            | Tanh
            | Asinh
            | Acosh
            | Atanh
            | Pow
            | Atan2
    );
    dtype.is_float() && function
}

struct Build<'a> {
    program: &'a mut Program,
    out: &'a mut Vec<Inst>,
    lanes: u32,
}

/// `ln 2` and `π / 2` in parts of few bits, whose products with small integers are exact.
const LN2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];
const HALF_PI: [f64; 3] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_6e-21];

impl Build<'_> {
    fn set(&mut self, dtype: DType, value: Rhs) -> Reg {
        self.program.regs.push(RegType { dtype, lanes: self.lanes });
        let reg = Reg(self.program.regs.len() as u32 - 1);
        self.out.push(Inst::Set { reg, value });
        reg
    }

    fn number(&mut self, value: f64) -> Reg {
        self.set(DType::F64, Rhs::Const(Scalar::Float(value)))
    }

    fn integer(&mut self, value: i64) -> Reg {
        self.set(DType::I64, Rhs::Const(Scalar::from(value)))
    }

    fn op(&mut self, op: ScalarOp, args: &[Reg]) -> Reg {
        let last = self.program.ty(args[args.len() - 1]).dtype;
        let test = op.def().signature == Signature::Test;
        let args: SmallVec<[Reg; 3]> = args.iter().copied().collect();
        self.set(if test { DType::Bool } else { last }, Rhs::Op(op, args))
    }

    /// An operation with a number.
    fn with(&mut self, op: ScalarOp, x: Reg, y: f64) -> Reg {
        let y = self.number(y);
        self.op(op, &[x, y])
    }

    fn cast(&mut self, value: Reg, to: DType) -> Reg {
        if self.program.ty(value).dtype == to {
            return value;
        }
        self.set(to, Rhs::Cast { value, saturate: true })
    }

    /// Highest coefficient first.
    fn polynomial(&mut self, x: Reg, coefficients: impl IntoIterator<Item = f64>) -> Reg {
        let mut coefficients = coefficients.into_iter();
        let mut sum = self.number(coefficients.next().unwrap_or(0.0));
        for c in coefficients {
            let c = self.number(c);
            sum = self.op(Fma, &[sum, x, c]);
        }
        sum
    }

    fn function(&mut self, op: ScalarOp, args: &[Reg]) -> Reg {
        let x = args[0];
        match op {
            Exp => self.exp(x),
            Exp2 => {
                let n = self.op(Round, &[x]);
                let r = self.op(Sub, &[x, n]);
                let r = self.with(Mul, r, std::f64::consts::LN_2);
                self.exp_of(n, r, x, (-1080.0, 1025.0))
            }
            Expm1 => self.expm1(x),
            Log => self.log(x),
            Log2 => {
                let log = self.log(x);
                self.with(Mul, log, std::f64::consts::LOG2_E)
            }
            Log1p => self.log1p(x),
            Sin => self.circular(x, 0),
            Cos => self.circular(x, 1),
            Tan => {
                let (sine, cosine) = (self.circular(x, 0), self.circular(x, 1));
                self.op(Div, &[sine, cosine])
            }
            Atan => self.atan(x),
            Atan2 => self.atan2(x, args[1]),
            Asin => {
                let beside = self.beside(x);
                self.atan2(x, beside)
            }
            Acos => {
                let beside = self.beside(x);
                self.atan2(beside, x)
            }
            Sinh => {
                // (e + e/(e+1)) / 2 with e = e^|x| - 1.
                let magnitude = self.op(Abs, &[x]);
                let e = self.expm1(magnitude);
                let above = self.with(Add, e, 1.0);
                let inverse = self.op(Div, &[e, above]);
                let one = self.number(1.0);
                let infinite = self.op(IsInf, &[e]);
                let inverse = self.op(Select, &[infinite, one, inverse]);
                let sum = self.op(Add, &[e, inverse]);
                let half = self.with(Mul, sum, 0.5);
                self.signed_as(half, x)
            }
            Cosh => {
                let magnitude = self.op(Abs, &[x]);
                let e = self.exp(magnitude);
                let one = self.number(1.0);
                let inverse = self.op(Div, &[one, e]);
                let sum = self.op(Add, &[e, inverse]);
                self.with(Mul, sum, 0.5)
            }
            Tanh => {
                let magnitude = self.op(Abs, &[x]);
                let limited = self.with(Min, magnitude, 30.0);
                let twice = self.with(Mul, limited, 2.0);
                let e = self.expm1(twice);
                let below = self.with(Add, e, 2.0);
                let value = self.op(Div, &[e, below]);
                self.signed_as(value, x)
            }
            Asinh => {
                // ln(1 + (a + a² / (1 + sqrt(1 + a²)))).
                let a = self.op(Abs, &[x]);
                let square = self.op(Mul, &[a, a]);
                let under = self.with(Add, square, 1.0);
                let root = self.op(Sqrt, &[under]);
                let below = self.with(Add, root, 1.0);
                let part = self.op(Div, &[square, below]);
                let large = self.op(IsInf, &[square]);
                let part = self.op(Select, &[large, a, part]);
                let sum = self.op(Add, &[a, part]);
                let log = self.log1p(sum);
                self.signed_as(log, x)
            }
            Acosh => {
                // ln(1 + (t + sqrt(2t + t²))) with t = x - 1.
                let t = self.with(Sub, x, 1.0);
                let more = self.with(Add, t, 2.0);
                let product = self.op(Mul, &[t, more]);
                let root = self.op(Sqrt, &[product]);
                let sum = self.op(Add, &[t, root]);
                self.log1p(sum)
            }
            Atanh => {
                let a = self.op(Abs, &[x]);
                let twice = self.with(Mul, a, 2.0);
                let one = self.number(1.0);
                let below = self.op(Sub, &[one, a]);
                let ratio = self.op(Div, &[twice, below]);
                let log = self.log1p(ratio);
                let half = self.with(Mul, log, 0.5);
                self.signed_as(half, x)
            }
            _ => self.pow(x, args[1]),
        }
    }

    /// `sqrt(1 - x²)`.
    fn beside(&mut self, x: Reg) -> Reg {
        let one = self.number(1.0);
        let (below, above) = (self.op(Sub, &[one, x]), self.op(Add, &[one, x]));
        let product = self.op(Mul, &[below, above]);
        self.op(Sqrt, &[product])
    }

    /// A magnitude with the sign of `x`; NaN and zero of `x` stay.
    fn signed_as(&mut self, magnitude: Reg, x: Reg) -> Reg {
        let zero = self.number(0.0);
        let negated = self.op(Neg, &[magnitude]);
        let (below, above) = (self.op(Lt, &[x, zero]), self.op(Gt, &[x, zero]));
        let value = self.op(Select, &[below, negated, x]);
        self.op(Select, &[above, magnitude, value])
    }

    fn exp(&mut self, x: Reg) -> Reg {
        let units = self.with(Mul, x, std::f64::consts::LOG2_E);
        let n = self.op(Round, &[units]);
        let (high, low) = (self.number(-LN2[0]), self.number(-LN2[1]));
        let r = self.op(Fma, &[n, high, x]);
        let r = self.op(Fma, &[n, low, r]);
        self.exp_of(n, r, x, (-750.0, 710.0))
    }

    /// `2^n e^r`, where `x` is what it is a function of, and zero and infinity outside of a range of it.
    fn exp_of(&mut self, n: Reg, r: Reg, x: Reg, range: (f64, f64)) -> Reg {
        let value = self.polynomial(r, inverse_factorials(13));
        let scaled = self.scaled(value, n);
        let (zero, infinity) = (self.number(0.0), self.number(f64::INFINITY));
        let (low, high) = (self.number(range.0), self.number(range.1));
        let under = self.op(Lt, &[x, low]);
        let scaled = self.op(Select, &[under, zero, scaled]);
        let over = self.op(Gt, &[x, high]);
        let scaled = self.op(Select, &[over, infinity, scaled]);
        let nan = self.op(IsNan, &[x]);
        self.op(Select, &[nan, x, scaled])
    }

    /// `value * 2^n`, the power in two halves, so that it can leave the normal numbers.
    fn scaled(&mut self, value: Reg, n: Reg) -> Reg {
        let n = self.cast(n, DType::I64);
        let one = self.integer(1);
        let first = self.op(Shr, &[n, one]);
        let second = self.op(Sub, &[n, first]);
        let mut value = value;
        for half in [first, second] {
            let (bias, place) = (self.integer(1023), self.integer(52));
            let biased = self.op(Add, &[half, bias]);
            let bits = self.op(Shl, &[biased, place]);
            let power = self.set(DType::F64, Rhs::Bitcast(bits));
            value = self.op(Mul, &[value, power]);
        }
        value
    }

    fn expm1(&mut self, x: Reg) -> Reg {
        let e = self.exp(x);
        let plain = self.with(Sub, e, 1.0);
        // Near zero by its series without the one.
        let mut terms: Vec<f64> = inverse_factorials(15).collect();
        terms.pop();
        let near = self.polynomial(x, terms);
        let near = self.op(Mul, &[near, x]);
        let magnitude = self.op(Abs, &[x]);
        let limit = self.number(0.4);
        let small = self.op(Lt, &[magnitude, limit]);
        self.op(Select, &[small, near, plain])
    }

    /// `e ln 2 + 2 artanh((m - 1) / (m + 1))` with `x = 2^e m` and `m` around one.
    fn log(&mut self, x: Reg) -> Reg {
        let least = self.number(f64::MIN_POSITIVE);
        let tiny = self.op(Lt, &[x, least]);
        let raised = self.with(Mul, x, 18_014_398_509_481_984.0);
        let normal = self.op(Select, &[tiny, raised, x]);
        let bits = self.set(DType::I64, Rhs::Bitcast(normal));
        let (offset, place) = (self.integer(0x3fe6_a09e_667f_3bcd), self.integer(52));
        let shifted = self.op(Sub, &[bits, offset]);
        let e = self.op(Shr, &[shifted, place]);
        let mask = self.integer((1 << 52) - 1);
        let mantissa = self.op(And, &[shifted, mask]);
        let mantissa = self.op(Add, &[mantissa, offset]);
        let m = self.set(DType::F64, Rhs::Bitcast(mantissa));
        let e = self.cast(e, DType::F64);
        let (less, zero) = (self.number(-54.0), self.number(0.0));
        let correction = self.op(Select, &[tiny, less, zero]);
        let e = self.op(Add, &[e, correction]);
        let (above, below) = (self.with(Sub, m, 1.0), self.with(Add, m, 1.0));
        let s = self.op(Div, &[above, below]);
        let square = self.op(Mul, &[s, s]);
        let series = self.polynomial(square, (0..12).rev().map(|k| 2.0 / f64::from(2 * k + 1)));
        let series = self.op(Mul, &[series, s]);
        let low = self.with(Mul, e, LN2[1]);
        let sum = self.op(Add, &[series, low]);
        let high = self.number(LN2[0]);
        let value = self.op(Fma, &[e, high, sum]);
        let (infinity, nan) = (self.number(f64::INFINITY), self.number(f64::NAN));
        let minus = self.number(f64::NEG_INFINITY);
        let finite = self.op(Lt, &[x, infinity]);
        let value = self.op(Select, &[finite, value, x]);
        let is_zero = self.op(Eq, &[x, zero]);
        let value = self.op(Select, &[is_zero, minus, value]);
        let negative = self.op(Lt, &[x, zero]);
        self.op(Select, &[negative, nan, value])
    }

    /// `ln u + (x - (u - 1)) / u` with `u = 1 + x` as it was rounded.
    fn log1p(&mut self, x: Reg) -> Reg {
        let u = self.with(Add, x, 1.0);
        let log = self.log(u);
        let back = self.with(Sub, u, 1.0);
        let lost = self.op(Sub, &[x, back]);
        let correction = self.op(Div, &[lost, u]);
        let sum = self.op(Add, &[log, correction]);
        let (zero, infinity) = (self.number(0.0), self.number(f64::INFINITY));
        let inside = self.op(Gt, &[u, zero]);
        let finite = self.op(Lt, &[u, infinity]);
        let usual = self.op(And, &[inside, finite]);
        let value = self.op(Select, &[usual, sum, log]);
        let is_zero = self.op(Eq, &[x, zero]);
        self.op(Select, &[is_zero, x, value])
    }

    /// The sine of `x + shift π/2`.
    fn circular(&mut self, x: Reg, shift: i64) -> Reg {
        let turns = self.with(Mul, x, std::f64::consts::FRAC_2_PI);
        let n = self.op(Round, &[turns]);
        let mut r = x;
        for part in HALF_PI {
            let part = self.number(-part);
            r = self.op(Fma, &[n, part, r]);
        }
        let quadrant = self.cast(n, DType::I64);
        let shift = self.integer(shift);
        let quadrant = self.op(Add, &[quadrant, shift]);
        let square = self.op(Mul, &[r, r]);
        let sine = self.polynomial(square, alternating(1, 9));
        let sine = self.op(Mul, &[sine, r]);
        let cosine = self.polynomial(square, alternating(0, 9));
        let (one, two, none) = (self.integer(1), self.integer(2), self.integer(0));
        let (odd, upper) = (self.op(And, &[quadrant, one]), self.op(And, &[quadrant, two]));
        let (odd, upper) = (self.op(Ne, &[odd, none]), self.op(Ne, &[upper, none]));
        let value = self.op(Select, &[odd, cosine, sine]);
        let negated = self.op(Neg, &[value]);
        let value = self.op(Select, &[upper, negated, value]);
        // Infinity has none.
        let (difference, zero) = (self.op(Sub, &[x, x]), self.number(0.0));
        let finite = self.op(Eq, &[difference, zero]);
        self.op(Select, &[finite, value, difference])
    }

    fn atan(&mut self, x: Reg) -> Reg {
        let magnitude = self.op(Abs, &[x]);
        let one = self.number(1.0);
        let large = self.op(Gt, &[magnitude, one]);
        let inverse = self.op(Div, &[one, magnitude]);
        let mut y = self.op(Select, &[large, inverse, magnitude]);
        // Twice, the angle is halved: y / (1 + sqrt(1 + y²)).
        for _ in 0..2 {
            let under = self.op(Fma, &[y, y, one]);
            let root = self.op(Sqrt, &[under]);
            let below = self.op(Add, &[root, one]);
            y = self.op(Div, &[y, below]);
        }
        let square = self.op(Mul, &[y, y]);
        let signs = |k: i32| if k % 2 == 0 { 4.0 } else { -4.0 };
        let series = self.polynomial(square, (0..13).rev().map(|k| signs(k) / f64::from(2 * k + 1)));
        let angle = self.op(Mul, &[series, y]);
        let right = self.number(std::f64::consts::FRAC_PI_2);
        let rest = self.op(Sub, &[right, angle]);
        let angle = self.op(Select, &[large, rest, angle]);
        self.signed_as(angle, x)
    }

    fn atan2(&mut self, y: Reg, x: Reg) -> Reg {
        let (up, across) = (self.op(Abs, &[y]), self.op(Abs, &[x]));
        let ratio = self.op(Div, &[up, across]);
        let one = self.number(1.0);
        let zero = self.number(0.0);
        // Equal magnitudes, also infinite ones, have the ratio one; two zeros have the angle of the axis.
        let same = self.op(Eq, &[up, across]);
        let ratio = self.op(Select, &[same, one, ratio]);
        let flat = self.op(Eq, &[up, zero]);
        let ratio = self.op(Select, &[flat, zero, ratio]);
        let angle = self.atan(ratio);
        let half_turn = self.number(std::f64::consts::PI);
        let rest = self.op(Sub, &[half_turn, angle]);
        let left = self.is_negative(x);
        let angle = self.op(Select, &[left, rest, angle]);
        let negated = self.op(Neg, &[angle]);
        let below = self.is_negative(y);
        let angle = self.op(Select, &[below, negated, angle]);
        let (no_x, no_y) = (self.op(IsNan, &[x]), self.op(IsNan, &[y]));
        let angle = self.op(Select, &[no_x, x, angle]);
        self.op(Select, &[no_y, y, angle])
    }

    /// Whether the sign is set, also of zero.
    fn is_negative(&mut self, x: Reg) -> Reg {
        let bits = self.set(DType::I64, Rhs::Bitcast(x));
        let zero = self.integer(0);
        self.op(Lt, &[bits, zero])
    }

    fn pow(&mut self, x: Reg, y: Reg) -> Reg {
        let (zero, one) = (self.number(0.0), self.number(1.0));
        let magnitude = self.op(Abs, &[x]);
        let log = self.log(magnitude);
        let product = self.op(Mul, &[y, log]);
        let value = self.exp(product);
        let whole = self.op(Trunc, &[y]);
        let is_whole = self.op(Eq, &[whole, y]);
        let half = self.with(Mul, y, 0.5);
        let half_whole = self.op(Trunc, &[half]);
        let is_even = self.op(Eq, &[half_whole, half]);
        let uneven = self.op(Not, &[is_even]);
        let is_odd = self.op(And, &[is_whole, uneven]);
        let negative = self.is_negative(x);
        let negated = self.op(Neg, &[value]);
        let flips = self.op(And, &[negative, is_odd]);
        let value = self.op(Select, &[flips, negated, value]);
        // A negative number has no power that is not whole, but infinities count as large even ones.
        let below = self.op(Lt, &[x, zero]);
        let broken = self.op(Not, &[is_whole]);
        let nan = self.number(f64::NAN);
        let infinite = self.op(IsInf, &[x]);
        let finite = self.op(Not, &[infinite]);
        let undefined = self.op(And, &[below, broken]);
        let undefined = self.op(And, &[undefined, finite]);
        let value = self.op(Select, &[undefined, nan, value]);
        let (no_x, no_y) = (self.op(IsNan, &[x]), self.op(IsNan, &[y]));
        let value = self.op(Select, &[no_x, x, value]);
        let value = self.op(Select, &[no_y, y, value]);
        // Of one, and to the power of zero, it is one; of minus one to an infinite power too.
        let of_one = self.op(Eq, &[x, one]);
        let to_zero = self.op(Eq, &[y, zero]);
        let unit = self.op(Eq, &[magnitude, one]);
        let forever = self.op(IsInf, &[y]);
        let alternates = self.op(And, &[unit, forever]);
        let always = self.op(Or, &[of_one, to_zero]);
        let always = self.op(Or, &[always, alternates]);
        self.op(Select, &[always, one, value])
    }
}

/// `1/n!`, …, `1/1!`, `1/0!`.
fn inverse_factorials(n: u32) -> impl Iterator<Item = f64> {
    (0..=n).rev().map(|k| 1.0 / (1..=k).map(f64::from).product::<f64>())
}

/// `±1/(2k+first)!` with alternating signs, highest first.
fn alternating(first: u32, terms: u32) -> impl Iterator<Item = f64> {
    let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
    (0..terms).rev().map(move |k| if k % 2 == 0 { 1.0 } else { -1.0 } / factorial(2 * k + first))
}

#[cfg(test)]
mod tests {
    use tcc_ir::dim::Bindings;
    use tcc_ir::mem::{interpret, parse_program};
    use tcc_ir::tensor::Tensor;

    use super::*;

    fn check(op: ScalarOp, x: &[f64], y: &[f64]) {
        let n = x.len();
        let second = if op.arity() == 2 { ", %1" } else { "" };
        let text = format!(
            "program @f(x: f64[{n}], y: f64[{n}]) -> (z: f64[{n}]) {{\n  for i in 0..{n} {{\n    %0: f64 = load x[i]\n    \
             %1: f64 = load y[i]\n    %2: f64 = {} %0{second}\n    store z[i] = %2\n  }}\n}}\n",
            op.name()
        );
        let mut program = parse_program(&text).unwrap_or_else(|d| panic!("{}", d.render("f", &text)));
        expand_device_functions(&mut program);
        program.verify().unwrap();
        let inputs = [x, y].map(|v| Tensor::from_slice(&[n], v).unwrap());
        let z = interpret(&program, &inputs, &Bindings::new()).unwrap();
        for ((x, y), z) in x.iter().zip(y).zip(z[0].as_slice::<f64>().unwrap()) {
            let exact = op.eval_f64([*x, *y, 0.0], DType::F64);
            let near = (z - exact).abs() <= 2e-13 * exact.abs() + 1e-300;
            let alike = z.to_bits() == exact.to_bits() || (z.is_nan() && exact.is_nan());
            assert!(near || alike, "{} of {x:e}, {y:e}: expected {exact:e}, got {z:e}", op.name());
        }
    }

    #[test]
    fn functions_agree_with_the_table() {
        let special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        let spread = (0..400).map(|i| f64::from(i - 200) * 0.173);
        let tiny = [1e-9, -1e-9, 3e-300, 1e-5, -1e-5, 700.0, -740.0];
        let all: Vec<f64> = special.into_iter().chain(spread).chain(tiny).collect();
        for op in [Exp, Exp2, Expm1, Log, Log2, Log1p, Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Tanh]
            .into_iter()
            .chain([Asinh, Acosh, Atanh])
        {
            check(op, &all, &all);
        }
        let some: Vec<f64> = all.iter().copied().step_by(9).chain(special).collect();
        let (mut x, mut y) = (Vec::new(), Vec::new());
        for a in &some {
            for b in &some {
                x.push(*a);
                y.push(*b);
            }
        }
        check(Atan2, &x, &y);
        check(Pow, &x, &y);
    }
}
