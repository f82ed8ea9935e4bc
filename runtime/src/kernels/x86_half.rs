//! bf16 and f16 kernels for x86-64, all of which accumulate in f32.

use std::arch::x86_64::*;

use super::contraction::{Call, Lanes, Panels, contract, kernel, tile};

/// Pairs of bf16 multiplied and summed by one instruction.
struct Bf16Avx512;

impl Lanes for Bf16Avx512 {
    type Source = u16;
    type Staged = u16;
    type Sums = __m512;
    type Column = __m512i;
    type Row = __m512i;

    const STEP: usize = 2;
    const COLUMNS: usize = 16;
    const COLUMN_BYTES: usize = 64;

    #[inline(always)]
    unsafe fn column(b: *const u8) -> __m512i {
        // SAFETY: inlined where the instructions are enabled; the caller promises a whole vector.
        unsafe { _mm512_loadu_si512(b.cast()) }
    }
    #[inline(always)]
    unsafe fn row(a: *const u8) -> __m512i {
        // SAFETY: as above; one pair.
        unsafe { _mm512_set1_epi32(a.cast::<i32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn step(sums: __m512, row: __m512i, column: __m512i) -> __m512 {
        // SAFETY: as above; both types are 512 plain bits.
        unsafe {
            _mm512_dpbf16_ps(
                sums,
                std::mem::transmute::<__m512i, __m512bh>(row),
                std::mem::transmute::<__m512i, __m512bh>(column),
            )
        }
    }
    #[inline(always)]
    unsafe fn convert(source: u16) -> u16 {
        source
    }
}

/// Pairs of bf16 widened to f32: the bits of a bf16 are the upper half of the same f32.
macro_rules! bf16_by_widening {
    ($name:ident, $vector:ty, $bits:ty, $columns:literal, $load:expr, $set:ident, $shift:expr, $mask:expr, $fma:ident) => {
        struct $name;

        impl Lanes for $name {
            type Source = u16;
            type Staged = u16;
            type Sums = $vector;
            type Column = [$vector; 2];
            type Row = [$vector; 2];

            const STEP: usize = 2;
            const COLUMNS: usize = $columns;
            const COLUMN_BYTES: usize = $columns * 4;

            #[inline(always)]
            unsafe fn column(b: *const u8) -> [$vector; 2] {
                // SAFETY: inlined where the instructions are enabled; the caller promises a whole vector.
                unsafe {
                    let pairs: $bits = $load(b);
                    [$shift(pairs), $mask(pairs)]
                }
            }
            #[inline(always)]
            unsafe fn row(a: *const u8) -> [$vector; 2] {
                // SAFETY: as above; one pair.
                unsafe {
                    let pairs: $bits = $set(a.cast::<i32>().read_unaligned());
                    [$shift(pairs), $mask(pairs)]
                }
            }
            #[inline(always)]
            unsafe fn step(sums: $vector, row: [$vector; 2], column: [$vector; 2]) -> $vector {
                // SAFETY: as above.
                unsafe { $fma(row[1], column[1], $fma(row[0], column[0], sums)) }
            }
            #[inline(always)]
            unsafe fn convert(source: u16) -> u16 {
                source
            }
        }
    };
}

bf16_by_widening!(
    Bf16Avx512Widening,
    __m512,
    __m512i,
    16,
    |b: *const u8| _mm512_loadu_si512(b.cast()),
    _mm512_set1_epi32,
    |pairs| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)),
    |pairs| _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(!0xffff))),
    _mm512_fmadd_ps
);
bf16_by_widening!(
    Bf16Avx2Widening,
    __m256,
    __m256i,
    8,
    |b: *const u8| _mm256_loadu_si256(b.cast()),
    _mm256_set1_epi32,
    |pairs| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs)),
    |pairs| _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32(!0xffff))),
    _mm256_fmadd_ps
);

/// f16 converted to f32: B as it is loaded, A as it is staged.
macro_rules! f16_by_converting {
    ($name:ident, $vector:ty, $columns:literal, $load:expr, $set:ident, $fma:ident) => {
        struct $name;

        impl Lanes for $name {
            type Source = u16;
            type Staged = f32;
            type Sums = $vector;
            type Column = $vector;
            type Row = $vector;

            const STEP: usize = 1;
            const COLUMNS: usize = $columns;
            const COLUMN_BYTES: usize = $columns * 2;
            const IN_PLACE: bool = false;

            #[inline(always)]
            unsafe fn column(b: *const u8) -> $vector {
                // SAFETY: inlined where the instructions are enabled; the caller promises a whole vector.
                unsafe { $load(b) }
            }
            #[inline(always)]
            unsafe fn row(a: *const u8) -> $vector {
                // SAFETY: as above; one staged element.
                unsafe { $set(a.cast::<f32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn step(sums: $vector, row: $vector, column: $vector) -> $vector {
                // SAFETY: as above.
                unsafe { $fma(row, column, sums) }
            }
            #[inline(always)]
            unsafe fn convert(source: u16) -> f32 {
                // SAFETY: as above; F16C comes with AVX2 here.
                unsafe { _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(source)))) }
            }
            #[inline(always)]
            unsafe fn stage(source: *const u16, stride: isize, count: usize, staged: *mut f32) {
                // SAFETY: as above; whole vectors only while eight elements are left.
                unsafe {
                    let mut done = 0;
                    while stride == 1 && done + 8 <= count {
                        let halves = _mm_loadu_si128(source.add(done).cast());
                        _mm256_storeu_ps(staged.add(done), _mm256_cvtph_ps(halves));
                        done += 8;
                    }
                    for index in done..count {
                        let element = source.offset(index as isize * stride).read_unaligned();
                        staged.add(index).write(Self::convert(element));
                    }
                }
            }
        }
    };
}

f16_by_converting!(
    F16Avx512,
    __m512,
    16,
    |b: *const u8| _mm512_cvtph_ps(_mm256_loadu_si256(b.cast())),
    _mm512_set1_ps,
    _mm512_fmadd_ps
);
f16_by_converting!(
    F16Avx2,
    __m256,
    8,
    |b: *const u8| _mm256_cvtph_ps(_mm_loadu_si128(b.cast())),
    _mm256_set1_ps,
    _mm256_fmadd_ps
);

kernel!(tcc_mk_bf16_avx512bf16, Bf16Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16", [1 2],
    [1 x 4 2 x 4 3 x 2 4 x 2 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1]);
kernel!(tcc_mk_bf16_avx512, Bf16Avx512Widening, "avx512f,avx512bw,avx512dq,avx512vl", [1 2],
    [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1]);
kernel!(tcc_mk_bf16_avx2, Bf16Avx2Widening, "avx2,fma,f16c", [1 2], [1 x 2 2 x 2 3 x 1 4 x 1]);
kernel!(tcc_mk_f16_avx512, F16Avx512, "avx512f,avx512bw,avx512dq,avx512vl,f16c", [1 2],
    [1 x 4 2 x 4 3 x 2 4 x 2 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1]);
kernel!(tcc_mk_f16_avx2, F16Avx2, "avx2,fma,f16c", [1 2], [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1]);
