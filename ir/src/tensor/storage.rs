//! The bytes under a tensor: owned and aligned to cache lines, or a region of somebody else's.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use memmap2::MmapMut;

use super::Extents;
use crate::dtype::DType;

/// Bytes that tensors may look at while anybody holds the `Arc`, such as a mapped file. They must
/// be the same bytes whenever asked for.
pub type SharedBytes = Arc<dyn SharedMemory>;

/// Memory under shared bytes.
pub trait SharedMemory: AsRef<[u8]> + Send + Sync {
    /// Says that a part has been copied and will hardly be read again, so that memory which can be had again from
    /// elsewhere need not be held.
    fn copied(&self, _part: Range<usize>) {}
}

impl SharedMemory for Vec<u8> {}

/// Owned allocations start at a cache line, which is also the widest vector of any target.
const ALIGNMENT: usize = 64;

#[derive(Clone)]
pub(super) enum Storage {
    Owned(Arc<AlignedBytes>),
    Shared(Arc<Region>),
}

/// A range of shared bytes, and the hash of the tensor that covers it once that is known.
pub(super) struct Region {
    owner: SharedBytes,
    start: usize,
    len: usize,
    hash: OnceLock<(DType, Extents, String)>,
}

impl Storage {
    pub(super) fn owned(bytes: AlignedBytes) -> Storage {
        Storage::Owned(Arc::new(bytes))
    }

    pub(super) fn shared(owner: SharedBytes, start: usize, len: usize) -> Storage {
        Storage::Shared(Arc::new(Region { owner, start, len, hash: OnceLock::new() }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Storage::Owned(bytes) => (**bytes).as_ref(),
            Storage::Shared(region) => {
                let all: &[u8] = (*region.owner).as_ref();
                &all[region.start..region.start + region.len]
            }
        }
    }

    /// Says that all of the bytes have been copied.
    pub(super) fn copied(&self) {
        if let Storage::Shared(region) = self
            && region.len >= LARGE
        {
            region.owner.copied(region.start..region.start + region.len);
        }
    }

    /// The bytes for writing, if nobody else can see them.
    pub(super) fn unique_bytes(&mut self) -> Option<&mut [u8]> {
        match self {
            Storage::Owned(bytes) => Arc::get_mut(bytes).map(AsMut::as_mut),
            Storage::Shared(_) => None,
        }
    }

    /// The shared region, if a tensor of `len` bytes from element `offset` on covers it.
    pub(super) fn whole_region(&self, dtype: DType, offset: usize, len: usize) -> Option<&Region> {
        match self {
            Storage::Shared(region) if offset == 0 && len == region.len && !dtype.is_sub_byte() => {
                Some(region)
            }
            _ => None,
        }
    }
}

impl Region {
    /// The hash of the tensor that covers the region, computed for the first type and shape asked.
    pub(super) fn hash_once(&self, dtype: DType, shape: &[usize], compute: impl Fn() -> String) -> String {
        let (known_dtype, known_shape, hash) = self.hash.get_or_init(|| (dtype, shape.into(), compute()));
        if *known_dtype == dtype && known_shape.as_slice() == shape { hash.clone() } else { compute() }
    }
}

/// Allocations from this size on are mappings of their own that the system may back with huge pages: weights that are
/// laid out anew are written, and later read, with few faults and few misses of the address cache.
const LARGE: usize = 4 << 20;

/// Owned bytes, zero at first, aligned to [`ALIGNMENT`].
pub(super) struct AlignedBytes {
    memory: Memory,
    len: usize,
}

enum Memory {
    Heap(NonNull<u8>),
    Mapped(MmapMut),
}

// SAFETY: the allocation is owned exclusively and has no interior mutability, like a `Vec<u8>`.
unsafe impl Send for AlignedBytes {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for AlignedBytes {}

impl AlignedBytes {
    /// `None` if the size is beyond the address space or memory cannot be had.
    pub(super) fn zeroed(len: usize) -> Option<AlignedBytes> {
        let layout = AlignedBytes::layout(len)?;
        if len >= LARGE {
            let mapping = MmapMut::map_anon(len).ok()?;
            // Pages of the usual size are right, too.
            #[cfg(target_os = "linux")]
            let _ = mapping.advise(memmap2::Advice::HugePage);
            return Some(AlignedBytes { memory: Memory::Mapped(mapping), len });
        }
        // SAFETY: the layout's size is at least 1.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(AlignedBytes { memory: Memory::Heap(start), len })
    }

    fn layout(len: usize) -> Option<Layout> {
        Layout::from_size_align(len.max(1), ALIGNMENT).ok()
    }
}

impl AsRef<[u8]> for AlignedBytes {
    fn as_ref(&self) -> &[u8] {
        match &self.memory {
            // SAFETY: `start` is an initialised allocation of at least `len` bytes that lives as long as
            // `self`, and only `&mut self` gives write access to it.
            Memory::Heap(start) => unsafe { std::slice::from_raw_parts(start.as_ptr(), self.len) },
            Memory::Mapped(mapping) => mapping,
        }
    }
}

impl AsMut<[u8]> for AlignedBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            // SAFETY: as for `as_ref`, and `&mut self` makes the access exclusive.
            Memory::Heap(start) => unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.len) },
            Memory::Mapped(mapping) => mapping,
        }
    }
}

impl Drop for AlignedBytes {
    fn drop(&mut self) {
        if let Memory::Heap(start) = &self.memory {
            let layout = AlignedBytes::layout(self.len).expect("the same layout was valid when allocating");
            // SAFETY: allocated in `zeroed` with this layout and freed only here.
            unsafe { dealloc(start.as_ptr(), layout) }
        }
    }
}
