//! f32 kernels for x86-64: SSE, AVX2 and AVX-512.

use std::arch::x86_64::*;

use super::contraction::{Call, Lanes, Panels, contract, kernel, tile};

/// One vector of f32 in each register width.
macro_rules! f32_lanes {
    ($name:ident, $vector:ty, $columns:literal, $load:ident, $broadcast:ident, $step:expr) => {
        struct $name;

        impl Lanes for $name {
            type Source = f32;
            type Staged = f32;
            type Sums = $vector;
            type Column = $vector;
            type Row = $vector;

            const STEP: usize = 1;
            const COLUMNS: usize = $columns;
            const COLUMN_BYTES: usize = $columns * 4;

            #[inline(always)]
            unsafe fn column<const PART: usize>(b: *const u8) -> $vector {
                // SAFETY: inlined where the instructions are enabled; the caller promises a whole vector.
                unsafe { $load(b.cast()) }
            }
            #[inline(always)]
            unsafe fn row<const PART: usize>(a: *const u8) -> $vector {
                // SAFETY: as above; one element.
                unsafe { $broadcast(a.cast::<f32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn step(sums: $vector, row: $vector, column: $vector) -> $vector {
                // SAFETY: as above.
                unsafe { $step(sums, row, column) }
            }
            #[inline(always)]
            unsafe fn convert(source: f32) -> f32 {
                source
            }
        }
    };
}

f32_lanes!(F32Avx512, __m512, 16, _mm512_loadu_ps, _mm512_set1_ps, |sums, row, column| {
    _mm512_fmadd_ps(row, column, sums)
});
f32_lanes!(F32Avx2, __m256, 8, _mm256_loadu_ps, _mm256_set1_ps, |sums, row, column| {
    _mm256_fmadd_ps(row, column, sums)
});
f32_lanes!(F32Sse, __m128, 4, _mm_loadu_ps, _mm_set1_ps, |sums, row, column| {
    _mm_add_ps(sums, _mm_mul_ps(row, column))
});

kernel!(tcc_mk_f32_avx512, F32Avx512, "avx512f,avx512bw,avx512dq,avx512vl", [1 2],
    [1 x 4 2 x 4 3 x 2 4 x 2 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1]);
kernel!(tcc_mk_f32_avx2, F32Avx2, "avx2,fma,f16c", [1 2], [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1]);
kernel!(tcc_mk_f32_sse, F32Sse, , [1 2], [1 x 4 2 x 2 3 x 1 4 x 1]);
