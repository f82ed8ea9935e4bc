//! Measures what the processor can reach, so that results can be stated as fractions of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::{Caches, Isa};
use crate::kernels::{self, KernelKind};
use crate::memory::{MemoryError, RawBuffer};

/// Measured ceilings of one thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ceilings {
    /// f32 GFLOP/s of the micro-kernel on panels in L1.
    pub f32_gflops: f64,
    /// GB/s moved by copying within L1, reads and writes counted.
    pub l1_gbps: f64,
    /// GB/s moved by copying within L2.
    pub l2_gbps: f64,
    /// GB/s moved by copying in memory beyond the caches that one core can fill.
    pub dram_gbps: f64,
}

/// How long each figure is measured.
const BUDGET: Duration = Duration::from_millis(40);

/// Measures this thread's ceilings; each takes less than 100 ms.
pub fn probe(caches: &Caches) -> Result<Ceilings, MemoryError> {
    Ok(Ceilings {
        f32_gflops: micro_kernel_gflops()?,
        l1_gbps: copy_gbps(caches.l1 / 4)?,
        l2_gbps: copy_gbps(caches.l2 / 4)?,
        dram_gbps: copy_gbps(DRAM_BYTES.max(4 * caches.l2))?,
    })
}

/// Bytes on each side of a copy that is to reach beyond the caches: what one core can copy a few times in a budget.
const DRAM_BYTES: usize = 64 << 20;

/// The best rate of `work` units per call over the budget, in units per nanosecond.
fn best_rate(work: f64, mut call: impl FnMut()) -> f64 {
    call();
    let started = Instant::now();
    let mut best = f64::INFINITY;
    loop {
        let before = Instant::now();
        call();
        best = best.min(before.elapsed().as_nanos() as f64);
        if started.elapsed() >= BUDGET {
            return work / best.max(1.0);
        }
    }
}

fn micro_kernel_gflops() -> Result<f64, MemoryError> {
    let tile = kernels::tile(Isa::detect(), KernelKind::F32);
    let best = kernels::available().find(|(_, candidate, _)| *candidate == tile);
    let Some((_, _, kernel)) = best else { return Ok(0.0) };
    let k = 256;
    let (a, b) = (RawBuffer::zeroed(tile.mr * k * 4)?, RawBuffer::zeroed(tile.nr * k * 4)?);
    let c = RawBuffer::zeroed(tile.mr * tile.nr * 4)?;
    let calls = 16;
    let flops = (2 * tile.mr * tile.nr * k * calls) as f64;
    Ok(best_rate(flops, || {
        for _ in 0..calls {
            let (mr, nr) = (tile.mr as i64, tile.nr as i64);
            // SAFETY: the buffers hold whole matrices of these extents, and the table says the kernel can run.
            unsafe { kernel(k as i64, a.as_ptr(), 1, mr, b.as_ptr(), nr, c.as_ptr(), nr, mr, nr, 0) };
        }
    }))
}

fn copy_gbps(bytes: usize) -> Result<f64, MemoryError> {
    let (from, to) = (RawBuffer::zeroed(bytes)?, RawBuffer::zeroed(bytes)?);
    // SAFETY: both buffers have this many bytes. Writing makes the system back the source with memory of its own.
    unsafe { from.as_ptr().write_bytes(1, bytes) };
    let copies = ((1 << 20) / bytes.max(1)).max(1);
    Ok(best_rate((2 * bytes * copies) as f64, || {
        for _ in 0..copies {
            // SAFETY: two separate buffers of `bytes` bytes.
            unsafe { black_box(to.as_ptr()).copy_from_nonoverlapping(black_box(from.as_ptr()), bytes) };
        }
    }))
}

/// f32 GFLOP/s of fused multiplications between registers alone: no kernel can be faster. 0 where unknown.
pub fn register_fma_gflops() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        let flops = |lanes: usize| (2 * lanes * chains::INSTRUCTIONS) as f64;
        if Isa::detect().contains(Isa::AVX512) {
            // SAFETY: the processor has AVX-512.
            return best_rate(flops(16), || unsafe { chains::fma_512() });
        }
        if Isa::detect().contains(Isa::AVX2) {
            // SAFETY: the processor has AVX2 and FMA.
            return best_rate(flops(8), || unsafe { chains::fma_256() });
        }
    }
    0.0
}

/// `Isa::detect` without what this processor has but runs slower than the kernels that do without: some execute
/// the bf16 dot product at a quarter of the rate of fused multiplications. Measured once.
pub fn recommended_isa() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        static SLOW: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        let slow = *SLOW.get_or_init(|| {
            if !Isa::detect().contains(Isa::AVX512.union(Isa::AVX512_BF16)) {
                return Isa::PORTABLE;
            }
            // SAFETY: the processor has AVX-512 and its bf16 extension.
            let (dot, fma) =
                unsafe { (best_rate(1.0, || chains::bf16_512()), best_rate(1.0, || chains::fma_512())) };
            if dot < LEAST_DOT_RATE * fma { Isa::AVX512_BF16 } else { Isa::PORTABLE }
        });
        Isa::detect().without(slow)
    }
    #[cfg(not(target_arch = "x86_64"))]
    Isa::detect()
}

/// A dot product does the work of two fused multiplications; below half their rate it gains nothing.
#[cfg(target_arch = "x86_64")]
const LEAST_DOT_RATE: f64 = 0.5;

/// Loops of one instruction on registers, with enough independent chains to hide its latency.
#[cfg(target_arch = "x86_64")]
mod chains {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    const CHAINS: usize = 12;
    const ROUNDS: usize = 4000;
    /// How many instructions one call of a loop executes.
    pub(super) const INSTRUCTIONS: usize = CHAINS * ROUNDS;

    macro_rules! chains {
        ($name:ident, $feature:literal, $vector:ty, $value:expr, $step:expr) => {
            #[target_feature(enable = $feature)]
            pub(super) fn $name() {
                let factor: $vector = black_box($value);
                let mut sums = [$value; CHAINS];
                for _ in 0..ROUNDS {
                    for sum in &mut sums {
                        *sum = $step(*sum, factor);
                    }
                }
                black_box(sums);
            }
        };
    }

    chains!(fma_512, "avx512f", __m512, _mm512_set1_ps(0.5), |sum, factor| _mm512_fmadd_ps(
        sum, factor, factor
    ));
    chains!(fma_256, "avx2,fma", __m256, _mm256_set1_ps(0.5), |sum, factor| _mm256_fmadd_ps(
        sum, factor, factor
    ));
    chains!(bf16_512, "avx512f,avx512bf16", __m512, _mm512_set1_ps(0.5), |sum, factor: __m512| {
        // SAFETY: both types are 512 plain bits.
        let pairs = unsafe { std::mem::transmute::<__m512, __m512bh>(factor) };
        _mm512_dpbf16_ps(sum, pairs, pairs)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;

    #[test]
    fn what_is_recommended_is_there() {
        assert!(Isa::detect().contains(recommended_isa()));
        assert!(register_fma_gflops() >= 0.0);
    }

    #[test]
    fn ceilings_are_measured_quickly() {
        let started = Instant::now();
        let ceilings = probe(&Cpu::detect().caches).unwrap();
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        assert!(
            ceilings.f32_gflops > 0.1 && ceilings.l1_gbps > 0.1 && ceilings.dram_gbps > 0.01,
            "{ceilings:?}"
        );
    }
}
