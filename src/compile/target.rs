//! The processor this runs on, as the backends and the schedules want it described.

use tcc_codegen::CpuTarget;
use tcc_lowering::schedule::{Facts, Machine};
use tcc_runtime::cpu::recommended_isa;
use tcc_runtime::kernels::{KernelKind, tile};

/// The processor this runs on.
pub fn native() -> CpuTarget {
    let isa = recommended_isa();
    let f32_tile = tile(isa, KernelKind::F32);
    CpuTarget {
        arch: if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" },
        features: isa.to_string().split('+').map(str::to_owned).collect(),
        f32_tile: f32_tile.symbol.to_owned(),
        tile_rows: f32_tile.mr as i64,
        tile_columns: f32_tile.nr as i64,
    }
}

/// What schedules need to know of a target.
pub(super) trait Schedulable {
    /// The machine as the schedules see it.
    fn schedule(&self) -> Machine;
}

impl Schedulable for CpuTarget {
    fn schedule(&self) -> Machine {
        let (tile_rows, tile_columns) = (self.tile_rows, self.tile_columns);
        Machine { vector_bytes: 64, tile_rows, tile_columns, facts: Facts::default() }
    }
}
