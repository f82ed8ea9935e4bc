//! Element types: one table row per type, from which names, sizes, ranges and conversions follow.
//!
//! A [`Scalar`] is a value of any type, held exactly; its conversions define what a cast means
//! everywhere in the compiler. Floats, however narrow, are described by a [`FloatFormat`].

mod float;
mod scalar;
mod scalar_text;

pub use float::{FloatFormat, Specials};
pub use scalar::Scalar;
pub use scalar_text::{ScalarText, ScalarTextError};

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DType {
    /// IEEE binary64.
    F64,
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of binary32: 8 exponent bits, 7 mantissa bits.
    BF16,
    /// OCP FP8 E4M3, the `fn` kind: finite up to 448, no infinities, NaN is `0x7f` and `0xff`.
    F8E4M3,
    /// E4M3 with bias 8, neither infinities nor a negative zero; NaN is `0x80`.
    F8E4M3Fnuz,
    /// OCP FP8 E5M2, with IEEE infinities and NaNs.
    F8E5M2,
    /// E5M2 with bias 16, neither infinities nor a negative zero; NaN is `0x80`.
    F8E5M2Fnuz,
    /// OCP FP4 E2M1: finite values up to 6 only, packed two to a byte.
    F4E2M1,
    /// OCP scale type E8M0: unsigned powers of two, NaN is `0xff`, no zero.
    F8E8M0,
    /// Signed, 64 bits.
    I64,
    /// Signed, 32 bits.
    I32,
    /// Signed, 16 bits.
    I16,
    /// Signed, 8 bits.
    I8,
    /// Signed, 4 bits, packed two to a byte.
    I4,
    /// Signed, 2 bits, packed four to a byte.
    I2,
    /// Unsigned, 64 bits.
    U64,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 4 bits, packed two to a byte.
    U4,
    /// Unsigned, 2 bits, packed four to a byte.
    U2,
    /// A truth value, stored as one byte that is 0 or 1.
    Bool,
}

/// What the bits of an element mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A floating-point number.
    Float(FloatFormat),
    /// A two's-complement or unsigned integer.
    Int {
        /// Width in bits, at most 64.
        bits: u32,
        /// Whether the top bit is a sign.
        signed: bool,
    },
    /// A byte that is 0 or 1.
    Bool,
}

const fn float(exponent_bits: u32, mantissa_bits: u32, bias: i32, specials: Specials) -> Kind {
    Kind::Float(FloatFormat { exponent_bits, mantissa_bits, bias, signed: true, subnormals: true, specials })
}

const fn int(bits: u32, signed: bool) -> Kind {
    Kind::Int { bits, signed }
}

const E8M0: Kind = Kind::Float(FloatFormat {
    exponent_bits: 8,
    mantissa_bits: 0,
    bias: 127,
    signed: false,
    subnormals: false,
    specials: Specials::NanAllOnes,
});

/// One row per type, in the order of the enum's declaration.
#[rustfmt::skip]
const TABLE: [(DType, &str, Kind); 23] = [
    (DType::F64,        "f64",        float(11, 52, 1023, Specials::Ieee)),
    (DType::F32,        "f32",        float( 8, 23,  127, Specials::Ieee)),
    (DType::F16,        "f16",        float( 5, 10,   15, Specials::Ieee)),
    (DType::BF16,       "bf16",       float( 8,  7,  127, Specials::Ieee)),
    (DType::F8E4M3,     "f8e4m3",     float( 4,  3,    7, Specials::NanAllOnes)),
    (DType::F8E4M3Fnuz, "f8e4m3fnuz", float( 4,  3,    8, Specials::NanNegativeZero)),
    (DType::F8E5M2,     "f8e5m2",     float( 5,  2,   15, Specials::Ieee)),
    (DType::F8E5M2Fnuz, "f8e5m2fnuz", float( 5,  2,   16, Specials::NanNegativeZero)),
    (DType::F4E2M1,     "f4e2m1",     float( 2,  1,    1, Specials::FiniteOnly)),
    (DType::F8E8M0,     "f8e8m0",     E8M0),
    (DType::I64,        "i64",        int(64, true)),
    (DType::I32,        "i32",        int(32, true)),
    (DType::I16,        "i16",        int(16, true)),
    (DType::I8,         "i8",         int( 8, true)),
    (DType::I4,         "i4",         int( 4, true)),
    (DType::I2,         "i2",         int( 2, true)),
    (DType::U64,        "u64",        int(64, false)),
    (DType::U32,        "u32",        int(32, false)),
    (DType::U16,        "u16",        int(16, false)),
    (DType::U8,         "u8",         int( 8, false)),
    (DType::U4,         "u4",         int( 4, false)),
    (DType::U2,         "u2",         int( 2, false)),
    (DType::Bool,       "bool",       Kind::Bool),
];

/// A name that is not an element type.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected an element type such as f32, i8 or bool, found `{found}`")]
pub struct UnknownDType {
    /// The text that was read.
    pub found: String,
}

impl DType {
    /// Every element type, in the order of declaration.
    pub const ALL: [DType; TABLE.len()] = {
        let mut all = [DType::F64; TABLE.len()];
        let mut row = 0;
        while row < TABLE.len() {
            assert!(TABLE[row].0 as usize == row, "rows stand in the order of the enum");
            all[row] = TABLE[row].0;
            row += 1;
        }
        all
    };

    /// The name in the text of every IR level, such as `f32`.
    pub const fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// What the bits of an element mean.
    pub const fn kind(self) -> Kind {
        TABLE[self as usize].2
    }

    /// The floating-point format, for a float type.
    pub const fn float_format(self) -> Option<FloatFormat> {
        match self.kind() {
            Kind::Float(format) => Some(format),
            _ => None,
        }
    }

    /// The width of one element in memory, in bits; `bool` takes a byte.
    pub const fn bits(self) -> u32 {
        match self.kind() {
            Kind::Float(format) => format.bits(),
            Kind::Int { bits, .. } => bits,
            Kind::Bool => 8,
        }
    }

    /// The bytes that `elements` packed elements take, rounded up; `None` if that overflows.
    pub const fn bytes_for(self, elements: usize) -> Option<usize> {
        let bits = self.bits() as usize;
        if bits >= 8 {
            return elements.checked_mul(bits / 8);
        }
        // Fewer bytes than elements: this cannot overflow.
        Some(elements.div_ceil(8 / bits))
    }

    /// Whether this is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self.kind(), Kind::Float(_))
    }

    /// Whether this is an integer type; `bool` is not.
    pub const fn is_int(self) -> bool {
        matches!(self.kind(), Kind::Int { .. })
    }

    /// Whether this is `bool`.
    pub const fn is_bool(self) -> bool {
        matches!(self.kind(), Kind::Bool)
    }

    /// Whether values may be negative: signed integers and all floats but `f8e8m0`.
    pub const fn is_signed(self) -> bool {
        match self.kind() {
            Kind::Float(format) => format.signed,
            Kind::Int { signed, .. } => signed,
            Kind::Bool => false,
        }
    }

    /// Whether this is an unsigned integer type.
    pub const fn is_unsigned(self) -> bool {
        matches!(self.kind(), Kind::Int { signed: false, .. })
    }

    /// Whether several elements share a byte.
    pub const fn is_sub_byte(self) -> bool {
        self.bits() < 8
    }

    /// The least value of an integer type (0 for `bool`), `None` for floats.
    pub const fn int_min(self) -> Option<i128> {
        match self.kind() {
            Kind::Float(_) => None,
            Kind::Int { bits, signed: true } => Some(-(1 << (bits - 1))),
            Kind::Int { signed: false, .. } | Kind::Bool => Some(0),
        }
    }

    /// The greatest value of an integer type (1 for `bool`), `None` for floats.
    pub const fn int_max(self) -> Option<i128> {
        match self.kind() {
            Kind::Float(_) => None,
            Kind::Int { bits, signed: true } => Some((1 << (bits - 1)) - 1),
            Kind::Int { bits, signed: false } => Some((1 << bits) - 1),
            Kind::Bool => Some(1),
        }
    }

    /// The greatest finite value of a float type, `None` for others.
    pub const fn float_max(self) -> Option<f64> {
        match self.kind() {
            Kind::Float(format) => Some(format.max_finite()),
            _ => None,
        }
    }

    /// The distance from 1 to the next greater value of a float type, `None` for others.
    pub const fn epsilon(self) -> Option<f64> {
        match self.kind() {
            Kind::Float(format) => Some(format.epsilon()),
            _ => None,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = UnknownDType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let row = TABLE.iter().find(|(_, name, _)| *name == text);
        row.map(|(dtype, ..)| *dtype).ok_or_else(|| UnknownDType { found: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_distinct() {
        for dtype in DType::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
        }
        assert!("f31".parse::<DType>().is_err());
    }

    #[test]
    fn packed_sizes_round_up_and_never_overflow() {
        assert_eq!(DType::I4.bytes_for(3), Some(2));
        assert_eq!(DType::U2.bytes_for(5), Some(2));
        assert_eq!(DType::I2.bytes_for(0), Some(0));
        assert_eq!(DType::F4E2M1.bytes_for(usize::MAX), Some(usize::MAX / 2 + 1));
        assert_eq!(DType::F32.bytes_for(usize::MAX / 2), None);
        assert_eq!(DType::Bool.bytes_for(7), Some(7));
    }

    #[test]
    fn ranges_of_integers() {
        assert_eq!(DType::I4.int_min().zip(DType::I4.int_max()), Some((-8, 7)));
        assert_eq!(DType::U64.int_max(), Some(u64::MAX.into()));
        assert_eq!(DType::I64.int_min(), Some(i64::MIN.into()));
        assert_eq!(DType::U2.int_max(), Some(3));
        assert_eq!(DType::F32.int_max(), None);
    }
}
