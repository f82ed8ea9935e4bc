//! Byte kernels for x86-64 with exact i32 sums: u8×s8 and s8×s8, by VNNI or by widening.
//!
//! The VNNI instruction multiplies unsigned by signed bytes. For s8×s8 the bytes of B are made unsigned by flipping
//! their sign bits, which adds 128 to each; the sums of a row then start from −128 times the sum of that row of A.

use std::arch::x86_64::*;

use super::contraction::{Call, Lanes, Panels, contract, kernel, tile};
use super::x86_sums::Halves;

/// What flipping the sign bit adds to a signed byte.
const BIAS: i32 = 128;

macro_rules! vnni {
    ($name:ident, $signed:literal, $vector:ty, $columns:literal, $load:expr, $set:ident, $set8:ident, $flip:ident,
     $dot:ident, $row_sum:ident) => {
        struct $name;

        impl Lanes for $name {
            type Source = u8;
            type Staged = u8;
            type Sums = $vector;
            type Column = $vector;
            type Row = $vector;

            const STEP: usize = 4;
            const COLUMNS: usize = $columns;
            const COLUMN_BYTES: usize = $columns * 4;

            #[inline(always)]
            unsafe fn start(row: *const u8, groups: usize) -> $vector {
                // SAFETY: inlined where the instructions are enabled; the row holds `4 * groups` bytes.
                unsafe { if $signed { $set($row_sum(row, groups).wrapping_mul(-BIAS)) } else { $set(0) } }
            }
            #[inline(always)]
            unsafe fn column<const PART: usize>(b: *const u8) -> $vector {
                // SAFETY: as above; the caller promises a whole vector.
                unsafe {
                    let bytes: $vector = $load(b);
                    if $signed { $flip(bytes, $set8(i8::MIN)) } else { bytes }
                }
            }
            #[inline(always)]
            unsafe fn row<const PART: usize>(a: *const u8) -> $vector {
                // SAFETY: as above; one group.
                unsafe { $set(a.cast::<i32>().read_unaligned()) }
            }
            #[inline(always)]
            unsafe fn step(sums: $vector, row: $vector, column: $vector) -> $vector {
                // SAFETY: as above.
                unsafe { if $signed { $dot(sums, column, row) } else { $dot(sums, row, column) } }
            }
            #[inline(always)]
            unsafe fn convert(source: u8) -> u8 {
                source
            }
        }
    };
}

vnni!(
    U8Avx512,
    false,
    __m512i,
    16,
    |b: *const u8| _mm512_loadu_si512(b.cast()),
    _mm512_set1_epi32,
    _mm512_set1_epi8,
    _mm512_xor_si512,
    _mm512_dpbusd_epi32,
    sum_avx512
);
vnni!(
    S8Avx512,
    true,
    __m512i,
    16,
    |b: *const u8| _mm512_loadu_si512(b.cast()),
    _mm512_set1_epi32,
    _mm512_set1_epi8,
    _mm512_xor_si512,
    _mm512_dpbusd_epi32,
    sum_avx512
);
vnni!(
    U8AvxVnni,
    false,
    __m256i,
    8,
    |b: *const u8| _mm256_loadu_si256(b.cast()),
    _mm256_set1_epi32,
    _mm256_set1_epi8,
    _mm256_xor_si256,
    _mm256_dpbusd_avx_epi32,
    sum_avx_vnni
);
vnni!(
    S8AvxVnni,
    true,
    __m256i,
    8,
    |b: *const u8| _mm256_loadu_si256(b.cast()),
    _mm256_set1_epi32,
    _mm256_set1_epi8,
    _mm256_xor_si256,
    _mm256_dpbusd_avx_epi32,
    sum_avx_vnni
);

/// The sum of `4 * groups` signed bytes.
#[inline(always)]
unsafe fn sum_avx512(row: *const u8, groups: usize) -> i32 {
    // SAFETY: inlined where the instructions are enabled; the mask of the last part covers the row only.
    unsafe {
        let (bytes, ones) = (4 * groups, _mm512_set1_epi8(1));
        let mut sums = _mm512_setzero_si512();
        let mut done = 0;
        while done + 64 <= bytes {
            sums = _mm512_dpbusd_epi32(sums, ones, _mm512_loadu_si512(row.add(done).cast()));
            done += 64;
        }
        if done < bytes {
            let mask = (1u64 << (bytes - done)) - 1;
            let rest = _mm512_maskz_loadu_epi8(mask, row.add(done).cast());
            sums = _mm512_dpbusd_epi32(sums, ones, rest);
        }
        _mm512_reduce_add_epi32(sums)
    }
}

/// The sum of `4 * groups` signed bytes.
#[inline(always)]
unsafe fn sum_avx_vnni(row: *const u8, groups: usize) -> i32 {
    // SAFETY: inlined where the instructions are enabled; all reads are inside the row.
    unsafe {
        let (bytes, ones) = (4 * groups, _mm256_set1_epi8(1));
        let mut sums = _mm256_setzero_si256();
        let mut done = 0;
        while done + 32 <= bytes {
            sums = _mm256_dpbusd_avx_epi32(sums, ones, _mm256_loadu_si256(row.add(done).cast()));
            done += 32;
        }
        let mut parts = [0i32; 8];
        _mm256_storeu_si256(parts.as_mut_ptr().cast(), sums);
        let rest = (done..bytes).map(|at| i32::from(row.add(at).cast::<i8>().read()));
        parts.into_iter().chain(rest).fold(0, i32::wrapping_add)
    }
}

/// Bytes widened to i16, which products of pairs cannot overflow.
macro_rules! widening {
    ($name:ident, $widen_row:ident) => {
        struct $name;

        impl Lanes for $name {
            type Source = u8;
            type Staged = u8;
            type Sums = Halves;
            type Column = Halves;
            type Row = __m256i;

            const STEP: usize = 4;
            const COLUMNS: usize = 8;
            const COLUMN_BYTES: usize = 32;

            #[inline(always)]
            unsafe fn column<const PART: usize>(b: *const u8) -> Halves {
                // SAFETY: inlined where AVX2 is enabled; the caller promises a whole vector.
                unsafe {
                    Halves(
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(b.cast())),
                        _mm256_cvtepi8_epi16(_mm_loadu_si128(b.add(16).cast())),
                    )
                }
            }
            #[inline(always)]
            unsafe fn row<const PART: usize>(a: *const u8) -> __m256i {
                // SAFETY: as above; one group.
                unsafe {
                    _mm256_broadcastq_epi64($widen_row(_mm_cvtsi32_si128(a.cast::<i32>().read_unaligned())))
                }
            }
            #[inline(always)]
            unsafe fn step(sums: Halves, row: __m256i, column: Halves) -> Halves {
                // SAFETY: as above.
                unsafe {
                    Halves(
                        _mm256_add_epi32(sums.0, _mm256_madd_epi16(row, column.0)),
                        _mm256_add_epi32(sums.1, _mm256_madd_epi16(row, column.1)),
                    )
                }
            }
            #[inline(always)]
            unsafe fn convert(source: u8) -> u8 {
                source
            }
        }
    };
}

widening!(U8Avx2, _mm_cvtepu8_epi16);
widening!(S8Avx2, _mm_cvtepi8_epi16);

kernel!(tcc_mk_u8s8_avx512vnni, U8Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", [1 2],
    [1 x 4 2 x 4 3 x 2 4 x 2 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1]);
kernel!(tcc_mk_s8s8_avx512vnni, S8Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni", [1 2],
    [1 x 4 2 x 4 3 x 2 4 x 2 5 x 1 6 x 1 7 x 1 8 x 1 9 x 1 10 x 1 11 x 1 12 x 1 13 x 1 14 x 1]);
kernel!(tcc_mk_u8s8_avxvnni, U8AvxVnni, "avx2,avxvnni", [1 2], [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1]);
kernel!(tcc_mk_s8s8_avxvnni, S8AvxVnni, "avx2,avxvnni", [1 2], [1 x 4 2 x 2 3 x 2 4 x 1 5 x 1 6 x 1]);
kernel!(tcc_mk_u8s8_avx2, U8Avx2, "avx2,fma,f16c", [1], [1 x 2 2 x 2 3 x 1 4 x 1 5 x 1 6 x 1]);
kernel!(tcc_mk_s8s8_avx2, S8Avx2, "avx2,fma,f16c", [1], [1 x 2 2 x 2 3 x 1 4 x 1 5 x 1 6 x 1]);
