//! Floats of all widths as f64, and back with every way of rounding. A sum that f64 does not hold is kept to odd,
//! so that rounding it again to a narrower type gives what rounding once would.

use super::super::isa::{Rounding, Type};

/// The layout of a float type.
#[derive(Clone, Copy)]
struct Layout {
    exponent: u32,
    fraction: u32,
    /// Whether the largest exponent holds infinities; otherwise only its last value is NaN.
    infinities: bool,
    /// What NaN results are.
    nan: u64,
}

fn layout(t: Type) -> Layout {
    let make = |exponent, fraction, infinities, nan| Layout { exponent, fraction, infinities, nan };
    match t {
        Type::F16 => make(5, 10, true, 0x7fff),
        Type::Bf16 => make(8, 7, true, 0x7fff),
        Type::E4m3 => make(4, 3, false, 0x7f),
        Type::E5m2 => make(5, 2, true, 0x7f),
        // Bits of an f32 whose low thirteen are zero.
        Type::Tf32 => make(8, 10, true, 0x3_ffff),
        _ => make(8, 23, true, 0x7fff_ffff),
    }
}

/// The value of the bits of a float.
pub(super) fn widen(t: Type, bits: u64) -> f64 {
    match t {
        Type::F64 => return f64::from_bits(bits),
        Type::F32 => return f64::from(f32::from_bits(bits as u32)),
        Type::Bf16 => return f64::from(f32::from_bits((bits as u32) << 16)),
        // Hardware ignores the low bits of an operand.
        Type::Tf32 => return f64::from(f32::from_bits(bits as u32 & !0x1fff)),
        Type::F16 => return half::f16::from_bits(bits as u16).to_f64(),
        _ => {}
    }
    let Layout { exponent, fraction, infinities, .. } = layout(t);
    let sign = if bits >> (exponent + fraction) & 1 == 1 { -1.0 } else { 1.0 };
    let power = (bits >> fraction & ((1 << exponent) - 1)) as i32;
    let digits = bits & ((1 << fraction) - 1);
    let last = (1 << exponent) - 1;
    if power == last && infinities {
        return if digits == 0 { sign * f64::INFINITY } else { f64::NAN };
    }
    if power == last && digits == (1 << fraction) - 1 {
        return f64::NAN;
    }
    let bias = (1 << (exponent - 1)) - 1;
    let (digits, power) = if power == 0 { (digits, 1) } else { (digits | 1 << fraction, power) };
    sign * digits as f64 * 2f64.powi(power - bias - fraction as i32)
}

/// The bits of the float nearest to a value as the rounding says. With `finite`, what is too large becomes the
/// largest finite value.
pub(super) fn narrow(t: Type, value: f64, rounding: Rounding, finite: bool) -> u64 {
    if t == Type::F64 {
        return value.to_bits();
    }
    if t == Type::F32 && rounding == Rounding::NearestEven {
        return canonical(value as f32);
    }
    let bits = encode(layout(t), value, rounding, finite);
    if t == Type::Tf32 { bits << 13 } else { bits }
}

/// The bits of a result: every NaN is the same one.
pub(super) fn canonical(value: f32) -> u64 {
    if value.is_nan() { 0x7fff_ffff } else { u64::from(value.to_bits()) }
}

fn encode(layout: Layout, value: f64, rounding: Rounding, finite: bool) -> u64 {
    let Layout { exponent, fraction, infinities, nan } = layout;
    if value.is_nan() {
        return nan;
    }
    let negative = value.is_sign_negative();
    let sign = u64::from(negative) << (exponent + fraction);
    let infinity = ((1u64 << exponent) - 1) << fraction;
    let largest = if infinities { infinity - 1 } else { (1 << (exponent + fraction)) - 2 };
    // Without infinities the pattern above the largest value is NaN.
    let overflow = if finite { largest } else { largest + 1 };
    if value.is_infinite() {
        return sign | overflow;
    }
    let bits = value.abs().to_bits();
    if bits == 0 {
        return sign;
    }
    let bias = (1i64 << (exponent - 1)) - 1;
    // Subnormal f64 are far below half of every narrow float: as good as the smallest normal one.
    let (power, digits) = match (bits >> 52) as i64 {
        0 => (-1022, 1 << 52 | 1),
        power => (power - 1023, bits & ((1 << 52) - 1) | 1 << 52),
    };
    let dropped = (52 - i64::from(fraction) + (1 - bias - power).max(0)).min(63) as u32;
    let kept = digits >> dropped;
    let (rest, middle) = (digits & ((1 << dropped) - 1), 1u64 << (dropped - 1));
    let up = match rounding {
        Rounding::NearestEven => rest > middle || rest == middle && kept & 1 == 1,
        Rounding::NearestAway => rest >= middle,
        Rounding::Zero => false,
        Rounding::Down => rest > 0 && negative,
        Rounding::Up => rest > 0 && !negative,
    };
    let rounded = kept + u64::from(up);
    // A carry out of the digits moves the exponent by itself.
    let base = if power + bias >= 1 { ((power + bias - 1) as u64) << fraction } else { 0 };
    let result = base + rounded;
    if result <= largest {
        return sign | result;
    }
    let towards_zero = match rounding {
        Rounding::Zero => true,
        Rounding::Down => !negative,
        Rounding::Up => negative,
        _ => false,
    };
    sign | if towards_zero { largest } else { overflow }
}

/// The sum in f64, to odd: an inexact sum has its last bit set.
pub(super) fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if !sum.is_finite() {
        return sum;
    }
    let other = sum - a;
    let error = (a - (sum - other)) + (b - other);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    // The error says on which side of the sum the exact value lies.
    let outwards = (error > 0.0) == (sum > 0.0);
    if sum == 0.0 {
        error
    } else {
        f64::from_bits(if outwards { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
    }
}

/// Zero for a subnormal f32.
pub(super) fn flush(value: f64) -> f64 {
    if value.abs() < f64::from(f32::MIN_POSITIVE) { 0f64.copysign(value) } else { value }
}
