//! Schedules for GPUs: how the loops of a nest become blocks of a grid and threads of a block.
//!
//! Inside of a block loop, thread loops that follow each other are phases: what one wrote, the next one reads, and
//! the lowering puts a barrier between them where that is so. A register buffer whose first axis is the thread
//! lives through the phases. So the interpreter of nests executes what a GPU will, and finds its races.

mod contraction;
mod elements;
mod loops;
mod phases;
mod rows;
mod sequence;
mod tensor;

use tcc_ir::loops::Nest;

/// What schedules need to know of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuMachine {
    /// The threads of an ordinary block.
    pub threads: i64,
    /// The bytes of shared memory that a block can have without asking.
    pub shared_bytes: i64,
    /// Whether a warp can carry out products of 16 × 16 and 16 × 8 narrow floats.
    pub tensor_cores: bool,
}

impl Default for GpuMachine {
    fn default() -> Self {
        GpuMachine { threads: 256, shared_bytes: 48 << 10, tensor_cores: true }
    }
}

/// The nest under its default schedule: every one becomes a grid.
pub fn schedule_gpu(nest: &Nest, machine: &GpuMachine) -> Nest {
    let body = tensor::schedule(nest, machine)
        .or_else(|| contraction::schedule(nest, machine))
        .or_else(|| rows::schedule(nest, machine))
        .or_else(|| phases::schedule(nest, machine))
        .or_else(|| elements::schedule(nest, machine))
        .unwrap_or_else(|| sequence::schedule(nest, machine));
    Nest { body, ..nest.clone() }
}

#[cfg(test)]
mod tests;
