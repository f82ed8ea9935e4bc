//! Shared memory of a block with its shadow: for each cell the last writer and all readers since.
//!
//! Order is kept with vector clocks. An agent is whoever accesses memory on its own: a warp, the products that a
//! warpgroup has under way, a barrier in memory on behalf of the copies that complete on it, the bulk stores of a
//! warp. An access of agent `a` at its clock `c` is ordered before a warp whose clock for `a` is at least `c`.
//! Data of a copy under way belongs to nobody: every access to it is a missing wait.

use super::fault::{FaultKind, Step, stop};
use super::global::AccessKind;

/// Agents are less than this.
pub(super) const MAX_AGENTS: usize = 128;

/// No lane, or several.
const ANY_LANE: u8 = 63;

/// A cell that nobody has written.
const NOBODY: u8 = 255;
/// A cell that a copy under way will write.
const UNDER_WAY: u8 = 254;

#[derive(Clone, Copy)]
struct Cell {
    readers: u128,
    clock: u32,
    writer: u8,
    lane: u8,
    atomic: bool,
    /// Written by the asynchronous proxy.
    asynchronous: bool,
}

/// Who accesses shared memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Agent {
    pub(super) index: usize,
    pub(super) clock: u32,
    /// The lane, where one accesses.
    pub(super) lane: Option<usize>,
    /// Whether the access goes through the asynchronous proxy.
    pub(super) asynchronous: bool,
}

/// What a warp is ordered behind.
#[derive(Clone, Debug)]
pub(super) struct Clocks {
    /// Of each agent.
    pub(super) seen: Vec<u32>,
    /// The same, for accesses through the asynchronous proxy.
    pub(super) fenced: Vec<u32>,
}

impl Clocks {
    pub(super) fn new(agents: usize) -> Clocks {
        Clocks { seen: vec![0; agents], fenced: vec![0; agents] }
    }

    pub(super) fn join(&mut self, other: &Clocks) {
        let join =
            |to: &mut [u32], from: &[u32]| to.iter_mut().zip(from).for_each(|(a, b)| *a = (*a).max(*b));
        join(&mut self.seen, &other.seen);
        join(&mut self.fenced, &other.fenced);
    }
}

/// The shared memory of a block.
pub(super) struct SharedMemory {
    pub(super) bytes: Vec<u8>,
    cells: Vec<Cell>,
    /// Of each cell and agent the clock of its last read, with its lane in the low 6 bits.
    reads: Vec<u32>,
    agents: usize,
    warps: usize,
    /// The bytes of a cell.
    grain: usize,
    races: bool,
}

impl SharedMemory {
    pub(super) fn new(bytes: usize, agents: usize, warps: usize, grain: usize, races: bool) -> SharedMemory {
        let cells = bytes.div_ceil(grain);
        let empty =
            Cell { readers: 0, clock: 0, writer: NOBODY, lane: 0, atomic: false, asynchronous: false };
        SharedMemory {
            bytes: vec![0xcb; bytes],
            cells: vec![empty; cells],
            reads: vec![0; if races { cells * agents } else { 0 }],
            agents,
            warps,
            grain,
            races,
        }
    }

    /// That an access lies within the memory and is aligned.
    pub(super) fn check_place(&self, address: u64, bytes: usize) -> Step {
        let size = self.bytes.len();
        if address.checked_add(bytes as u64).is_none_or(|end| end > size as u64) {
            let message = format!("expected {bytes} bytes within {size} of shared memory, got {address}");
            return stop(FaultKind::OutOfBounds, message);
        }
        if !address.is_multiple_of(bytes as u64) {
            let message = format!("expected a multiple of {bytes} in shared memory, got {address}");
            return stop(FaultKind::Misaligned, message);
        }
        Ok(())
    }

    /// Checks and records an access; its bytes.
    pub(super) fn access(
        &mut self,
        address: u64,
        bytes: usize,
        kind: AccessKind,
        agent: Agent,
        clocks: &Clocks,
    ) -> Step<&mut [u8]> {
        self.check_place(address, bytes)?;
        let at = address as usize;
        for index in at / self.grain..(at + bytes).div_ceil(self.grain) {
            self.check(index, kind, agent, clocks)?;
        }
        Ok(&mut self.bytes[at..at + bytes])
    }

    fn check(&mut self, index: usize, kind: AccessKind, agent: Agent, clocks: &Clocks) -> Step {
        let at = index * self.grain;
        let cell = &mut self.cells[index];
        let reads = kind != AccessKind::Write;
        if cell.writer == UNDER_WAY {
            let message =
                format!("expected a wait before bytes {at} of shared memory, which a copy has under way");
            return stop(FaultKind::MissingWait, message);
        }
        if cell.writer == NOBODY && reads {
            let message = format!("expected written bytes at {at} of shared memory");
            return stop(FaultKind::UninitialisedMemory, message);
        }
        if !self.races {
            cell.writer = if kind == AccessKind::Read { cell.writer } else { agent.index as u8 };
            return Ok(());
        }
        let lane = agent.lane.map_or(ANY_LANE, |l| l as u8);
        let both_atomic = cell.atomic && kind == AccessKind::Atomic;
        if cell.writer != NOBODY && !both_atomic {
            let writer = usize::from(cell.writer);
            let same_warp = writer == agent.index && writer < self.warps;
            let unordered = if same_warp {
                cell.lane != lane && cell.clock == clocks.seen[writer]
            } else {
                cell.clock > clocks.seen[writer]
            };
            if unordered {
                return race(at, "write", writer, self.warps, cell.lane);
            }
            let generic = !cell.asynchronous && writer < self.warps;
            if agent.asynchronous && generic && cell.clock > clocks.fenced[writer] {
                let message = format!(
                    "expected fence.proxy.async behind the write of warp {writer} to bytes {at} of shared memory"
                );
                return stop(FaultKind::MissingProxyFence, message);
            }
        }
        let row = index * self.agents;
        if kind != AccessKind::Read && !both_atomic {
            let mut readers = cell.readers;
            while readers != 0 {
                let reader = readers.trailing_zeros() as usize;
                readers &= readers - 1;
                let (clock, read_lane) =
                    (self.reads[row + reader] >> 6, (self.reads[row + reader] & 63) as u8);
                let same_warp = reader == agent.index && reader < self.warps;
                let unordered = if same_warp {
                    read_lane != lane && clock == clocks.seen[reader]
                } else {
                    clock > clocks.seen[reader]
                };
                if unordered {
                    return race(at, "read", reader, self.warps, read_lane);
                }
            }
        }
        if kind == AccessKind::Read {
            let bit = 1u128 << agent.index;
            let old = self.reads[row + agent.index];
            let again = cell.readers & bit != 0 && old >> 6 == agent.clock && (old & 63) as u8 != lane;
            self.reads[row + agent.index] = agent.clock << 6 | u32::from(if again { ANY_LANE } else { lane });
            cell.readers |= bit;
        } else {
            *cell = Cell {
                readers: 0,
                clock: agent.clock,
                writer: agent.index as u8,
                lane,
                atomic: kind == AccessKind::Atomic,
                asynchronous: agent.asynchronous,
            };
        }
        Ok(())
    }

    /// Gives bytes to a copy that begins.
    pub(super) fn begin_copy(&mut self, address: u64, bytes: usize, agent: Agent, clocks: &Clocks) -> Step {
        self.access(address, bytes, AccessKind::Write, agent, clocks)?;
        let at = address as usize;
        for cell in &mut self.cells[at / self.grain..(at + bytes).div_ceil(self.grain)] {
            cell.writer = UNDER_WAY;
        }
        Ok(())
    }

    /// Writes the bytes of a copy that ends, in the name of an agent.
    pub(super) fn end_copy(&mut self, address: u64, data: &[u8], agent: Agent) {
        let at = address as usize;
        self.bytes[at..at + data.len()].copy_from_slice(data);
        for cell in &mut self.cells[at / self.grain..(at + data.len()).div_ceil(self.grain)] {
            *cell = Cell {
                readers: 0,
                clock: agent.clock,
                writer: agent.index as u8,
                lane: agent.lane.map_or(ANY_LANE, |l| l as u8),
                atomic: false,
                asynchronous: agent.asynchronous,
            };
        }
    }
}

fn race(at: usize, what: &str, agent: usize, warps: usize, lane: u8) -> Step {
    let lane = if lane == ANY_LANE { String::new() } else { format!(", lane {lane}") };
    let who =
        if agent < warps { format!("warp {agent}{lane}") } else { "an asynchronous operation".to_owned() };
    stop(
        FaultKind::Race,
        format!("expected bytes {at} of shared memory to be ordered behind a {what} of {who}"),
    )
}
