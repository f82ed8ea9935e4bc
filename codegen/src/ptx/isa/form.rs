//! From an instruction as written to its decoded form, by the table: the name, the modifiers, the operands.

use smallvec::SmallVec;

use super::{Domain, Entry, Guard, Instruction, Operand, SINK, Source, Space, TABLES, Type};

/// An instruction as written, for the functions of the table to look at.
pub(crate) struct Form<'a> {
    /// The parts behind the name of the entry.
    pub(super) modifiers: &'a [&'a str],
    pub(super) operands: &'a [Operand],
}

impl Form<'_> {
    pub(super) fn has(&self, modifier: &str) -> bool {
        self.modifiers.contains(&modifier)
    }

    /// The types among the modifiers, in order.
    pub(super) fn types(&self) -> SmallVec<[Type; 4]> {
        self.modifiers.iter().filter_map(|m| Type::parse(m)).collect()
    }

    /// The only type.
    pub(super) fn only_type(&self) -> Result<Type, String> {
        match self.types()[..] {
            [one] => Ok(one),
            ref other => Err(format!("expected one type, got {}", other.len())),
        }
    }

    /// The only type, which must be among these.
    pub(super) fn type_of(&self, allowed: &[Type]) -> Result<Type, String> {
        let found = self.only_type()?;
        if allowed.contains(&found) {
            return Ok(found);
        }
        let names: Vec<&str> = allowed.iter().map(|t| t.name()).collect();
        Err(format!("expected a type of {}, got {}", names.join(", "), found.name()))
    }

    /// The state space, generic if none is named.
    pub(super) fn space(&self) -> Space {
        self.modifiers.iter().find_map(|m| Space::parse(m)).unwrap_or(Space::Generic)
    }

    /// The value for the modifier that is there, of a table of modifiers.
    pub(super) fn pick<T: Copy>(&self, table: &[(&str, T)]) -> Option<T> {
        self.modifiers.iter().find_map(|m| table.iter().find(|(name, _)| name == m).map(|(_, value)| *value))
    }

    /// The same, and one must be there.
    pub(super) fn choose<T: Copy>(&self, table: &[(&str, T)]) -> Result<T, String> {
        self.pick(table).ok_or_else(|| {
            let names: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            format!("expected a modifier of {}", names.join(", "))
        })
    }

    /// The value of an operand that must be a number.
    pub(super) fn immediate(&self, index: usize) -> Result<i64, String> {
        match self.operands.get(index) {
            Some(Operand::Immediate(value, _)) => Ok(*value),
            _ => Err(format!("expected a number as operand {}", index + 1)),
        }
    }

    /// The registers of an operand: more than one for a vector.
    pub(super) fn width(&self, index: usize) -> usize {
        match self.operands.get(index) {
            None => 0,
            Some(Operand::Vector(parts)) => parts.len(),
            Some(Operand::Pair(..)) => 2,
            Some(_) => 1,
        }
    }

    /// That an operand has so many registers.
    pub(super) fn expect_width(&self, index: usize, width: usize) -> Result<(), String> {
        match self.width(index) {
            found if found == width => Ok(()),
            found => Err(format!("expected {width} registers as operand {}, got {found}", index + 1)),
        }
    }
}

/// Where an instruction stands.
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) text: (u32, u32),
}

/// The decoded form of an instruction, or what was expected of it.
pub(crate) fn decode(
    name: &str,
    guard: Option<Guard>,
    operands: &[Operand],
    place: Place,
) -> Result<Instruction, String> {
    let parts: SmallVec<[&str; 12]> = name.split('.').collect();
    let entry = find(name).ok_or_else(|| format!("expected an instruction of the table, got `{name}`"))?;
    let named = entry.name.split('.').count();
    let form = Form { modifiers: &parts[named..], operands };
    for modifier in form.modifiers {
        if Type::parse(modifier).is_none() && !entry.modifiers.split(' ').any(|m| m == *modifier) {
            return Err(format!("expected no modifier `.{modifier}` on `{}`", entry.name));
        }
    }
    let mut instruction = Instruction {
        op: (entry.decode)(&form)?,
        guard,
        written: SmallVec::new(),
        read: SmallVec::new(),
        sources: SmallVec::new(),
        target: 0,
        name: entry.name,
        line: place.line,
        text: place.text,
    };
    attach(entry, operands, &mut instruction)?;
    Ok(instruction)
}

/// The entry whose name is the longest run of leading parts.
fn find(name: &str) -> Option<&'static Entry> {
    let fits = |entry: &Entry| {
        name.strip_prefix(entry.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let is_float = name.rsplit('.').find_map(Type::parse).is_some_and(Type::is_float);
    let other = if is_float { Domain::Integers } else { Domain::Floats };
    let tables = TABLES.iter().filter(|(domain, _)| *domain != other);
    tables.flat_map(|(_, entries)| entries.iter()).filter(|e| fits(e)).max_by_key(|e| e.name.len())
}

fn attach(entry: &Entry, operands: &[Operand], to: &mut Instruction) -> Result<(), String> {
    let kinds: SmallVec<[u8; 8]> = entry.operands.bytes().filter(|b| *b != b'?').collect();
    let least = entry.operands.bytes().position(|b| b == b'?').unwrap_or(kinds.len());
    if operands.len() < least || operands.len() > kinds.len() {
        let count =
            if least == kinds.len() { format!("{least}") } else { format!("{least} to {}", kinds.len()) };
        return Err(format!("expected {count} operands of `{}`, got {}", entry.name, operands.len()));
    }
    for (index, (kind, operand)) in kinds.iter().zip(operands).enumerate() {
        let wrong = |what: &str| Err(format!("expected {what} as operand {}", index + 1));
        match (kind, operand) {
            (b'd', Operand::Vector(parts)) => {
                for part in parts {
                    match part {
                        Operand::Register(slot) => to.written.push(*slot),
                        Operand::Sink => to.written.push(SINK),
                        _ => return wrong("registers"),
                    }
                }
            }
            (b'd', Operand::Register(slot)) => to.written.push(*slot),
            (b'd', Operand::Pair(first, second)) => to.written.extend([*first, *second]),
            (b'd', Operand::Sink) => to.written.push(SINK),
            (b'd', _) => return wrong("a register to write"),
            (b'l', Operand::Label(target)) => to.target = *target,
            (b'l', _) => return wrong("a label"),
            (b'a', Operand::Address { base, offset, coordinates }) => {
                let begin = to.read.len() as u16;
                to.read.push(*base);
                to.read.extend(coordinates.iter().copied());
                let end = to.read.len() as u16;
                to.sources.push(Source { begin, end, negated: false, offset: *offset });
            }
            (b'a', _) => return wrong("an address in brackets"),
            (_, operand) => {
                let begin = to.read.len() as u16;
                let mut negated = false;
                let mut push = |part: &Operand| match part {
                    Operand::Register(slot) | Operand::Immediate(_, slot) => {
                        to.read.push(*slot);
                        true
                    }
                    Operand::Negated(slot) => {
                        negated = true;
                        to.read.push(*slot);
                        true
                    }
                    _ => false,
                };
                let ok = match operand {
                    Operand::Vector(parts) => parts.iter().all(&mut push),
                    one => push(one),
                };
                if !ok {
                    return wrong("a register or a number");
                }
                let end = to.read.len() as u16;
                to.sources.push(Source { begin, end, negated, offset: 0 });
            }
        }
    }
    Ok(())
}
