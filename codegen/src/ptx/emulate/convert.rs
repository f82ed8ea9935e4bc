//! Conversions, with every way of rounding.

use super::super::isa::{ConvertOp, Instruction, Rounding, Type};
use super::narrow::{flush, narrow, widen};
use super::warp::Warp;

pub(super) fn run(warp: &mut Warp, instruction: &Instruction, op: ConvertOp, mask: u32) {
    if op.packs {
        let half = op.to.half().expect("the table packs pairs only");
        let one = ConvertOp { to: half, ..op };
        // The first operand is the upper half.
        warp.map(instruction, mask, |[high, low]| convert(one, high) << half.bits() | convert(one, low));
    } else if let (Some(to), Some(from)) = (op.to.half(), op.from.half()) {
        let one = ConvertOp { to, from, ..op };
        warp.map(instruction, mask, |[pair]| {
            convert(one, pair) | convert(one, pair >> from.bits()) << to.bits()
        });
    } else {
        warp.map(instruction, mask, |[value]| convert(op, value));
    }
}

fn convert(op: ConvertOp, bits: u64) -> u64 {
    let ConvertOp { to, from, flags, .. } = op;
    if !from.is_float() {
        return from_integer(op, bits);
    }
    let mut value = widen(from, from.zero_extend(bits));
    if flags.flush && from == Type::F32 {
        value = flush(value);
    }
    if let Some(rounding) = op.integral {
        value = integral(value, rounding);
    }
    if !to.is_float() {
        return to_integer(to, from, value);
    }
    if flags.relu && value < 0.0 {
        value = 0.0;
    }
    let narrow_type = matches!(to, Type::E4m3 | Type::E5m2);
    if flags.saturate && !narrow_type {
        value = if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) };
    }
    let result = narrow(to, value, flags.rounding, flags.saturate && narrow_type);
    let subnormal = flags.flush && to == Type::F32 && result & 0x7f80_0000 == 0;
    if subnormal { result & 0x8000_0000 } else { result }
}

fn integral(value: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::NearestEven => value.round_ties_even(),
        Rounding::NearestAway => value.round(),
        Rounding::Zero => value.trunc(),
        Rounding::Down => value.floor(),
        Rounding::Up => value.ceil(),
    }
}

/// An integral value as an integer, clamped to what the type has.
fn to_integer(to: Type, from: Type, value: f64) -> u64 {
    if value.is_nan() {
        let wide = from == Type::F64 || to.bits() == 64;
        return if wide { 1 << (to.bits() - 1) } else { 0 };
    }
    let integer = value as i128;
    clamp(to, integer)
}

fn clamp(to: Type, value: i128) -> u64 {
    let (low, high) = if to.is_signed() {
        (-(1i128 << (to.bits() - 1)), (1i128 << (to.bits() - 1)) - 1)
    } else {
        (0, (1i128 << to.bits()) - 1)
    };
    to.zero_extend(value.clamp(low, high) as u64)
}

fn from_integer(op: ConvertOp, bits: u64) -> u64 {
    let ConvertOp { to, from, flags, .. } = op;
    let value = if from.is_signed() {
        i128::from(from.sign_extend(bits))
    } else {
        i128::from(from.zero_extend(bits))
    };
    if to.is_float() {
        return narrow(to, to_odd(value, to), flags.rounding, false);
    }
    if flags.saturate { clamp(to, value) } else { to.zero_extend(value as u64) }
}

/// An integer of up to 64 bits as an f64 that rounds to a narrower type as the integer does.
fn to_odd(value: i128, to: Type) -> f64 {
    if to == Type::F64 {
        return value as f64;
    }
    let dropped = (128 - value.unsigned_abs().leading_zeros()).saturating_sub(53);
    let kept = value.unsigned_abs() >> dropped;
    let sticky = u128::from(kept << dropped != value.unsigned_abs());
    let magnitude = ((kept | sticky) << dropped) as f64;
    if value < 0 { -magnitude } else { magnitude }
}
