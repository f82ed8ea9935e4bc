//! NVIDIA's assembler, where it can be found: it is no part of this project and nothing needs it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tcc_codegen::ptx::GpuTarget;
use tcc_runtime::cuda::Resources;

/// The assembler's program.
#[derive(Clone, Debug)]
pub struct Ptxas(PathBuf);

/// What it made of a module.
#[derive(Clone, Debug, Default)]
pub struct Assembled {
    /// The machine code.
    pub cubin: Vec<u8>,
    /// What each kernel uses.
    pub resources: BTreeMap<String, Resources>,
    /// What it warned of.
    pub warnings: Vec<String>,
}

/// Where `tests/install-ptxas` puts it, below the folder that the process runs in.
const INSTALLED: &str = ".cache/nvcc/nvidia/cuda_nvcc/bin/ptxas";

impl Ptxas {
    /// The assembler that `TCC_PTXAS` names, that was installed for the tests, or that the search path has.
    pub fn find() -> Option<Ptxas> {
        let named = std::env::var_os("TCC_PTXAS").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let on_path = std::env::split_paths(&path).map(|folder| folder.join("ptxas"));
        let mut all = named.into_iter().chain([PathBuf::from(INSTALLED)]).chain(on_path);
        all.find(|p| p.is_file()).map(Ptxas)
    }

    /// Assembles a module; says what is wrong with it otherwise.
    pub fn assemble(&self, text: &str, target: GpuTarget) -> Result<Assembled, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base = std::env::temp_dir().join(format!("tcc-{}-{number}", std::process::id()));
        let (source, object) = (base.with_extension("ptx"), base.with_extension("cubin"));
        let io = |e: std::io::Error| format!("{}: {e}", self.0.display());
        std::fs::write(&source, text).map_err(io)?;
        let output = Command::new(&self.0)
            .args(["-v", &format!("-arch={target}")])
            .arg(&source)
            .arg("-o")
            .arg(&object)
            .output();
        let cubin = std::fs::read(&object);
        // What cannot be removed is in a folder that is emptied anyway.
        let _ = std::fs::remove_file(&source);
        let _ = std::fs::remove_file(&object);
        let output = output.map_err(io)?;
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(format!("ptxas for {target}: {}", said.trim()));
        }
        let mut assembled = read(&said);
        assembled.cubin = cubin.map_err(io)?;
        Ok(assembled)
    }
}

/// What the assembler says with `-v`.
fn read(said: &str) -> Assembled {
    let mut assembled = Assembled::default();
    let mut name = String::new();
    let number_before = |line: &str, words: &str| -> Option<u32> {
        let before = line[..line.find(words)?].trim_end();
        before.rsplit(' ').next()?.parse().ok()
    };
    for line in said.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            name = rest.split('\'').next().unwrap_or_default().to_owned();
            assembled.resources.entry(name.clone()).or_default();
        }
        let Some(resources) = assembled.resources.get_mut(&name) else {
            if line.contains("warning") {
                assembled.warnings.push(line.to_owned());
            }
            continue;
        };
        if let Some(stack) = number_before(line, "bytes stack frame") {
            resources.stack_bytes = stack;
        }
        for words in ["bytes spill stores", "bytes spill loads"] {
            resources.spill_bytes += number_before(line, words).unwrap_or(0);
        }
        if let Some(registers) = number_before(line, "registers") {
            resources.registers = registers;
        }
        if line.contains("warning") {
            assembled.warnings.push(line.to_owned());
        }
    }
    assembled
}

/// The part of the threads a multiprocessor can hold that blocks of these needs fill, in percent.
pub(super) fn occupancy(target: GpuTarget, registers: u32, block: [u32; 3], shared: i64) -> u32 {
    let most_warps = match target.capability {
        75 => 32,
        86 | 89 | 120 => 48,
        _ => 64,
    };
    let warps = block.iter().product::<u32>().div_ceil(32).max(1);
    // Registers are given to warps in units of 256.
    let by_registers = 65536 / ((registers.max(1) * 32).next_multiple_of(256) * warps);
    let own = u32::try_from(shared).unwrap_or(u32::MAX).saturating_add(1024);
    let by_shared = target.shared_bytes.saturating_add(1024) / own;
    let blocks = by_registers.min(by_shared).min(most_warps / warps).min(32);
    blocks * warps * 100 / most_warps
}
