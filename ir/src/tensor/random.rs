//! Deterministic random tensors from a counter-based generator.
//!
//! Element `i` depends on seed and `i` alone, so the same tensor comes out on every machine and in
//! any order of filling.

use super::{Tensor, TensorError};
use crate::dtype::{DType, Kind, Scalar};

impl Tensor {
    /// A tensor of random elements that depends on nothing but its arguments.
    ///
    /// Floats are roughly normal with mean 0 and deviation 1, within ±3.47; `f8e8m0` holds powers of
    /// two from 1/8 to 8; integers lie in -8..=7 or 0..=15, or what the type has of that.
    pub fn random(dtype: DType, shape: &[usize], seed: u64) -> Result<Tensor, TensorError> {
        let (elements, _) = super::checked_size(dtype, shape)?;
        let key = scramble(seed ^ 0x5851_f42d_4c95_7f2d);
        let word = |index: usize| scramble(key.wrapping_add((index as u64).wrapping_mul(GOLDEN_RATIO)));
        let value = |word: u64| match dtype.kind() {
            Kind::Float(format) if format.signed => roughly_normal(word),
            Kind::Float(_) => f64::from((word >> 61) as u32).exp2() / 8.0,
            Kind::Int { signed: true, .. } => (word >> 60) as f64 - 8.0,
            Kind::Int { signed: false, .. } => (word >> 60) as f64,
            Kind::Bool => (word >> 63) as f64,
        };
        let bounded = |value: f64| match (dtype.kind(), Scalar::Float(value)) {
            (Kind::Int { bits, signed }, _) if bits < 4 => wrap_small(value, bits, signed),
            _ => value,
        };
        Tensor::from_f64_iter(dtype, shape, (0..elements).map(|index| bounded(value(word(index)))))
    }
}

/// 2^64 divided by the golden ratio, made odd: multiples of it are spread evenly.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64: every output bit depends on every input bit.
fn scramble(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// The sum of four uniform numbers, shifted and scaled: exact arithmetic, so equal everywhere.
fn roughly_normal(word: u64) -> f64 {
    let sum: u64 = (0..4).map(|part| (word >> (16 * part)) & 0xffff).sum();
    // Four uniform numbers of 16 bits have mean 2 * 65535 and deviation 65536 / sqrt(3).
    (sum as f64 - 131_070.0) * (1.732_050_807_568_877_2 / 65_536.0)
}

/// Brings a small integer into the range of a type of fewer than four bits, keeping its low bits.
fn wrap_small(value: f64, bits: u32, signed: bool) -> f64 {
    let modulus = f64::from(1u32 << bits);
    let wrapped = value.rem_euclid(modulus);
    if signed && wrapped >= modulus / 2.0 { wrapped - modulus } else { wrapped }
}
