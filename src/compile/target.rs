//! Processors, as the backends and the schedules want them described.

use tcc_codegen::{CpuTarget, NamedTarget, NarrowKernel};
use tcc_ir::dtype::DType;
use tcc_lowering::schedule::{Facts, Machine, MicroTile};
use tcc_runtime::cpu::{Isa, recommended_isa};
use tcc_runtime::kernels::{KernelKind, tile};

/// The processor this runs on.
pub fn native() -> CpuTarget {
    describe(HERE, recommended_isa())
}

/// A processor by name: `native` or one of the targets that `tcc-codegen` has files for.
pub fn named(name: &str) -> Option<CpuTarget> {
    if name == "native" {
        return Some(native());
    }
    let target = NamedTarget::all().find(|t| t.name == name)?;
    Some(describe(target.arch, target.features.join("+").parse().ok()?))
}

/// Why code for a target cannot run here, if it cannot.
pub(super) fn foreign(target: &CpuTarget) -> Option<String> {
    let isa = Isa::detect();
    let fits = target.arch == HERE
        && target.features.join("+").parse::<Isa>().is_ok_and(|features| isa.contains(features));
    let made_for = target.features.join("+");
    (!fits).then(|| format!("{HERE} with {isa}, got code for {} with {made_for}", target.arch))
}

const HERE: &str = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };

fn describe(arch: &'static str, isa: Isa) -> CpuTarget {
    let f32_tile = tile(isa, KernelKind::F32);
    CpuTarget {
        arch,
        features: isa.to_string().split('+').map(str::to_owned).collect(),
        f32_tile: f32_tile.symbol.to_owned(),
        tile_rows: f32_tile.mr as i64,
        tile_columns: f32_tile.nr as i64,
        narrow: NARROW.iter().map(|(kind, a, b)| narrow(isa, *kind, *a, *b)).collect(),
    }
}

/// The kinds of micro-kernels for elements of fewer bits, with the types of their operands.
const NARROW: [(KernelKind, DType, DType); 4] = [
    (KernelKind::U8S8, DType::U8, DType::I8),
    (KernelKind::S8S8, DType::I8, DType::I8),
    (KernelKind::Bf16, DType::BF16, DType::BF16),
    (KernelKind::F16, DType::F16, DType::F16),
];

fn narrow(isa: Isa, kind: KernelKind, a: DType, b: DType) -> NarrowKernel {
    let kernel = tile(isa, kind);
    let (rows, columns, group) = (kernel.mr as i64, kernel.nr as i64, kernel.k_step as u32);
    NarrowKernel { a, b, symbol: kernel.symbol.to_owned(), rows, columns, group }
}

/// What schedules need to know of a target.
pub(super) trait Schedulable {
    /// The machine as the schedules see it.
    fn schedule(&self) -> Machine;
}

/// What processors have in common, as measured on a server's core: layouts need the proportions alone.
const FACTS: Facts = Facts {
    fma_units: 2,
    l2_bytes: 1 << 20,
    cache_bytes_per_cycle: 16,
    memory_bytes_per_cycle: 8,
    ..Facts::NONE
};

impl Schedulable for CpuTarget {
    fn schedule(&self) -> Machine {
        let (tile_rows, tile_columns) = (self.tile_rows, self.tile_columns);
        let narrow = self.narrow.iter().map(|k| MicroTile {
            a: k.a,
            b: k.b,
            rows: k.rows,
            columns: k.columns,
            group: i64::from(k.group),
        });
        Machine { vector_bytes: 64, tile_rows, tile_columns, narrow: narrow.collect(), facts: FACTS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_target_is_understood() {
        for target in NamedTarget::all() {
            let described = named(target.name).unwrap();
            assert_eq!(described.features, target.features, "{}", target.name);
        }
        assert_eq!(named("sparc"), None);
    }
}
