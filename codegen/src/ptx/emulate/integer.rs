//! Integer arithmetic, exact. Registers hold values with zeros above their width.

use super::super::isa::{Instruction, IntegerFn, IntegerOp, Type};
use super::warp::Warp;

use IntegerFn::*;

pub(super) fn run(warp: &mut Warp, instruction: &Instruction, op: IntegerOp, mask: u32) {
    let t = op.dtype;
    match (op.function, t.bits()) {
        // Addresses and counters are most of what a kernel computes.
        (Add, 32) if !op.clamped => {
            warp.map(instruction, mask, |[a, b]| u64::from((a as u32).wrapping_add(b as u32)))
        }
        (Add, 64) => warp.map(instruction, mask, |[a, b]| a.wrapping_add(b)),
        (MadLow, 32) => warp.map(instruction, mask, |[a, b, c]| {
            u64::from((a as u32).wrapping_mul(b as u32).wrapping_add(c as u32))
        }),
        _ => match instruction.sources.len() {
            1 => warp.map(instruction, mask, |[a]| unary(op.function, t, a)),
            2 => warp.map(instruction, mask, |[a, b]| binary(op, a, b)),
            3 => warp.map(instruction, mask, |[a, b, c]| ternary(op, a, b, c)),
            _ => warp.map(instruction, mask, |[a, b, c, d]| quaternary(op, a, b, c, d)),
        },
    }
}

fn unary(function: IntegerFn, t: Type, a: u64) -> u64 {
    let low = t.zero_extend(a);
    let value = match function {
        Abs => t.sign_extend(a).wrapping_abs() as u64,
        Neg => a.wrapping_neg(),
        Not => !a,
        Popc => u64::from(low.count_ones()),
        Clz => u64::from(low.leading_zeros() - (64 - t.bits())),
        Brev => low.reverse_bits() >> (64 - t.bits()),
        _ => unreachable!("the table gives one operand to no other function"),
    };
    t.zero_extend(value)
}

/// A function of two operands, also for atomics and reductions.
pub(super) fn binary(op: IntegerOp, a: u64, b: u64) -> u64 {
    let t = op.dtype;
    let (ua, ub, sa, sb) = (t.zero_extend(a), t.zero_extend(b), t.sign_extend(a), t.sign_extend(b));
    let signed = t.is_signed();
    let value = match op.function {
        Add if op.clamped => u64::from((sa as i32).saturating_add(sb as i32) as u32),
        Sub if op.clamped => u64::from((sa as i32).saturating_sub(sb as i32) as u32),
        Add => ua.wrapping_add(ub),
        Sub => ua.wrapping_sub(ub),
        MulLow => ua.wrapping_mul(ub),
        MulHigh if signed => ((i128::from(sa) * i128::from(sb)) >> t.bits()) as u64,
        MulHigh => ((u128::from(ua) * u128::from(ub)) >> t.bits()) as u64,
        MulWide => return widened(t, a, b, 0),
        // The machine defines a division by zero as all ones.
        Div if ub == 0 => u64::MAX,
        Div if signed => sa.wrapping_div(sb) as u64,
        Div => ua / ub,
        Rem if ub == 0 => ua,
        Rem if signed => sa.wrapping_rem(sb) as u64,
        Rem => ua % ub,
        Min if signed => sa.min(sb) as u64,
        Min => ua.min(ub),
        Max if signed => sa.max(sb) as u64,
        Max => ua.max(ub),
        And => ua & ub,
        Or => ua | ub,
        Xor => ua ^ ub,
        // Distances are 32 bits and clamp to the width.
        Shl => ua.checked_shl(b as u32).filter(|_| (b as u32) < t.bits()).unwrap_or(0),
        Shr if signed => (sa >> (b as u32).min(63)) as u64,
        Shr => ua.checked_shr(b as u32).unwrap_or(0),
        _ => unreachable!("the table gives two operands to no other function"),
    };
    t.zero_extend(value)
}

/// A product of twice the width, and an addend of it.
fn widened(t: Type, a: u64, b: u64, c: u64) -> u64 {
    let product = if t.is_signed() {
        t.sign_extend(a).wrapping_mul(t.sign_extend(b)) as u64
    } else {
        t.zero_extend(a).wrapping_mul(t.zero_extend(b))
    };
    let sum = product.wrapping_add(c);
    if t.bits() == 16 { sum & 0xffff_ffff } else { sum }
}

fn ternary(op: IntegerOp, a: u64, b: u64, c: u64) -> u64 {
    let t = op.dtype;
    let product = |function| binary(IntegerOp { function, ..op }, a, b);
    let value = match op.function {
        MadLow => product(MulLow).wrapping_add(c),
        MadHigh => product(MulHigh).wrapping_add(c),
        MadWide => return widened(t, a, b, c),
        ExtractField => extract(t, a, b as u32 & 0xff, c as u32 & 0xff),
        Permute => permute(a, b, c),
        FunnelLeft | FunnelRight => funnel(op, a, b, c as u32),
        Dot4 => dot4(op, a, b, c),
        _ => unreachable!("the table gives three operands to no other function"),
    };
    t.zero_extend(value)
}

fn quaternary(op: IntegerOp, a: u64, b: u64, c: u64, d: u64) -> u64 {
    let t = op.dtype;
    let value = match op.function {
        InsertField => {
            let (at, count) = (c as u32 & 0xff, d as u32 & 0xff);
            let field = ones(count);
            let mask = field.checked_shl(at).unwrap_or(0);
            b & !mask | (a & field).checked_shl(at).unwrap_or(0)
        }
        Lookup => (0..32).fold(0, |sum, bit| {
            let index = (a >> bit & 1) << 2 | (b >> bit & 1) << 1 | c >> bit & 1;
            sum | (d >> index & 1) << bit
        }),
        _ => unreachable!("the table gives four operands to no other function"),
    };
    t.zero_extend(value)
}

/// So many ones in the low bits.
fn ones(count: u32) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}

fn extract(t: Type, a: u64, at: u32, count: u32) -> u64 {
    let value = t.zero_extend(a);
    let field = value.checked_shr(at).unwrap_or(0) & ones(count);
    let top = at.saturating_add(count).saturating_sub(1).min(t.bits() - 1);
    let negative = t.is_signed() && count > 0 && value >> top & 1 == 1;
    if !negative {
        return field;
    }
    // The sign fills what lies above the field, and what the field has beyond the register.
    field | !ones(count.min(t.bits().saturating_sub(at)))
}

/// Any four of the eight bytes, or of their signs.
fn permute(a: u64, b: u64, selector: u64) -> u64 {
    let bytes = (b << 32 | a & 0xffff_ffff).to_le_bytes();
    (0..4).fold(0, |value, i| {
        let choice = selector >> (4 * i);
        let byte = bytes[(choice & 7) as usize];
        let chosen = if choice & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 };
        value | u64::from(chosen) << (8 * i)
    })
}

fn funnel(op: IntegerOp, low: u64, high: u64, distance: u32) -> u64 {
    let both = high << 32 | low & 0xffff_ffff;
    let distance = if op.clamped { distance.min(32) } else { distance & 31 };
    if op.function == FunnelLeft { (both << distance) >> 32 } else { both >> distance }
}

fn dot4(op: IntegerOp, a: u64, b: u64, c: u64) -> u64 {
    let byte = |t: Type, value: u64, i: u32| {
        let byte = (value >> (8 * i)) as u8;
        if t.is_signed() { i64::from(byte as i8) } else { i64::from(byte) }
    };
    (0..4).fold(c, |sum, i| sum.wrapping_add((byte(op.dtype, a, i) * byte(op.second, b, i)) as u64))
}
