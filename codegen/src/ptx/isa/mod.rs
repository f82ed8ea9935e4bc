//! The instruction set: what each instruction of PTX that we know may be written as, and its decoded form.
//!
//! Each class of instructions is a file with a table of entries. An entry names the instruction by its leading
//! dotted parts, the modifiers it may have (types aside), the kinds of its operands, and the function that makes
//! an [`Op`] of the modifiers. The longest name that fits an instruction decides.

mod barrier;
mod control;
mod convert;
mod copy;
mod float;
mod form;
mod integer;
mod matrix;
mod memory;
mod select;
mod types;
mod warp;

use smallvec::SmallVec;

pub(crate) use barrier::{BarrierOp, FenceKind, MbarrierOp};
pub(crate) use control::ControlOp;
pub(crate) use convert::ConvertOp;
pub(crate) use copy::CopyOp;
pub(crate) use float::{FloatFlags, FloatFn, FloatOp, Rounding};
pub(crate) use form::{Form, Place, decode};
pub(crate) use integer::{IntegerFn, IntegerOp};
pub(crate) use matrix::{MatrixOp, MmaShape};
pub(crate) use memory::{AtomicFn, MemoryOp};
pub(crate) use select::{Comparison, Logic, SelectOp};
pub(crate) use types::{Kind, Space, Special, Type};
pub(crate) use warp::{Shuffle, Vote, WarpOp};

/// A register of a kernel: a row of 32 lanes. Immediates and special registers have rows of their own.
pub(crate) type Slot = u32;

/// The row that takes what is written to `_`.
pub(crate) const SINK: Slot = 0;

/// What an instruction does, with everything its modifiers say.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Integer(IntegerOp),
    Float(FloatOp),
    Convert(ConvertOp),
    Select(SelectOp),
    Memory(MemoryOp),
    Control(ControlOp),
    Barrier(BarrierOp),
    Copy(CopyOp),
    Matrix(MatrixOp),
    Warp(WarpOp),
}

impl Op {
    /// The name of the class, as counters give it.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Op::Integer(_) => "integer",
            Op::Float(_) => "float",
            Op::Convert(_) => "convert",
            Op::Select(_) => "select",
            Op::Memory(_) => "memory",
            Op::Control(_) => "control",
            Op::Barrier(_) => "barrier",
            Op::Copy(_) => "copy",
            Op::Matrix(_) => "matrix",
            Op::Warp(_) => "warp",
        }
    }
}

/// The predicate that an instruction stands under.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Guard {
    pub(crate) slot: Slot,
    pub(crate) negated: bool,
}

/// A source operand: its registers, the offset of an address, and whether a predicate is negated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) begin: u16,
    pub(crate) end: u16,
    pub(crate) negated: bool,
    pub(crate) offset: i64,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) op: Op,
    pub(crate) guard: Option<Guard>,
    pub(crate) written: SmallVec<[Slot; 4]>,
    pub(crate) read: SmallVec<[Slot; 4]>,
    pub(crate) sources: SmallVec<[Source; 4]>,
    /// The instruction a branch goes to.
    pub(crate) target: u32,
    /// The leading part of its name.
    pub(crate) name: &'static str,
    pub(crate) line: u32,
    /// Where its text stands in the module's.
    pub(crate) text: (u32, u32),
}

impl Instruction {
    /// The registers of a source operand.
    pub(crate) fn source(&self, index: usize) -> &[Slot] {
        let Source { begin, end, .. } = self.sources[index];
        &self.read[usize::from(begin)..usize::from(end)]
    }

    /// The only register of a source operand.
    pub(crate) fn one(&self, index: usize) -> Slot {
        self.read[usize::from(self.sources[index].begin)]
    }
}

/// An operand as the parser reads it, with names resolved.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Register(Slot),
    /// A predicate with `!` before it.
    Negated(Slot),
    /// A number; its row holds the value.
    Immediate(i64, Slot),
    Sink,
    Vector(Vec<Operand>),
    /// `d|p`.
    Pair(Slot, Slot),
    Address {
        base: Slot,
        offset: i64,
        coordinates: Vec<Slot>,
    },
    Label(u32),
}

/// A row of the table.
pub(crate) struct Entry {
    name: &'static str,
    /// The modifiers it may have besides types, separated by spaces.
    modifiers: &'static str,
    /// The operands: `d` written, `s` read, `a` an address, `l` a label; those behind `?` may be left out.
    operands: &'static str,
    decode: fn(&Form<'_>) -> Result<Op, String>,
}

const fn entry(
    name: &'static str,
    modifiers: &'static str,
    operands: &'static str,
    decode: fn(&Form<'_>) -> Result<Op, String>,
) -> Entry {
    Entry { name, modifiers, operands, decode }
}

/// The types of the last operand that the entries of a table are for: floats and integers share names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Domain {
    Any,
    Integers,
    Floats,
}

/// The whole instruction set.
const TABLES: &[(Domain, &[Entry])] = &[
    (Domain::Integers, integer::TABLE),
    (Domain::Floats, float::TABLE),
    (Domain::Any, convert::TABLE),
    (Domain::Any, select::TABLE),
    (Domain::Any, memory::TABLE),
    (Domain::Any, control::TABLE),
    (Domain::Any, barrier::TABLE),
    (Domain::Any, copy::TABLE),
    (Domain::Any, matrix::TABLE),
    (Domain::Any, warp::TABLE),
];
