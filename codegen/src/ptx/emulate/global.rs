//! Global memory: buffers apart from each other, which know their written bytes and who accessed them last.
//!
//! Between a buffer and the next one lie addresses that belong to nobody, so that running over an end is found.
//! Blocks of a grid are unordered, so a conflict between two blocks is a race unless the later one has
//! synchronised with the earlier one by an atomic operation between fences.

use super::fault::{FaultKind, Step, stop};

/// Where buffers begin.
const BASE: u64 = 0x10_0000_0000;
/// Buffers begin at multiples of this.
const ALIGN: u64 = 256;
/// The least distance between buffers.
const RED_ZONE: u64 = 4096;
/// What the first eight bytes of an encoded tensor map say.
const MAP_MARK: u32 = 0x544d_4150;

/// The memory of the device.
#[derive(Clone, Debug, Default)]
pub struct GlobalMemory {
    buffers: Vec<Buffer>,
    maps: Vec<TensorMap>,
    /// The bytes that one cell of the shadow stands for in this launch.
    grain: usize,
}

/// How a box of a tensor goes between global and shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    /// The address of the first element.
    pub address: u64,
    /// The bytes of an element.
    pub element: u32,
    /// The sizes, the fastest first.
    pub dims: Vec<u64>,
    /// The distances in bytes of all sizes but the first.
    pub strides: Vec<u64>,
    /// The sizes of a box.
    pub box_dims: Vec<u32>,
    /// The bytes over which the pattern in shared memory swizzles: 0, 32, 64 or 128.
    pub swizzle: u32,
}

#[derive(Clone, Debug)]
struct Buffer {
    name: String,
    address: u64,
    bytes: Vec<u8>,
    written: Vec<bool>,
    /// Made at the first access of a launch.
    cells: Vec<Cell>,
}

/// Who accessed some bytes last. Blocks count from 1.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    writer: u32,
    writer_warp: u16,
    writer_lane: u8,
    atomic: bool,
    writer_clock: u32,
    reader: u32,
    reader_warp: u16,
    reader_clock: u32,
}

/// More than one block or warp.
const SEVERAL: u32 = u32::MAX;
const SEVERAL_WARPS: u16 = u16::MAX;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessKind {
    Read,
    Write,
    Atomic,
}

/// Who accesses, and what they are ordered behind.
pub(super) struct Accessor<'a> {
    /// The block, from 1.
    pub(super) block: u32,
    pub(super) warp: usize,
    pub(super) lane: usize,
    /// The clocks of the warp.
    pub(super) clocks: &'a [u32],
    /// Blocks that this one has synchronised with.
    pub(super) acquired: &'a [u32],
}

impl GlobalMemory {
    /// No buffers.
    pub fn new() -> GlobalMemory {
        GlobalMemory::default()
    }

    /// A buffer that nobody has written; its address.
    pub fn reserve(&mut self, name: &str, bytes: usize) -> u64 {
        let end = self.buffers.last().map_or(BASE, |b| b.address + b.bytes.len() as u64 + RED_ZONE);
        let address = end.next_multiple_of(ALIGN);
        // What lies there before the first write is recognisable in a debugger, and no plausible number.
        self.buffers.push(Buffer {
            name: name.to_owned(),
            address,
            bytes: vec![0xcb; bytes],
            written: vec![false; bytes],
            cells: Vec::new(),
        });
        address
    }

    /// A buffer with these bytes; its address.
    pub fn upload(&mut self, name: &str, bytes: &[u8]) -> u64 {
        let address = self.reserve(name, bytes.len());
        let buffer = self.buffers.last_mut().expect("one was just added");
        buffer.bytes.copy_from_slice(bytes);
        buffer.written.fill(true);
        address
    }

    /// Overwrites bytes of a buffer. False if they do not lie in one.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        match self.find(address, bytes.len()) {
            Ok((buffer, at)) => {
                self.buffers[buffer].bytes[at..at + bytes.len()].copy_from_slice(bytes);
                self.buffers[buffer].written[at..at + bytes.len()].fill(true);
                true
            }
            Err(_) => false,
        }
    }

    /// Bytes of a buffer: None if they do not lie in one, or if one of them was never written.
    pub fn read(&self, address: u64, bytes: usize) -> Option<&[u8]> {
        let (buffer, at) = self.find(address, bytes).ok()?;
        let buffer = &self.buffers[buffer];
        buffer.written[at..at + bytes].iter().all(|w| *w).then(|| &buffer.bytes[at..at + bytes])
    }

    /// The bytes of a parameter that holds the tensor map.
    pub fn encode(&mut self, map: TensorMap) -> [u8; 128] {
        let mut encoded = [0; 128];
        encoded[..4].copy_from_slice(&MAP_MARK.to_le_bytes());
        encoded[4..8].copy_from_slice(&(self.maps.len() as u32).to_le_bytes());
        self.maps.push(map);
        encoded
    }

    /// The tensor map of an encoded one.
    pub(super) fn map(&self, encoded: &[u8]) -> Option<&TensorMap> {
        let word = |at: usize| encoded.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        if word(0)? != MAP_MARK {
            return None;
        }
        self.maps.get(word(4)? as usize)
    }

    /// Forgets who accessed what.
    pub(super) fn begin_launch(&mut self, grain: usize) {
        self.grain = grain;
        for buffer in &mut self.buffers {
            buffer.cells.clear();
        }
    }

    /// The buffer and the offset of bytes that lie in one.
    fn find(&self, address: u64, bytes: usize) -> Step<(usize, usize)> {
        let index = self.buffers.partition_point(|b| b.address <= address);
        if let Some(buffer) = index.checked_sub(1).map(|i| &self.buffers[i]) {
            let at = (address - buffer.address) as usize;
            let length = buffer.bytes.len();
            if at.checked_add(bytes).is_some_and(|end| end <= length) {
                return Ok((index - 1, at));
            }
            if (at as u64) < length as u64 + RED_ZONE {
                let name = &buffer.name;
                let message =
                    format!("expected {bytes} bytes within `{name}` of {length} bytes, got offset {at}");
                return stop(FaultKind::OutOfBounds, message);
            }
        }
        if let Some(buffer) = self.buffers.get(index).filter(|b| b.address - address < RED_ZONE) {
            let (name, before) = (&buffer.name, buffer.address - address);
            let message = format!("expected {bytes} bytes within `{name}`, got {before} bytes before it");
            return stop(FaultKind::OutOfBounds, message);
        }
        stop(
            FaultKind::OutOfBounds,
            format!("expected {bytes} bytes within a buffer, got address {address:#x}"),
        )
    }

    /// Bytes for an access that is checked: it lies in a buffer, is aligned, conflicts with nobody, and reads
    /// only what was written. A write counts as done.
    pub(super) fn access(
        &mut self,
        address: u64,
        bytes: usize,
        kind: AccessKind,
        accessor: Option<&Accessor<'_>>,
    ) -> Step<&mut [u8]> {
        let (index, at) = self.find(address, bytes)?;
        let grain = self.grain.max(1);
        let buffer = &mut self.buffers[index];
        if !bytes.is_power_of_two() || !address.is_multiple_of(bytes as u64) {
            let name = &buffer.name;
            let message = format!("expected a multiple of {bytes} bytes, got offset {at} of `{name}`");
            return stop(FaultKind::Misaligned, message);
        }
        if kind != AccessKind::Write && !buffer.written[at..at + bytes].iter().all(|w| *w) {
            let message = format!("expected written bytes at offset {at} of `{}`", buffer.name);
            return stop(FaultKind::UninitialisedMemory, message);
        }
        if let Some(accessor) = accessor {
            if buffer.cells.is_empty() {
                buffer.cells.resize(buffer.bytes.len().div_ceil(grain), Cell::default());
            }
            for cell in &mut buffer.cells[at / grain..(at + bytes).div_ceil(grain)] {
                if let Some(who) = cell.check(kind, accessor) {
                    let message =
                        format!("expected offset {at} of `{}` to be ordered behind {who}", buffer.name);
                    return stop(FaultKind::Race, message);
                }
            }
        }
        if kind != AccessKind::Read {
            buffer.written[at..at + bytes].fill(true);
        }
        Ok(&mut buffer.bytes[at..at + bytes])
    }
}

impl Cell {
    /// Records an access, or says with which one it conflicts.
    fn check(&mut self, kind: AccessKind, by: &Accessor<'_>) -> Option<String> {
        let acquired = |block: u32| {
            if block == SEVERAL { !by.acquired.is_empty() } else { by.acquired.contains(&block) }
        };
        let both_atomic = self.atomic && kind == AccessKind::Atomic;
        if self.writer != 0 && !both_atomic {
            if self.writer != by.block {
                if !acquired(self.writer) {
                    return Some("a write of another block".into());
                }
            } else {
                let (warp, clock) = (usize::from(self.writer_warp), self.writer_clock);
                let lanes = warp == by.warp && usize::from(self.writer_lane) != by.lane;
                if warp != by.warp && clock > by.clocks[warp] || lanes && clock == by.clocks[warp] {
                    return Some(format!("a write of warp {warp}, lane {}", self.writer_lane));
                }
            }
        }
        if kind != AccessKind::Read && self.reader != 0 {
            if self.reader != by.block {
                if !acquired(self.reader) {
                    return Some("a read of another block".into());
                }
            } else if self.reader_warp != SEVERAL_WARPS {
                let warp = usize::from(self.reader_warp);
                if warp != by.warp && self.reader_clock > by.clocks[warp] {
                    return Some(format!("a read of warp {warp}"));
                }
            }
        }
        if kind == AccessKind::Read {
            let same_block = self.reader == 0 || self.reader == by.block;
            let other_warp = self.reader != 0 && usize::from(self.reader_warp) != by.warp;
            self.reader = if same_block { by.block } else { SEVERAL };
            self.reader_warp = if other_warp { SEVERAL_WARPS } else { by.warp as u16 };
            self.reader_clock = by.clocks[by.warp];
        } else {
            self.writer = if both_atomic && self.writer != by.block { SEVERAL } else { by.block };
            self.atomic = kind == AccessKind::Atomic;
            (self.writer_warp, self.writer_lane) = (by.warp as u16, by.lane as u8);
            self.writer_clock = by.clocks[by.warp];
            self.reader = 0;
        }
        None
    }
}
