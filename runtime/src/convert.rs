//! Conversions between f32 and 16-bit floats for compiled code on processors without instructions for them.

/// The f16 nearest to a value, ties to even, in the low half of the result.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tcc_f16_from_f32(value: f32) -> u32 {
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    // From half a unit above the largest finite value on, the nearest is infinity.
    if magnitude >= 0x477f_f000 {
        return sign | 0x7c00;
    }
    if magnitude < 0x3880_0000 {
        // Subnormal: adding a number whose unit is 2^-24 lets the hardware round to that unit.
        let rounded = f32::from_bits(magnitude) + 0.5;
        return sign | (rounded.to_bits() - 0x3f00_0000);
    }
    let odd = (magnitude >> 13) & 1;
    sign | ((magnitude - 0x3800_0000 + 0xfff + odd) >> 13)
}

/// The value of an f16 in the low half of the argument.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tcc_f32_from_f16(bits: u32) -> f32 {
    let sign = (bits & 0x8000) << 16;
    let magnitude = bits & 0x7fff;
    let value = match magnitude {
        0x7c01.. => f32::NAN.to_bits(),
        0x7c00 => f32::INFINITY.to_bits(),
        0x0400.. => (magnitude << 13) + 0x3800_0000,
        // Subnormal: a multiple of 2^-24, exact in f32.
        small => (small as f32 * (1.0 / 16_777_216.0)).to_bits(),
    };
    f32::from_bits(sign | value)
}

/// The bf16 nearest to a value, ties to even, in the low half of the result.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn tcc_bf16_from_f32(value: f32) -> u32 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) | 0x40;
    }
    (bits + 0x7fff + ((bits >> 16) & 1)) >> 16
}

/// The conversion of a symbol's name.
pub(crate) fn symbol(name: &str) -> Option<*const u8> {
    match name {
        "tcc_f16_from_f32" => Some(tcc_f16_from_f32 as *const u8),
        "tcc_f32_from_f16" => Some(tcc_f32_from_f16 as *const u8),
        "tcc_bf16_from_f32" => Some(tcc_bf16_from_f32 as *const u8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_round_trips() {
        for bits in 0..=0xffffu32 {
            let value = tcc_f32_from_f16(bits);
            if !value.is_nan() {
                assert_eq!(tcc_f16_from_f32(value), bits);
            }
        }
    }

    #[test]
    fn midpoints_go_to_even() {
        for bits in (0..0x7bffu32).step_by(3) {
            let [low, high] = [bits, bits + 1].map(|b| f64::from(tcc_f32_from_f16(b)));
            let middle = ((low + high) / 2.0) as f32;
            assert_eq!(tcc_f16_from_f32(middle), bits + (bits & 1), "{bits:#x}");
        }
        assert_eq!(tcc_f16_from_f32(65520.0), 0x7c00);
        assert_eq!(tcc_f16_from_f32(65519.0), 0x7bff);
        assert_eq!(tcc_bf16_from_f32(f32::from_bits(0x3f80_8000)), 0x3f80);
        assert_eq!(tcc_bf16_from_f32(f32::from_bits(0x3f81_8000)), 0x3f82);
    }
}
