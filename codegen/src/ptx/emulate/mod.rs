//! An emulator of PTX that needs no GPU and finds what a GPU would not tell.
//!
//! Warps of 32 lanes run in lock-step. Where lanes part, the group at the lowest instruction runs first, so that
//! groups meet again; instructions of a whole warp wait for the lanes they name. Blocks run one after the other,
//! warps of a block in an order drawn from a seed. Asynchronous operations complete as late as the program allows.
//! The first broken rule ends the launch with a [`Fault`].
//!
//! **Arithmetic.** Integers, and floats where PTX says how they round, are exact. The approximate functions
//! (`ex2`, `lg2`, `sin`, `cos`, `tanh`, `rcp`, `rsqrt`, `sqrt`, `div` with `.approx` or `.full`) are computed in
//! f64 and rounded once, so hardware differs from them by the error that PTX states: 2 units in the last place
//! for most of f32, 2⁻¹¹ relative for `tanh`, 2⁻²⁰·⁵ absolute for `sin` and `cos`. Products of matrices add exact
//! products to the accumulator in f64 in the order of k and round once: hardware adds in groups and truncates, so
//! only sums that are exact in f32 agree bit for bit, and others within 2⁻²² of the sum of magnitudes for each
//! group of k.
//!
//! **What is not modelled.** Clusters of more than one block, blocks that wait for each other, the passing of
//! time, `.func`. Blocks that never wait but synchronise by atomics ("the last one sums up") are fine.

mod barrier;
mod block;
mod convert;
mod copy;
mod counters;
mod descriptor;
mod fault;
mod float;
mod global;
mod integer;
mod matrix;
mod mbarrier;
mod memory;
mod narrow;
mod select;
mod shared;
#[cfg(test)]
mod tests;
mod together;
mod warp;
mod wgmma;

pub use counters::Counters;
pub use fault::{Fault, FaultKind};
pub use global::{GlobalMemory, TensorMap};

use super::isa::{CopyOp, Instruction, MatrixOp, MemoryOp, Op, Space};
use super::parse::{Kernel, Module};
use block::Block;
use counters::Tally;

/// What a launch checks, and what it draws from.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides the order of the warps of a block; blocks run in the order of their indices.
    pub seed: u64,
    /// Whether accesses that nothing orders are found.
    pub races: bool,
    /// A block that executes more instructions of warps than this hangs.
    pub max_steps: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, races: true, max_steps: 100_000_000 }
    }
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// Four bytes.
    U32(u32),
    /// Four bytes.
    I32(i32),
    /// Eight bytes, also for addresses.
    U64(u64),
    /// Eight bytes.
    I64(i64),
    /// Four bytes.
    F32(f32),
    /// Bytes as they are, as of a tensor map.
    Bytes(Vec<u8>),
}

impl Arg {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::I32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) => v.to_le_bytes().to_vec(),
            Arg::I64(v) => v.to_le_bytes().to_vec(),
            Arg::F32(v) => v.to_le_bytes().to_vec(),
            Arg::Bytes(v) => v.clone(),
        }
    }
}

/// What all blocks of a launch have in common.
struct Launch<'a> {
    kernel: &'a Kernel,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: usize,
    dynamic_bytes: u32,
    params: Vec<u8>,
    options: Options,
    /// The bytes of a cell of the shadow of shared memory.
    grain: usize,
    /// Whether the kernel has products of warpgroups.
    has_products: bool,
}

/// Runs a grid; `shared_bytes` are for the dynamic part of shared memory.
#[expect(clippy::too_many_arguments, reason = "a launch has these parts, as the driver's has")]
pub fn launch(
    module: &Module,
    kernel: &str,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    args: &[Arg],
    memory: &mut GlobalMemory,
    options: Options,
) -> Result<Counters, Fault> {
    let refuse = |message: String| Fault {
        kind: FaultKind::BadLaunch,
        kernel: kernel.to_owned(),
        line: 0,
        instruction: String::new(),
        block: [0; 3],
        thread: None,
        message,
    };
    let Some(kernel) = module.kernel(kernel) else {
        return Err(refuse("expected a kernel of the module".into()));
    };
    let launch = prepare(module, kernel, grid, block, shared_bytes, args, options).map_err(refuse)?;
    memory.begin_launch(grain(kernel, Space::Global));
    let mut tally = Tally::new(kernel.code.len());
    let mut releases = Releases::default();
    for index in 0..grid.iter().product::<u32>() {
        let place = [index % grid[0], index / grid[0] % grid[1], index / grid[0] / grid[1]];
        let mut running = Block::new(&launch, memory, &mut tally, &mut releases, index, place);
        if let Err((stop, pc, warp)) = running.run() {
            return Err(fault(module, &launch, *stop, pc, warp, place));
        }
    }
    Ok(tally.finish(kernel))
}

/// The blocks that released at an address of global memory.
type Releases = rustc_hash::FxHashMap<u64, Vec<u32>>;

/// The bytes of shared memory that a block may have.
fn shared_limit(target: &str) -> u32 {
    match target.trim_end_matches(['a', 'f']) {
        "sm_70" => 98_304,
        "sm_75" => 65_536,
        "sm_80" | "sm_87" => 166_912,
        "sm_86" | "sm_89" | "sm_120" | "sm_121" => 101_376,
        "sm_90" | "sm_100" | "sm_103" => 232_448,
        _ => 49_152,
    }
}

fn prepare<'a>(
    module: &Module,
    kernel: &'a Kernel,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_bytes: u32,
    args: &[Arg],
    options: Options,
) -> Result<Launch<'a>, String> {
    let product = |sizes: [u32; 3]| sizes.iter().try_fold(1u32, |p, n| p.checked_mul(*n)).unwrap_or(u32::MAX);
    let threads = product(block);
    let limit = kernel.max_threads.unwrap_or(1024).min(1024);
    if threads == 0 || threads > limit {
        return Err(format!("expected 1 to {limit} threads of a block, got {block:?}"));
    }
    if product(grid) == 0 || product(grid) > 1 << 24 {
        return Err(format!("expected 1 to 2^24 blocks, got {grid:?}"));
    }
    let shared = kernel.dynamic_shared.saturating_add(dynamic_bytes).max(kernel.static_shared);
    let limit = shared_limit(&module.target);
    if shared > limit {
        return Err(format!(
            "expected at most {limit} bytes of shared memory on {}, got {shared}",
            module.target
        ));
    }
    if args.len() != kernel.params.len() {
        return Err(format!("expected {} arguments, got {}", kernel.params.len(), args.len()));
    }
    let mut params = Vec::new();
    for (param, arg) in kernel.params.iter().zip(args) {
        let bytes = arg.bytes();
        if bytes.len() != param.bytes as usize {
            return Err(format!("expected {} bytes for `{}`, got {}", param.bytes, param.name, bytes.len()));
        }
        params.resize(param.offset as usize, 0);
        params.extend(bytes);
    }
    Ok(Launch {
        kernel,
        grid,
        block,
        shared_bytes: shared as usize,
        dynamic_bytes,
        params,
        options,
        grain: grain(kernel, Space::Shared),
        has_products: kernel.code.iter().any(|i| matches!(i.op, Op::Matrix(MatrixOp::GroupMultiply { .. }))),
    })
}

/// The bytes that the smallest write to a space has: a cell of a shadow is written as a whole, so that writes of
/// different lanes to neighbours never look like a conflict.
fn grain(kernel: &Kernel, wanted: Space) -> usize {
    let width = |instruction: &Instruction| match instruction.op {
        Op::Memory(
            MemoryOp::Store { space, dtype, count } | MemoryOp::Atomic { space, dtype, count, .. },
        ) => (space == wanted || space == Space::Generic).then_some(dtype.bytes() * count),
        Op::Copy(CopyOp::Thread { bytes, .. }) => (wanted == Space::Shared).then_some(bytes as usize),
        Op::Matrix(MatrixOp::GroupMultiply { .. }) => None,
        _ => None,
    };
    kernel.code.iter().filter_map(width).min().unwrap_or(16).min(16)
}

fn fault(
    module: &Module,
    launch: &Launch<'_>,
    stop: fault::Stop,
    pc: usize,
    warp: usize,
    block: [u32; 3],
) -> Fault {
    let instruction = launch.kernel.code.get(pc);
    let text = instruction.map_or("", |i| &module.text[i.text.0 as usize..i.text.1 as usize]);
    let [x, y, _] = launch.block;
    let thread = stop.lane.map(|lane| {
        let index = (warp * 32 + lane) as u32;
        [index % x, index / x % y, index / x / y]
    });
    let mut message = stop.message;
    if thread.is_none() && instruction.is_some() {
        message = format!("warp {warp}: {message}");
    }
    Fault {
        kind: stop.kind,
        kernel: launch.kernel.name.clone(),
        line: instruction.map_or(0, |i| i.line),
        instruction: shortened(text),
        block,
        thread,
        message,
    }
}

/// The text of an instruction in one line that is not too long.
fn shortened(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.len() <= 120 { line } else { format!("{} …", line.chars().take(118).collect::<String>()) }
}
