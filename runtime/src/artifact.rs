//! One file that holds a compiled model: manifest, machine code, weights.
//!
//! ```text
//! "TCCMODEL" | version u32 | reserved u32 | manifest bytes u64 | checksum u64 | manifest (JSON)
//! … up to a multiple of 64 … | object code | constants, each at a multiple of 64
//! ```
//!
//! Offsets in the manifest count from the first byte behind it, rounded up to 64. Constants are used where they
//! are mapped. The file is untrusted: everything is checked before any code runs, and the checksum covers
//! manifest and code.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::model::{BufferDef, Constant, Expr, Model, Param, Step};

/// The first bytes of every artifact.
pub const MAGIC: &[u8; 8] = b"TCCMODEL";
/// The version of the format this reads and writes.
pub const VERSION: u32 = 1;
const HEADER: usize = 32;
const ALIGN: usize = 64;
/// A manifest larger than this is refused before it is read.
const MAX_MANIFEST: usize = 1 << 30;

/// Why a file is no artifact that can run here.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It could not be read or written.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is none, or damaged.
    #[error("artifact: expected {expected}, got {got}")]
    Malformed {
        /// What should be there.
        expected: String,
        /// What is.
        got: String,
    },
    /// It was made by a later version.
    #[error("artifact: expected version {VERSION}, got {0}")]
    Version(u32),
    /// It was made for another processor.
    #[error("artifact: expected code for {here}, got code for {made_for}")]
    Machine {
        /// What this is.
        here: String,
        /// What it was made for.
        made_for: String,
    },
}

fn malformed(expected: impl Into<String>, got: impl ToString) -> ArtifactError {
    ArtifactError::Malformed { expected: expected.into(), got: got.to_string() }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    arch: String,
    features: Vec<String>,
    symbols: Vec<String>,
    inputs: Vec<Param>,
    outputs: Vec<Param>,
    buffers: Vec<BufferDef>,
    arena_bytes: Option<Expr>,
    steps: Vec<Step>,
    functions: Vec<String>,
    object: Extent,
    constants: Vec<Extent>,
    host: Vec<String>,
}

/// A range of bytes behind the manifest.
#[derive(Serialize, Deserialize, Clone, Copy)]
struct Extent {
    offset: u64,
    len: u64,
}

/// A model as it comes out of a file, or goes into one.
pub struct Artifact {
    /// The model.
    pub model: Model,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// What the code needs of the processor, in the words of [`crate::cpu::Isa`].
    pub features: Vec<String>,
    /// The steps that an embedder must carry out, as text in the compiler's language.
    pub host: Vec<String>,
}

impl Artifact {
    /// Writes the file.
    pub fn write(&self, out: &mut impl Write) -> Result<(), ArtifactError> {
        let mut at = 0u64;
        let mut place = |len: usize| {
            let extent = Extent { offset: at, len: len as u64 };
            at = (at + len as u64).next_multiple_of(ALIGN as u64);
            extent
        };
        let object = place(self.model.object.len());
        let constants = self.model.constants.iter().map(|c| place((*c.bytes).as_ref().len())).collect();
        let manifest = Manifest {
            arch: self.arch.clone(),
            features: self.features.clone(),
            symbols: self.model.symbols.clone(),
            inputs: self.model.inputs.clone(),
            outputs: self.model.outputs.clone(),
            buffers: self.model.buffers.clone(),
            arena_bytes: self.model.arena_bytes.clone(),
            steps: self.model.steps.clone(),
            functions: self.model.functions.clone(),
            object,
            constants,
            host: self.host.clone(),
        };
        let text = serde_json::to_vec(&manifest).map_err(io::Error::other)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&(text.len() as u64).to_le_bytes());
        header.extend_from_slice(&checksum(&[&text, &self.model.object]).to_le_bytes());
        out.write_all(&header)?;
        out.write_all(&text)?;
        pad(out, HEADER + text.len())?;
        out.write_all(&self.model.object)?;
        pad(out, self.model.object.len())?;
        for constant in &self.model.constants {
            let bytes: &[u8] = (*constant.bytes).as_ref();
            out.write_all(bytes)?;
            pad(out, bytes.len())?;
        }
        Ok(())
    }

    /// Maps a file and checks it.
    pub fn open(path: &Path) -> Result<Artifact, ArtifactError> {
        let file = File::open(path)?;
        // SAFETY: a mapped file must not be changed by others while it is in use; that is asked of whoever deploys
        // an artifact, as of every mapped executable.
        let map = unsafe { Mmap::map(&file)? };
        Artifact::read(Arc::new(map))
    }

    /// Reads an artifact from bytes, which its constants stay in.
    pub fn read(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Artifact, ArtifactError> {
        let all: &[u8] = (*bytes).as_ref();
        let header = all.get(..HEADER).ok_or_else(|| malformed("a header of 32 bytes", all.len()))?;
        if &header[..8] != MAGIC {
            return Err(malformed("the magic TCCMODEL", String::from_utf8_lossy(&header[..8])));
        }
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| header[at + i]));
        let version = u32::from_le_bytes(std::array::from_fn(|i| header[8 + i]));
        if version != VERSION {
            return Err(ArtifactError::Version(version));
        }
        let len = usize::try_from(u64_at(16)).ok().filter(|n| *n <= MAX_MANIFEST);
        let text = len.and_then(|n| all.get(HEADER..HEADER.checked_add(n)?));
        let text = text.ok_or_else(|| malformed("a whole manifest", format!("{} bytes", all.len())))?;
        let data_start = (HEADER + text.len()).next_multiple_of(ALIGN);
        let manifest: Manifest = serde_json::from_slice(text).map_err(|e| malformed("a manifest", e))?;
        let range = |extent: &Extent| {
            let start = data_start.checked_add(usize::try_from(extent.offset).ok()?)?;
            let end = start.checked_add(usize::try_from(extent.len).ok()?)?;
            (end <= all.len()).then_some(start..end)
        };
        let object = range(&manifest.object).ok_or_else(|| malformed("the whole object code", all.len()))?;
        let object = all[object].to_vec();
        let sum = checksum(&[text, &object]);
        if sum != u64_at(24) {
            return Err(malformed(format!("checksum {:016x}", u64_at(24)), format!("{sum:016x}")));
        }
        let mut constants = Vec::with_capacity(manifest.constants.len().min(1 << 20));
        for extent in &manifest.constants {
            let range =
                range(extent).ok_or_else(|| malformed("all constants", format!("{} bytes", all.len())))?;
            constants.push(Constant { bytes: Arc::new(Part { bytes: bytes.clone(), range }) });
        }
        let artifact = Artifact {
            model: Model {
                symbols: manifest.symbols,
                inputs: manifest.inputs,
                outputs: manifest.outputs,
                constants,
                buffers: manifest.buffers,
                arena_bytes: manifest.arena_bytes,
                steps: manifest.steps,
                object,
                functions: manifest.functions,
            },
            arch: manifest.arch,
            features: manifest.features,
            host: manifest.host,
        };
        artifact.check_machine()?;
        Ok(artifact)
    }

    fn check_machine(&self) -> Result<(), ArtifactError> {
        let isa = crate::cpu::Isa::detect().to_string();
        let here: Vec<&str> = isa.split('+').collect();
        let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
        if self.arch != arch || !self.features.iter().all(|f| here.contains(&f.as_str())) {
            return Err(ArtifactError::Machine {
                here: format!("{arch} with {isa}"),
                made_for: format!("{} with {}", self.arch, self.features.join("+")),
            });
        }
        Ok(())
    }
}

/// A part of shared bytes.
struct Part {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: std::ops::Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        let all: &[u8] = (*self.bytes).as_ref();
        &all[self.range.clone()]
    }
}

fn pad(out: &mut impl Write, len: usize) -> io::Result<()> {
    out.write_all(&[0; ALIGN][..len.next_multiple_of(ALIGN) - len])
}

/// FNV-1a over several parts: it finds damage, not forgery.
fn checksum(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in parts.iter().flat_map(|p| p.iter()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Op, Place};

    fn sample() -> Vec<u8> {
        let shape = vec![Expr(vec![Op::Symbol(0), Op::Const(4), Op::Mul])];
        let buffer = BufferDef {
            place: Place::Constant(0),
            bytes: Expr::constant(8),
            dtype: "f32".to_owned(),
            shape: shape.clone(),
        };
        let param = Param { name: "y".to_owned(), dtype: "f32".to_owned(), bits: 32, shape, buffer: 0 };
        let model = Model {
            symbols: vec!["N".to_owned()],
            outputs: vec![param],
            constants: vec![Constant { bytes: Arc::new(vec![1u8, 2, 3, 4, 5, 6, 7, 8]) }],
            buffers: vec![buffer],
            ..Model::default()
        };
        let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
        let artifact =
            Artifact { model, arch: arch.to_owned(), features: Vec::new(), host: vec!["graph".to_owned()] };
        let mut bytes = Vec::new();
        artifact.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_written_is_read() {
        let read = Artifact::read(Arc::new(sample())).unwrap();
        assert_eq!(read.host, ["graph"]);
        assert_eq!(read.model.outputs[0].shape[0].eval(&[Some(3)]), Some(12));
        let constant: &[u8] = (*read.model.constants[0].bytes).as_ref();
        assert_eq!(constant, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn damage_is_refused() {
        let good = sample();
        for len in 0..good.len() - 60 {
            assert!(Artifact::read(Arc::new(good[..len].to_vec())).is_err(), "{len}");
        }
        let manifest_end = good.len() - 64;
        for at in 0..manifest_end - 64 {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            // Only the reserved bytes may be anything.
            assert!(Artifact::read(Arc::new(bad)).is_err() || (12..16).contains(&at), "{at}");
        }
    }
}
