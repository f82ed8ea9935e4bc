//! Vectors of partial sums for x86-64, in each register width, as f32 and as i32.

use std::arch::x86_64::*;

use super::contraction::{Sums, load_some, store_some};

/// The lowest `columns` of 16 lanes.
#[inline(always)]
fn mask16(columns: usize) -> __mmask16 {
    if columns >= 16 { !0 } else { (1 << columns) - 1 }
}

impl Sums for __m512 {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: inlined where AVX-512 is enabled.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_add_ps(self, other) }
    }
    #[inline(always)]
    unsafe fn load(c: *const u8, columns: usize) -> Self {
        // SAFETY: as above; the mask covers `columns` elements only.
        unsafe { _mm512_maskz_loadu_ps(mask16(columns), c.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, c: *mut u8, columns: usize) {
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_ps(c.cast(), mask16(columns), self) }
    }
}

impl Sums for __m512i {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: inlined where AVX-512 is enabled.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(self, other) }
    }
    #[inline(always)]
    unsafe fn load(c: *const u8, columns: usize) -> Self {
        // SAFETY: as above; the mask covers `columns` elements only.
        unsafe { _mm512_maskz_loadu_epi32(mask16(columns), c.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, c: *mut u8, columns: usize) {
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi32(c.cast(), mask16(columns), self) }
    }
}

/// Sums in registers that cannot be stored in part: whole vectors directly, parts by way of an array.
macro_rules! sums_without_masks {
    ($vector:ty, $element:ty, $columns:literal, $zero:ident, $add:ident, $load:ident, $store:ident) => {
        impl Sums for $vector {
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: inlined where the instructions are enabled.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: as above.
                unsafe { $add(self, other) }
            }
            #[inline(always)]
            unsafe fn load(c: *const u8, columns: usize) -> Self {
                // SAFETY: as above; C is touched by whole vectors only where there are as many columns.
                unsafe {
                    if columns == $columns {
                        $load(c.cast())
                    } else {
                        $load(load_some::<$element, $columns>(c, columns).as_ptr().cast())
                    }
                }
            }
            #[inline(always)]
            unsafe fn store(self, c: *mut u8, columns: usize) {
                // SAFETY: as above.
                unsafe {
                    if columns == $columns {
                        $store(c.cast(), self);
                    } else {
                        let mut full: [$element; $columns] = [Default::default(); $columns];
                        $store(full.as_mut_ptr().cast(), self);
                        store_some(&full, c, columns);
                    }
                }
            }
        }
    };
}

sums_without_masks!(__m256, f32, 8, _mm256_setzero_ps, _mm256_add_ps, _mm256_loadu_ps, _mm256_storeu_ps);
sums_without_masks!(__m128, f32, 4, _mm_setzero_ps, _mm_add_ps, _mm_loadu_ps, _mm_storeu_ps);
sums_without_masks!(
    __m256i,
    i32,
    8,
    _mm256_setzero_si256,
    _mm256_add_epi32,
    _mm256_loadu_si256,
    _mm256_storeu_si256
);

/// Eight sums of which each is still split in two adjacent lanes: columns 0..4 and columns 4..8.
#[derive(Clone, Copy)]
pub(super) struct Halves(pub(super) __m256i, pub(super) __m256i);

impl Sums for Halves {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: inlined where AVX2 is enabled.
        unsafe { Halves(_mm256_setzero_si256(), _mm256_setzero_si256()) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { Halves(_mm256_add_epi32(self.0, other.0), _mm256_add_epi32(self.1, other.1)) }
    }
    #[inline(always)]
    unsafe fn load(c: *const u8, columns: usize) -> Self {
        // SAFETY: as above. Each column becomes the lower of its two lanes.
        unsafe {
            let whole = __m256i::load(c, columns);
            let (low, high) = (_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
            Halves(_mm256_cvtepu32_epi64(low), _mm256_cvtepu32_epi64(high))
        }
    }
    #[inline(always)]
    unsafe fn store(self, c: *mut u8, columns: usize) {
        // SAFETY: as above. The horizontal sum yields columns 0 1 4 5 2 3 6 7, which the permutation sorts.
        unsafe {
            let whole = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(self.0, self.1));
            whole.store(c, columns);
        }
    }
}
