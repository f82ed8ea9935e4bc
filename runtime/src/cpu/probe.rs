//! Measures what the processor can reach, so that results can be stated as fractions of it.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::{Caches, Isa};
use crate::kernels::{self, KernelKind};
use crate::memory::{MemoryError, RawBuffer};

/// Measured ceilings of a number of threads together; 0 where the processor has no instruction for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ceilings {
    /// How many threads worked at once.
    pub threads: usize,
    /// GFLOP/s of fused multiplications of f32 between registers.
    pub f32_gflops: f64,
    /// GFLOP/s of dot products of bf16 between registers.
    pub bf16_gflops: f64,
    /// GOP/s of dot products of bytes between registers.
    pub int8_gops: f64,
    /// GFLOP/s of the f32 micro-kernel on panels in L1.
    pub micro_kernel_gflops: f64,
    /// GB/s read from L1.
    pub l1_gbps: f64,
    /// GB/s read from L2.
    pub l2_gbps: f64,
    /// GB/s read from L3, where there is one.
    pub l3_gbps: f64,
    /// GB/s read from memory beyond the caches that these threads can fill.
    pub dram_gbps: f64,
}

impl Ceilings {
    /// The figures by name, as reports show them.
    pub fn figures(&self) -> [(&'static str, f64); 8] {
        [
            ("f32_gflops", self.f32_gflops),
            ("bf16_gflops", self.bf16_gflops),
            ("int8_gops", self.int8_gops),
            ("micro_kernel_gflops", self.micro_kernel_gflops),
            ("l1_gbps", self.l1_gbps),
            ("l2_gbps", self.l2_gbps),
            ("l3_gbps", self.l3_gbps),
            ("dram_gbps", self.dram_gbps),
        ]
    }
}

/// How long each figure is measured.
const BUDGET: Duration = Duration::from_millis(40);

/// Measures what so many threads reach at once; less than a second in all.
pub fn probe(caches: &Caches, threads: usize) -> Result<Ceilings, MemoryError> {
    let together = |measure: &(dyn Fn() -> Result<f64, MemoryError> + Sync)| {
        let start = Barrier::new(threads.max(1));
        std::thread::scope(|scope| {
            let one = || {
                start.wait();
                measure()
            };
            let all: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(one)).collect();
            all.into_iter().map(|t| t.join().unwrap_or(Ok(0.0))).sum::<Result<f64, MemoryError>>()
        })
    };
    // Half of a cache holds what is read, so that what else is in it does not matter; of a cache that is shared, each
    // thread has its part.
    let l3 = (caches.l3 / 4 / threads.max(1)).min(L3_BYTES).max(2 * caches.l2);
    let dram = (2 * caches.l3 / threads.max(1)).clamp(DRAM_BYTES, MOST_BYTES);
    let read = |bytes: usize| move || read_gbps(bytes);
    Ok(Ceilings {
        threads: threads.max(1),
        f32_gflops: together(&|| Ok(register_fma_gflops()))?,
        bf16_gflops: together(&|| Ok(register_bf16_gflops()))?,
        int8_gops: together(&|| Ok(register_int8_gops()))?,
        micro_kernel_gflops: together(&micro_kernel_gflops)?,
        l1_gbps: together(&read(caches.l1 / 2))?,
        l2_gbps: together(&read(caches.l2 / 2))?,
        l3_gbps: if caches.l3 > 2 * caches.l2 { together(&read(l3))? } else { 0.0 },
        dram_gbps: together(&read(dram))?,
    })
}

/// Enough of a third-level cache to be beyond the second.
const L3_BYTES: usize = 16 << 20;
/// At least so much is read where memory itself is measured.
const DRAM_BYTES: usize = 64 << 20;
/// At most so much, whatever the caches: reading it takes part of the budget.
const MOST_BYTES: usize = 512 << 20;

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

fn read_gbps(bytes: usize) -> Result<f64, MemoryError> {
    let memory = RawBuffer::zeroed(bytes)?;
    // SAFETY: the buffer has this many bytes. Writing makes the system back it with memory of its own.
    unsafe { memory.as_ptr().write_bytes(1, bytes) };
    let rounds = ((1 << 20) / bytes.max(1)).max(1);
    Ok(best_rate((bytes / BLOCK * BLOCK * rounds) as f64, || {
        for _ in 0..rounds {
            // SAFETY: as above, and the buffer is aligned to a vector.
            unsafe { read_all(black_box(memory.as_ptr()), bytes / BLOCK) };
        }
    }))
}

/// The bytes that are read in one step.
const BLOCK: usize = 512;

/// Reads blocks with the widest loads there are.
///
/// # Safety
/// There must be so many initialised blocks, aligned to 64 bytes.
unsafe fn read_all(from: *const u8, blocks: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;

        #[target_feature(enable = "avx512f")]
        unsafe fn wide(from: *const u8, blocks: usize) {
            let mut all = [_mm512_setzero_si512(); 8];
            for block in 0..blocks {
                for (i, sum) in all.iter_mut().enumerate() {
                    // SAFETY: within the blocks that the caller promises.
                    let next = unsafe { _mm512_load_si512(from.add(block * BLOCK + i * 64).cast()) };
                    *sum = _mm512_xor_si512(*sum, next);
                }
            }
            black_box(all);
        }

        #[target_feature(enable = "avx2")]
        unsafe fn narrow(from: *const u8, blocks: usize) {
            let mut all = [_mm256_setzero_si256(); 8];
            for half in 0..2 * blocks {
                for (i, sum) in all.iter_mut().enumerate() {
                    // SAFETY: within the blocks that the caller promises.
                    let next = unsafe { _mm256_load_si256(from.add(half * BLOCK / 2 + i * 32).cast()) };
                    *sum = _mm256_xor_si256(*sum, next);
                }
            }
            black_box(all);
        }

        if Isa::detect().contains(Isa::AVX512) {
            // SAFETY: the processor has AVX-512; the rest is as the caller promises.
            return unsafe { wide(from, blocks) };
        }
        if Isa::detect().contains(Isa::AVX2) {
            // SAFETY: the processor has AVX2; the rest is as the caller promises.
            return unsafe { narrow(from, blocks) };
        }
    }
    // SAFETY: as the caller promises.
    let words = unsafe { std::slice::from_raw_parts(from.cast::<[u64; 8]>(), blocks * BLOCK / 64) };
    let mut all = [0u64; 8];
    for word in words {
        for (sum, next) in all.iter_mut().zip(word) {
            *sum ^= next;
        }
    }
    black_box(all);
}

/// bf16 GFLOP/s of dot products between registers. 0 where there is no instruction for them.
pub fn register_bf16_gflops() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if Isa::detect().contains(Isa::AVX512.union(Isa::AVX512_BF16)) {
        // SAFETY: the processor has AVX-512 and its bf16 extension. An instruction multiplies and adds 32 pairs.
        return best_rate((64 * chains::INSTRUCTIONS) as f64, || unsafe { chains::bf16_512() });
    }
    0.0
}

/// GOP/s of dot products of bytes between registers. 0 where there is no instruction for them.
pub fn register_int8_gops() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if Isa::detect().contains(Isa::AVX512.union(Isa::AVX512_VNNI)) {
        // SAFETY: the processor has AVX-512 and its VNNI extension. An instruction multiplies and adds 64 pairs.
        return best_rate((128 * chains::INSTRUCTIONS) as f64, || unsafe { chains::int8_512() });
    }
    0.0
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
    chains!(int8_512, "avx512f,avx512vnni", __m512i, _mm512_set1_epi8(1), |sum, factor| {
        _mm512_dpbusd_epi32(sum, factor, factor)
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
        for threads in [1, 2] {
            let ceilings = probe(&Cpu::detect().caches, threads).unwrap();
            assert_eq!(ceilings.threads, threads);
            assert!(
                ceilings.micro_kernel_gflops > 0.1 && ceilings.l1_gbps > 0.1 && ceilings.dram_gbps > 0.01,
                "{ceilings:?}"
            );
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
}
