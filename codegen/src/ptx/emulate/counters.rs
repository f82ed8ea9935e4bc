//! What a launch did: instructions, conflicts of shared memory, transactions of global memory.

use std::collections::BTreeMap;

use super::super::parse::Kernel;

/// What a launch did, over all blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Instructions that warps executed.
    pub instructions: u64,
    /// Instructions that lanes executed.
    pub lane_instructions: u64,
    /// Instructions of warps by class: integer, float, memory, matrix ….
    pub by_class: BTreeMap<&'static str, u64>,
    /// Instructions of warps by leading name: `ld`, `cp.async.cg`, `mma.sync.aligned` ….
    pub by_name: BTreeMap<&'static str, u64>,
    /// Cycles that accesses of shared memory took.
    pub shared_wavefronts: u64,
    /// Cycles that they would take without conflicts of banks.
    pub shared_ideal: u64,
    /// Accesses of global memory by warps.
    pub global_requests: u64,
    /// Sectors of 32 bytes that they touched.
    pub global_sectors: u64,
    /// Sectors that the same bytes would fill.
    pub global_ideal: u64,
    /// Multiplications and additions of matrix instructions.
    pub matrix_flops: u64,
}

impl Counters {
    /// How often instructions of a leading name were executed, whatever follows it.
    pub fn count(&self, name: &str) -> u64 {
        self.by_name.iter().filter(|(n, _)| n.starts_with(name)).map(|(_, c)| c).sum()
    }
}

/// Counters while a launch runs.
pub(super) struct Tally {
    /// By instruction: how often warps and lanes executed it.
    pub(super) executed: Vec<(u64, u64)>,
    pub(super) counters: Counters,
}

impl Tally {
    pub(super) fn new(instructions: usize) -> Tally {
        Tally { executed: vec![(0, 0); instructions], counters: Counters::default() }
    }

    /// Counts an access of shared memory: the addresses of the lanes in order, each of so many bytes. Memory has
    /// 32 banks of 4 bytes; lanes that access 8 or 16 bytes go in halves or quarters of the warp.
    pub(super) fn shared(&mut self, addresses: &[u64], bytes: usize) {
        let lanes = (128 / bytes.max(4)).clamp(1, 32);
        for phase in addresses.chunks(lanes) {
            let mut words: [smallvec::SmallVec<[u64; 2]>; 32] = Default::default();
            for address in phase {
                for word in address / 4..(address + bytes as u64).div_ceil(4) {
                    let bank = &mut words[word as usize % 32];
                    if !bank.contains(&word) {
                        bank.push(word);
                    }
                }
            }
            self.counters.shared_wavefronts += words.iter().map(|w| w.len() as u64).max().unwrap_or(0);
            self.counters.shared_ideal += 1;
        }
    }

    /// Counts an access of global memory.
    pub(super) fn global(&mut self, addresses: &[u64], bytes: usize) {
        if addresses.is_empty() {
            return;
        }
        let mut sectors: smallvec::SmallVec<[u64; 64]> =
            addresses.iter().flat_map(|a| a / 32..(a + bytes as u64).div_ceil(32)).collect();
        sectors.sort_unstable();
        sectors.dedup();
        let mut distinct: smallvec::SmallVec<[u64; 32]> = addresses.iter().copied().collect();
        distinct.sort_unstable();
        distinct.dedup();
        self.counters.global_requests += 1;
        self.counters.global_sectors += sectors.len() as u64;
        self.counters.global_ideal += (distinct.len() * bytes).div_ceil(32) as u64;
    }

    pub(super) fn finish(self, kernel: &Kernel) -> Counters {
        let mut counters = self.counters;
        for (instruction, (warps, lanes)) in kernel.code.iter().zip(self.executed) {
            if warps == 0 {
                continue;
            }
            counters.instructions += warps;
            counters.lane_instructions += lanes;
            *counters.by_class.entry(instruction.op.class()).or_insert(0) += warps;
            *counters.by_name.entry(instruction.name).or_insert(0) += warps;
        }
        counters
    }
}
