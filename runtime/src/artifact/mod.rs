//! One file that holds a compiled model: manifest, machine code for one processor or several, weights.
//!
//! ```text
//! "TCCMODEL" | version u32 | reserved u32 | manifest bytes u64 | checksum u64 | manifest (JSON)
//! … up to a multiple of 64 … | object code | constants, each at a multiple of 64
//! ```
//!
//! Offsets in the manifest count from the first byte behind it, rounded up to 64. Constants are used where they are
//! mapped, and those that several variants share are there once. The file is untrusted: everything is checked
//! before any code runs. The checksum of the header covers the manifest, which holds those of all other parts;
//! those of constants are compared only on request, so that starting does not read all weights.

mod checksum;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use self::checksum::checksum;
use crate::memory::{Buffer, HUGE_PAGE, MemoryError};
use crate::model::{BufferDef, Constant, Expr, Model, Param, Step};

/// The first bytes of every artifact.
pub const MAGIC: &[u8; 8] = b"TCCMODEL";
/// The version of the format this reads and writes.
pub const VERSION: u32 = 2;
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
    /// It was made by another version.
    #[error("artifact: expected version {VERSION}, got {0}")]
    Version(u32),
    /// It was made for other processors.
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

/// A compiled model as it comes out of a file, or goes into one.
#[derive(Clone, Default)]
pub struct Artifact {
    /// Where it comes from.
    pub provenance: Provenance,
    /// The model for each processor it was made for.
    pub variants: Vec<Variant>,
}

/// What an artifact was made of, and by what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program and its version.
    pub made_by: String,
    /// The model's name.
    pub model: String,
    /// The SHA-256 of the model's file, where it came from one.
    pub model_sha256: Option<String>,
    /// What rewrites were allowed to do to numbers.
    pub numerics: String,
    /// The symbols that were given a value.
    pub bindings: Vec<(String, i64)>,
}

/// A model for one processor.
#[derive(Clone, Default)]
pub struct Variant {
    /// The name of the target.
    pub target: String,
    /// What made the code.
    pub backend: String,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// What the code needs of the processor, in the words of [`crate::cpu::Isa`].
    pub features: Vec<String>,
    /// The model.
    pub model: Model,
    /// The steps that an embedder must carry out, as text in the compiler's language.
    pub host: Vec<String>,
    /// The rewrites that may have changed the bits of results.
    pub ledger: Vec<Inexact>,
}

/// A rewrite that is not exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inexact {
    /// Its name.
    pub rewrite: String,
    /// What it may do to numbers.
    pub numerics: String,
    /// How often the model owes something to it.
    pub count: usize,
}

impl Variant {
    /// The same with copies of the large constants in memory that the system may back with huge pages. Starting then
    /// reads all weights, and runs miss the address cache less often than where the file is mapped.
    pub fn resident(mut self) -> Result<Variant, MemoryError> {
        for constant in &mut self.model.constants {
            let bytes: &[u8] = (*constant.bytes).as_ref();
            if bytes.len() >= HUGE_PAGE {
                *constant = Constant { bytes: Arc::new(Resident(Buffer::copy_of(bytes)?)) };
            }
        }
        Ok(self)
    }
}

struct Resident(Buffer);

impl AsRef<[u8]> for Resident {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    provenance: Provenance,
    variants: Vec<Record>,
    constants: Vec<Extent>,
}

/// A variant in the manifest.
#[derive(Serialize, Deserialize)]
struct Record {
    target: String,
    backend: String,
    arch: String,
    features: Vec<String>,
    symbols: Vec<String>,
    ranges: Vec<[i64; 2]>,
    inputs: Vec<Param>,
    outputs: Vec<Param>,
    buffers: Vec<BufferDef>,
    arena_bytes: Option<Expr>,
    steps: Vec<Step>,
    functions: Vec<String>,
    flush_denormals: bool,
    object: Extent,
    /// By number among all constants of the file.
    constants: Vec<u32>,
    host: Vec<String>,
    ledger: Vec<Inexact>,
}

/// A range of bytes behind the manifest.
#[derive(Serialize, Deserialize, Clone, Copy)]
struct Extent {
    offset: u64,
    len: u64,
    checksum: u64,
}

/// Gives parts of the file their places.
#[derive(Default)]
struct Layout<'a> {
    end: u64,
    parts: Vec<&'a [u8]>,
    constants: Vec<Extent>,
    /// The constants with a length and a checksum.
    known: HashMap<(u64, u64), Vec<u32>>,
    /// The part that each constant is.
    bytes: Vec<&'a [u8]>,
}

impl<'a> Layout<'a> {
    fn place(&mut self, bytes: &'a [u8], checksum: u64) -> Extent {
        let extent = Extent { offset: self.end, len: bytes.len() as u64, checksum };
        self.end = (self.end + extent.len).next_multiple_of(ALIGN as u64);
        self.parts.push(bytes);
        extent
    }

    /// The number of a constant; equal ones have the same.
    fn constant(&mut self, bytes: &'a [u8]) -> u32 {
        let sum = checksum(bytes);
        let alike = self.known.entry((bytes.len() as u64, sum)).or_default();
        if let Some(number) = alike.iter().find(|n| self.bytes[**n as usize] == bytes) {
            return *number;
        }
        let number = self.constants.len() as u32;
        alike.push(number);
        let extent = self.place(bytes, sum);
        self.constants.push(extent);
        self.bytes.push(bytes);
        number
    }
}

impl Artifact {
    /// Writes the file.
    pub fn write(&self, out: &mut impl Write) -> Result<(), ArtifactError> {
        let mut layout = Layout::default();
        let mut variants = Vec::with_capacity(self.variants.len());
        for variant in &self.variants {
            let model = &variant.model;
            variants.push(Record {
                target: variant.target.clone(),
                backend: variant.backend.clone(),
                arch: variant.arch.clone(),
                features: variant.features.clone(),
                symbols: model.symbols.clone(),
                ranges: model.ranges.clone(),
                inputs: model.inputs.clone(),
                outputs: model.outputs.clone(),
                buffers: model.buffers.clone(),
                arena_bytes: model.arena_bytes.clone(),
                steps: model.steps.clone(),
                functions: model.functions.clone(),
                flush_denormals: model.flush_denormals,
                object: layout.place(&model.object, checksum(&model.object)),
                constants: model.constants.iter().map(|c| layout.constant((*c.bytes).as_ref())).collect(),
                host: variant.host.clone(),
                ledger: variant.ledger.clone(),
            });
        }
        let manifest =
            Manifest { provenance: self.provenance.clone(), variants, constants: layout.constants };
        let text = serde_json::to_vec(&manifest).map_err(io::Error::other)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&(text.len() as u64).to_le_bytes());
        header.extend_from_slice(&checksum(&text).to_le_bytes());
        out.write_all(&header)?;
        out.write_all(&text)?;
        pad(out, HEADER + text.len())?;
        for part in layout.parts {
            out.write_all(part)?;
            pad(out, part.len())?;
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
        let parts = Parts::new(bytes)?;
        let manifest = &parts.manifest;
        let mut constants = Vec::with_capacity(manifest.constants.len().min(1 << 20));
        for extent in &manifest.constants {
            let range = parts.range(extent).ok_or_else(|| malformed("all constants", parts.found()))?;
            constants.push(Constant { bytes: Arc::new(Part { bytes: parts.bytes.clone(), range }) });
        }
        let variants = manifest.variants.iter().map(|record| parts.variant(record, &constants));
        let variants = variants.collect::<Result<Vec<Variant>, _>>()?;
        Ok(Artifact { provenance: parts.manifest.provenance, variants })
    }

    /// The variant that makes the most of this processor; it is an error if none can run on it.
    pub fn choose(self) -> Result<Variant, ArtifactError> {
        let isa = crate::cpu::Isa::detect().to_string();
        let here: Vec<&str> = isa.split('+').collect();
        let arch = if cfg!(target_arch = "aarch64") { "aarch64" } else { "x86_64" };
        let fits = |v: &Variant| {
            let needs = v.features.iter().filter(|f| *f != "portable");
            v.arch == arch && needs.into_iter().all(|f| here.contains(&f.as_str()))
        };
        let made_for: Vec<String> =
            self.variants.iter().map(|v| format!("{} with {}", v.arch, v.features.join("+"))).collect();
        // The first of the best ones: `max_by_key` would give the last.
        let best = self.variants.into_iter().filter(fits).rev().max_by_key(|v| v.features.len());
        best.ok_or_else(|| ArtifactError::Machine {
            here: format!("{arch} with {isa}"),
            made_for: made_for.join("; "),
        })
    }

    /// Compares all bytes of a file, its constants included, with the checksums in it.
    pub fn verify(path: &Path) -> Result<(), ArtifactError> {
        let file = File::open(path)?;
        // SAFETY: as in `open`.
        let map = unsafe { Mmap::map(&file)? };
        Artifact::verify_bytes(Arc::new(map))
    }

    /// As [`Artifact::verify`], of bytes.
    pub fn verify_bytes(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<(), ArtifactError> {
        Artifact::read(bytes.clone())?;
        let parts = Parts::new(bytes)?;
        parts.manifest.constants.iter().enumerate().try_for_each(|(number, extent)| {
            parts.checked(extent, || format!("constant {number}")).map(|_| ())
        })
    }
}

/// A file whose manifest has been read and checked.
struct Parts {
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    manifest: Manifest,
    /// Where offsets count from.
    start: usize,
}

impl Parts {
    fn new(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Result<Parts, ArtifactError> {
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
        let (expected, got) = (u64_at(24), checksum(text));
        if got != expected {
            return Err(malformed(format!("a manifest of checksum {expected:016x}"), format!("{got:016x}")));
        }
        let start = (HEADER + text.len()).next_multiple_of(ALIGN);
        let manifest = serde_json::from_slice(text).map_err(|e| malformed("a manifest", e))?;
        Ok(Parts { bytes, manifest, start })
    }

    fn all(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// What there is, for messages.
    fn found(&self) -> String {
        format!("{} bytes", self.all().len())
    }

    fn range(&self, extent: &Extent) -> Option<std::ops::Range<usize>> {
        let start = self.start.checked_add(usize::try_from(extent.offset).ok()?)?;
        let end = start.checked_add(usize::try_from(extent.len).ok()?)?;
        (end <= self.all().len() && extent.offset.is_multiple_of(ALIGN as u64)).then_some(start..end)
    }

    /// Bytes that are what they were when they were written.
    fn checked(&self, extent: &Extent, what: impl Fn() -> String) -> Result<&[u8], ArtifactError> {
        let range = self.range(extent).ok_or_else(|| malformed(what(), self.found()))?;
        let bytes = &self.all()[range];
        let (expected, got) = (extent.checksum, checksum(bytes));
        if got != expected {
            let expected = format!("{} of checksum {expected:016x}", what());
            return Err(malformed(expected, format!("{got:016x}")));
        }
        Ok(bytes)
    }

    fn variant(&self, record: &Record, constants: &[Constant]) -> Result<Variant, ArtifactError> {
        let object = self.checked(&record.object, || format!("code for {}", record.target))?;
        let constant = |number: &u32| {
            let found = constants.get(*number as usize).cloned();
            found.ok_or_else(|| malformed(format!("a constant below {}", constants.len()), number))
        };
        let model = Model {
            symbols: record.symbols.clone(),
            ranges: record.ranges.clone(),
            inputs: record.inputs.clone(),
            outputs: record.outputs.clone(),
            constants: record.constants.iter().map(constant).collect::<Result<_, _>>()?,
            buffers: record.buffers.clone(),
            arena_bytes: record.arena_bytes.clone(),
            steps: record.steps.clone(),
            object: object.to_vec(),
            functions: record.functions.clone(),
            flush_denormals: record.flush_denormals,
        };
        model.validate().map_err(|e| malformed("a model that fits together", e))?;
        Ok(Variant {
            target: record.target.clone(),
            backend: record.backend.clone(),
            arch: record.arch.clone(),
            features: record.features.clone(),
            model,
            host: record.host.clone(),
            ledger: record.ledger.clone(),
        })
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
