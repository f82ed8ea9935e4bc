//! The text of a scalar: the shortest decimal that reads back as the same value of its type.
//!
//! Floats always contain `.` or `e`, or are `nan`, `inf` or `-inf`; `bool` is `true` or `false`.

use std::fmt;

use thiserror::Error;

use super::{DType, Kind, Scalar};

/// Displays a value as the text of its type.
#[derive(Clone, Copy, Debug)]
pub struct ScalarText {
    value: Scalar,
    dtype: DType,
}

/// Text that is not a value of the type asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {expected} of type {dtype}, found `{found}`")]
pub struct ScalarTextError {
    /// What the text should have been.
    pub expected: &'static str,
    /// The type asked for.
    pub dtype: DType,
    /// The text that was read, cut to a readable length.
    pub found: String,
}

impl Scalar {
    /// The text of this value as one of `dtype`.
    pub fn text(self, dtype: DType) -> ScalarText {
        ScalarText { value: self.round_to(dtype), dtype }
    }

    /// Reads a value of `dtype`.
    ///
    /// A float may be written without a point and is rounded to the type; one of more than 64 bits
    /// of digits rounds by way of `f64`. An integer must be in range, decimal or `0x` hexadecimal.
    pub fn parse(text: &str, dtype: DType) -> Result<Scalar, ScalarTextError> {
        let refuse = |expected| ScalarTextError { expected, dtype, found: text.chars().take(64).collect() };
        match dtype.kind() {
            Kind::Bool => match text {
                "true" => Ok(Scalar::Int(1)),
                "false" => Ok(Scalar::Int(0)),
                _ => Err(refuse("`true` or `false`")),
            },
            Kind::Int { .. } => {
                let value = parse_int(text).ok_or_else(|| refuse("an integer"))?;
                let value = Scalar::Int(value);
                if value.round_to(dtype) == value {
                    Ok(value)
                } else {
                    Err(refuse("an integer in the range"))
                }
            }
            Kind::Float(format) => {
                let value = parse_float(text, dtype).ok_or_else(|| refuse("a float"))?;
                Ok(Scalar::Float(format.decode(format.encode(value, false))))
            }
        }
    }
}

impl fmt::Display for ScalarText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Scalar::Int(value) if self.dtype.is_bool() => {
                f.write_str(if value != 0 { "true" } else { "false" })
            }
            Scalar::Int(value) => write!(f, "{value}"),
            Scalar::Float(value) if value.is_nan() => f.write_str("nan"),
            Scalar::Float(value) if value.is_infinite() => {
                f.write_str(if value > 0.0 { "inf" } else { "-inf" })
            }
            // Debug output is the shortest that round-trips and always has a point or an exponent.
            Scalar::Float(value) => match self.dtype {
                DType::F64 => write!(f, "{value:?}"),
                DType::F32 => write!(f, "{:?}", value as f32),
                narrow => write!(f, "{:?}", shortest_decimal(value, narrow)),
            },
        }
    }
}

/// The `f64` nearest to the decimal of fewest digits that rounds to `value` in a narrow format.
fn shortest_decimal(value: f64, dtype: DType) -> f64 {
    // Five digits tell any two neighbours of an 11-bit significand apart.
    for digits in 0..5 {
        let candidate = format!("{value:.digits$e}").parse::<f64>();
        if let Ok(candidate) = candidate
            && Scalar::Float(candidate).round_to(dtype) == Scalar::Float(value)
        {
            return candidate;
        }
    }
    value
}

fn parse_int(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (radix, digits) = match digits.strip_prefix("0x") {
        Some(digits) => (16, digits),
        None => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

fn parse_float(text: &str, dtype: DType) -> Option<f64> {
    match text {
        "nan" => return Some(f64::NAN),
        "inf" => return Some(f64::INFINITY),
        "-inf" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    // The language reads other spellings of infinities and NaNs too; here there is one of each.
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    if dtype == DType::F32 { text.parse::<f32>().ok().map(f64::from) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back_as_the_same_value() {
        for dtype in DType::ALL.into_iter().filter(|d| d.bits() <= 16) {
            for bits in 0..1u64 << dtype.bits() {
                let value = dtype.decode_bits(bits);
                let text = value.text(dtype).to_string();
                assert_eq!(Scalar::parse(&text, dtype), Ok(value), "{dtype} {bits:#x} {text}");
            }
        }
        for value in [0.1, 1e30, -0.0, 1.5, 16_777_217.0, f64::MIN_POSITIVE, 3e-45] {
            for dtype in [DType::F32, DType::F64] {
                let value = Scalar::Float(value).round_to(dtype);
                assert_eq!(Scalar::parse(&value.text(dtype).to_string(), dtype), Ok(value));
            }
        }
    }

    #[test]
    fn text_is_short() {
        let shown = |value: f64, dtype| Scalar::Float(value).text(dtype).to_string();
        assert_eq!(shown(0.1, DType::F32), "0.1");
        assert_eq!(shown(0.1, DType::BF16), "0.1");
        assert_eq!(shown(1.0, DType::F16), "1.0");
        assert_eq!(shown(65504.0, DType::F16), "65500.0");
        assert_eq!(shown(448.0, DType::F8E4M3), "450.0");
        assert_eq!(shown(1e30, DType::F32), "1e30");
        assert_eq!(shown(f64::NEG_INFINITY, DType::F32), "-inf");
        assert_eq!(Scalar::Int(1).text(DType::Bool).to_string(), "true");
        assert_eq!(Scalar::Int(-8).text(DType::I4).to_string(), "-8");
    }

    #[test]
    fn refusals_say_what_was_expected() {
        let error = Scalar::parse("9", DType::I4).expect_err("out of range");
        assert_eq!(error.to_string(), "expected an integer in the range of type i4, found `9`");
        for (text, dtype) in [("", DType::F32), ("1", DType::Bool), ("+-1", DType::I8), ("NaN", DType::F16)] {
            assert!(Scalar::parse(text, dtype).is_err(), "{text}");
        }
        assert_eq!(Scalar::parse("-0x8", DType::I4), Ok(Scalar::Int(-8)));
        assert_eq!(Scalar::parse("2", DType::F32), Ok(Scalar::Float(2.0)));
    }
}
