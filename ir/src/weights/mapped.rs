//! The bytes of a file of tensors: mapped into memory, or held in it.
//!
//! Tensors made here keep the mapping alive and copy nothing. A mapping shows the file as it is
//! now: whoever shortens the file while it is in use ends the process, as with every mapping.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

use super::WeightsError;
use crate::dtype::DType;
use crate::tensor::{SharedBytes, SharedMemory, Tensor};

/// A file's name and bytes; clones share both.
#[derive(Clone)]
pub struct WeightsFile {
    name: Arc<str>,
    bytes: SharedBytes,
}

/// A mapped file.
struct Mapped(Mmap);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl SharedMemory for Mapped {
    fn copied(&self, part: Range<usize>) {
        #[cfg(target_os = "linux")]
        {
            // Whole pages alone, so that what lies beside the part stays.
            const PAGE: usize = 1 << 16;
            let (start, end) = (part.start.next_multiple_of(PAGE), part.end / PAGE * PAGE);
            if start < end {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                // SAFETY: the mapping is of a file and is never written, so that its pages come back as they were.
                // That they stay is no mistake either.
                let _ = unsafe { self.0.unchecked_advise_range(advice, start, end - start) };
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = part;
    }
}

impl WeightsFile {
    /// Maps a file.
    pub fn open(path: &Path) -> Result<WeightsFile, WeightsError> {
        let failed = |source| WeightsError::io(path.display(), source);
        let file = File::open(path).map_err(failed)?;
        // SAFETY: the mapping is read-only and private to this process. That nobody else changes
        // the file meanwhile is asked of the caller in the description of this module; plain bytes
        // are read from it, so that changes can alter values but not break a type's invariants.
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(WeightsFile { name: path.display().to_string().into(), bytes: Arc::new(Mapped(map)) })
    }

    /// Takes bytes that are in memory already; `name` is what errors call them.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> WeightsFile {
        WeightsFile { name: name.into(), bytes: Arc::new(bytes) }
    }

    /// What errors call the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// A tensor over the packed row-major little-endian elements from byte `start` on, which need
    /// not be aligned; `field` is what an error calls it.
    pub fn tensor(
        &self,
        field: &str,
        dtype: DType,
        shape: &[usize],
        start: usize,
    ) -> Result<Tensor, WeightsError> {
        Tensor::from_shared(dtype, shape, self.bytes.clone(), start)
            .map_err(|source| WeightsError::tensor(&self.name, field, source))
    }
}

impl std::fmt::Debug for WeightsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WeightsFile({}, {} bytes)", self.name, self.bytes().len())
    }
}
