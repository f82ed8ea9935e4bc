//! The parts of an ELF object that loading needs, every index and offset of which has been checked.

use object::elf;
use object::read::elf::{ElfFile64, FileHeader as _};
use object::{
    LittleEndian, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags, RelocationTarget,
    SectionFlags, SymbolSection,
};

use super::{LoadError, MAX_IMAGE_BYTES, Machine};

/// A parsed object.
pub(super) struct ObjectFile<'data> {
    pub(super) machine: Machine,
    /// The sections that are loaded.
    pub(super) sections: Vec<Section<'data>>,
    /// All symbols, in the order of the file.
    pub(super) symbols: Vec<Symbol<'data>>,
    pub(super) relocations: Vec<Relocation>,
}

/// What the pages of a section allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Code.
    Execute,
    /// Constants.
    Read,
    /// Data.
    Write,
}

pub(super) struct Section<'data> {
    pub(super) name: &'data str,
    pub(super) access: Access,
    /// A power of two, at most `MAX_ALIGNMENT`.
    pub(super) alignment: usize,
    /// What is in the file; empty for zeros.
    pub(super) data: &'data [u8],
    /// At least the length of `data`.
    pub(super) size: usize,
}

pub(super) struct Symbol<'data> {
    pub(super) name: &'data str,
    pub(super) global: bool,
    pub(super) definition: Definition,
}

pub(super) enum Definition {
    /// In a loaded section, at most at its end.
    Section {
        section: usize,
        offset: u64,
    },
    Absolute(u64),
    /// In no loaded section.
    Elsewhere {
        weak: bool,
    },
}

/// A relocation of a loaded section against an existing symbol.
pub(super) struct Relocation {
    pub(super) section: usize,
    pub(super) offset: u64,
    pub(super) kind: u32,
    pub(super) symbol: usize,
    pub(super) addend: i64,
}

/// Larger alignments are refused: no code generator has a use for them.
const MAX_ALIGNMENT: u64 = 4096;

/// Sections that only debuggers and unwinders read.
const IGNORED: [&str; 2] = [".eh_frame", ".note"];

impl<'data> ObjectFile<'data> {
    pub(super) fn parse(bytes: &'data [u8]) -> Result<ObjectFile<'data>, LoadError> {
        let file = ElfFile64::<LittleEndian>::parse(bytes).map_err(LoadError::malformed)?;
        let header = file.elf_header();
        let machine = match header.e_machine(LittleEndian) {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            other => {
                return Err(LoadError::Machine {
                    expected: "x86-64 or AArch64".to_owned(),
                    found: format!("ELF machine {other:?}"),
                });
            }
        };
        if header.e_type(LittleEndian) != elf::ET_REL {
            return Err(LoadError::malformed("an ELF file of another type"));
        }
        let (sections, numbers) = sections(&file)?;
        let symbols = symbols(&file, &sections, &numbers)?;
        let relocations = relocations(&file, &sections, &numbers, symbols.len())?;
        Ok(ObjectFile { machine, sections, symbols, relocations })
    }
}

type File<'data> = ElfFile64<'data, LittleEndian>;

/// The loaded sections, and for each section of the file which of them it is.
fn sections<'data>(file: &File<'data>) -> Result<(Vec<Section<'data>>, Vec<Option<usize>>), LoadError> {
    let (mut sections, mut numbers) = (Vec::new(), Vec::new());
    let mut total = 0usize;
    for section in file.sections() {
        let index = section.index().0;
        if index >= numbers.len() {
            numbers.resize(index + 1, None);
        }
        let SectionFlags::Elf { sh_flags: flags, .. } = section.flags() else { continue };
        let name = section.name().map_err(LoadError::malformed)?;
        if flags & u64::from(elf::SHF_ALLOC) == 0 || IGNORED.iter().any(|ignored| name.starts_with(ignored)) {
            continue;
        }
        let refuse = |reason| Err(LoadError::Section { section: name.to_owned(), reason });
        if flags & u64::from(elf::SHF_TLS) != 0 {
            return refuse("thread-local storage is not supported");
        }
        if flags & u64::from(elf::SHF_COMPRESSED) != 0 {
            return refuse("compressed contents are not supported");
        }
        if [".init_array", ".fini_array", ".ctors", ".dtors"].iter().any(|list| name.starts_with(list)) {
            return refuse("nothing may run on loading");
        }
        let access =
            match (flags & u64::from(elf::SHF_EXECINSTR) != 0, flags & u64::from(elf::SHF_WRITE) != 0) {
                (true, false) => Access::Execute,
                (false, false) => Access::Read,
                (false, true) => Access::Write,
                (true, true) => return refuse("it is writable and executable at once"),
            };
        let alignment = section.align().max(1);
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return refuse("its alignment is not a power of two up to 4096");
        }
        let data = section.data().map_err(LoadError::malformed)?;
        let size = usize::try_from(section.size()).map_err(|_| LoadError::TooLarge)?.max(data.len());
        total =
            total.checked_add(size).filter(|&total| total <= MAX_IMAGE_BYTES).ok_or(LoadError::TooLarge)?;
        numbers[index] = Some(sections.len());
        sections.push(Section { name, access, alignment: alignment as usize, data, size });
    }
    Ok((sections, numbers))
}

/// Every symbol, by its index in the file; the null symbol is absent from the file's list and is put back.
fn symbols<'data>(
    file: &File<'data>,
    sections: &[Section<'data>],
    numbers: &[Option<usize>],
) -> Result<Vec<Symbol<'data>>, LoadError> {
    let mut symbols = vec![Symbol { name: "", global: false, definition: Definition::Absolute(0) }];
    for symbol in file.symbols() {
        if symbol.index().0 != symbols.len() {
            return Err(LoadError::malformed("symbols out of order"));
        }
        let name = symbol.name().map_err(LoadError::malformed)?;
        let definition = match symbol.section() {
            SymbolSection::Section(index) => match numbers.get(index.0).copied() {
                None => {
                    return Err(LoadError::malformed(format!(
                        "symbol {name} in a section that is not there"
                    )));
                }
                Some(None) => Definition::Elsewhere { weak: false },
                Some(Some(section)) => {
                    let offset = symbol.address();
                    if offset > sections[section].size as u64 {
                        let section = sections[section].name;
                        return Err(LoadError::malformed(format!(
                            "symbol {name} beyond the end of {section}"
                        )));
                    }
                    Definition::Section { section, offset }
                }
            },
            SymbolSection::Absolute => Definition::Absolute(symbol.address()),
            SymbolSection::Common => {
                return Err(LoadError::malformed(format!(
                    "symbol {name} in common storage, which is not supported"
                )));
            }
            _ => Definition::Elsewhere { weak: symbol.is_weak() },
        };
        symbols.push(Symbol { name, global: symbol.is_global(), definition });
    }
    Ok(symbols)
}

fn relocations(
    file: &File<'_>,
    sections: &[Section<'_>],
    numbers: &[Option<usize>],
    symbols: usize,
) -> Result<Vec<Relocation>, LoadError> {
    let mut relocations = Vec::new();
    for section in file.sections() {
        let Some(Some(number)) = numbers.get(section.index().0).copied() else { continue };
        let name = sections[number].name;
        for (offset, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else {
                return Err(LoadError::malformed(format!("a relocation of {name} without a type")));
            };
            if relocation.has_implicit_addend() {
                return Err(LoadError::malformed(format!("relocations of {name} without addends")));
            }
            let symbol = match relocation.target() {
                RelocationTarget::Symbol(index) => index.0,
                RelocationTarget::Absolute => 0,
                _ => return Err(LoadError::malformed(format!("a relocation of {name} against no symbol"))),
            };
            if symbol >= symbols {
                return Err(LoadError::malformed(format!(
                    "a relocation of {name} against symbol {symbol} of {symbols}"
                )));
            }
            if offset >= sections[number].data.len() as u64 {
                return Err(LoadError::malformed(format!(
                    "a relocation at {name}+{offset:#x}, beyond its end"
                )));
            }
            let (kind, addend) = (r_type, relocation.addend());
            relocations.push(Relocation { section: number, offset, kind, symbol, addend });
        }
    }
    Ok(relocations)
}
