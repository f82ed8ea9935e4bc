//! bf16 and f16 kernels for x86-64, all of which accumulate in f32.

use std::arch::x86_64::*;

use super::contraction::{Call, Lanes, Panels, contract, kernel, tile};
use super::portable::bf16_to_f32;

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
    unsafe fn column<const PART: usize>(b: *const u8) -> __m512i {
        // SAFETY: inlined where the instructions are enabled; the caller promises a whole vector.
        unsafe { _mm512_loadu_si512(b.cast()) }
    }
    #[inline(always)]
    unsafe fn row<const PART: usize>(a: *const u8) -> __m512i {
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

/// bf16 widened to f32, the upper half of which it is: A as it is staged, B as it is loaded, one element of each
/// pair after the other.
macro_rules! bf16_by_widening {
    ($name:ident, $vector:ty, $columns:literal, $set:ident, $lower:expr, $upper:expr, $fma:ident, $stage:ident) => {
        struct $name;

        impl Lanes for $name {
            type Source = u16;
            type Staged = f32;
            type Sums = $vector;
            type Column = $vector;
            type Row = $vector;

            const STEP: usize = 2;
            const COLUMNS: usize = $columns;
            const COLUMN_BYTES: usize = $columns * 4;
            const PARTS: usize = 2;
            const IN_PLACE: bool = false;

            #[inline(always)]
            unsafe fn column<const PART: usize>(b: *const u8) -> $vector {
                // SAFETY: inlined where the instructions are enabled; the caller promises a whole vector.
                unsafe { if PART == 0 { $lower(b) } else { $upper(b) } }
            }
            #[inline(always)]
            unsafe fn row<const PART: usize>(a: *const u8) -> $vector {
                // SAFETY: as above; one of two staged elements.
                unsafe { $set(a.cast::<f32>().add(PART).read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn step(sums: $vector, row: $vector, column: $vector) -> $vector {
                // SAFETY: as above.
                unsafe { $fma(row, column, sums) }
            }
            #[inline(always)]
            unsafe fn convert(source: u16) -> f32 {
                bf16_to_f32(source)
            }
            #[inline(always)]
            unsafe fn stage(source: *const u16, stride: isize, count: usize, staged: *mut f32) {
                // SAFETY: passed on from the caller.
                unsafe { stage_by_vectors::<Self>(source, stride, count, staged, $stage) }
            }
        }
    };
}

bf16_by_widening!(
    Bf16Avx512Widening,
    __m512,
    16,
    _mm512_set1_ps,
    |b: *const u8| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_loadu_si512(b.cast()))),
    |b: *const u8| _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(UPPER_WORDS, b.cast())),
    _mm512_fmadd_ps,
    widen_eight_bf16
);
bf16_by_widening!(
    Bf16Avx2Widening,
    __m256,
    8,
    _mm256_set1_ps,
    |b: *const u8| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_loadu_si256(b.cast()))),
    |b: *const u8| _mm256_castsi256_ps(_mm256_and_si256(
        _mm256_loadu_si256(b.cast()),
        _mm256_set1_epi32(!0xffff)
    )),
    _mm256_fmadd_ps,
    widen_eight_bf16
);

/// The upper word of each of 16 pairs.
const UPPER_WORDS: __mmask32 = 0xaaaa_aaaa;

/// Stages adjacent elements eight at a time, others one by one.
///
/// # Safety
/// As `Lanes::stage`, inlined where AVX2 is enabled; `widen` must convert eight elements.
#[inline(always)]
unsafe fn stage_by_vectors<L: Lanes<Source = u16, Staged = f32>>(
    source: *const u16,
    stride: isize,
    count: usize,
    staged: *mut f32,
    widen: unsafe fn(*const u16, *mut f32),
) {
    let whole = if stride == 1 { count / 8 * 8 } else { 0 };
    // SAFETY: by the caller's promise; whole vectors only where eight elements are left.
    unsafe {
        for done in (0..whole).step_by(8) {
            widen(source.add(done), staged.add(done));
        }
        for index in whole..count {
            let element = source.offset(index as isize * stride).read_unaligned();
            staged.add(index).write(L::convert(element));
        }
    }
}

#[inline(always)]
unsafe fn widen_eight_bf16(source: *const u16, staged: *mut f32) {
    // SAFETY: the caller promises eight elements on both sides and AVX2.
    unsafe {
        let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(source.cast()));
        _mm256_storeu_ps(staged, _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words)));
    }
}

#[inline(always)]
unsafe fn widen_eight_f16(source: *const u16, staged: *mut f32) {
    // SAFETY: the caller promises eight elements on both sides and F16C.
    unsafe { _mm256_storeu_ps(staged, _mm256_cvtph_ps(_mm_loadu_si128(source.cast()))) }
}

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
            unsafe fn column<const PART: usize>(b: *const u8) -> $vector {
                // SAFETY: inlined where the instructions are enabled; the caller promises a whole vector.
                unsafe { $load(b) }
            }
            #[inline(always)]
            unsafe fn row<const PART: usize>(a: *const u8) -> $vector {
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
                // SAFETY: passed on from the caller.
                unsafe { stage_by_vectors::<Self>(source, stride, count, staged, widen_eight_f16) }
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
kernel!(tcc_mk_bf16_avx512, Bf16Avx512Widening, "avx2,avx512f,avx512bw,avx512dq,avx512vl", [1 2],
    [1 x 4 2 x 4 3 x 2 4 x 2 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1]);
kernel!(tcc_mk_bf16_avx2, Bf16Avx2Widening, "avx2,fma,f16c", [1 2], [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1]);
kernel!(tcc_mk_f16_avx512, F16Avx512, "avx512f,avx512bw,avx512dq,avx512vl,f16c", [1 2],
    [1 x 4 2 x 4 3 x 2 4 x 2 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1]);
kernel!(tcc_mk_f16_avx2, F16Avx2, "avx2,fma,f16c", [1 2], [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1]);
