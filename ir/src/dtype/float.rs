//! Floating-point formats as parameters, with one exact decoder and one correctly rounding encoder.
//!
//! Every value of every format here is exactly an `f64`, so decoding loses nothing, and encoding
//! rounds exactly once, to nearest with ties to the even mantissa. A NaN keeps its sign where the
//! format has room for it; its payload is not kept.

/// How a format spends the encodings that IEEE reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// The greatest exponent means infinity (mantissa 0) or NaN.
    Ieee,
    /// No infinities; only the encoding with all exponent and mantissa bits set is NaN.
    NanAllOnes,
    /// No infinities and no negative zero; the encoding of negative zero is NaN.
    NanNegativeZero,
    /// Neither infinities nor NaNs: every encoding is a finite number.
    FiniteOnly,
}

/// The parameters of a floating-point format of at most 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloatFormat {
    /// Width of the exponent field.
    pub exponent_bits: u32,
    /// Width of the mantissa field, without the implied leading bit.
    pub mantissa_bits: u32,
    /// What is subtracted from the exponent field.
    pub bias: i32,
    /// Whether there is a sign bit, above the exponent.
    pub signed: bool,
    /// Whether exponent field 0 means zero and subnormals rather than one more binade.
    pub subnormals: bool,
    /// What the reserved encodings mean.
    pub specials: Specials,
}

impl FloatFormat {
    /// The width of an encoding.
    pub const fn bits(self) -> u32 {
        self.exponent_bits + self.mantissa_bits + self.signed as u32
    }

    /// The exact value of an encoding; bits above the format's width are ignored.
    pub const fn decode(self, bits: u64) -> f64 {
        let magnitude = bits & self.magnitude_mask();
        let negative = bits & self.sign_bit() != 0;
        let unsigned = if self.is_nan(bits) {
            f64::NAN
        } else if matches!(self.specials, Specials::Ieee) && magnitude == self.infinity_bits() {
            f64::INFINITY
        } else {
            let exponent = (magnitude >> self.mantissa_bits) as i32;
            let mantissa = magnitude & self.mantissa_mask();
            // Both products are exact: at most 53 significant bits times a power of two that
            // leaves them within f64, whose own subnormals are multiples of the least power.
            if exponent == 0 && self.subnormals {
                mantissa as f64 * power_of_two(1 - self.bias - self.mantissa_bits as i32)
            } else {
                let significand = (1 << self.mantissa_bits) | mantissa;
                significand as f64 * power_of_two(exponent - self.bias - self.mantissa_bits as i32)
            }
        };
        if negative { -unsigned } else { unsigned }
    }

    /// The encoding nearest to `value`, ties to even.
    ///
    /// Values beyond the greatest finite one after rounding, infinities among them, become that
    /// greatest finite value if `saturate`, else infinity or, in a format without one, NaN. A
    /// format without NaN holds the greatest finite value in both cases, and encodes NaN as the
    /// positive one. Negative values become NaN in an unsigned format, and the least value when
    /// they are zero, as positive zero does in a format that has none.
    #[inline]
    pub const fn encode(self, value: f64, saturate: bool) -> u64 {
        if value.is_nan() {
            return self.nan_bits(value.is_sign_negative());
        }
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            return self.overflow_bits(negative, saturate);
        }
        let bits = value.to_bits();
        let field = ((bits >> 52) & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        if self.is_well_within(field) {
            return self.encode_normal(bits);
        }
        if field == 0 {
            self.encode_parts(negative, fraction, -1074, saturate)
        } else {
            self.encode_parts(negative, fraction | (1 << 52), field - 1075, saturate)
        }
    }

    /// Whether values with this exponent field of `f64` are normal here and cannot overflow, even
    /// when rounded up.
    const fn is_well_within(self, field: i32) -> bool {
        let rebiased = field - 1023 + self.bias;
        let last = (1 << self.exponent_bits) - 2;
        self.subnormals && self.mantissa_bits < 52 && rebiased >= 1 && rebiased < last
    }

    /// The common case in a few operations: rounds the bits of an `f64` in place, where a carry out
    /// of the mantissa increments the exponent, and moves the exponent to the bias here.
    const fn encode_normal(self, bits: u64) -> u64 {
        let dropped = 52 - self.mantissa_bits;
        let magnitude = bits & (u64::MAX >> 1);
        let is_odd = (magnitude >> dropped) & 1;
        let rounded = (magnitude + (1 << (dropped - 1)) - 1 + is_odd) >> dropped;
        let encoded = rounded - (((1023 - self.bias) as u64) << self.mantissa_bits);
        if bits >> 63 == 1 { encoded | self.sign_bit() } else { encoded }
    }

    /// The encoding nearest to an integer: one rounding, even beyond the integers of `f64`.
    pub const fn encode_int(self, value: i128, saturate: bool) -> u64 {
        let magnitude = value.unsigned_abs();
        let excess = 64u32.saturating_sub(magnitude.leading_zeros());
        // At least eleven bits lie below any rounding position, so that one bit can stand for
        // everything shifted out.
        let sticky = magnitude & ((1 << excess) - 1) != 0;
        let significand = (magnitude >> excess) as u64 | sticky as u64;
        self.encode_parts(value < 0, significand, excess as i32, saturate)
    }

    /// Encodes `significand * 2^exponent`.
    const fn encode_parts(self, negative: bool, significand: u64, exponent: i32, saturate: bool) -> u64 {
        if significand == 0 {
            let keeps_sign = negative && !matches!(self.specials, Specials::NanNegativeZero);
            return if keeps_sign { self.sign_bit() } else { 0 };
        }
        if negative && !self.signed {
            return self.nan_bits(false);
        }
        let least_exponent = self.subnormals as i32 - self.bias;
        let leading = 63 - significand.leading_zeros() as i32 + exponent;
        let is_normal = leading >= least_exponent;
        let ulp = (if is_normal { leading } else { least_exponent }) - self.mantissa_bits as i32;
        let rounded = shift_right_to_even(significand, ulp - exponent);
        // A mantissa that rounds up to the next power of two carries into the exponent field,
        // which is the right encoding, and so does a subnormal that rounds up to a normal number.
        let magnitude = if is_normal {
            (((leading + self.bias) as u64) << self.mantissa_bits) + (rounded - (1 << self.mantissa_bits))
        } else if self.subnormals {
            rounded
        } else {
            0
        };
        if magnitude > self.max_finite_bits() {
            return self.overflow_bits(negative, saturate);
        }
        let is_negative_zero = magnitude == 0 && matches!(self.specials, Specials::NanNegativeZero);
        if negative && !is_negative_zero { magnitude | self.sign_bit() } else { magnitude }
    }

    /// Whether an encoding is NaN.
    pub const fn is_nan(self, bits: u64) -> bool {
        let magnitude = bits & self.magnitude_mask();
        match self.specials {
            Specials::Ieee => magnitude > self.infinity_bits(),
            Specials::NanAllOnes => magnitude == self.magnitude_mask(),
            Specials::NanNegativeZero => bits & (self.magnitude_mask() | self.sign_bit()) == self.sign_bit(),
            Specials::FiniteOnly => false,
        }
    }

    /// The greatest finite value.
    pub const fn max_finite(self) -> f64 {
        self.decode(self.max_finite_bits())
    }

    /// The distance from 1 to the next greater value.
    pub const fn epsilon(self) -> f64 {
        power_of_two(-(self.mantissa_bits as i32))
    }

    /// The place of a non-NaN encoding in the order of values: neighbours differ by one, and both
    /// zeros are 0. The difference of two places is their distance in ulps.
    pub const fn place(self, bits: u64) -> i128 {
        let magnitude = (bits & self.magnitude_mask()) as i128;
        if bits & self.sign_bit() != 0 { -magnitude } else { magnitude }
    }

    const fn magnitude_mask(self) -> u64 {
        (1 << (self.exponent_bits + self.mantissa_bits)) - 1
    }

    const fn mantissa_mask(self) -> u64 {
        (1 << self.mantissa_bits) - 1
    }

    const fn sign_bit(self) -> u64 {
        if self.signed { self.magnitude_mask() + 1 } else { 0 }
    }

    const fn infinity_bits(self) -> u64 {
        self.magnitude_mask() & !self.mantissa_mask()
    }

    const fn max_finite_bits(self) -> u64 {
        match self.specials {
            Specials::Ieee => self.infinity_bits() - 1,
            Specials::NanAllOnes => self.magnitude_mask() - 1,
            Specials::NanNegativeZero | Specials::FiniteOnly => self.magnitude_mask(),
        }
    }

    const fn nan_bits(self, negative: bool) -> u64 {
        let sign = if negative { self.sign_bit() } else { 0 };
        match self.specials {
            Specials::Ieee => sign | self.infinity_bits() | (1 << (self.mantissa_bits - 1)),
            Specials::NanAllOnes => sign | self.magnitude_mask(),
            Specials::NanNegativeZero => self.sign_bit(),
            Specials::FiniteOnly => self.max_finite_bits(),
        }
    }

    const fn overflow_bits(self, negative: bool, saturate: bool) -> u64 {
        if negative && !self.signed {
            return self.nan_bits(false);
        }
        let sign = if negative { self.sign_bit() } else { 0 };
        match self.specials {
            Specials::FiniteOnly => sign | self.max_finite_bits(),
            _ if saturate => sign | self.max_finite_bits(),
            Specials::Ieee => sign | self.infinity_bits(),
            Specials::NanAllOnes | Specials::NanNegativeZero => self.nan_bits(negative),
        }
    }
}

/// `2^exponent` for exponents from -1074 to 1023.
const fn power_of_two(exponent: i32) -> f64 {
    if exponent >= -1022 {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent + 1074))
    }
}

/// `value / 2^shift`, rounded to nearest with ties to even; a negative shift is exact.
const fn shift_right_to_even(value: u64, shift: i32) -> u64 {
    if shift <= 0 {
        // Only values with fewer bits than a mantissa are shifted left, up to that width.
        return value << -shift;
    }
    if shift > 64 {
        return 0;
    }
    if shift == 64 {
        return (value > 1 << 63) as u64;
    }
    let kept = value >> shift;
    let lost = value & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    kept + (lost > half || (lost == half && kept & 1 == 1)) as u64
}

#[cfg(test)]
mod tests {
    use super::super::DType;
    use super::*;

    fn format(dtype: DType) -> FloatFormat {
        dtype.float_format().expect("a float type")
    }

    fn same(left: f64, right: f64) -> bool {
        left.to_bits() == right.to_bits() || (left.is_nan() && right.is_nan())
    }

    #[test]
    fn sixteen_bit_formats_agree_with_half() {
        let (f16, bf16) = (format(DType::F16), format(DType::BF16));
        for bits in 0..=u16::MAX {
            let oracle = half::f16::from_bits(bits).to_f64();
            assert!(same(f16.decode(bits.into()), oracle), "f16 {bits:#06x}");
            let brain_oracle = half::bf16::from_bits(bits).to_f64();
            assert!(same(bf16.decode(bits.into()), brain_oracle), "bf16 {bits:#06x}");
            for (format, value) in [(f16, oracle), (bf16, brain_oracle)] {
                if !value.is_nan() {
                    assert_eq!(format.encode(value, false), u64::from(bits));
                }
            }
            // Midpoints between neighbours, and points just beside them.
            for value in [oracle, brain_oracle] {
                for scale in [1.0, 1.0 + 1.0 / 2048.0, 1.0 + 1.0 / 256.0, 1.004, 0.998] {
                    // The oracle looks at no more than the upper half of a double.
                    let value = f64::from_bits((value * scale).to_bits() & !0xffff_ffff);
                    if !value.is_nan() {
                        assert_eq!(f16.encode(value, false), u64::from(half::f16::from_f64(value).to_bits()));
                        let expected = half::bf16::from_f64(value).to_bits();
                        assert_eq!(bf16.encode(value, false), u64::from(expected), "{value:e}");
                    }
                }
            }
        }
    }

    #[test]
    fn wide_formats_agree_with_the_language() {
        let (f64_format, f32_format) = (format(DType::F64), format(DType::F32));
        let mut state = 1u64;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let bits = state ^ (state >> 29);
            let value = f64::from_bits(bits);
            if value.is_nan() {
                continue;
            }
            assert_eq!(f64_format.decode(bits).to_bits(), bits);
            assert_eq!(f64_format.encode(value, false), bits);
            let near_f32 = f64::from(f32::from_bits(bits as u32)) * (1.0 + 3.0 * f64::EPSILON);
            for value in [value, near_f32] {
                if !value.is_nan() {
                    assert_eq!(f32_format.encode(value, false), u64::from((value as f32).to_bits()));
                }
            }
            let narrow = f32::from_bits(bits as u32);
            assert!(same(f32_format.decode(bits & 0xffff_ffff), f64::from(narrow)));
            let (signed, odd) = (bits as i64, (bits as i64) >> (bits % 64));
            for int in [signed, odd] {
                assert_eq!(f32_format.encode_int(int.into(), false), u64::from((int as f32).to_bits()));
                assert_eq!(f64_format.encode_int(int.into(), false), (int as f64).to_bits());
            }
        }
        assert_eq!(f32_format.encode_int(i128::MAX, false), u64::from((i128::MAX as f32).to_bits()));
        assert_eq!(f32_format.encode_int(i128::MIN, false), u64::from((i128::MIN as f32).to_bits()));
        assert_eq!(f64_format.decode(1), f64::from_bits(1));
        assert_eq!(f32_format.encode(f64::from_bits(1), false), 0);
    }

    #[test]
    fn narrow_formats_round_trip_and_round_to_the_nearest_neighbour() {
        for dtype in DType::ALL.into_iter().filter(|d| d.is_float() && d.bits() <= 8) {
            let format = format(dtype);
            let mut values: Vec<(f64, u64)> = Vec::new();
            for bits in 0..1u64 << format.bits() {
                let value = format.decode(bits);
                assert_eq!(value.is_nan(), format.is_nan(bits));
                if value.is_nan() {
                    assert!(format.is_nan(format.encode(value, true)), "{dtype} {bits:#x}");
                    continue;
                }
                assert_eq!(format.encode(value, false), bits, "{dtype} {bits:#x}");
                if value.is_finite() {
                    values.push((value, bits));
                }
            }
            values.sort_by(|a, b| a.0.total_cmp(&b.0));
            for pair in values.windows(2) {
                let ((low, low_bits), (high, high_bits)) = (pair[0], pair[1]);
                if low == high {
                    continue;
                }
                let middle = low + (high - low) / 2.0;
                let below =
                    f64::from_bits(if middle > 0.0 { middle.to_bits() - 1 } else { middle.to_bits() + 1 });
                assert_eq!(format.decode(format.encode(below, false)), low, "{dtype} {low} {high}");
                let even = if dtype == DType::F8E8M0 || low_bits & 1 == 1 { high_bits } else { low_bits };
                assert_eq!(
                    format.decode(format.encode(middle, false)),
                    format.decode(even),
                    "{dtype} {middle}"
                );
            }
        }
    }

    #[test]
    fn known_values_of_the_narrow_formats() {
        let known: [(DType, u64, f64); 14] = [
            (DType::F8E4M3, 0x7e, 448.0),
            (DType::F8E4M3, 0x08, 0.015625),
            (DType::F8E4M3, 0x01, 0.001953125),
            (DType::F8E4M3Fnuz, 0x7f, 240.0),
            (DType::F8E4M3Fnuz, 0x01, 0.0009765625),
            (DType::F8E5M2, 0x7b, 57344.0),
            (DType::F8E5M2, 0x7c, f64::INFINITY),
            (DType::F8E5M2, 0x01, 1.52587890625e-5),
            (DType::F8E5M2Fnuz, 0x7f, 57344.0),
            (DType::F4E2M1, 0x7, 6.0),
            (DType::F4E2M1, 0x1, 0.5),
            (DType::F4E2M1, 0xf, -6.0),
            (DType::F8E8M0, 0x7f, 1.0),
            (DType::F8E8M0, 0xfe, 1.7014118346046923e38),
        ];
        for (dtype, bits, value) in known {
            assert_eq!(format(dtype).decode(bits), value, "{dtype} {bits:#x}");
        }
        assert!(format(DType::F8E4M3).is_nan(0xff) && format(DType::F8E4M3Fnuz).is_nan(0x80));
        assert_eq!(format(DType::F8E8M0).decode(0), 2f64.powi(-127));
    }

    #[test]
    fn overflow_follows_the_saturate_flag() {
        #[rustfmt::skip]
        let cases: [(DType, f64, u64, u64); 12] = [
            (DType::F8E4M3,     f64::INFINITY,     0x7e, 0x7f),
            (DType::F8E4M3,     f64::NEG_INFINITY, 0xfe, 0xff),
            (DType::F8E4M3,     464.0,             0x7e, 0x7e),
            (DType::F8E4M3,     464.1,             0x7e, 0x7f),
            (DType::F8E4M3Fnuz, 1e6,               0x7f, 0x80),
            (DType::F8E4M3Fnuz, -1e-9,             0x00, 0x00),
            (DType::F8E5M2,     f64::INFINITY,     0x7b, 0x7c),
            (DType::F8E5M2,     -1e6,              0xfb, 0xfc),
            (DType::F8E5M2Fnuz, 1e6,               0x7f, 0x80),
            (DType::F4E2M1,     -100.0,            0xf,  0xf),
            (DType::F8E8M0,     1e60,              0xfe, 0xff),
            (DType::F8E8M0,     -1.0,              0xff, 0xff),
        ];
        for (dtype, value, saturated, plain) in cases {
            assert_eq!(format(dtype).encode(value, true), saturated, "{dtype} {value}");
            assert_eq!(format(dtype).encode(value, false), plain, "{dtype} {value}");
        }
    }
}
