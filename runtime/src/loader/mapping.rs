//! Pages of this process: written first, then protected for good, then released.

use std::io;
use std::ops::Range;

use super::object_file::Access;

/// A private mapping.
#[derive(Debug)]
pub(super) struct Mapping {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the mapping is owned by this value alone; after `protect` nothing here writes to it.
unsafe impl Send for Mapping {}
// SAFETY: shared access only yields the address; what code does with its data is the caller's claim.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// At least one page of writable zeros.
    pub(super) fn new(bytes: usize) -> io::Result<Mapping> {
        let bytes = bytes.max(1).next_multiple_of(page_size());
        // SAFETY: an anonymous private mapping at an address of the system's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start: start.cast(), bytes })
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start
    }

    /// All bytes; only before `protect`.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped readable and writable, initialised by the system, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }

    /// Gives pages their final access; ranges must start and end at pages inside the mapping.
    pub(super) fn protect(&mut self, segments: &[(Access, Range<usize>)]) -> io::Result<()> {
        for (access, range) in segments {
            assert!(range.end <= self.bytes, "segments come from the layout that sized the mapping");
            let protection = match access {
                Access::Execute => libc::PROT_READ | libc::PROT_EXEC,
                Access::Read => libc::PROT_READ,
                Access::Write => libc::PROT_READ | libc::PROT_WRITE,
            };
            // SAFETY: the range is inside the mapping.
            let start = unsafe { self.start.add(range.start) };
            if *access == Access::Execute {
                make_visible_to_execution(start, range.len());
            }
            // SAFETY: as above; the pages belong to this value alone.
            if unsafe { libc::mprotect(start.cast(), range.len(), protection) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` and nobody may use it after this value.
        unsafe { libc::munmap(self.start.cast(), self.bytes) };
    }
}

/// The size of a page of this system.
pub(super) fn page_size() -> usize {
    // SAFETY: asks for a constant of the system.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Writes code back to where instructions are fetched from; x86 does so by itself.
#[cfg(not(target_arch = "aarch64"))]
fn make_visible_to_execution(_start: *mut u8, _bytes: usize) {}

/// Writes code back to where instructions are fetched from, line by line of each cache.
#[cfg(target_arch = "aarch64")]
fn make_visible_to_execution(start: *mut u8, bytes: usize) {
    use std::arch::asm;
    let (first, end) = (start.addr(), start.addr() + bytes);
    // SAFETY: cache maintenance of mapped addresses changes no contents; user mode may read `ctr_el0`.
    unsafe {
        let kinds: usize;
        asm!("mrs {}, ctr_el0", out(reg) kinds);
        let (data, code) = (4usize << (kinds >> 16 & 0xf), 4usize << (kinds & 0xf));
        for line in (first & !(data - 1)..end).step_by(data) {
            asm!("dc cvau, {}", in(reg) line);
        }
        asm!("dsb ish");
        for line in (first & !(code - 1)..end).step_by(code) {
            asm!("ic ivau, {}", in(reg) line);
        }
        asm!("dsb ish", "isb");
    }
}
