//! Asynchronous copies. Nothing moves before somebody waits: bytes of a thread's copy are read and written at its
//! wait, a bulk load completes when no warp can go on without it (or now and then earlier, as the seed says), a
//! bulk store at its wait.

use super::super::isa::{CopyOp, Instruction};
use super::block::Block;
use super::descriptor::swizzle;
use super::fault::{FaultKind, Step, stop_lane};
use super::global::{AccessKind, TensorMap};
use super::shared::Agent;
use super::warp::lanes;

/// A copy of a lane under way.
pub(super) struct ThreadCopy {
    lane: usize,
    group: u32,
    shared: u64,
    global: u64,
    bytes: usize,
    /// The bytes that are read; zeros follow.
    filled: usize,
}

/// A bulk load under way.
pub(super) struct BulkLoad {
    /// The instruction, for faults.
    pub(super) pc: usize,
    pub(super) warp: usize,
    lane: usize,
    chunks: Vec<Chunk>,
    barrier: u32,
}

/// A bulk store under way.
pub(super) struct BulkStore {
    lane: usize,
    group: u32,
    /// Its number among the stores of the warp.
    number: u32,
    chunks: Vec<Chunk>,
}

/// Sixteen bytes of a bulk copy.
struct Chunk {
    shared: u64,
    /// Where the first byte lies, in the tensor or beside it.
    global: u64,
    /// The bytes that lie in the tensor.
    begin: usize,
    end: usize,
}

const CHUNK: usize = 16;

impl Block<'_> {
    pub(super) fn copy(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        op: CopyOp,
        pc: u32,
        mask: u32,
    ) -> Step {
        match op {
            CopyOp::Thread { bytes, fills } => {
                let bytes = bytes as usize;
                let (mut shared, mut global) = (Vec::new(), Vec::new());
                for lane in lanes(mask) {
                    let copy = self.begin_copy(warp, instruction, lane, bytes, fills)?;
                    shared.push(copy.shared);
                    if copy.filled > 0 {
                        global.push(copy.global);
                    }
                    self.warps[warp].copies.push(copy);
                }
                self.tally.shared(&shared, bytes);
                self.tally.global(&global, bytes);
            }
            CopyOp::Commit => lanes(mask).for_each(|l| self.warps[warp].copy_groups[l] += 1),
            CopyOp::Wait { pending } => self.finish_copies(warp, mask, Some(pending))?,
            CopyOp::WaitAll => self.finish_copies(warp, mask, None)?,
            CopyOp::Bulk { loads } => {
                for lane in lanes(mask) {
                    let shared = self.warps[warp].shared_address(instruction, usize::from(!loads), lane);
                    let global = self.warps[warp].address(instruction, usize::from(loads), lane);
                    let bytes = self.warps[warp].value(instruction, 2, lane) & 0xffff_ffff;
                    if [shared, global, bytes].iter().any(|v| !v.is_multiple_of(CHUNK as u64)) {
                        let message =
                            format!("expected multiples of {CHUNK}, got {shared}, {global:#x}, {bytes}");
                        return stop_lane(FaultKind::Misaligned, lane, message);
                    }
                    self.shared.check_place(shared + bytes.max(1) - 1, 1).map_err(|s| s.of_lane(lane))?;
                    let chunk =
                        |i: u64| Chunk { shared: shared + i, global: global + i, begin: 0, end: CHUNK };
                    let chunks = (0..bytes).step_by(CHUNK).map(chunk).collect();
                    self.begin_bulk(warp, instruction, loads.then_some(3), pc, lane, chunks)?;
                }
            }
            CopyOp::Tensor { loads, .. } => {
                for lane in lanes(mask) {
                    let chunks = self.box_chunks(warp, instruction, loads, lane)?;
                    self.begin_bulk(warp, instruction, loads.then_some(2), pc, lane, chunks)?;
                }
            }
            CopyOp::BulkCommit => lanes(mask).for_each(|l| self.warps[warp].store_groups[l] += 1),
            CopyOp::BulkWait { pending, .. } => {
                let committed = self.warps[warp].store_groups;
                let stores = std::mem::take(&mut self.warps[warp].stores);
                let done = |s: &BulkStore| mask >> s.lane & 1 == 1 && s.group + pending <= committed[s.lane];
                let (done, kept): (Vec<_>, Vec<_>) = stores.into_iter().partition(done);
                self.warps[warp].stores = kept;
                self.write_stores(warp, done)?;
            }
        }
        Ok(())
    }

    fn begin_copy(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        lane: usize,
        bytes: usize,
        fills: bool,
    ) -> Step<ThreadCopy> {
        let shared = self.warps[warp].shared_address(instruction, 0, lane);
        let global = self.warps[warp].address(instruction, 1, lane);
        let filled = if fills { self.warps[warp].value(instruction, 3, lane) as u32 as usize } else { bytes };
        if filled > bytes {
            let message = format!("expected at most {bytes} bytes to read, got {filled}");
            return stop_lane(FaultKind::InvalidOperation, lane, message);
        }
        if !global.is_multiple_of(bytes as u64) {
            let message = format!("expected a multiple of {bytes} in global memory, got {global:#x}");
            return stop_lane(FaultKind::Misaligned, lane, message);
        }
        // The source must be there now; it is read when somebody waits.
        let mut unused = [0; CHUNK];
        self.read_global(warp, lane, global, &mut unused[..filled])?;
        let agent = self.lane_agent(warp, lane);
        let clocks = &self.warps[warp].clocks;
        self.shared.begin_copy(shared, bytes, agent, clocks).map_err(|s| s.of_lane(lane))?;
        let group = self.warps[warp].copy_groups[lane] + 1;
        Ok(ThreadCopy { lane, group, shared, global, bytes, filled })
    }

    /// Reads bytes of any number as accesses that are aligned.
    fn read_global(&mut self, warp: usize, lane: usize, address: u64, into: &mut [u8]) -> Step {
        for (at, bytes) in pieces(address, into.len()) {
            let found = self.global(warp, lane, address + at as u64, bytes, AccessKind::Read)?;
            into[at..at + bytes].copy_from_slice(found);
        }
        Ok(())
    }

    /// Completes copies of lanes but for the last groups; all of them where no number is given.
    fn finish_copies(&mut self, warp: usize, mask: u32, pending: Option<u32>) -> Step {
        let committed = self.warps[warp].copy_groups;
        let copies = std::mem::take(&mut self.warps[warp].copies);
        let mut kept = Vec::new();
        for copy in copies {
            let done = pending.is_none_or(|p| copy.group + p <= committed[copy.lane]);
            if mask >> copy.lane & 1 == 0 || !done {
                kept.push(copy);
                continue;
            }
            let mut data = [0; CHUNK];
            self.read_global(warp, copy.lane, copy.global, &mut data[..copy.filled])?;
            let agent = self.lane_agent(warp, copy.lane);
            self.shared.end_copy(copy.shared, &data[..copy.bytes], agent);
        }
        self.warps[warp].copies = kept;
        Ok(())
    }

    /// Begins a bulk copy: a load with the operand of its barrier, or a store.
    fn begin_bulk(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        barrier: Option<usize>,
        pc: u32,
        lane: usize,
        chunks: Vec<Chunk>,
    ) -> Step {
        let sectors = chunks.len().div_ceil(2) as u64;
        self.tally.counters.global_requests += 1;
        self.tally.counters.global_sectors += sectors;
        self.tally.counters.global_ideal += sectors;
        if let Some(operand) = barrier {
            let barrier = self.warps[warp].shared_address(instruction, operand, lane) as u32;
            let agent = self.copy_agent(warp, lane, barrier)?;
            for chunk in &chunks {
                let clocks = &self.warps[warp].clocks;
                self.shared.begin_copy(chunk.shared, CHUNK, agent, clocks).map_err(|s| s.of_lane(lane))?;
            }
            self.loads.push(BulkLoad { pc: pc as usize, warp, lane, chunks, barrier });
            return Ok(());
        }
        self.warps[warp].stores_begun += 1;
        let number = self.warps[warp].stores_begun;
        let agent = Agent { index: self.store_agent(warp), clock: number, lane: None, asynchronous: true };
        for chunk in &chunks {
            let clocks = &self.warps[warp].clocks;
            let found = self.shared.access(chunk.shared, CHUNK, AccessKind::Read, agent, clocks);
            found.map_err(|s| s.of_lane(lane))?;
        }
        let group = self.warps[warp].store_groups[lane] + 1;
        self.warps[warp].stores.push(BulkStore { lane, group, number, chunks });
        Ok(())
    }

    /// Completes a bulk load.
    pub(super) fn finish_load(&mut self, index: usize) -> Step {
        let BulkLoad { warp, lane, chunks, barrier, .. } = self.loads.swap_remove(index);
        let agent = self.copy_agent(warp, lane, barrier)?;
        for chunk in &chunks {
            // What lies beside the tensor is zeros.
            let mut data = [0; CHUNK];
            let address = chunk.global.wrapping_add(chunk.begin as u64);
            self.read_global(warp, lane, address, &mut data[chunk.begin..chunk.end])?;
            self.shared.end_copy(chunk.shared, &data, agent);
        }
        self.count_bytes(barrier, chunks.len() * CHUNK)?;
        Ok(())
    }

    fn write_stores(&mut self, warp: usize, stores: Vec<BulkStore>) -> Step {
        for store in stores {
            for chunk in &store.chunks {
                let at = chunk.shared as usize;
                let data: [u8; CHUNK] = std::array::from_fn(|i| self.shared.bytes[at + i]);
                let begin = chunk.global.wrapping_add(chunk.begin as u64);
                for (offset, bytes) in pieces(begin, chunk.end - chunk.begin) {
                    let from = chunk.begin + offset;
                    let target =
                        self.global(warp, store.lane, begin + offset as u64, bytes, AccessKind::Write)?;
                    target.copy_from_slice(&data[from..from + bytes]);
                }
            }
            let agent = self.store_agent(warp);
            let seen = &mut self.warps[warp].clocks.seen[agent];
            *seen = (*seen).max(store.number);
        }
        Ok(())
    }

    /// The chunks of a box of a tensor.
    fn box_chunks(
        &self,
        warp: usize,
        instruction: &Instruction,
        loads: bool,
        lane: usize,
    ) -> Step<Vec<Chunk>> {
        let state = &self.warps[warp];
        let shared = state.shared_address(instruction, usize::from(!loads), lane);
        let operand = usize::from(loads);
        let map_address = state.address(instruction, operand, lane);
        let Some(map) = self.tensor_map(map_address) else {
            let message = format!("expected the address of a tensor map, got {map_address:#x}");
            return stop_lane(FaultKind::InvalidOperation, lane, message);
        };
        let slots = &instruction.source(operand)[1..];
        let coordinates: Vec<i64> =
            slots.iter().map(|s| i64::from(state.row(*s)[lane] as u32 as i32)).collect();
        if let Err(message) = check_map(map, coordinates.len(), shared) {
            return stop_lane(FaultKind::InvalidOperation, lane, message);
        }
        let total: usize = map.box_dims.iter().map(|d| *d as usize).product::<usize>() * map.element as usize;
        self.shared.check_place(shared + total as u64 - 1, 1).map_err(|s| s.of_lane(lane))?;
        Ok(chunks_of_box(map, &coordinates, shared, total))
    }

    fn tensor_map(&self, address: u64) -> Option<&TensorMap> {
        let bytes = match super::memory::param_offset(address) {
            Some(offset) => self.launch.params.get(offset..offset + 128)?,
            None => self.memory.read(address, 128)?,
        };
        self.memory.map(bytes)
    }
}

/// What the driver and the copy engine want of a tensor map.
fn check_map(map: &TensorMap, coordinates: usize, shared: u64) -> Result<(), String> {
    let rank = map.dims.len();
    if rank != coordinates || map.box_dims.len() != rank || map.strides.len() + 1 != rank {
        return Err(format!("expected a map of rank {coordinates}, got {rank}"));
    }
    let row = map.box_dims[0] * map.element;
    let widest = if map.swizzle == 0 { u32::MAX } else { map.swizzle };
    if !row.is_multiple_of(CHUNK as u32) || row > widest {
        return Err(format!(
            "expected rows of a box in multiples of {CHUNK} bytes, at most {widest}, got {row}"
        ));
    }
    if map.box_dims.iter().any(|d| *d == 0 || *d > 256) {
        return Err(format!("expected 1 to 256 elements of a box each way, got {:?}", map.box_dims));
    }
    if map.strides.iter().chain([&map.address]).any(|s| !s.is_multiple_of(CHUNK as u64)) {
        return Err(format!("expected strides and an address in multiples of {CHUNK} bytes"));
    }
    // The pattern of a swizzle repeats over eight rows.
    let align = 8 * u64::from(map.swizzle).max(16);
    if !shared.is_multiple_of(align) {
        return Err(format!("expected a multiple of {align} in shared memory, got {shared}"));
    }
    Ok(())
}

fn chunks_of_box(map: &TensorMap, coordinates: &[i64], shared: u64, total: usize) -> Vec<Chunk> {
    let element = i64::from(map.element);
    let chunk = |at: usize| {
        let mut index = at / map.element as usize;
        let mut inside = true;
        let mut global = map.address as i64;
        let mut first = 0;
        for (axis, size) in map.box_dims.iter().enumerate() {
            let coordinate = coordinates[axis] + (index % *size as usize) as i64;
            index /= *size as usize;
            if axis == 0 {
                first = coordinate;
                global += coordinate * element;
            } else {
                inside &= coordinate >= 0 && (coordinate as u64) < map.dims[axis];
                global = global.wrapping_add(coordinate.wrapping_mul(map.strides[axis - 1] as i64));
            }
        }
        let clamp = |elements: i64| (elements * element).clamp(0, CHUNK as i64) as usize;
        let begin = clamp(-first);
        let end = clamp(map.dims[0] as i64 - first).max(begin);
        Chunk {
            shared: swizzle(map.swizzle, shared + at as u64),
            global: global as u64,
            begin,
            end: if inside { end } else { begin },
        }
    };
    (0..total).step_by(CHUNK).map(chunk).collect()
}

/// The aligned accesses of at most sixteen bytes that bytes at an address fall into.
fn pieces(address: u64, bytes: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes {
            return None;
        }
        let aligned = 1usize << (address + at as u64).trailing_zeros().min(4);
        let mut size = aligned;
        while size > bytes - at {
            size /= 2;
        }
        at += size;
        Some((at - size, size))
    })
}
