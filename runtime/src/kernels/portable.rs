//! Kernels in plain Rust for any processor, and the conversions between 16-bit and 32-bit floats they need.

use super::contraction::{Call, Lanes, Panels, Sums, contract, kernel, load_some, store_some, tile};

/// Columns in a portable vector: what the narrowest vector registers hold.
const COLUMNS: usize = 4;

macro_rules! portable_sums {
    ($element:ty, $add:expr) => {
        impl Sums for [$element; COLUMNS] {
            #[inline(always)]
            unsafe fn zero() -> Self {
                Default::default()
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                std::array::from_fn(|column| $add(self[column], other[column]))
            }
            #[inline(always)]
            unsafe fn load(c: *const u8, columns: usize) -> Self {
                // SAFETY: the caller promises `columns` elements.
                unsafe { load_some(c, columns) }
            }
            #[inline(always)]
            unsafe fn store(self, c: *mut u8, columns: usize) {
                // SAFETY: the caller promises `columns` elements.
                unsafe { store_some(&self, c, columns) }
            }
        }
    };
}

portable_sums!(f32, |a, b| a + b);
portable_sums!(i32, i32::wrapping_add);

macro_rules! portable_lanes {
    ($name:ident, $a:ty, $b:ty, $sum:ty, $step:literal, $widen_a:expr, $widen_b:expr, $multiply_add:expr) => {
        struct $name;

        impl Lanes for $name {
            type Source = $a;
            type Staged = $a;
            type Sums = [$sum; COLUMNS];
            type Column = [[$sum; $step]; COLUMNS];
            type Row = [$sum; $step];

            const STEP: usize = $step;
            const COLUMNS: usize = COLUMNS;
            const COLUMN_BYTES: usize = COLUMNS * $step * size_of::<$b>();

            #[inline(always)]
            unsafe fn column<const PART: usize>(b: *const u8) -> [[$sum; $step]; COLUMNS] {
                // SAFETY: the caller promises a whole vector.
                let elements = unsafe { b.cast::<[[$b; $step]; COLUMNS]>().read_unaligned() };
                elements.map(|column| column.map($widen_b))
            }
            #[inline(always)]
            unsafe fn row<const PART: usize>(a: *const u8) -> [$sum; $step] {
                // SAFETY: the caller promises one group.
                unsafe { a.cast::<[$a; $step]>().read_unaligned() }.map($widen_a)
            }
            #[inline(always)]
            unsafe fn step(
                mut sums: [$sum; COLUMNS],
                row: [$sum; $step],
                columns: [[$sum; $step]; COLUMNS],
            ) -> [$sum; COLUMNS] {
                for (sum, column) in sums.iter_mut().zip(columns) {
                    for (a, b) in row.into_iter().zip(column) {
                        *sum = $multiply_add(*sum, a, b);
                    }
                }
                sums
            }
            #[inline(always)]
            unsafe fn convert(source: $a) -> $a {
                source
            }
        }
    };
}

portable_lanes!(F32, f32, f32, f32, 1, |a| a, |b| b, |sum, a, b| sum + a * b);
portable_lanes!(Bf16, u16, u16, f32, 2, bf16_to_f32, bf16_to_f32, |sum, a, b| sum + a * b);
portable_lanes!(F16, u16, u16, f32, 1, f16_to_f32, f16_to_f32, |sum, a, b| sum + a * b);
portable_lanes!(U8S8, u8, i8, i32, 4, i32::from, i32::from, |sum: i32, a: i32, b: i32| sum
    .wrapping_add(a * b));
portable_lanes!(S8S8, i8, i8, i32, 4, i32::from, i32::from, |sum: i32, a: i32, b: i32| sum
    .wrapping_add(a * b));

/// The value of a bf16, exactly.
pub(super) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The value of an f16, exactly.
pub(super) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    let magnitude = match exponent {
        // Subnormal: a multiple of 2^-24, which f32 represents as a normal number.
        0 => (fraction as f32 * (1.0 / 16_777_216.0)).to_bits(),
        0x1f => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

kernel!(tcc_mk_f32_portable, F32, , [1 2], [1 x 2 2 x 1 3 x 1 4 x 1]);
kernel!(tcc_mk_bf16_portable, Bf16, , [1 2], [1 x 1 2 x 1 3 x 1 4 x 1]);
kernel!(tcc_mk_f16_portable, F16, , [1 2], [1 x 1 2 x 1 3 x 1 4 x 1]);
kernel!(tcc_mk_u8s8_portable, U8S8, , [1 2], [1 x 1 2 x 1 3 x 1 4 x 1]);
kernel!(tcc_mk_s8s8_portable, S8S8, , [1 2], [1 x 1 2 x 1 3 x 1 4 x 1]);
