//! Prints how close each micro-kernel comes to the peak of fused multiplications between registers, and how fast
//! matrix-vector shapes stream B from memory.
#![allow(clippy::print_stdout, reason = "the figures are this program's output")]

use std::time::Instant;
use tcc_runtime::cpu::{Cpu, probe, recommended_isa, register_fma_gflops};
use tcc_runtime::kernels::{KernelKind, MicroKernel, Tile, available, tile};
use tcc_runtime::memory::{MemoryError, RawBuffer};

fn main() -> Result<(), MemoryError> {
    let cpu = Cpu::detect();
    println!("{} with {}", cpu.name.as_deref().unwrap_or("a processor"), cpu.isa);
    println!("{:?}\n{:.1?}", cpu.caches, probe(&cpu.caches, 1)?);
    println!("recommended: {}", recommended_isa());
    println!("f32 FMA peak {:.1} GFLOP/s", register_fma_gflops());
    println!("\n{:>24} {:>6} {:>6} {:>12} {:>12}", "kernel", "tile", "k", "L1 of peak", "L2 of peak");
    for (kind, tile, kernel) in available() {
        for k in [256, 512] {
            let small = fraction_of_peak(kind, tile, kernel, k, 1, 1)?;
            // A block of A that stays in L1 while panels of B come from L2.
            let large = fraction_of_peak(
                kind,
                tile,
                kernel,
                k,
                4,
                (256 << 10) / (k * tile.nr) / kind.element_bytes(),
            )?;
            let shape = format!("{}x{}", tile.mr, tile.nr);
            println!("{:>24} {shape:>6} {k:>6} {small:>12.3} {large:>12.3}", tile.symbol);
        }
    }
    println!("\n{:>24} {:>4} {:>16}", "kernel", "m", "B from DRAM GB/s");
    for kind in KernelKind::ALL {
        let best = tile(recommended_isa(), kind);
        for (_, _, kernel) in available().filter(|(_, tile, _)| *tile == best) {
            for m in 1..=4 {
                println!("{:>24} {m:>4} {:>16.1}", best.symbol, streaming_gbps(kind, best, kernel, m)?);
            }
        }
    }
    Ok(())
}

/// Matrices of one shape with A row-major and B in panels.
struct Matrices {
    a: RawBuffer,
    b: RawBuffer,
    c: RawBuffer,
    k: usize,
    panel_bytes: usize,
}

impl Matrices {
    fn new(
        kind: KernelKind,
        tile: Tile,
        rows: usize,
        k: usize,
        panels: usize,
    ) -> Result<Matrices, MemoryError> {
        let panel_bytes = k * tile.nr * kind.element_bytes();
        let matrices = Matrices {
            a: RawBuffer::zeroed(rows * k * kind.element_bytes())?,
            b: RawBuffer::zeroed(panel_bytes * panels)?,
            c: RawBuffer::zeroed(rows * panels * tile.nr * 4)?,
            k,
            panel_bytes,
        };
        // SAFETY: the whole of both. 0x3f… is an ordinary number in every kind; and writing makes the system back
        // the memory with pages of its own, instead of one page of zeros that is always in the cache.
        unsafe {
            matrices.a.as_ptr().write_bytes(0x3f, matrices.a.len());
            matrices.b.as_ptr().write_bytes(0x3f, matrices.b.len());
        }
        Ok(matrices)
    }

    fn multiply(
        &self,
        kind: KernelKind,
        tile: Tile,
        kernel: MicroKernel,
        blocks: usize,
        m: usize,
        panels: usize,
    ) {
        for panel in 0..panels {
            for block in 0..blocks {
                let (k, columns) = (self.k as i64, (panels * tile.nr) as i64);
                // SAFETY: blocks and panels lie inside the buffers, and `available` says the kernel can run.
                unsafe {
                    let a = self.a.as_ptr().add(block * m * self.k * kind.element_bytes());
                    let b = self.b.as_ptr().add(panel * self.panel_bytes);
                    let c = self.c.as_ptr().add((block * m * panels + panel) * tile.nr * 4);
                    let group = (tile.nr * tile.k_step) as i64;
                    kernel(k, a, k, 1, b, group, c, columns, m as i64, tile.nr as i64, 0);
                }
            }
        }
    }
}

/// The median, over short interleaved measurements, of the kernel's rate over the peak's.
fn fraction_of_peak(
    kind: KernelKind,
    tile: Tile,
    kernel: MicroKernel,
    k: usize,
    blocks: usize,
    panels: usize,
) -> Result<f64, MemoryError> {
    let matrices = Matrices::new(kind, tile, blocks * tile.mr, k, panels)?;
    let flops = 2 * tile.mr * tile.nr * k * blocks * panels;
    let calls = (8_000_000 / flops).max(1);
    let mut fractions = Vec::new();
    for _ in 0..5 {
        let peak = register_fma_gflops();
        let mut best = 0f64;
        for _ in 0..40 {
            let start = Instant::now();
            for _ in 0..calls {
                matrices.multiply(kind, tile, kernel, blocks, tile.mr, panels);
            }
            best = best.max((flops * calls) as f64 / start.elapsed().as_nanos() as f64);
        }
        fractions.push(best / peak);
    }
    fractions.sort_unstable_by(f64::total_cmp);
    Ok(fractions[fractions.len() / 2])
}

fn streaming_gbps(kind: KernelKind, tile: Tile, kernel: MicroKernel, m: usize) -> Result<f64, MemoryError> {
    let k = 4096;
    let panels = (128 << 20) / (k * tile.nr * kind.element_bytes());
    let matrices = Matrices::new(kind, tile, m, k, panels)?;
    let mut best = 0f64;
    for _ in 0..5 {
        let start = Instant::now();
        matrices.multiply(kind, tile, kernel, 1, m, panels);
        best = best.max(matrices.b.len() as f64 / start.elapsed().as_nanos() as f64);
    }
    Ok(best)
}
