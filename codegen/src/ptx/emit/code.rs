//! The text of a kernel under construction: virtual registers, and scopes in which integer values are known.
//!
//! A scope is the body of a loop or of a branch. The text of an inner scope is joined to its outer one when it
//! ends, so that until then whatever is appended to the outer scope stands before it: that is how values move out
//! of loops. An integer value is made in the outermost scope that has all its symbols, and once.

use std::fmt::{self, Write};

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;

/// The classes of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Class {
    Pred,
    B16,
    B32,
    B64,
    F32,
    F64,
}

const CLASSES: [(Class, &str, &str); 6] = [
    (Class::Pred, "p", ".pred"),
    (Class::B16, "h", ".b16"),
    (Class::B32, "r", ".b32"),
    (Class::B64, "rd", ".b64"),
    (Class::F32, "f", ".f32"),
    (Class::F64, "fd", ".f64"),
];

impl Class {
    /// How a scalar of a type is held: narrow floats as the f32 of the same value, narrow integers extended.
    pub(super) fn of(dtype: DType) -> Class {
        match dtype {
            DType::Bool => Class::Pred,
            DType::F64 => Class::F64,
            d if d.is_float() => Class::F32,
            d if d.bits() == 64 => Class::B64,
            _ => Class::B32,
        }
    }

    fn entry(self) -> &'static (Class, &'static str, &'static str) {
        &CLASSES[self as usize]
    }

    /// Zero as an immediate.
    pub(super) fn zero(self) -> &'static str {
        match self {
            Class::F32 => "0f00000000",
            Class::F64 => "0d0000000000000000",
            _ => "0",
        }
    }

    /// The type of untyped moves and selections.
    pub(super) fn untyped(self) -> &'static str {
        &self.entry().2[1..]
    }
}

/// A virtual register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Virtual {
    pub(super) class: Class,
    number: u32,
}

impl fmt::Display for Virtual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}{}", self.class.entry().1, self.number)
    }
}

/// An integer: in a register of 32 or 64 bits, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Int {
    Reg(Virtual),
    Number(i64),
}

impl fmt::Display for Int {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Int::Reg(reg) => reg.fmt(f),
            Int::Number(value) => value.fmt(f),
        }
    }
}

/// What a register holds that an integer expression was put in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Known {
    /// Its value, in 64 bits or in 32.
    Value(Dim, bool),
    /// The address of this element of a buffer.
    Address(Symbol, Dim),
}

#[derive(Default)]
struct Scope {
    text: String,
    known: FxHashMap<Known, Int>,
}

/// The text so far.
pub(super) struct Code {
    scopes: Vec<Scope>,
    counts: [u32; 6],
    labels: u32,
}

impl Code {
    pub(super) fn new() -> Code {
        Code { scopes: vec![Scope::default()], counts: [0; 6], labels: 0 }
    }

    pub(super) fn reg(&mut self, class: Class) -> Virtual {
        let number = self.counts[class as usize];
        self.counts[class as usize] += 1;
        Virtual { class, number }
    }

    pub(super) fn label(&mut self) -> String {
        self.labels += 1;
        format!("$L{}", self.labels - 1)
    }

    /// The number of scopes around what is appended now, less one.
    pub(super) fn depth(&self) -> usize {
        self.scopes.len() - 1
    }

    /// Appends an instruction.
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) {
        self.line_at(self.depth(), line);
    }

    /// Appends an instruction to an outer scope.
    pub(super) fn line_at(&mut self, depth: usize, line: fmt::Arguments<'_>) {
        let text = &mut self.scopes[depth].text;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    {line};");
    }

    /// Appends a label.
    pub(super) fn place(&mut self, label: &str) {
        let depth = self.depth();
        let _ = writeln!(self.scopes[depth].text, "{label}:");
    }

    pub(super) fn open(&mut self) {
        self.scopes.push(Scope::default());
    }

    /// Ends the innermost scope and gives its text, to be appended by [`Code::join`].
    pub(super) fn close(&mut self) -> String {
        self.scopes.pop().map(|s| s.text).unwrap_or_default()
    }

    pub(super) fn join(&mut self, text: &str) {
        let depth = self.depth();
        self.scopes[depth].text.push_str(text);
    }

    pub(super) fn known(&self, depth: usize, what: &Known) -> Option<Int> {
        self.scopes[depth].known.get(what).copied()
    }

    pub(super) fn remember(&mut self, depth: usize, what: Known, value: Int) {
        self.scopes[depth].known.insert(what, value);
    }

    /// Forgets what depends on a name that gets a new meaning.
    pub(super) fn forget(&mut self, name: &Symbol) {
        for scope in &mut self.scopes {
            scope.known.retain(|what, _| match what {
                Known::Value(dim, _) => !dim.mentions(name),
                Known::Address(memory, dim) => memory != name && !dim.mentions(name),
            });
        }
    }

    /// The declarations of all registers.
    pub(super) fn declarations(&self) -> String {
        let mut text = String::new();
        for ((_, prefix, ty), count) in CLASSES.iter().zip(self.counts) {
            if count > 0 {
                let _ = writeln!(text, "    .reg {ty} %{prefix}<{count}>;");
            }
        }
        text
    }
}
