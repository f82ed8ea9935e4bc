//! Float arithmetic: exact where PTX says how it rounds, computed in f64 and rounded once where it does not.

use super::super::isa::{FloatFlags, FloatFn, FloatOp, Instruction, Rounding, Type};
use super::narrow::{add_to_odd, canonical, flush, narrow, widen};
use super::warp::Warp;

use FloatFn::*;

pub(super) fn run(warp: &mut Warp, instruction: &Instruction, op: FloatOp, mask: u32) {
    let plain = FloatFlags {
        flush: false,
        saturate: false,
        relu: false,
        nan: false,
        rounding: Rounding::NearestEven,
    };
    let single = |bits: u64| f32::from_bits(bits as u32);
    if op.dtype == Type::F32 && op.flags == plain {
        // Most of the arithmetic of kernels.
        match op.function {
            Add => return warp.map(instruction, mask, |[a, b]| canonical(single(a) + single(b))),
            Mul => return warp.map(instruction, mask, |[a, b]| canonical(single(a) * single(b))),
            Fma => {
                return warp
                    .map(instruction, mask, |[a, b, c]| canonical(single(a).mul_add(single(b), single(c))));
            }
            _ => {}
        }
    }
    match instruction.sources.len() {
        1 => warp.map(instruction, mask, |[a]| lanes_of(op, [a, 0, 0])),
        2 => warp.map(instruction, mask, |[a, b]| lanes_of(op, [a, b, 0])),
        _ => warp.map(instruction, mask, |[a, b, c]| lanes_of(op, [a, b, c])),
    }
}

/// The function of each half of a pair, or of the value. Also for atomics.
pub(super) fn lanes_of(op: FloatOp, values: [u64; 3]) -> u64 {
    let Some(half) = op.dtype.half() else {
        return one(op, values);
    };
    let op = FloatOp { dtype: half, ..op };
    let part = |shift: u32| one(op, values.map(|v| v >> shift & 0xffff));
    part(0) | part(16) << 16
}

fn one(op: FloatOp, values: [u64; 3]) -> u64 {
    let FloatOp { function, dtype, flags } = op;
    let sign = 1u64 << (dtype.bits() - 1);
    match function {
        // These move bits, of NaN too.
        Neg if !flags.flush => return dtype.zero_extend(values[0] ^ sign),
        Abs if !flags.flush => return dtype.zero_extend(values[0] & !sign),
        CopySign => return dtype.zero_extend(values[0] & sign | values[1] & !sign),
        _ => {}
    }
    let flushes = flags.flush && dtype == Type::F32;
    let [a, b, c] = values.map(|v| if flushes { flush(widen(dtype, v)) } else { widen(dtype, v) });
    let mut result = compute(function, dtype, flags, a, b, c);
    if flags.saturate {
        result = if result.is_nan() { 0.0 } else { result.clamp(0.0, 1.0) };
    }
    if flags.relu {
        result = if result < 0.0 { 0.0 } else { result };
    }
    if dtype == Type::F64 {
        return result.to_bits();
    }
    let bits = narrow(dtype, result, flags.rounding, false);
    let subnormal = flushes && bits & 0x7f80_0000 == 0;
    if subnormal { bits & sign } else { bits }
}

/// A result that rounds to the type as the exact one does.
fn compute(function: FloatFn, dtype: Type, flags: FloatFlags, a: f64, b: f64, c: f64) -> f64 {
    let wide = dtype == Type::F64;
    match function {
        Add if wide => a + b,
        Sub if wide => a - b,
        Fma if wide => a.mul_add(b, c),
        Add => add_to_odd(a, b),
        Sub => add_to_odd(a, -b),
        // Products of narrower types are exact in f64.
        Mul => a * b,
        Fma => add_to_odd(a * b, c),
        // f64 has more than twice the digits of f32, so that rounding its nearest again is harmless.
        Div => a / b,
        Sqrt => a.sqrt(),
        Rcp => 1.0 / a,
        Min => extremum(a, b, flags.nan, false),
        Max => extremum(a, b, flags.nan, true),
        Abs => a.abs(),
        Neg => -a,
        Rsqrt if a == 0.0 => f64::INFINITY.copysign(a),
        Rsqrt => 1.0 / a.sqrt(),
        Exp2 => a.exp2(),
        Log2 => a.log2(),
        Sin => a.sin(),
        Cos => a.cos(),
        Tanh => a.tanh(),
        CopySign => b.copysign(a),
    }
}

fn extremum(a: f64, b: f64, nan: bool, max: bool) -> f64 {
    if a.is_nan() || b.is_nan() {
        return match (nan, a.is_nan()) {
            (true, _) => f64::NAN,
            (false, true) => b,
            (false, false) => a,
        };
    }
    if a == b {
        // Zeros have signs.
        return if a.is_sign_negative() == max { b } else { a };
    }
    if (a > b) == max { a } else { b }
}
