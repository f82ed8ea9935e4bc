//! Loads, stores and atomics of lanes.

use smallvec::SmallVec;

use super::super::isa::{
    AtomicFn, FloatFlags, FloatFn, FloatOp, Instruction, IntegerFn, IntegerOp, MemoryOp, Rounding, Space,
    Type,
};
use super::block::Block;
use super::fault::{FaultKind, Step, stop, stop_lane};
use super::global::{AccessKind, Accessor};
use super::shared::Agent;
use super::warp::lanes;
use super::{float, integer};

/// Generic addresses of shared memory lie here, and so on: global memory has the addresses below all of them.
const SHARED_WINDOW: u64 = 1 << 60;
const LOCAL_WINDOW: u64 = 1 << 61;
const PARAM_WINDOW: u64 = 1 << 62;

fn window(space: Space) -> u64 {
    match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Param => PARAM_WINDOW,
        Space::Generic | Space::Global | Space::Const => 0,
    }
}

/// The space and the address in it.
fn resolve(space: Space, address: u64) -> (Space, u64) {
    if space != Space::Generic {
        let low = if space == Space::Global { address } else { address & 0xffff_ffff };
        return (space, low);
    }
    for space in [Space::Param, Space::Local, Space::Shared] {
        if address & window(space) != 0 {
            return (space, address & !window(space));
        }
    }
    (Space::Global, address)
}

/// Up to eight elements, little-endian.
type Bytes = SmallVec<[u8; 32]>;

impl Block<'_> {
    pub(super) fn memory_access(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        op: MemoryOp,
        mask: u32,
    ) -> Step {
        match op {
            MemoryOp::Hint => {
                for slot in &instruction.written {
                    self.warps[warp].row_mut(*slot).fill(0);
                }
                Ok(())
            }
            MemoryOp::Address { space, to_space } => {
                let window = window(space);
                self.warps[warp].map(
                    instruction,
                    mask,
                    |[a]| if to_space { a & !window } else { a | window },
                );
                Ok(())
            }
            MemoryOp::Load { space, dtype, count } => self.load(warp, instruction, space, dtype, count, mask),
            MemoryOp::Store { space, dtype, count } => {
                let mut requests = Requests::default();
                for lane in lanes(mask) {
                    let (space, address) = resolve(space, self.warps[warp].address(instruction, 0, lane));
                    let mut bytes = Bytes::new();
                    for slot in instruction.source(1) {
                        let value = self.warps[warp].row(*slot)[lane].to_le_bytes();
                        bytes.extend_from_slice(&value[..dtype.bytes()]);
                    }
                    requests.add(space, address);
                    self.write(warp, lane, space, address, &bytes)?;
                }
                requests.count(self, dtype.bytes() * count);
                Ok(())
            }
            MemoryOp::Atomic { space, .. } => self.atomic(warp, instruction, op, space, mask),
        }
    }

    fn load(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        space: Space,
        dtype: Type,
        count: usize,
        mask: u32,
    ) -> Step {
        let mut requests = Requests::default();
        let size = dtype.bytes();
        for lane in lanes(mask) {
            let (space, address) = resolve(space, self.warps[warp].address(instruction, 0, lane));
            let mut bytes = Bytes::new();
            self.read(warp, lane, space, address, size * count, &mut bytes)?;
            requests.add(space, address);
            for (part, slot) in bytes.chunks(size).zip(&instruction.written) {
                let value = little_endian(part);
                let value = if dtype.is_signed() { dtype.sign_extend(value) as u64 } else { value };
                self.warps[warp].row_mut(*slot)[lane] = value;
            }
        }
        requests.count(self, size * count);
        Ok(())
    }

    /// The agent for an access of a lane.
    pub(super) fn lane_agent(&mut self, warp: usize, lane: usize) -> Agent {
        let state = &mut self.warps[warp];
        state.touched |= 1 << lane;
        Agent { index: warp, clock: state.clocks.seen[warp], lane: Some(lane), asynchronous: false }
    }

    fn read(
        &mut self,
        warp: usize,
        lane: usize,
        space: Space,
        address: u64,
        bytes: usize,
        into: &mut Bytes,
    ) -> Step {
        match space {
            Space::Shared => {
                let agent = self.lane_agent(warp, lane);
                let clocks = &self.warps[warp].clocks;
                let found = self.shared.access(address, bytes, AccessKind::Read, agent, clocks);
                into.extend_from_slice(found.map_err(|s| s.of_lane(lane))?);
            }
            Space::Param => into.extend_from_slice(own(&self.launch.params, address, bytes, lane)?),
            Space::Local => {
                let memory = self.local(warp, lane);
                into.extend_from_slice(own(memory, address, bytes, lane)?);
            }
            Space::Const => {
                return stop_lane(FaultKind::InvalidOperation, lane, "expected no constant space");
            }
            Space::Global | Space::Generic => {
                into.extend_from_slice(self.global(warp, lane, address, bytes, AccessKind::Read)?);
            }
        }
        Ok(())
    }

    fn write(&mut self, warp: usize, lane: usize, space: Space, address: u64, bytes: &[u8]) -> Step {
        match space {
            Space::Shared => {
                let agent = self.lane_agent(warp, lane);
                let clocks = &self.warps[warp].clocks;
                let found = self.shared.access(address, bytes.len(), AccessKind::Write, agent, clocks);
                found.map_err(|s| s.of_lane(lane))?.copy_from_slice(bytes);
            }
            Space::Local => {
                own(self.local(warp, lane), address, bytes.len(), lane)?;
                let begin = lane * self.launch.kernel.local_bytes as usize + address as usize;
                self.warps[warp].local[begin..begin + bytes.len()].copy_from_slice(bytes);
            }
            Space::Param | Space::Const => {
                return stop_lane(FaultKind::InvalidOperation, lane, "expected memory that can be written");
            }
            Space::Global | Space::Generic => {
                self.global(warp, lane, address, bytes.len(), AccessKind::Write)?.copy_from_slice(bytes);
            }
        }
        Ok(())
    }

    fn local(&self, warp: usize, lane: usize) -> &[u8] {
        let bytes = self.launch.kernel.local_bytes as usize;
        &self.warps[warp].local[lane * bytes..(lane + 1) * bytes]
    }

    /// The bytes of an access of global memory.
    pub(super) fn global(
        &mut self,
        warp: usize,
        lane: usize,
        address: u64,
        bytes: usize,
        kind: AccessKind,
    ) -> Step<&mut [u8]> {
        self.warps[warp].touched |= 1 << lane;
        let state = &self.warps[warp];
        let accessor = Accessor {
            block: self.index + 1,
            warp,
            lane,
            clocks: &state.clocks.seen,
            acquired: &state.acquired,
        };
        let accessor = self.launch.options.races.then_some(&accessor);
        self.memory.access(address, bytes, kind, accessor).map_err(|s| s.of_lane(lane))
    }

    fn atomic(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        op: MemoryOp,
        space: Space,
        mask: u32,
    ) -> Step {
        let MemoryOp::Atomic { function, dtype, returns, count, releases, .. } = op else {
            return Ok(());
        };
        let mut requests = Requests::default();
        let size = dtype.bytes();
        for lane in lanes(mask) {
            let (space, base) = resolve(space, self.warps[warp].address(instruction, 0, lane));
            requests.add(space, base);
            if !base.is_multiple_of((size * count) as u64) {
                let message = format!("expected a multiple of {} bytes, got {base:#x}", size * count);
                return stop_lane(FaultKind::Misaligned, lane, message);
            }
            for part in 0..count {
                let address = base + (part * size) as u64;
                let argument = self.warps[warp].row(instruction.source(1)[part])[lane];
                let swapped = match function {
                    AtomicFn::CompareAndSwap => self.warps[warp].value(instruction, 2, lane),
                    _ => 0,
                };
                let bytes = match space {
                    Space::Shared => {
                        let agent = self.lane_agent(warp, lane);
                        let clocks = &self.warps[warp].clocks;
                        let found = self.shared.access(address, size, AccessKind::Atomic, agent, clocks);
                        found.map_err(|s| s.of_lane(lane))?
                    }
                    Space::Global => self.global(warp, lane, address, size, AccessKind::Atomic)?,
                    _ => {
                        return stop_lane(
                            FaultKind::InvalidOperation,
                            lane,
                            "expected shared or global memory",
                        );
                    }
                };
                let old = little_endian(bytes);
                let new = combine(function, dtype, old, argument, swapped);
                bytes.copy_from_slice(&new.to_le_bytes()[..size]);
                if returns {
                    self.warps[warp].row_mut(instruction.written[part])[lane] = old;
                }
            }
            if space == Space::Global {
                self.synchronise_blocks(warp, base, releases);
            }
        }
        requests.count(self, size * count);
        Ok(())
    }

    /// An atomic operation orders this block behind those that released at the address, and releases there.
    fn synchronise_blocks(&mut self, warp: usize, address: u64, releases: bool) {
        let state = &mut self.warps[warp];
        let released = self.releases.entry(address).or_default();
        for block in released.iter() {
            if !state.acquired.contains(block) {
                state.acquired.push(*block);
            }
        }
        let me = self.index + 1;
        if (releases || state.fenced) && !released.contains(&me) {
            released.push(me);
        }
    }
}

/// Bytes of memory that nobody shares.
fn own(memory: &[u8], address: u64, bytes: usize, lane: usize) -> Step<&[u8]> {
    if !address.is_multiple_of(bytes as u64) {
        return stop_lane(
            FaultKind::Misaligned,
            lane,
            format!("expected a multiple of {bytes}, got {address}"),
        );
    }
    match memory.get(address as usize..).and_then(|m| m.get(..bytes)) {
        Some(found) => Ok(found),
        None => {
            let message = format!("expected {bytes} bytes within {}, got offset {address}", memory.len());
            stop_lane(FaultKind::OutOfBounds, lane, message)
        }
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// What an atomic operation writes, also a step of a reduction.
pub(super) fn combine(function: AtomicFn, dtype: Type, old: u64, argument: u64, swapped: u64) -> u64 {
    let (x, y) = (dtype.zero_extend(old), dtype.zero_extend(argument));
    let (integer, float) = match function {
        AtomicFn::Exchange => return y,
        AtomicFn::CompareAndSwap => return if x == y { swapped } else { x },
        AtomicFn::Inc => return if x >= y { 0 } else { x + 1 },
        AtomicFn::Dec => return if x == 0 || x > y { y } else { x - 1 },
        AtomicFn::Add => (IntegerFn::Add, FloatFn::Add),
        AtomicFn::Min => (IntegerFn::Min, FloatFn::Min),
        AtomicFn::Max => (IntegerFn::Max, FloatFn::Max),
        AtomicFn::And => (IntegerFn::And, FloatFn::Abs),
        AtomicFn::Or => (IntegerFn::Or, FloatFn::Abs),
        AtomicFn::Xor => (IntegerFn::Xor, FloatFn::Abs),
    };
    if dtype.is_float() {
        let flags = FloatFlags {
            flush: false,
            saturate: false,
            relu: false,
            nan: false,
            rounding: Rounding::NearestEven,
        };
        return float::lanes_of(FloatOp { function: float, dtype, flags }, [x, y, 0]);
    }
    integer::binary(IntegerOp { function: integer, dtype, second: dtype, clamped: false }, x, y)
}

/// The addresses of an access of a warp, by the memory that serves them.
#[derive(Default)]
struct Requests {
    shared: SmallVec<[u64; 32]>,
    global: SmallVec<[u64; 32]>,
}

impl Requests {
    fn add(&mut self, space: Space, address: u64) {
        match space {
            Space::Shared => self.shared.push(address),
            Space::Global => self.global.push(address),
            _ => {}
        }
    }

    fn count(&self, block: &mut Block<'_>, bytes: usize) {
        block.tally.shared(&self.shared, bytes);
        block.tally.global(&self.global, bytes);
    }
}

/// That a pointer of a warp is the same in all lanes.
pub(super) fn uniform(block: &Block<'_>, warp: usize, slot: u32, mask: u32) -> Step<u64> {
    let row = block.warps[warp].row(slot);
    let first = row[mask.trailing_zeros() as usize];
    if lanes(mask).any(|l| row[l] != first) {
        return stop(FaultKind::InvalidOperation, "expected the same value in all lanes");
    }
    Ok(first)
}

/// The offset of a generic address in the space of parameters.
pub(super) fn param_offset(address: u64) -> Option<usize> {
    (address & PARAM_WINDOW != 0).then_some((address & !PARAM_WINDOW) as usize)
}
