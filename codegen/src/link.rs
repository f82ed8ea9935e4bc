//! Several relocatable objects as one: sections of one name are put behind each other, and what one object names
//! and another defines is tied together.
//!
//! The objects are of our own backends' making, or a library that the compiler was built with, so that what they do
//! not contain is not handled: common symbols, thread-local storage, groups of sections.

use std::borrow::Cow;

use object::read::elf::ElfFile64;
use object::write::{Object as Writer, Relocation, SectionId, Symbol, SymbolId, SymbolSection as Home};
use object::{
    BinaryFormat, Endianness, LittleEndian, Object, ObjectSection, ObjectSymbol, RelocationEncoding,
    RelocationFlags, RelocationKind, RelocationTarget, SectionFlags, SectionIndex, SectionKind, SymbolFlags,
    SymbolIndex, SymbolKind, SymbolScope, SymbolSection,
};
use rustc_hash::{FxHashMap, FxHashSet};

type File<'a> = ElfFile64<'a, LittleEndian>;

/// What is linked.
#[derive(Default)]
pub struct Parts<'o, 'd> {
    /// Objects that are taken whole.
    pub objects: Vec<&'o [u8]>,
    /// An object of which only those sections are taken that something refers to.
    pub library: Option<&'o [u8]>,
    /// Data with a name.
    pub data: Vec<Data<'d>>,
    /// The symbols that others may see; all if there is no list.
    pub exports: Option<Vec<String>>,
}

/// Data that objects and other data refer to by name; never written by what is linked.
pub struct Data<'a> {
    /// Its symbol.
    pub name: String,
    /// The bytes, which are not copied before they are written.
    pub bytes: Cow<'a, [u8]>,
    /// A power of two.
    pub alignment: u64,
    /// Where the address of a symbol plus an offset stands in it.
    pub addresses: Vec<(u64, String, i64)>,
}

/// One relocatable object, not yet in bytes.
pub struct Linked<'a> {
    writer: Writer<'a>,
    undefined: Vec<String>,
}

impl Linked<'_> {
    /// The symbols that are defined nowhere in it, in order.
    pub fn undefined(&self) -> &[String] {
        &self.undefined
    }

    /// The bytes of the object.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        self.writer.write().map_err(text)
    }

    /// Writes the object without holding its bytes at once.
    pub fn write(&self, out: impl std::io::Write) -> Result<(), String> {
        self.writer.write_stream(out).map_err(text)
    }
}

/// Links; the machine is that of the first object.
pub fn link<'d>(parts: Parts<'_, 'd>) -> Result<Linked<'d>, String> {
    let all = parts.objects.iter().chain(&parts.library);
    let files: Vec<File<'_>> =
        all.map(|bytes| File::parse(*bytes)).collect::<Result<_, _>>().map_err(text)?;
    let first = files.first().ok_or("expected an object, got none")?;
    let mut merged = Merged {
        writer: Writer::new(BinaryFormat::Elf, first.architecture(), Endianness::Little),
        whole: parts.objects.len(),
        definitions: definitions(&files),
        exports: parts.exports,
        sections: FxHashMap::default(),
        moved: files.iter().map(|_| Moved::default()).collect(),
        named: FxHashMap::default(),
        externals: FxHashMap::default(),
    };
    let live = merged.live(&files, &parts.data)?;
    for (number, file) in files.iter().enumerate() {
        for section in file.sections().filter(|s| live.contains(&(number, s.index()))) {
            merged.section(number, &section)?;
        }
    }
    let homes: Vec<(SectionId, SymbolId)> =
        parts.data.iter().map(|data| merged.data(&data.name, data)).collect();
    for (number, file) in files.iter().enumerate() {
        for symbol in file.symbols() {
            merged.definition(number, &symbol)?;
        }
    }
    for (number, file) in files.iter().enumerate() {
        merged.references(number, file)?;
    }
    for (data, (section, _)) in parts.data.into_iter().zip(homes) {
        merged.addresses(section, &data)?;
        merged.writer.set_section_data(section, data.bytes, data.alignment);
    }
    merged.writer.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Other);
    let mut undefined: Vec<String> = merged.externals.into_keys().collect();
    undefined.sort_unstable();
    Ok(Linked { writer: merged.writer, undefined })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Where the global symbols are defined: the first file that does.
fn definitions(files: &[File<'_>]) -> FxHashMap<String, (usize, SymbolIndex)> {
    let mut found = FxHashMap::default();
    for (number, file) in files.iter().enumerate() {
        for symbol in file.symbols().filter(|s| s.is_definition() && !s.is_local()) {
            if let Ok(name) = symbol.name() {
                found.entry(name.to_owned()).or_insert((number, symbol.index()));
            }
        }
    }
    found
}

/// Whether a section is part of the program: what only linkers and unwinders read is not.
fn is_kept<'d>(section: &impl ObjectSection<'d>) -> bool {
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return false };
    let unwinding = section.name().is_ok_and(|name| name.starts_with(".eh_frame"));
    sh_flags & u64::from(object::elf::SHF_ALLOC) != 0 && !unwinding
}

struct Merged<'a> {
    writer: Writer<'a>,
    /// How many files are taken whole.
    whole: usize,
    definitions: FxHashMap<String, (usize, SymbolIndex)>,
    exports: Option<Vec<String>>,
    sections: FxHashMap<String, SectionId>,
    /// For each file, where its parts went.
    moved: Vec<Moved>,
    /// The symbols of data.
    named: FxHashMap<String, SymbolId>,
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
    /// The sections that something refers to, from the objects and the data on.
    fn live(
        &self,
        files: &[File<'_>],
        data: &[Data<'_>],
    ) -> Result<FxHashSet<(usize, SectionIndex)>, String> {
        let mut open: Vec<(usize, SectionIndex)> = Vec::new();
        for (number, file) in files.iter().enumerate().take(self.whole) {
            open.extend(file.sections().filter(is_kept).map(|s| (number, s.index())));
        }
        let home = |number: usize, index: SymbolIndex| {
            let symbol = files[number].symbol_by_index(index).map_err(text)?;
            let (number, symbol) = match symbol.is_undefined() {
                false => (number, symbol),
                true => match self.definitions.get(symbol.name().map_err(text)?) {
                    Some((number, index)) => (*number, files[*number].symbol_by_index(*index).map_err(text)?),
                    None => return Ok::<_, String>(None),
                },
            };
            Ok(symbol.section_index().map(|section| (number, section)))
        };
        for (_, name, _) in data.iter().flat_map(|d| &d.addresses) {
            if let Some((number, index)) = self.definitions.get(name) {
                open.extend(home(*number, *index)?);
            }
        }
        let mut live = FxHashSet::default();
        while let Some((number, index)) = open.pop() {
            if !live.insert((number, index)) {
                continue;
            }
            let section = files[number].section_by_index(index).map_err(text)?;
            for (_, relocation) in section.relocations() {
                if let RelocationTarget::Symbol(symbol) = relocation.target() {
                    open.extend(home(number, symbol)?);
                }
            }
        }
        Ok(live)
    }

    /// Code and constants, in sections by their name.
    fn section<'d>(&mut self, number: usize, section: &impl ObjectSection<'d>) -> Result<(), String> {
        let name = section.name().map_err(text)?;
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { return Ok(()) };
        // A library has a section for each function.
        let name = if number < self.whole { name } else { family(name) };
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
        self.moved[number].sections.insert(section.index(), (id, start));
        Ok(())
    }

    fn scope(&self, name: &str) -> SymbolScope {
        let seen = self.exports.as_ref().is_none_or(|all| all.iter().any(|e| e == name));
        if seen { SymbolScope::Dynamic } else { SymbolScope::Compilation }
    }

    /// A section of its own for data, as yet without its bytes.
    fn data(&mut self, name: &str, data: &Data<'_>) -> (SectionId, SymbolId) {
        let (section, kind) = match data.addresses.is_empty() {
            true => (".rodata", SectionKind::ReadOnlyData),
            // The addresses are filled in when a shared object is loaded.
            false => (".data.rel.ro", SectionKind::ReadOnlyDataWithRel),
        };
        let section = self.writer.add_section(Vec::new(), format!("{section}.{name}").into_bytes(), kind);
        let symbol = self.writer.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: 0,
            size: data.bytes.len() as u64,
            kind: SymbolKind::Data,
            scope: self.scope(name),
            weak: false,
            section: Home::Section(section),
            flags: SymbolFlags::None,
        });
        self.named.insert(name.to_owned(), symbol);
        (section, symbol)
    }

    /// A symbol that stands in a section that was taken.
    fn definition<'d>(&mut self, number: usize, symbol: &impl ObjectSymbol<'d>) -> Result<(), String> {
        let SymbolSection::Section(index) = symbol.section() else { return Ok(()) };
        let Some((id, start)) = self.moved[number].sections.get(&index).copied() else { return Ok(()) };
        let name = symbol.name().map_err(text)?;
        let entry = if symbol.kind() == SymbolKind::Section {
            (self.writer.section_symbol(id), start as i64)
        } else {
            let scope = if symbol.is_local() { SymbolScope::Compilation } else { self.scope(name) };
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
        };
        self.moved[number].symbols.insert(symbol.index(), entry);
        Ok(())
    }

    /// The relocations of the sections that were taken.
    fn references(&mut self, number: usize, file: &File<'_>) -> Result<(), String> {
        for section in file.sections() {
            let Some((id, start)) = self.moved[number].sections.get(&section.index()).copied() else {
                continue;
            };
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(index) = relocation.target() else {
                    return Err("expected relocations against symbols".to_owned());
                };
                let (symbol, shift) = match self.moved[number].symbols.get(&index) {
                    Some(found) => *found,
                    None => {
                        let symbol = file.symbol_by_index(index).map_err(text)?;
                        if !symbol.is_undefined() {
                            return Err("a relocation against a symbol that was left out".to_owned());
                        }
                        (self.by_name(symbol.name().map_err(text)?), 0)
                    }
                };
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

    /// The addresses in data.
    fn addresses(&mut self, section: SectionId, data: &Data<'_>) -> Result<(), String> {
        for (offset, name, addend) in &data.addresses {
            let symbol = self.by_name(name);
            let flags = RelocationFlags::Generic {
                kind: RelocationKind::Absolute,
                encoding: RelocationEncoding::Generic,
                size: 64,
            };
            let relocation = Relocation { offset: *offset, symbol, addend: *addend, flags };
            self.writer.add_relocation(section, relocation).map_err(text)?;
        }
        Ok(())
    }

    /// What a name refers to: data, a definition of a file, or something outside.
    fn by_name(&mut self, name: &str) -> SymbolId {
        if let Some(id) = self.named.get(name) {
            return *id;
        }
        let defined = self.definitions.get(name);
        if let Some((id, _)) = defined.and_then(|(number, index)| self.moved[*number].symbols.get(index)) {
            return *id;
        }
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

/// `.text` of `.text.function`, and so on.
fn family(name: &str) -> &str {
    let known = [".text", ".rodata", ".data.rel.ro", ".data", ".bss"];
    known.into_iter().find(|f| name.strip_prefix(f).is_some_and(|rest| rest.starts_with('.'))).unwrap_or(name)
}
