//! A warp: registers as rows of 32 lanes, the places of its lanes, and what it has under way.

use rustc_hash::FxHashMap;

use super::super::isa::{Instruction, Slot, Special};
use super::Launch;
use super::copy::{BulkStore, ThreadCopy};
use super::shared::Clocks;

/// A value for each lane.
pub(super) type Row = [u64; 32];

/// The lanes of a mask, in order.
pub(super) fn lanes(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let lane = mask.trailing_zeros() as usize;
        mask &= mask - 1;
        Some(lane)
    })
}

/// A warp of a block.
pub(super) struct Warp {
    pub(super) index: usize,
    pub(super) registers: Vec<Row>,
    /// Of each register the lanes that were written.
    pub(super) ready: Vec<u32>,
    pub(super) pc: [u32; 32],
    /// The lanes that have a thread.
    pub(super) launched: u32,
    /// The lanes that have not ended.
    pub(super) alive: u32,
    /// Whether all of them are at the same instruction.
    pub(super) converged: bool,
    /// The barrier of the block that it waits at.
    pub(super) waits_at: Option<usize>,
    /// Lanes that parted run in another order once after one of them waited in vain.
    pub(super) passes_over: Option<u32>,
    pub(super) clocks: Clocks,
    /// The lanes that accessed memory since lanes were last ordered.
    pub(super) touched: u32,
    /// Whether it fenced since its last release to other blocks.
    pub(super) fenced: bool,
    /// Blocks that it synchronised with.
    pub(super) acquired: Vec<u32>,
    /// Copies of lanes under way, in order.
    pub(super) copies: Vec<ThreadCopy>,
    /// The groups of copies that each lane has committed.
    pub(super) copy_groups: [u32; 32],
    pub(super) stores: Vec<BulkStore>,
    /// The same for bulk stores.
    pub(super) store_groups: [u32; 32],
    /// The bulk stores so far.
    pub(super) stores_begun: u32,
    /// The group that products now belong to; the first is 1.
    pub(super) product_group: u32,
    /// Registers of products under way, with their groups.
    pub(super) pending: FxHashMap<Slot, PendingUse>,
    /// Registers that were written since the last fence of products; empty in kernels that have none.
    pub(super) unfenced: Vec<bool>,
    pub(super) local: Vec<u8>,
}

/// How a product under way uses a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingUse {
    pub(super) group: u32,
    pub(super) written: bool,
}

impl Warp {
    pub(super) fn new(launch: &Launch<'_>, block: [u32; 3], index: usize, agents: usize) -> Warp {
        let kernel = launch.kernel;
        let threads = launch.block.iter().product::<u32>() as usize;
        let warps = threads.div_ceil(32);
        let count = (threads - index * 32).min(32);
        let mut warp = Warp {
            index,
            registers: vec![[0xcbcb_cbcb_cbcb_cbcb; 32]; kernel.slots as usize],
            ready: vec![0; kernel.slots as usize],
            pc: [0; 32],
            launched: u32::MAX >> (32 - count),
            alive: u32::MAX >> (32 - count),
            converged: true,
            waits_at: None,
            passes_over: None,
            clocks: Clocks::new(agents),
            touched: 0,
            fenced: false,
            acquired: Vec::new(),
            copies: Vec::new(),
            copy_groups: [0; 32],
            stores: Vec::new(),
            store_groups: [0; 32],
            stores_begun: 0,
            product_group: 1,
            pending: FxHashMap::default(),
            unfenced: vec![true; if launch.has_products { kernel.slots as usize } else { 0 }],
            local: vec![0xcb; kernel.local_bytes as usize * 32],
        };
        warp.clocks.seen[index] = 1;
        for (slot, value) in &kernel.constants {
            warp.registers[*slot as usize] = [*value; 32];
            warp.ready[*slot as usize] = u32::MAX;
        }
        for (slot, special) in &kernel.specials {
            for lane in 0..32 {
                let thread = (index * 32 + lane) as u32;
                warp.registers[*slot as usize][lane] = special_value(*special, launch, block, thread, warps);
            }
            warp.ready[*slot as usize] = u32::MAX;
        }
        warp
    }

    pub(super) fn row(&self, slot: Slot) -> &Row {
        &self.registers[slot as usize]
    }

    pub(super) fn row_mut(&mut self, slot: Slot) -> &mut Row {
        &mut self.registers[slot as usize]
    }

    /// The value of a source operand of one register in a lane.
    pub(super) fn value(&self, instruction: &Instruction, source: usize, lane: usize) -> u64 {
        self.registers[instruction.one(source) as usize][lane]
    }

    /// A predicate, negated where it is written so.
    pub(super) fn predicate(&self, instruction: &Instruction, source: usize, lane: usize) -> bool {
        (self.value(instruction, source, lane) & 1 == 1) != instruction.sources[source].negated
    }

    /// The address of a source operand in a lane.
    pub(super) fn address(&self, instruction: &Instruction, source: usize, lane: usize) -> u64 {
        self.value(instruction, source, lane).wrapping_add(instruction.sources[source].offset as u64)
    }

    /// The same in shared memory, whose addresses have 32 bits.
    pub(super) fn shared_address(&self, instruction: &Instruction, source: usize, lane: usize) -> u64 {
        self.address(instruction, source, lane) & 0xffff_ffff
    }

    /// Writes a function of the operands of each lane to the first register written.
    pub(super) fn map<const N: usize>(
        &mut self,
        instruction: &Instruction,
        mask: u32,
        function: impl Fn([u64; N]) -> u64,
    ) {
        let sources: [Row; N] = std::array::from_fn(|i| self.registers[instruction.one(i) as usize]);
        let target = &mut self.registers[instruction.written[0] as usize];
        if mask == u32::MAX {
            for (lane, value) in target.iter_mut().enumerate() {
                *value = function(std::array::from_fn(|i| sources[i][lane]));
            }
        } else {
            for lane in lanes(mask) {
                target[lane] = function(std::array::from_fn(|i| sources[i][lane]));
            }
        }
    }

    /// Orders the accesses of the warp so far before those of its lanes to come.
    pub(super) fn advance(&mut self) {
        self.clocks.seen[self.index] += 1;
        self.touched = 0;
    }
}

fn special_value(special: Special, launch: &Launch<'_>, block: [u32; 3], thread: u32, warps: usize) -> u64 {
    let [x, y, _] = launch.block;
    let lane = thread % 32;
    let below = (1u64 << lane) - 1;
    let value = match special {
        Special::TidX => thread % x,
        Special::TidY => thread / x % y,
        Special::TidZ => thread / x / y,
        Special::NtidX => launch.block[0],
        Special::NtidY => launch.block[1],
        Special::NtidZ => launch.block[2],
        Special::CtaidX => block[0],
        Special::CtaidY => block[1],
        Special::CtaidZ => block[2],
        Special::NctaidX => launch.grid[0],
        Special::NctaidY => launch.grid[1],
        Special::NctaidZ => launch.grid[2],
        Special::Laneid => lane,
        Special::Warpid => thread / 32,
        Special::Nwarpid => warps as u32,
        Special::Smid | Special::ClusterCtarank => 0,
        Special::ClusterNctarank => 1,
        Special::LanemaskEq => 1 << lane,
        Special::LanemaskLt => below as u32,
        Special::LanemaskLe => below as u32 | 1 << lane,
        Special::LanemaskGt => !(below as u32 | 1 << lane),
        Special::LanemaskGe => !(below as u32),
        Special::DynamicSmemSize => launch.dynamic_bytes,
        Special::TotalSmemSize => launch.shared_bytes as u32,
    };
    u64::from(value)
}
