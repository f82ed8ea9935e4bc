//! Loads relocatable ELF objects, as code generators emit them, into memory of this process.
//!
//! Object bytes are untrusted as far as their structure goes: whatever they are, loading ends in an image or in an
//! error. The code inside is trusted when it is called. No page is ever writable and executable at once.

mod aarch64;
mod layout;
mod mapping;
mod object_file;
mod resolve;
mod x86_64;

pub use resolve::runtime_symbol;

use std::collections::BTreeMap;
use std::fmt;

use layout::{Layout, Target};
use mapping::Mapping;
use object_file::{Definition, ObjectFile, Relocation};

/// The largest image that is loaded, in bytes.
pub const MAX_IMAGE_BYTES: usize = 1 << 30;

/// The processor that an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM, little endian.
    Aarch64,
}

impl Machine {
    /// The processor running this, if objects for it can be loaded.
    pub fn here() -> Option<Machine> {
        if cfg!(target_arch = "x86_64") {
            Some(Machine::X86_64)
        } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
            Some(Machine::Aarch64)
        } else {
            None
        }
    }
}

/// Why an object could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not a well-formed relocatable ELF object.
    #[error("expected a relocatable ELF object, found {found}")]
    Malformed {
        /// What is wrong.
        found: String,
    },
    /// The object is for another processor.
    #[error("expected code for {expected}, found {found}")]
    Machine {
        /// The processor running this.
        expected: String,
        /// What the object says.
        found: String,
    },
    /// A section of a sort that cannot be loaded.
    #[error("expected code, constants or data, found section {section}: {reason}")]
    Section {
        /// The section's name.
        section: String,
        /// What is special about it.
        reason: &'static str,
    },
    /// A relocation of a type that is not known.
    #[error(
        "expected a known {machine:?} relocation, found type {kind} at {section}+{offset:#x} against {symbol}"
    )]
    Relocation {
        /// The processor the type belongs to.
        machine: Machine,
        /// The type's number.
        kind: u32,
        /// The section to be changed.
        section: String,
        /// Where in the section.
        offset: u64,
        /// The symbol referred to.
        symbol: String,
    },
    /// A symbol that neither the object nor the resolver defines.
    #[error("expected a definition of symbol {symbol}, found none")]
    Undefined {
        /// The symbol's name.
        symbol: String,
    },
    /// A value that does not fit the field it is meant for.
    #[error(
        "expected a value that fits relocation type {kind} at {section}+{offset:#x} against {symbol}, found {value:#x}"
    )]
    Range {
        /// The relocation's type.
        kind: u32,
        /// The section to be changed.
        section: String,
        /// Where in the section.
        offset: u64,
        /// The symbol referred to.
        symbol: String,
        /// The value.
        value: i64,
    },
    /// An image beyond `MAX_IMAGE_BYTES`.
    #[error("expected an image of at most {MAX_IMAGE_BYTES} bytes, found more")]
    TooLarge,
    /// The system refused memory or its protection.
    #[error("expected memory for {bytes} bytes of code, found that the system refuses: {source}")]
    Memory {
        /// The size of the image.
        bytes: usize,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl LoadError {
    fn malformed(found: impl fmt::Display) -> LoadError {
        LoadError::Malformed { found: found.to_string() }
    }
}

/// Loaded code with its constants and data; dropped, it is gone, and so must be every pointer into it.
#[derive(Debug)]
pub struct Image {
    mapping: Mapping,
    /// Offsets of defined global symbols in the mapping.
    symbols: BTreeMap<String, usize>,
}

impl Image {
    /// Loads an object for this processor; `resolve` finds symbols that the object does not define.
    pub fn load(bytes: &[u8], resolve: &dyn Fn(&str) -> Option<*const u8>) -> Result<Image, LoadError> {
        let object = ObjectFile::parse(bytes)?;
        match Machine::here() {
            Some(here) if here == object.machine => Image::link(&object, resolve),
            here => Err(LoadError::Machine {
                expected: here.map_or_else(|| std::env::consts::ARCH.to_owned(), |here| format!("{here:?}")),
                found: format!("{:?}", object.machine),
            }),
        }
    }

    /// Loads an object whose undefined symbols are all of the runtime: micro-kernels and mathematical functions.
    pub fn load_with_runtime(bytes: &[u8]) -> Result<Image, LoadError> {
        Image::load(bytes, &runtime_symbol)
    }

    /// The address of a global symbol that the object defines.
    pub fn symbol(&self, name: &str) -> Option<*const u8> {
        // Offsets were checked against the mapping when they were recorded.
        self.symbols.get(name).map(|&offset| self.mapping.start().wrapping_add(offset).cast_const())
    }

    /// The names of all global symbols that the object defines, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.symbols.keys().map(String::as_str)
    }

    /// Places the sections, applies relocations and protects the pages.
    fn link(
        object: &ObjectFile<'_>,
        resolve: &dyn Fn(&str) -> Option<*const u8>,
    ) -> Result<Image, LoadError> {
        let layout = Layout::new(object, mapping::page_size())?;
        let mut mapping =
            Mapping::new(layout.bytes).map_err(|source| LoadError::Memory { bytes: layout.bytes, source })?;
        for (section, place) in object.sections.iter().zip(&layout.sections) {
            mapping.bytes_mut()[*place..*place + section.data.len()].copy_from_slice(section.data);
        }
        let base = mapping.start().addr() as u64;
        let targets = addresses(object, &layout, base, resolve)?;
        fill_slots(object, &layout, &targets, &mut mapping);
        for relocation in &object.relocations {
            apply(object, &layout, relocation, &targets, &mut mapping)?;
        }
        mapping
            .protect(&layout.segments)
            .map_err(|source| LoadError::Memory { bytes: layout.bytes, source })?;
        let global = object.symbols.iter().filter(|symbol| symbol.global && !symbol.name.is_empty());
        let symbols = global
            .filter_map(|symbol| match symbol.definition {
                Definition::Section { section, offset } => {
                    Some((symbol.name.to_owned(), layout.sections[section] + offset as usize))
                }
                _ => None,
            })
            .collect();
        Ok(Image { mapping, symbols })
    }
}

/// What a relocation computes with: S, A and P of the ABI documents, and the symbol's slots.
struct Patch<'a> {
    /// Type number.
    kind: u32,
    /// S + A.
    value: u64,
    /// A alone.
    addend: i64,
    /// P: the address of the field.
    place: u64,
    /// The address of the symbol's entry in the table of addresses, if it has one.
    table_entry: Option<u64>,
    /// The address of a jump to the symbol, if there is one.
    stub: Option<u64>,
    /// The section from the field on.
    field: &'a mut [u8],
    /// The bytes of the section before the field.
    before: [u8; 2],
}

/// Why a patch could not be applied.
enum Misfit {
    /// The type is not known.
    Unknown,
    /// The value does not fit.
    Range(i64),
    /// The field reaches beyond its section.
    Outside,
}

impl Patch<'_> {
    /// Overwrites the first bytes of the field.
    fn write<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), Misfit> {
        self.field.get_mut(..N).ok_or(Misfit::Outside)?.copy_from_slice(&bytes);
        Ok(())
    }

    /// Reads the field as one instruction word.
    fn word(&self) -> Result<u32, Misfit> {
        let bytes = self.field.first_chunk::<4>().ok_or(Misfit::Outside)?;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// A value as a signed 32-bit field.
    fn write_i32(&mut self, value: i64) -> Result<(), Misfit> {
        let narrow = i32::try_from(value).map_err(|_| Misfit::Range(value))?;
        self.write(narrow.to_le_bytes())
    }
}

/// The address of every symbol.
fn addresses(
    object: &ObjectFile<'_>,
    layout: &Layout,
    base: u64,
    resolve: &dyn Fn(&str) -> Option<*const u8>,
) -> Result<Vec<u64>, LoadError> {
    let address = |(index, symbol): (usize, &object_file::Symbol<'_>)| match symbol.definition {
        Definition::Section { section, offset } => Ok(base + layout.sections[section] as u64 + offset),
        Definition::Absolute(value) => Ok(value),
        Definition::Elsewhere { .. } if !layout.needed[index] => Ok(0),
        Definition::Elsewhere { weak } => match resolve(symbol.name) {
            Some(found) => Ok(found.addr() as u64),
            None if weak => Ok(0),
            None => Err(LoadError::Undefined { symbol: symbol.name.to_owned() }),
        },
    };
    object.symbols.iter().enumerate().map(address).collect()
}

/// Writes the table of addresses and the stubs.
fn fill_slots(object: &ObjectFile<'_>, layout: &Layout, targets: &[u64], mapping: &mut Mapping) {
    for (target, offset) in &layout.slots {
        let (Target::Address(symbol) | Target::Stub(symbol)) = target;
        let address = targets[*symbol].to_le_bytes();
        let slot = &mut mapping.bytes_mut()[*offset..];
        match target {
            Target::Address(_) => slot[..8].copy_from_slice(&address),
            Target::Stub(_) => {
                let jump = match object.machine {
                    Machine::X86_64 => x86_64::JUMP_TO_NEXT_ADDRESS,
                    Machine::Aarch64 => aarch64::JUMP_TO_NEXT_ADDRESS,
                };
                slot[..8].copy_from_slice(&jump);
                slot[8..16].copy_from_slice(&address);
            }
        }
    }
}

fn apply(
    object: &ObjectFile<'_>,
    layout: &Layout,
    relocation: &Relocation,
    targets: &[u64],
    mapping: &mut Mapping,
) -> Result<(), LoadError> {
    let base = mapping.start().addr() as u64;
    let section = &object.sections[relocation.section];
    let start = layout.sections[relocation.section];
    let at = relocation.offset as usize;
    let slot = |target| layout.slots.get(&target).map(|&offset| base + offset as u64);
    let bytes = &mut mapping.bytes_mut()[start..start + section.data.len()];
    let before =
        |distance: usize| at.checked_sub(distance).and_then(|at| bytes.get(at)).copied().unwrap_or(0);
    let mut patch = Patch {
        kind: relocation.kind,
        value: targets[relocation.symbol].wrapping_add_signed(relocation.addend),
        addend: relocation.addend,
        place: base + (start + at) as u64,
        table_entry: slot(Target::Address(relocation.symbol)),
        stub: slot(Target::Stub(relocation.symbol)),
        before: [before(2), before(1)],
        field: bytes.get_mut(at..).unwrap_or_default(),
    };
    let outcome = match object.machine {
        Machine::X86_64 => x86_64::apply(&mut patch),
        Machine::Aarch64 => aarch64::apply(&mut patch),
    };
    let (kind, offset) = (relocation.kind, relocation.offset);
    let symbol = || object.symbols[relocation.symbol].name.to_owned();
    let section = || section.name.to_owned();
    outcome.map_err(|misfit| match misfit {
        Misfit::Unknown => LoadError::Relocation {
            machine: object.machine,
            kind,
            section: section(),
            offset,
            symbol: symbol(),
        },
        Misfit::Range(value) => {
            LoadError::Range { kind, section: section(), offset, symbol: symbol(), value }
        }
        Misfit::Outside => {
            LoadError::malformed(format!("a relocation at {}+{offset:#x}, beyond its end", section()))
        }
    })
}

#[cfg(test)]
mod tests;
