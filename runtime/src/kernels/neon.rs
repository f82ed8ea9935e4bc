//! The f32 kernel for AArch64, where four-lane vectors with fused multiplication are baseline.

use std::arch::aarch64::*;

use super::contraction::{Call, Lanes, Panels, Sums, contract, kernel, load_some, store_some, tile};

struct F32Neon;

impl Sums for float32x4_t {
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: NEON is baseline.
        unsafe { vdupq_n_f32(0.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: as above.
        unsafe { vaddq_f32(self, other) }
    }
    #[inline(always)]
    unsafe fn load(c: *const u8, columns: usize) -> Self {
        // SAFETY: as above; whole vectors only where there are four columns.
        unsafe {
            if columns == 4 {
                vld1q_f32(c.cast())
            } else {
                vld1q_f32(load_some::<f32, 4>(c, columns).as_ptr())
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, c: *mut u8, columns: usize) {
        // SAFETY: as above.
        unsafe {
            if columns == 4 {
                vst1q_f32(c.cast(), self);
            } else {
                let mut full = [0.0f32; 4];
                vst1q_f32(full.as_mut_ptr(), self);
                store_some(&full, c, columns);
            }
        }
    }
}

impl Lanes for F32Neon {
    type Source = f32;
    type Staged = f32;
    type Sums = float32x4_t;
    type Column = float32x4_t;
    type Row = float32x4_t;

    const STEP: usize = 1;
    const COLUMNS: usize = 4;
    const COLUMN_BYTES: usize = 16;

    #[inline(always)]
    unsafe fn column<const PART: usize>(b: *const u8) -> float32x4_t {
        // SAFETY: NEON is baseline; the caller promises a whole vector.
        unsafe { vld1q_f32(b.cast()) }
    }
    #[inline(always)]
    unsafe fn row<const PART: usize>(a: *const u8) -> float32x4_t {
        // SAFETY: as above; one element.
        unsafe { vld1q_dup_f32(a.cast()) }
    }
    #[inline(always)]
    unsafe fn step(sums: float32x4_t, row: float32x4_t, column: float32x4_t) -> float32x4_t {
        // SAFETY: as above.
        unsafe { vfmaq_f32(sums, row, column) }
    }
    #[inline(always)]
    unsafe fn convert(source: f32) -> f32 {
        source
    }
}

kernel!(tcc_mk_f32_neon, F32Neon, "neon", [1 2 3], [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1 7 x 1 8 x 1]);
