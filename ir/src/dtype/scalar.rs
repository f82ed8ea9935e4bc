//! A value of any element type, held exactly, and what a cast between types means.
//!
//! `f64` holds every value of every float type here, and `i128` every value of every integer type,
//! so that casts, folding and interpreters share one definition without loss.

use super::{DType, Kind, Specials};

/// A value of any element type; the type itself travels beside it.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// A value of a float type.
    Float(f64),
    /// A value of an integer type, or 0 or 1 for `bool`.
    Int(i128),
}

impl Scalar {
    /// Zero as a value of `dtype`; `f8e8m0`, which has none, gets its least value.
    pub fn zero(dtype: DType) -> Scalar {
        Scalar::Int(0).round_to(dtype)
    }

    /// One as a value of `dtype`; wraps in no type, as all represent it.
    pub fn one(dtype: DType) -> Scalar {
        Scalar::Int(1).round_to(dtype)
    }

    /// Converts a value of type `from` to type `to`.
    ///
    /// - float → float rounds to nearest, ties to even;
    /// - float → integer truncates toward zero, saturates at the range, and maps NaN to 0;
    /// - integer → integer keeps the low bits (two's complement);
    /// - integer → float rounds once, to nearest, ties to even;
    /// - anything → `bool` is `!= 0`, so that NaN is true.
    ///
    /// `saturate` decides what becomes of values out of the range of a float type of at most 8
    /// bits: the greatest finite value, or else infinity or NaN. Wider floats overflow to infinity.
    /// A value that `from` does not represent is first rounded to it.
    pub fn cast(self, from: DType, to: DType, saturate: bool) -> Scalar {
        let value = self.round_to(from);
        match to.kind() {
            Kind::Float(format) => {
                let saturate = saturate && format.bits() <= 8;
                Scalar::Float(format.decode(match value {
                    Scalar::Float(value) => format.encode(value, saturate),
                    Scalar::Int(value) => format.encode_int(value, saturate),
                }))
            }
            Kind::Int { bits, signed } => Scalar::Int(match value {
                Scalar::Float(value) => saturate_to_int(value, bits, signed),
                Scalar::Int(value) => wrap_to_int(value, bits, signed),
            }),
            Kind::Bool => Scalar::Int(value.is_truthy().into()),
        }
    }

    /// The nearest value that `dtype` represents, by the rules of [`Scalar::cast`]; floats of at
    /// most 8 bits saturate, but an infinity stays one where the type has it.
    pub fn round_to(self, dtype: DType) -> Scalar {
        dtype.decode_bits(dtype.encode_bits(self))
    }

    /// The value as `f64`; integers beyond 2^53 round.
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Float(value) => value,
            Scalar::Int(value) => value as f64,
        }
    }

    /// The value as an integer: truncated toward zero, with NaN as 0.
    pub fn to_i128(self) -> i128 {
        match self {
            Scalar::Float(value) => value as i128,
            Scalar::Int(value) => value,
        }
    }

    /// Whether the value differs from zero; NaN does.
    pub fn is_truthy(self) -> bool {
        match self {
            Scalar::Float(value) => value != 0.0,
            Scalar::Int(value) => value != 0,
        }
    }

    /// Whether the value is NaN.
    pub fn is_nan(self) -> bool {
        matches!(self, Scalar::Float(value) if value.is_nan())
    }
}

impl DType {
    /// The value of an element's bits; bits above the type's width are ignored.
    #[inline]
    pub const fn decode_bits(self, bits: u64) -> Scalar {
        match self.kind() {
            // What the format would give, in one instruction.
            Kind::Float(_) if matches!(self, DType::F32) => Scalar::Float(f32::from_bits(bits as u32) as f64),
            Kind::Float(_) if matches!(self, DType::F64) => Scalar::Float(f64::from_bits(bits)),
            Kind::Float(format) => Scalar::Float(format.decode(bits)),
            Kind::Int { bits: width, signed } => Scalar::Int(wrap_to_int(bits as i128, width, signed)),
            Kind::Bool => Scalar::Int((bits & 0xff != 0) as i128),
        }
    }

    /// The bits of the element nearest to `value`, by the rules of [`Scalar::round_to`].
    pub const fn encode_bits(self, value: Scalar) -> u64 {
        match (self.kind(), value) {
            (Kind::Float(format), Scalar::Float(value)) => {
                let stays_infinite = value.is_infinite() && matches!(format.specials, Specials::Ieee);
                format.encode(value, format.bits() <= 8 && !stays_infinite)
            }
            (Kind::Float(format), Scalar::Int(value)) => format.encode_int(value, format.bits() <= 8),
            (Kind::Int { bits, signed }, value) => {
                let int = match value {
                    Scalar::Float(value) => saturate_to_int(value, bits, signed),
                    Scalar::Int(value) => value,
                };
                int as u64 & (u64::MAX >> (64 - bits))
            }
            (Kind::Bool, Scalar::Float(value)) => (value != 0.0) as u64,
            (Kind::Bool, Scalar::Int(value)) => (value != 0) as u64,
        }
    }
}

/// Equality of the values' representations: NaN equals NaN, and the two zeros differ.
impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (Scalar::Int(a), Scalar::Int(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Scalar {}

impl std::hash::Hash for Scalar {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Scalar::Float(value) if value.is_nan() => f64::NAN.to_bits().hash(state),
            Scalar::Float(value) => value.to_bits().hash(state),
            Scalar::Int(value) => value.hash(state),
        }
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Scalar {
        Scalar::Float(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Scalar {
        Scalar::Int(value.into())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Scalar {
        Scalar::Int(value.into())
    }
}

const fn saturate_to_int(value: f64, bits: u32, signed: bool) -> i128 {
    let (least, greatest): (i128, i128) =
        if signed { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
    // The language's own conversion truncates, saturates and maps NaN to 0.
    let truncated = value as i128;
    if truncated < least {
        least
    } else if truncated > greatest {
        greatest
    } else {
        truncated
    }
}

const fn wrap_to_int(value: i128, bits: u32, signed: bool) -> i128 {
    let unused = 128 - bits;
    if signed { (value << unused) >> unused } else { (((value as u128) << unused) >> unused) as i128 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_follow_their_rules() {
        let float = Scalar::Float;
        let int = Scalar::Int;
        let cases = [
            (float(-3.9), DType::F64, DType::I8, int(-3)),
            (float(300.0), DType::F32, DType::I8, int(127)),
            (float(-1.0), DType::F32, DType::U4, int(0)),
            (float(f64::NAN), DType::F32, DType::I64, int(0)),
            (float(f64::INFINITY), DType::F32, DType::U64, int(u64::MAX.into())),
            (int(300), DType::I32, DType::I8, int(44)),
            (int(-1), DType::I8, DType::U64, int(u64::MAX.into())),
            (int(9), DType::U4, DType::I4, int(-7)),
            (int((1 << 53) + 1), DType::I64, DType::F64, float(9_007_199_254_740_992.0)),
            (float(0.1), DType::F64, DType::F32, float(f64::from(0.1f32))),
            (float(1e6), DType::F32, DType::F16, float(f64::INFINITY)),
            (float(1e6), DType::F32, DType::F8E4M3, float(448.0)),
            (float(f64::NAN), DType::F32, DType::Bool, int(1)),
            (float(-0.0), DType::F32, DType::Bool, int(0)),
            (int(2), DType::I32, DType::Bool, int(1)),
            (int(1), DType::Bool, DType::BF16, float(1.0)),
        ];
        for (value, from, to, expected) in cases {
            assert_eq!(value.cast(from, to, true), expected, "{value:?} {from} -> {to}");
        }
        assert!(float(1e6).cast(DType::F32, DType::F8E4M3, false).is_nan());
        assert_eq!(float(1e6).cast(DType::F32, DType::F8E5M2, false), float(f64::INFINITY));
        // Through f64 this would round twice, and to the wrong neighbour.
        let awkward = (1i128 << 60) + (1 << 36) + 1;
        assert_eq!(int(awkward).cast(DType::I64, DType::F32, true), float(f64::from(awkward as i64 as f32)));
    }

    #[test]
    fn bits_round_trip() {
        for dtype in DType::ALL.into_iter().filter(|d| d.bits() <= 16 && !d.is_bool()) {
            for bits in 0..1u64 << dtype.bits() {
                let value = dtype.decode_bits(bits);
                assert_eq!(value.round_to(dtype), value);
                assert!(value.is_nan() || dtype.encode_bits(value) == bits, "{dtype} {bits:#x}");
            }
        }
    }
}
