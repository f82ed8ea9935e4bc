//! Where everything goes: sections by access, each access on pages of its own, and the slots for far targets.

use std::collections::BTreeMap;
use std::ops::Range;

use super::object_file::{Access, Definition, ObjectFile};
use super::{LoadError, MAX_IMAGE_BYTES, Machine, aarch64, x86_64};

/// Something that is made for a symbol beside its sections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// The symbol's address, in a table that code loads from: 8 bytes.
    Address(usize),
    /// A jump to the symbol, for calls that cannot reach it: 16 bytes.
    Stub(usize),
}

/// What a type of relocation needs beside the symbol's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Address,
    Stub,
}

/// Offsets into the image.
pub(super) struct Layout {
    /// The size of the image, a multiple of the page size.
    pub(super) bytes: usize,
    /// Where each section starts.
    pub(super) sections: Vec<usize>,
    /// Where each slot starts.
    pub(super) slots: BTreeMap<Target, usize>,
    /// The pages of each access.
    pub(super) segments: Vec<(Access, Range<usize>)>,
    /// Whether some relocation refers to the symbol.
    pub(super) needed: Vec<bool>,
}

impl Layout {
    pub(super) fn new(object: &ObjectFile<'_>, page: usize) -> Result<Layout, LoadError> {
        let (slots, needed) = needs(object);
        let mut layout = Layout {
            bytes: 0,
            sections: vec![0; object.sections.len()],
            slots: BTreeMap::new(),
            segments: Vec::new(),
            needed,
        };
        for access in [Access::Execute, Access::Read, Access::Write] {
            let start = layout.bytes;
            for (index, section) in object.sections.iter().enumerate().filter(|(_, s)| s.access == access) {
                layout.sections[index] = layout.reserve(section.size, section.alignment)?;
            }
            for &slot in &slots {
                let (home, size) = match slot {
                    Target::Stub(_) => (Access::Execute, 16),
                    Target::Address(_) => (Access::Read, 8),
                };
                if home == access {
                    let offset = layout.reserve(size, size)?;
                    layout.slots.insert(slot, offset);
                }
            }
            layout.reserve(0, page)?;
            if layout.bytes > start {
                layout.segments.push((access, start..layout.bytes));
            }
        }
        Ok(layout)
    }

    /// Takes room at the end of the image.
    fn reserve(&mut self, size: usize, alignment: usize) -> Result<usize, LoadError> {
        let start = self.bytes.checked_next_multiple_of(alignment).ok_or(LoadError::TooLarge)?;
        let end = start.checked_add(size).filter(|&end| end <= MAX_IMAGE_BYTES).ok_or(LoadError::TooLarge)?;
        self.bytes = end;
        Ok(start)
    }
}

/// The slots that the relocations ask for, in order and without repetition, and which symbols they refer to.
fn needs(object: &ObjectFile<'_>) -> (Vec<Target>, Vec<bool>) {
    let mut needed = vec![false; object.symbols.len()];
    let mut slots = Vec::new();
    for relocation in &object.relocations {
        needed[relocation.symbol] = true;
        let need = match object.machine {
            Machine::X86_64 => x86_64::need(relocation.kind),
            Machine::Aarch64 => aarch64::need(relocation.kind),
        };
        let elsewhere = matches!(object.symbols[relocation.symbol].definition, Definition::Elsewhere { .. });
        match need {
            Need::Address => slots.push(Target::Address(relocation.symbol)),
            Need::Stub if elsewhere => slots.push(Target::Stub(relocation.symbol)),
            Need::Stub | Need::Nothing => {}
        }
    }
    slots.sort_unstable();
    slots.dedup();
    (slots, needed)
}
