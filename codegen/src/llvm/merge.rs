//! Several relocatable objects as one: sections of one name are put behind each other.
//!
//! The objects are of LLVM's making, so that what they do not contain is not handled: common symbols,
//! thread-local storage, groups of sections.

use object::read::elf::ElfFile64;
use object::write::{Object as Writer, Relocation, SectionId, Symbol, SymbolId, SymbolSection as Home};
use object::{
    BinaryFormat, Endianness, LittleEndian, Object, ObjectSection, ObjectSymbol, RelocationTarget,
    SectionFlags, SectionIndex, SectionKind, SymbolFlags, SymbolIndex, SymbolKind, SymbolScope,
    SymbolSection,
};
use rustc_hash::FxHashMap;

type File<'a> = ElfFile64<'a, LittleEndian>;

/// One object with everything that the objects hold.
pub(super) fn merge(objects: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    if let [one] = objects {
        return Ok(one.clone());
    }
    let files: Vec<File<'_>> =
        objects.iter().map(|bytes| File::parse(&**bytes)).collect::<Result<_, _>>().map_err(text)?;
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let mut merged = Merged {
        writer: Writer::new(BinaryFormat::Elf, first.architecture(), Endianness::Little),
        sections: FxHashMap::default(),
        externals: FxHashMap::default(),
    };
    files.iter().try_for_each(|file| merged.add(file))?;
    merged.writer.write().map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

struct Merged<'a> {
    writer: Writer<'a>,
    sections: FxHashMap<String, SectionId>,
    /// Symbols that are defined nowhere here.
    externals: FxHashMap<String, SymbolId>,
}

/// Where the parts of one object went.
#[derive(Default)]
struct Moved {
    sections: FxHashMap<SectionIndex, (SectionId, u64)>,
    symbols: FxHashMap<SymbolIndex, (SymbolId, i64)>,
}

impl Merged<'_> {
    fn add(&mut self, file: &File<'_>) -> Result<(), String> {
        let mut moved = Moved::default();
        for section in file.sections() {
            self.section(&section, &mut moved)?;
        }
        for symbol in file.symbols() {
            self.symbol(&symbol, &mut moved)?;
        }
        for section in file.sections() {
            let Some((id, start)) = moved.sections.get(&section.index()).copied() else { continue };
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else {
                    return Err("expected relocations against symbols".to_owned());
                };
                let (symbol, shift) =
                    *moved.symbols.get(&index).ok_or("a relocation against a symbol that was left out")?;
                let moved = Relocation {
                    offset: start + offset,
                    symbol,
                    addend: relocation.addend() + shift,
                    flags: relocation.flags(),
                };
                self.writer.add_relocation(id, moved).map_err(text)?;
            }
        }
        Ok(())
    }

    /// Code and constants are kept, in sections by their name; what only linkers and unwinders read is not.
    fn section<'d>(&mut self, section: &impl ObjectSection<'d>, moved: &mut Moved) -> Result<(), String> {
        let name = section.name().map_err(text)?;
        let SectionFlags::Elf { sh_flags } = section.flags() else { return Ok(()) };
        let kept = sh_flags & u64::from(object::elf::SHF_ALLOC) != 0 && !name.starts_with(".eh_frame");
        if !kept {
            return Ok(());
        }
        let id = match self.sections.get(name) {
            Some(id) => *id,
            None => {
                let kind = section.kind();
                let kind = if kind == SectionKind::ReadOnlyString { SectionKind::ReadOnlyData } else { kind };
                let id = self.writer.add_section(Vec::new(), name.as_bytes().to_vec(), kind);
                // Merged constants would need sections of one size of entries each.
                let unmerged = u64::from(object::elf::SHF_MERGE | object::elf::SHF_STRINGS);
                self.writer.section_mut(id).flags = SectionFlags::Elf { sh_flags: sh_flags & !unmerged };
                self.sections.insert(name.to_owned(), id);
                id
            }
        };
        let data = section.data().map_err(text)?;
        let start = self.writer.append_section_data(id, data, section.align().max(1));
        moved.sections.insert(section.index(), (id, start));
        Ok(())
    }

    fn symbol<'d>(&mut self, symbol: &impl ObjectSymbol<'d>, moved: &mut Moved) -> Result<(), String> {
        let name = symbol.name().map_err(text)?;
        let entry = match symbol.section() {
            SymbolSection::Section(index) => {
                let Some((id, start)) = moved.sections.get(&index).copied() else { return Ok(()) };
                if symbol.kind() == SymbolKind::Section {
                    (self.writer.section_symbol(id), start as i64)
                } else {
                    let scope =
                        if symbol.is_local() { SymbolScope::Compilation } else { SymbolScope::Dynamic };
                    // Constants of functions have no kind.
                    let kind = symbol.kind();
                    let kind = if kind == SymbolKind::Unknown { SymbolKind::Data } else { kind };
                    let new = Symbol {
                        name: name.as_bytes().to_vec(),
                        value: start + symbol.address(),
                        size: symbol.size(),
                        kind,
                        scope,
                        weak: symbol.is_weak(),
                        section: Home::Section(id),
                        flags: SymbolFlags::None,
                    };
                    (self.writer.add_symbol(new), 0)
                }
            }
            SymbolSection::Undefined => (self.external(name), 0),
            // The name of the source file.
            _ => return Ok(()),
        };
        moved.symbols.insert(symbol.index(), entry);
        Ok(())
    }

    fn external(&mut self, name: &str) -> SymbolId {
        if let Some(id) = self.externals.get(name) {
            return *id;
        }
        let new = Symbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: 0,
            kind: SymbolKind::Text,
            scope: SymbolScope::Unknown,
            weak: false,
            section: Home::Undefined,
            flags: SymbolFlags::None,
        };
        let id = self.writer.add_symbol(new);
        self.externals.insert(name.to_owned(), id);
        id
    }
}
