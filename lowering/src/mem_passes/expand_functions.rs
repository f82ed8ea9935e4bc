//! `expand-functions`: replaces functions of f32 by polynomials, so that every backend computes them alike and
//! in vectors, and composite functions of other types by simpler ones.
//!
//! ```tcc
//! program @f(x: f32[8]) -> (y: f32[8]) {
//!   %0: f32x8 = load x[0]
//!   %1: f32x8 = rsqrt %0
//!   store y[0] = %1
//! }
//! ```
//! ->
//! ```tcc
//! program @f(x: f32[8]) -> (y: f32[8]) {
//!   %0: f32x8 = load x[0]
//!   %2: f32x8 = 1.0
//!   %3: f32x8 = sqrt %0
//!   %4: f32x8 = div %2, %3
//!   %1: f32x8 = %4
//!   store y[0] = %1
//! }
//! ```
//!
//! Errors stay within these bounds on samples over all of f32, in units in the last place: exp 2, log 2, tanh 6, erf 6;
//! a test measures them. Functions without a polynomial here stay as they are for the backend's library.

use smallvec::{SmallVec, smallvec};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::mem::{Inst, Program, Reg, RegType, Rhs};
use tcc_ir::numerics::Numerics;
use tcc_ir::scalar::ScalarOp::{self, *};

use crate::pass::{OptionDef, OptionKind, Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "expand-functions",
    summary: "replaces functions by arithmetic",
    source: include_str!("expand_functions.rs"),
    options: &[OptionDef {
        name: "fma",
        kind: OptionKind::Flag,
        default: "true",
        doc: "whether a fused multiply-add is one instruction",
    }],
    numerics: Numerics::Reassociates,
    run: PassFn::Program(run),
};

fn run(program: &Program, cx: &mut PassCx<'_>) -> Result<Outcome<Program>, PassError> {
    let mut next = program.clone();
    let fma = cx.options.flag("fma");
    let body = std::mem::take(&mut next.body);
    next.body = expand_block(&mut next, body, fma, &mut || cx.rewrite());
    Ok(Outcome::of(next != *program, next))
}

/// Expands every function that has an expansion. `fma` says whether a fused multiply-add is one instruction.
pub fn expand_functions(program: &mut Program, fma: bool) {
    let body = std::mem::take(&mut program.body);
    program.body = expand_block(program, body, fma, &mut || true);
}

fn expand_block(
    program: &mut Program,
    body: Vec<Inst>,
    fma: bool,
    allowed: &mut dyn FnMut() -> bool,
) -> Vec<Inst> {
    let mut out = Vec::with_capacity(body.len());
    for inst in body {
        match inst {
            Inst::Set { reg, value: Rhs::Op(op, args) }
                if expands(op, program.ty(args[0]).dtype) && allowed() =>
            {
                let ty = program.ty(args[0]);
                let mut build = Build { program, out: &mut out, lanes: ty.lanes, fma };
                let value = build.function(op, ty.dtype, args[0]);
                out.push(Inst::Set { reg, value: Rhs::Copy(value) });
            }
            Inst::For { var, extent, kind, body } => {
                let body = expand_block(program, body, fma, allowed);
                out.push(Inst::For { var, extent, kind, body });
            }
            Inst::If { conds, then, otherwise } => {
                let then = expand_block(program, then, fma, allowed);
                let otherwise = expand_block(program, otherwise, fma, allowed);
                out.push(Inst::If { conds, then, otherwise });
            }
            other => out.push(other),
        }
    }
    out
}

fn expands(op: ScalarOp, dtype: DType) -> bool {
    let composite = matches!(op, Sigmoid | Softplus | Silu | Gelu | GeluTanh | Rsqrt);
    let polynomial = matches!(op, Exp | Log | Tanh | Erf);
    // Narrow floats are computed in f32 and rounded once.
    dtype.is_float() && (composite || (polynomial && dtype != DType::F64))
}

struct Build<'a> {
    program: &'a mut Program,
    out: &'a mut Vec<Inst>,
    lanes: u32,
    fma: bool,
}

impl Build<'_> {
    fn set(&mut self, dtype: DType, value: Rhs) -> Reg {
        self.program.regs.push(RegType { dtype, lanes: self.lanes });
        let reg = Reg(self.program.regs.len() as u32 - 1);
        self.out.push(Inst::Set { reg, value });
        reg
    }

    fn number(&mut self, like: DType, value: f64) -> Reg {
        self.set(like, Rhs::Const(Scalar::Float(value).round_to(like)))
    }

    fn int(&mut self, value: i32) -> Reg {
        self.set(DType::I32, Rhs::Const(Scalar::Int(i128::from(value))))
    }

    fn op(&mut self, op: ScalarOp, args: &[Reg]) -> Reg {
        let last = self.program.ty(args[args.len() - 1]).dtype;
        let test = op.def().signature == tcc_ir::scalar::Signature::Test;
        let args: SmallVec<[Reg; 3]> = args.iter().copied().collect();
        self.set(if test { DType::Bool } else { last }, Rhs::Op(op, args))
    }

    /// `x * y + z`.
    fn fma(&mut self, x: Reg, y: Reg, z: Reg) -> Reg {
        if self.fma {
            return self.set(self.program.ty(x).dtype, Rhs::Op(Fma, smallvec![x, y, z]));
        }
        let product = self.op(Mul, &[x, y]);
        self.op(Add, &[product, z])
    }

    /// A polynomial, highest coefficient first.
    fn polynomial(&mut self, x: Reg, coefficients: &[f64]) -> Reg {
        let mut sum = self.number(DType::F32, coefficients[0]);
        for c in &coefficients[1..] {
            let c = self.number(DType::F32, *c);
            sum = self.fma(sum, x, c);
        }
        sum
    }

    fn cast(&mut self, value: Reg, to: DType) -> Reg {
        self.set(to, Rhs::Cast { value, saturate: true })
    }

    fn bits(&mut self, value: Reg, to: DType) -> Reg {
        self.set(to, Rhs::Bitcast(value))
    }

    fn function(&mut self, op: ScalarOp, dtype: DType, x: Reg) -> Reg {
        if !matches!(dtype, DType::F32 | DType::F64) {
            let wide = self.cast(x, DType::F32);
            let value = self.function(op, DType::F32, wide);
            return self.cast(value, dtype);
        }
        match op {
            Exp => self.exp(dtype, x),
            Log => self.log(x),
            Tanh => self.tanh(dtype, x),
            Erf => self.erf(dtype, x),
            Rsqrt => {
                let (one, root) = (self.number(dtype, 1.0), self.op(Sqrt, &[x]));
                self.op(Div, &[one, root])
            }
            Sigmoid | Silu => {
                let one = self.number(dtype, 1.0);
                let negated = self.op(Neg, &[x]);
                let exp = self.exp(dtype, negated);
                let below = self.op(Add, &[exp, one]);
                self.op(Div, &[if op == Silu { x } else { one }, below])
            }
            Softplus => {
                let (zero, magnitude) = (self.number(dtype, 0.0), self.op(Abs, &[x]));
                let negated = self.op(Neg, &[magnitude]);
                let exp = self.exp(dtype, negated);
                let log = self.op(Log1p, &[exp]);
                let positive = self.op(Max, &[x, zero]);
                self.op(Add, &[positive, log])
            }
            Gelu => {
                let scale = self.number(dtype, std::f64::consts::FRAC_1_SQRT_2);
                let scaled = self.op(Mul, &[x, scale]);
                let erf = self.erf(dtype, scaled);
                self.half_of_one_plus(dtype, x, erf)
            }
            _ => {
                let square = self.op(Mul, &[x, x]);
                let (cubic, scale) = (self.number(dtype, 0.044_715), self.number(dtype, SQRT_2_OVER_PI));
                let one = self.number(dtype, 1.0);
                let inner = self.fma(square, cubic, one);
                let scaled = self.op(Mul, &[x, scale]);
                let argument = self.op(Mul, &[scaled, inner]);
                let tanh = self.tanh(dtype, argument);
                self.half_of_one_plus(dtype, x, tanh)
            }
        }
    }

    /// `x / 2 * (1 + y)`.
    fn half_of_one_plus(&mut self, dtype: DType, x: Reg, y: Reg) -> Reg {
        let half = self.number(dtype, 0.5);
        let half = self.op(Mul, &[x, half]);
        self.fma(half, y, half)
    }

    /// `2^n · p(r)` with `x = n ln 2 + r`. The power is applied in two halves, so that results below the normal
    /// numbers and just above the largest one come out right; their exponents are halves of an integer that is read
    /// off the rounded number's bits.
    fn exp(&mut self, dtype: DType, x: Reg) -> Reg {
        if dtype == DType::F64 {
            return self.op(Exp, &[x]);
        }
        let x = self.clamped(x, -104.0, 89.0);
        let (per_unit, shift) =
            (self.number(dtype, std::f64::consts::LOG2_E), self.number(dtype, ROUNDING + 2.0 * BIAS));
        // Adding a number so large that its last place is one rounds; subtracting it again gives the integer.
        let rounded = self.fma(x, per_unit, shift);
        let n = self.op(Sub, &[rounded, shift]);
        let (hi, lo) = (self.number(dtype, -LN2_HIGH), self.number(dtype, -LN2_LOW));
        let r = self.fma(n, hi, x);
        let r = self.fma(n, lo, r);
        let value = self.polynomial(r, &EXP);
        // The last bits are `n + 2 · BIAS`; what stands above them is shifted out of the exponents.
        let (one, place) = (self.int(1), self.int(23));
        let biased = self.bits(rounded, DType::I32);
        let first = self.op(Shr, &[biased, one]);
        let second = self.op(Sub, &[biased, first]);
        let [first, second] = [first, second].map(|half| {
            let exponent = self.op(Shl, &[half, place]);
            self.bits(exponent, DType::F32)
        });
        let value = self.op(Mul, &[value, first]);
        self.op(Mul, &[value, second])
    }

    /// `x` in `low..=high`, or NaN if it is.
    fn clamped(&mut self, x: Reg, low: f64, high: f64) -> Reg {
        let (low, high) = (self.number(DType::F32, low), self.number(DType::F32, high));
        let below = self.op(Lt, &[x, low]);
        let x = self.op(Select, &[below, low, x]);
        let above = self.op(Lt, &[high, x]);
        self.op(Select, &[above, high, x])
    }

    /// `e ln 2 + ln m` with `x = 2^e m` and `m` around one.
    fn log(&mut self, x: Reg) -> Reg {
        let f32_ = DType::F32;
        let (least, scale) =
            (self.number(f32_, f64::from(f32::MIN_POSITIVE)), self.number(f32_, 8_388_608.0));
        let small = self.op(Lt, &[x, least]);
        let raised = self.op(Mul, &[x, scale]);
        let normal = self.op(Select, &[small, raised, x]);
        let bits = self.bits(normal, DType::I32);
        // Moving the boundary between exponents to sqrt(1/2) makes the mantissa symmetric around one.
        let (offset, place, mask) = (self.int(0x3f35_04f3), self.int(23), self.int(0x007f_ffff));
        let shifted = self.op(Sub, &[bits, offset]);
        let e = self.op(Shr, &[shifted, place]);
        let mantissa = self.op(And, &[shifted, mask]);
        let mantissa = self.op(Add, &[mantissa, offset]);
        let m = self.bits(mantissa, f32_);
        let e = self.cast(e, f32_);
        let (less, zero) = (self.number(f32_, -23.0), self.number(f32_, 0.0));
        let correction = self.op(Select, &[small, less, zero]);
        let e = self.op(Add, &[e, correction]);
        let one = self.number(f32_, 1.0);
        let t = self.op(Sub, &[m, one]);
        let square = self.op(Mul, &[t, t]);
        let p = self.polynomial(t, &LOG);
        let cube = self.op(Mul, &[t, square]);
        let (hi, lo) = (self.number(f32_, LN2_HIGH), self.number(f32_, LN2_LOW));
        let half = self.number(f32_, -0.5);
        let y = self.op(Mul, &[e, lo]);
        let y = self.fma(p, cube, y);
        let y = self.fma(half, square, y);
        let y = self.op(Add, &[t, y]);
        let value = self.fma(e, hi, y);
        let (infinity, nan) = (self.number(f32_, f64::INFINITY), self.number(f32_, f64::NAN));
        let minus_infinity = self.number(f32_, f64::NEG_INFINITY);
        let below = self.op(Lt, &[x, infinity]);
        // Infinity and NaN give themselves.
        let value = self.op(Select, &[below, value, x]);
        let is_zero = self.op(Eq, &[x, zero]);
        let value = self.op(Select, &[is_zero, minus_infinity, value]);
        let negative = self.op(Lt, &[x, zero]);
        self.op(Select, &[negative, nan, value])
    }

    fn rational(&mut self, x: Reg, limit: f64, above: &[f64], below: &[f64]) -> Reg {
        let x = self.clamped(x, -limit, limit);
        let square = self.op(Mul, &[x, x]);
        let p = self.polynomial(square, above);
        let p = self.op(Mul, &[p, x]);
        let q = self.polynomial(square, below);
        self.op(Div, &[p, q])
    }

    fn tanh(&mut self, dtype: DType, x: Reg) -> Reg {
        if dtype == DType::F64 {
            return self.op(Tanh, &[x]);
        }
        let value = self.rational(x, 7.905_311_107_635_498, &TANH_ABOVE, &TANH_BELOW);
        let (limit, magnitude) = (self.number(dtype, 0.0004), self.op(Abs, &[x]));
        let tiny = self.op(Lt, &[magnitude, limit]);
        let value = self.op(Select, &[tiny, x, value]);
        self.saturated(x, magnitude, 9.02, value)
    }

    /// Exactly one, with the sign of `x`, from a magnitude on from which that is the nearest number: what is subtracted
    /// from one there may be multiplied by something large.
    fn saturated(&mut self, x: Reg, magnitude: Reg, from: f64, value: Reg) -> Reg {
        let (limit, one) = (self.number(DType::F32, from), self.clamped(x, -1.0, 1.0));
        let near = self.op(Lt, &[magnitude, limit]);
        // NaN is not below the limit, and is left by clamping as it is.
        self.op(Select, &[near, value, one])
    }

    fn erf(&mut self, dtype: DType, x: Reg) -> Reg {
        if dtype == DType::F64 {
            return self.op(Erf, &[x]);
        }
        let value = self.rational(x, 4.0, &ERF_ABOVE, &ERF_BELOW);
        // Near zero the function is a line, and the rational's numerator would underflow.
        let (limit, slope) = (self.number(dtype, 1e-4), self.number(dtype, std::f64::consts::FRAC_2_SQRT_PI));
        let (magnitude, line) = (self.op(Abs, &[x]), self.op(Mul, &[x, slope]));
        let tiny = self.op(Lt, &[magnitude, limit]);
        let value = self.op(Select, &[tiny, line, value]);
        self.saturated(x, magnitude, 3.92, value)
    }
}

/// Floats around this number are the integers, in whose bits they are the last ones.
const ROUNDING: f64 = 12_582_912.0;
/// `ln 2` as a number of few bits, whose products with exponents are exact, and what is left of it.
const LN2_HIGH: f64 = 0.693_359_375;
const LN2_LOW: f64 = -2.121_944_4e-4;
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

/// The bias of exponents.
const BIAS: f64 = 127.0;

/// `e^r` on `|r| <= ln 2 / 2`, with an error of a sixteenth of the last place.
const EXP: [f64; 7] = [1.381_453_9e-3, 8.368_745e-3, 4.166_839e-2, 1.666_652_1e-1, 4.999_999_4e-1, 1.0, 1.0];

/// `(ln(1 + t) - t + t²/2) / t³` on `sqrt(1/2) <= 1 + t <= sqrt 2`.
const LOG: [f64; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_9e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_7e-1,
    2.000_071_5e-1,
    -2.499_999_4e-1,
    3.333_333_1e-1,
];

const TANH_ABOVE: [f64; 7] = [
    -2.760_768_5e-16,
    2.000_188e-13,
    -8.604_672e-11,
    5.122_297e-8,
    1.485_722_4e-5,
    6.372_619_3e-4,
    4.893_524_6e-3,
];
const TANH_BELOW: [f64; 4] = [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3];

const ERF_ABOVE: [f64; 7] = [
    -2.726_142_3e-10,
    2.770_681_4e-8,
    -2.101_024e-6,
    -5.692_506_4e-5,
    -7.349_906_3e-4,
    -2.954_599_8e-3,
    -1.609_603_3e-2,
];
const ERF_BELOW: [f64; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];

#[cfg(test)]
mod tests {
    use tcc_ir::dim::Bindings;
    use tcc_ir::mem::{interpret, parse_program};
    use tcc_ir::tensor::Tensor;

    use super::*;

    /// Floats of every exponent and sign, evenly spaced by their bits.
    fn samples() -> Vec<f32> {
        let all = (0..=u32::MAX).step_by(104_729).map(f32::from_bits);
        all.filter(|v| v.is_finite())
            .chain([0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY])
            .collect()
    }

    /// The worst distance from the exact value in units of its last place, and where; subnormal results count in
    /// units of the least normal number.
    fn worst(op: ScalarOp, fma: bool) -> (f64, f32) {
        let x = samples();
        let n = x.len();
        let text = format!(
            "program @f(x: f32[{n}]) -> (y: f32[{n}]) {{\n  for i in 0..{n} {{\n    %0: f32 = load x[i]\n    \
             %1: f32 = {} %0\n    store y[i] = %1\n  }}\n}}\n",
            op.name()
        );
        let mut program = parse_program(&text).unwrap_or_else(|d| panic!("{}", d.render("f", &text)));
        expand_functions(&mut program, fma);
        let input = Tensor::from_slice(&[n], &x).unwrap();
        let y = interpret(&program, &[input], &Bindings::new()).unwrap();
        let mut worst = (0.0, 0.0);
        for (x, y) in x.iter().zip(y[0].as_slice::<f32>().unwrap()) {
            let exact = op.eval_f64([f64::from(*x), 0.0, 0.0], DType::F32);
            let rounded = exact as f32;
            if rounded == *y || (rounded.is_nan() && y.is_nan()) {
                continue;
            }
            let least = f64::from(f32::MIN_POSITIVE);
            let unit = 2f64.powf(exact.abs().max(least).log2().floor() - 23.0);
            let distance = (exact - f64::from(*y)).abs() / unit;
            if distance > worst.0 || distance.is_nan() {
                worst = (distance, *x);
            }
        }
        worst
    }

    #[test]
    fn polynomials_are_as_exact_as_said() {
        for (op, bound) in BOUNDS {
            for fma in [true, false] {
                let (distance, at) = worst(op, fma);
                assert!(distance <= bound, "{}: {distance} at {at:e} with fma {fma}", op.name());
            }
        }
    }

    /// What the head of this file says.
    const BOUNDS: [(ScalarOp, f64); 4] = [(Exp, 2.0), (Log, 2.0), (Tanh, 6.0), (Erf, 6.0)];
}
