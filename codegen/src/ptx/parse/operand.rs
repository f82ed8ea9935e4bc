//! Operands: registers, numbers, vectors, addresses, labels. A register gets its row where it is first used, so
//! that a declaration of a million registers costs nothing.

use rustc_hash::FxHashMap;

use super::super::isa::{Operand, SINK, Slot, Special};
use super::lexer::TokenKind;
use super::{Kernel, ParseError, Parser};

/// The most registers of a vector: an accumulator of the largest product.
const MAX_VECTOR: usize = 256;

/// The names of a kernel, by what they stand for.
pub(super) struct Names {
    /// The scopes that are open, each with its registers: a name with a count stands for `name0` onwards.
    scopes: Vec<Scope>,
    scopes_seen: u32,
    registers: FxHashMap<(u32, String), Slot>,
    constants: FxHashMap<u64, Slot>,
    specials: Vec<(Slot, Special)>,
    /// Offsets of parameters and of variables.
    symbols: FxHashMap<String, u64>,
    labels: FxHashMap<String, u32>,
    label_names: Vec<String>,
    slots: u32,
}

struct Scope {
    id: u32,
    single: Vec<String>,
    counted: Vec<(String, u64)>,
}

impl Names {
    pub(super) fn new() -> Names {
        Names {
            scopes: vec![Scope { id: 0, single: Vec::new(), counted: Vec::new() }],
            scopes_seen: 0,
            registers: FxHashMap::default(),
            constants: FxHashMap::default(),
            specials: Vec::new(),
            symbols: FxHashMap::default(),
            labels: FxHashMap::default(),
            label_names: Vec::new(),
            slots: SINK + 1,
        }
    }

    pub(super) fn open(&mut self) {
        self.scopes_seen += 1;
        self.scopes.push(Scope { id: self.scopes_seen, single: Vec::new(), counted: Vec::new() });
    }

    /// Whether a scope of the body is left to close.
    pub(super) fn close(&mut self) -> bool {
        self.scopes.pop();
        !self.scopes.is_empty()
    }

    pub(super) fn declare(&mut self, name: &str, count: Option<u64>) {
        let scope = self.scopes.last_mut().expect("a body has its own scope until it ends");
        match count {
            Some(count) => scope.counted.push((name.to_owned(), count)),
            None => scope.single.push(name.to_owned()),
        }
    }

    /// Gives a name an offset in a state space.
    pub(super) fn define(&mut self, name: &str, offset: u64) {
        self.symbols.insert(name.to_owned(), offset);
    }

    fn fresh(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    pub(super) fn constant(&mut self, value: u64) -> Slot {
        if let Some(slot) = self.constants.get(&value) {
            return *slot;
        }
        let slot = self.fresh();
        self.constants.insert(value, slot);
        slot
    }

    fn special(&mut self, special: Special) -> Slot {
        if let Some((slot, _)) = self.specials.iter().find(|(_, s)| *s == special) {
            return *slot;
        }
        let slot = self.fresh();
        self.specials.push((slot, special));
        slot
    }

    fn register(&mut self, name: &str) -> Option<Slot> {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = name[stem.len()..].parse::<u64>().ok();
        let holds = |scope: &Scope| {
            scope.single.iter().any(|n| n == name)
                || scope.counted.iter().any(|(n, count)| n == stem && number.is_some_and(|i| i < *count))
        };
        let id = self.scopes.iter().rev().find(|s| holds(s))?.id;
        if let Some(slot) = self.registers.get(&(id, name.to_owned())) {
            return Some(*slot);
        }
        let slot = self.fresh();
        self.registers.insert((id, name.to_owned()), slot);
        Some(slot)
    }

    /// The number of a label, which may come later.
    pub(super) fn label(&mut self, name: &str) -> u32 {
        if let Some(number) = self.labels.get(name) {
            return *number;
        }
        let number = self.label_names.len() as u32;
        self.label_names.push(name.to_owned());
        self.labels.insert(name.to_owned(), number);
        number
    }

    pub(super) fn label_name(&self, number: u32) -> &str {
        &self.label_names[number as usize]
    }

    /// Gives the kernel its rows.
    pub(super) fn finish(self, kernel: &mut Kernel) {
        kernel.slots = self.slots;
        kernel.constants = self.constants.into_iter().map(|(value, slot)| (slot, value)).collect();
        kernel.constants.sort_unstable();
        kernel.specials = self.specials;
        kernel.names = self.registers.into_iter().map(|((_, name), slot)| (slot, name)).collect();
        kernel.names.sort_unstable();
    }
}

impl Parser<'_> {
    pub(super) fn operand(&mut self, names: &mut Names) -> Result<Operand, ParseError> {
        if self.eat(b'{') {
            let mut parts = Vec::new();
            loop {
                parts.push(self.simple(names)?);
                if self.eat(b'}') {
                    return Ok(Operand::Vector(parts));
                }
                if parts.len() == MAX_VECTOR {
                    return Err(self.error(&format!("at most {MAX_VECTOR} registers")));
                }
                self.expect(b',')?;
            }
        }
        if self.eat(b'[') {
            return self.address(names);
        }
        if self.eat(b'!') {
            return Ok(Operand::Negated(self.register(names)?));
        }
        let token = self.peek();
        let first = self.simple(names)?;
        if !self.eat(b'|') {
            return Ok(first);
        }
        let slot = |operand: &Operand| match operand {
            Operand::Register(slot) => Some(*slot),
            Operand::Sink => Some(SINK),
            _ => None,
        };
        let second = self.simple(names)?;
        match (slot(&first), slot(&second)) {
            (Some(first), Some(second)) => Ok(Operand::Pair(first, second)),
            _ => Err(self.error_at(token, "expected two registers around `|`")),
        }
    }

    pub(super) fn register(&mut self, names: &mut Names) -> Result<Slot, ParseError> {
        let token = self.peek();
        match self.simple(names)? {
            Operand::Register(slot) => Ok(slot),
            _ => Err(self.error_at(token, "expected a register")),
        }
    }

    /// An operand of one part.
    fn simple(&mut self, names: &mut Names) -> Result<Operand, ParseError> {
        let token = self.peek();
        if token.kind == TokenKind::Number || self.is(b'-') {
            let value = self.number()?;
            return Ok(Operand::Immediate(value, names.constant(value as u64)));
        }
        let name = self.word("an operand")?;
        if name == "_" {
            return Ok(Operand::Sink);
        }
        if let Some(slot) = names.register(name) {
            return Ok(Operand::Register(slot));
        }
        if let Some(special) = Special::parse(name) {
            return Ok(Operand::Register(names.special(special)));
        }
        if let Some(offset) = names.symbols.get(name).copied() {
            return Ok(Operand::Register(names.constant(offset)));
        }
        if name == "WARP_SZ" {
            return Ok(Operand::Immediate(32, names.constant(32)));
        }
        if name.starts_with('%') {
            return Err(self.error_at(token, &format!("expected a declared register, got `{name}`")));
        }
        Ok(Operand::Label(names.label(name)))
    }

    /// What comes behind `[`.
    fn address(&mut self, names: &mut Names) -> Result<Operand, ParseError> {
        let token = self.peek();
        let (base, mut offset) = match self.simple(names)? {
            Operand::Register(slot) => (slot, 0),
            Operand::Immediate(value, _) => (names.constant(0), value),
            _ => return Err(self.error_at(token, "expected a register, a variable or a number in brackets")),
        };
        let mut coordinates = Vec::new();
        // A minus is the number's own.
        if self.eat(b'+') || self.is(b'-') {
            offset = self.number()?;
        }
        if self.eat(b',') {
            self.expect(b'{')?;
            loop {
                let token = self.peek();
                match self.simple(names)? {
                    Operand::Register(slot) | Operand::Immediate(_, slot) => coordinates.push(slot),
                    _ => return Err(self.error_at(token, "expected a coordinate")),
                }
                if self.eat(b'}') {
                    break;
                }
                if coordinates.len() == 5 {
                    return Err(self.error("at most 5 coordinates"));
                }
                self.expect(b',')?;
            }
        }
        self.expect(b']')?;
        Ok(Operand::Address { base, offset, coordinates })
    }
}

/// The value of a number: integers as they are, floats as their bits.
pub(super) fn number(text: &str) -> Result<i64, String> {
    let wrong = || format!("expected a number, got `{text}`");
    let hex = |digits: &str, count: usize| {
        let fits = digits.len() == count && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if fits {
            u64::from_str_radix(digits, 16).map(|v| v as i64).map_err(|_| wrong())
        } else {
            Err(wrong())
        }
    };
    match text.as_bytes() {
        [b'0', b'f' | b'F', ..] => return hex(&text[2..], 8),
        [b'0', b'd' | b'D', ..] => return hex(&text[2..], 16),
        _ => {}
    }
    let digits = text.trim_end_matches('U');
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&digits[2..], 16),
        [b'0', b'b' | b'B', ..] => (&digits[2..], 2),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if text.contains('.') {
        return Err(format!("expected floats as 0f… or 0d…, got `{text}`"));
    }
    u64::from_str_radix(digits, radix).map(|v| v as i64).map_err(|_| wrong())
}
