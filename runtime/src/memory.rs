//! Owned, 64-byte-aligned memory for tensors and arenas; a size that cannot be had is an error, never an abort.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The alignment of every buffer: one cache line, and one AVX-512 vector.
pub const ALIGNMENT: usize = 64;

/// Buffers of at least this size are mapped on their own and advised to use huge pages.
pub const HUGE_PAGE: usize = 2 << 20;

/// Why memory could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The number of bytes does not fit the address space.
    #[error("expected a size that fits the address space, found {dims:?} elements of {element} bytes")]
    SizeOverflow {
        /// The extents that were multiplied.
        dims: Vec<usize>,
        /// The size of one element in bytes.
        element: usize,
    },
    /// The system refused.
    #[error("expected {bytes} bytes of memory, found that the system refuses them")]
    OutOfMemory {
        /// How many bytes were asked for.
        bytes: usize,
    },
}

/// The bytes taken by a dense tensor of `dims` with elements of `element` bytes.
pub fn byte_size(dims: &[usize], element: usize) -> Result<usize, MemoryError> {
    if element == 0 || dims.contains(&0) {
        return Ok(0);
    }
    dims.iter()
        .try_fold(element, |size, &dim| size.checked_mul(dim))
        .filter(|&size| size <= MAX_BYTES)
        .ok_or_else(|| MemoryError::SizeOverflow { dims: dims.to_vec(), element })
}

/// No Rust object may exceed `isize::MAX` bytes; a page of slack leaves room for rounding up.
const MAX_BYTES: usize = isize::MAX as usize - 2 * HUGE_PAGE;

/// Aligned memory whose contents may be uninitialised, so it is reachable only through raw pointers.
pub struct RawBuffer {
    start: NonNull<u8>,
    len: usize,
    origin: Origin,
}

/// Where the memory came from, hence how it goes back.
enum Origin {
    /// Nothing is owned: the buffer is empty.
    Empty,
    /// The global allocator, with `ALIGNMENT`.
    Allocator,
    /// A mapping of its own, which is larger than the buffer where alignment needed room.
    #[cfg(target_os = "linux")]
    Mapping { base: *mut libc::c_void, bytes: usize },
}

// SAFETY: a `RawBuffer` owns its memory alone, and hands out only raw pointers, whose use is the caller's claim.
unsafe impl Send for RawBuffer {}
// SAFETY: as above; shared access reads nothing but the address and the length.
unsafe impl Sync for RawBuffer {}

impl RawBuffer {
    /// `len` bytes with unspecified contents.
    pub fn uninit(len: usize) -> Result<RawBuffer, MemoryError> {
        RawBuffer::allocate(len, false)
    }

    /// `len` bytes of zeros.
    pub fn zeroed(len: usize) -> Result<RawBuffer, MemoryError> {
        RawBuffer::allocate(len, true)
    }

    /// The first byte; a multiple of `ALIGNMENT`, valid for `len` bytes as long as the buffer lives.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn allocate(len: usize, zero: bool) -> Result<RawBuffer, MemoryError> {
        let refused = MemoryError::OutOfMemory { bytes: len };
        if len > MAX_BYTES {
            return Err(refused);
        }
        if len == 0 {
            return Ok(RawBuffer::default());
        }
        #[cfg(target_os = "linux")]
        if len >= HUGE_PAGE {
            return map_huge(len).ok_or(refused);
        }
        let layout = layout(len);
        // SAFETY: the layout has a size above zero.
        let start =
            unsafe { if zero { std::alloc::alloc_zeroed(layout) } else { std::alloc::alloc(layout) } };
        let start = NonNull::new(start).ok_or(refused)?;
        Ok(RawBuffer { start, len, origin: Origin::Allocator })
    }
}

impl Default for RawBuffer {
    /// No memory.
    fn default() -> RawBuffer {
        let start = NonNull::without_provenance(const { std::num::NonZero::new(ALIGNMENT).expect("64") });
        RawBuffer { start, len: 0, origin: Origin::Empty }
    }
}

impl Drop for RawBuffer {
    fn drop(&mut self) {
        match self.origin {
            Origin::Empty => {}
            // SAFETY: `start` came from the global allocator with this very layout.
            Origin::Allocator => unsafe { std::alloc::dealloc(self.start.as_ptr(), layout(self.len)) },
            #[cfg(target_os = "linux")]
            // SAFETY: the mapping belongs to this buffer alone and nothing can point into it any longer.
            Origin::Mapping { base, bytes } => unsafe {
                libc::munmap(base, bytes);
            },
        }
    }
}

impl fmt::Debug for RawBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawBuffer({} bytes at {:p})", self.len, self.start)
    }
}

fn layout(len: usize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(len, ALIGNMENT).expect("at most MAX_BYTES, checked on allocation")
}

/// Maps `len` zero bytes starting on a huge-page boundary, so that the kernel can back them with huge pages.
#[cfg(target_os = "linux")]
fn map_huge(len: usize) -> Option<RawBuffer> {
    let bytes = len.checked_add(HUGE_PAGE)?;
    // SAFETY: an anonymous private mapping at an address of the system's choice touches nothing that exists.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return None;
    }
    let skipped = base.addr().next_multiple_of(HUGE_PAGE) - base.addr();
    // SAFETY: `skipped` is below HUGE_PAGE, the slack that the mapping has beyond `len`.
    let start = unsafe { base.cast::<u8>().add(skipped) };
    // SAFETY: the range lies in the mapping made above; the advice may be refused without harm.
    unsafe { libc::madvise(start.cast(), len, libc::MADV_HUGEPAGE) };
    Some(RawBuffer { start: NonNull::new(start)?, len, origin: Origin::Mapping { base, bytes } })
}

/// Aligned memory that is always initialised, and so can be read and written as a slice of bytes.
#[derive(Debug)]
pub struct Buffer(RawBuffer);

impl Buffer {
    /// `len` bytes of zeros.
    pub fn zeroed(len: usize) -> Result<Buffer, MemoryError> {
        RawBuffer::zeroed(len).map(Buffer)
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Result<Buffer, MemoryError> {
        let raw = RawBuffer::uninit(bytes.len())?;
        // SAFETY: the new memory is exactly as long, and nothing else knows it.
        unsafe { raw.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(Buffer(raw))
    }

    /// The first byte, for kernels; a multiple of `ALIGNMENT`.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_ptr()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: every constructor initialises all `len` bytes, and `&self` forbids writers.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.0.len()) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` is the only access.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), self.0.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_zeroed_at_every_size() {
        for len in [0, 1, 63, 64, 4097, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1, 5 * HUGE_PAGE + 3] {
            let mut buffer = Buffer::zeroed(len).unwrap();
            assert_eq!(buffer.as_mut_ptr().addr() % ALIGNMENT, 0);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|&byte| byte == 0));
            buffer.fill(7);
            assert_eq!(&Buffer::copy_of(&buffer).unwrap()[..], &buffer[..]);
        }
    }

    #[test]
    fn impossible_sizes_are_errors() {
        assert_eq!(byte_size(&[3, 5], 4), Ok(60));
        assert_eq!(byte_size(&[usize::MAX, 0], 4), Ok(0));
        assert!(matches!(byte_size(&[usize::MAX, 2], 1), Err(MemoryError::SizeOverflow { .. })));
        assert!(matches!(byte_size(&[usize::MAX / 4], 4), Err(MemoryError::SizeOverflow { .. })));
        for bytes in [usize::MAX, isize::MAX as usize, 1 << 60] {
            assert_eq!(RawBuffer::uninit(bytes).unwrap_err(), MemoryError::OutOfMemory { bytes });
        }
    }
}
