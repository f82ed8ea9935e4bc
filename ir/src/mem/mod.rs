//! The memory IR: a kernel as loops over loads, stores and operations on registers.
//!
//! Buffers are flat here: an access is a buffer, an offset in elements and a number of lanes. Registers hold
//! vectors of any width (backends split what the machine does not have) and can be assigned more than once, so
//! an accumulator is a register and needs no loop-carried values. Offsets stay integer expressions over loop
//! variables and symbols, in normal form, so that a backend can hoist and share their parts.
//!
//! Registers belong to one worker, block or thread: an iteration of a `parallel`, `block` or `thread` loop reads
//! those it assigned itself or that were assigned before the loop, and none of its own are left behind it.
//!
//! A program whose body ends in one `parallel` loop is run in ranges of that loop's iterations, by any number
//! of workers; what stands before the loop, every worker does for itself. `block` and `thread` loops do the
//! same for a grid. A `barrier` makes the writes of the threads of a block visible to each other.
//!
//! An asynchronous copy moves elements to shared memory while its thread goes on. Copies are committed in groups,
//! and a thread waits until at most so many of its newest groups are still under way; until then nobody may touch
//! where they write. Its own copies are visible to a thread once it waited for them, to others behind a barrier.

mod interp;
mod parse;
mod print;
#[cfg(test)]
mod tests;
mod verify;

use smallvec::SmallVec;

pub use interp::{InterpError, interpret};
pub use parse::parse_program;

use crate::diag::Diags;
use crate::dim::{Dim, Ranges, Symbol};
use crate::dtype::{DType, Scalar};
pub use crate::loops::{Cond, Space};
use crate::scalar::ScalarOp;

/// A kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The name in text, and of the function that a backend emits.
    pub name: String,
    /// What is known of the symbols.
    pub ranges: Ranges,
    /// What is read.
    pub inputs: Vec<Memory>,
    /// What is written.
    pub outputs: Vec<Memory>,
    /// The types of the registers.
    pub regs: Vec<RegType>,
    /// What happens.
    pub body: Vec<Inst>,
}

/// A run of elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Its name.
    pub name: Symbol,
    /// The type of its elements.
    pub dtype: DType,
    /// How many there are.
    pub elements: Dim,
}

/// A register of a [`Program`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u32);

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegType {
    /// The type of a lane.
    pub dtype: DType,
    /// How many lanes; 1 for a scalar.
    pub lanes: u32,
}

/// In which order the iterations of a loop run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// One after the other.
    Serial,
    /// In any order, by several workers; only outermost.
    Parallel,
    /// As blocks of a grid, along axis 0, 1 or 2.
    Block(u8),
    /// As threads of a block, along axis 0, 1 or 2.
    Thread(u8),
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Inst {
    /// Assigns a register.
    Set {
        /// The register.
        reg: Reg,
        /// Its new value.
        value: Rhs,
    },
    /// Names an integer register, so that offsets can use it.
    Bind {
        /// The name, for the rest of the block.
        name: Symbol,
        /// A scalar integer register, widened to i64.
        reg: Reg,
    },
    /// Writes the lanes of a register to consecutive elements, or `stride` apart.
    Store {
        /// The buffer.
        memory: Symbol,
        /// The element of the first lane.
        offset: Dim,
        /// The distance of neighbouring lanes.
        stride: Dim,
        /// What is written.
        value: Reg,
        /// Only this many first lanes are written, if it is said.
        active: Option<Dim>,
    },
    /// Makes a buffer for the rest of the block.
    Alloc {
        /// The buffer.
        memory: Memory,
        /// Where it lives.
        space: Space,
    },
    /// Runs the body for `var` from zero to `extent`.
    For {
        /// The loop variable.
        var: Symbol,
        /// How often.
        extent: Dim,
        /// In which order.
        kind: LoopKind,
        /// What runs.
        body: Vec<Inst>,
    },
    /// Runs one of two bodies.
    If {
        /// All must hold for the first to run.
        conds: Vec<Cond>,
        /// What runs if they do.
        then: Vec<Inst>,
        /// What runs if one does not.
        otherwise: Vec<Inst>,
    },
    /// A micro-tile contraction, `c[m × n] (+)= a[m × k] · b[k × n]`.
    Tile(Box<Tile>),
    /// Waits for all threads of the block.
    Barrier,
    /// Begins to copy neighbouring elements to a shared buffer.
    Copy(Box<Copy>),
    /// Closes the group of the thread's copies begun since the last one; it may be empty.
    Commit,
    /// Waits for the thread's groups of copies, all but the newest.
    Wait {
        /// How many of the newest groups may still be under way.
        pending: u32,
    },
}

/// An asynchronous copy of neighbouring elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// How many elements.
    pub elements: u32,
    /// The shared buffer.
    pub to: Symbol,
    /// The first element written.
    pub to_offset: Dim,
    /// What is read: no shared buffer.
    pub from: Symbol,
    /// The first element read.
    pub from_offset: Dim,
    /// Only this many first elements are read, if it is said; zeros are written for the others.
    pub active: Option<Dim>,
}

/// The operands of a micro-tile contraction; extents may be below those of the tile it was made for.
///
/// Elements of `a` and `b` are converted to the type of `c`, which is no narrower.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Rows of `a` and `c`.
    pub m: Dim,
    /// Columns of `b` and `c`.
    pub n: Dim,
    /// What is summed over.
    pub k: Dim,
    /// The left operand, at any strides.
    pub a: Panel,
    /// The right operand; its columns are neighbours, each with the steps of a group.
    pub b: Panel,
    /// The steps of `k` that lie side by side in each column of `b`: element (p, j) of it is the one at
    /// `offset + p / group * row + j * group + p % group`.
    pub group: u32,
    /// The result; its columns are neighbours.
    pub c: Panel,
    /// Whether the products are added to what `c` holds.
    pub accumulate: bool,
    /// The largest `m` and `n` that the code for it must handle at once.
    pub shape: (u32, u32),
}

/// A matrix inside a buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// The buffer.
    pub memory: Symbol,
    /// The first element.
    pub offset: Dim,
    /// The distance of neighbouring rows (of `m` for `a` and `c`, of `k` for `b`).
    pub row: Dim,
    /// The distance of neighbouring columns.
    pub column: Dim,
}

/// What a register can be assigned.
#[derive(Clone, Debug, PartialEq)]
pub enum Rhs {
    /// A number in every lane.
    Const(Scalar),
    /// `base + step * lane`, as i64.
    Index {
        /// The value of the first lane.
        base: Dim,
        /// The distance of neighbouring lanes.
        step: Dim,
    },
    /// Elements `stride` apart; a stride of 0 repeats one.
    Load {
        /// The buffer.
        memory: Symbol,
        /// The element of the first lane.
        offset: Dim,
        /// The distance of neighbouring lanes.
        stride: Dim,
        /// Only this many first lanes are read, if it is said; the others are zero.
        active: Option<Dim>,
    },
    /// Another register; a scalar fills every lane.
    Copy(Reg),
    /// An operation, lane by lane.
    Op(ScalarOp, SmallVec<[Reg; 3]>),
    /// A conversion, lane by lane.
    Cast {
        /// What is converted.
        value: Reg,
        /// Whether values beyond the range of an 8-bit float give its largest.
        saturate: bool,
    },
    /// The same bits under the register's type.
    Bitcast(Reg),
    /// One lane, in every lane.
    Extract(Reg, u32),
    /// As many neighbouring lanes as the register has, from one on.
    Lanes(Reg, u32),
}

impl Program {
    /// Checks names, scopes, registers and types; collects all problems.
    pub fn verify(&self) -> Result<(), Diags> {
        verify::verify(self)
    }

    /// The inputs, then the outputs.
    pub fn params(&self) -> impl Iterator<Item = &Memory> {
        self.inputs.iter().chain(&self.outputs)
    }

    /// The symbols that a caller must supply, in order of name.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut found = std::collections::BTreeSet::new();
        self.params().for_each(|m| found.extend(m.elements.symbols()));
        let mut bound = std::collections::BTreeSet::new();
        each(&self.body, &mut |inst| {
            match inst {
                Inst::For { var, .. } => {
                    bound.insert(var.clone());
                }
                Inst::Bind { name, .. } => {
                    bound.insert(name.clone());
                }
                _ => {}
            }
            inst.each_dim(&mut |d| found.extend(d.symbols()));
        });
        found.difference(&bound).cloned().collect()
    }

    /// A new register.
    pub fn reg(&mut self, dtype: DType, lanes: u32) -> Reg {
        self.regs.push(RegType { dtype, lanes });
        Reg(self.regs.len() as u32 - 1)
    }

    /// The type of a register.
    pub fn ty(&self, reg: Reg) -> RegType {
        self.regs[reg.0 as usize]
    }

    /// How many tiles the work is cut into: the extent of the outermost parallel loop, or one.
    pub fn tiles(&self) -> Dim {
        match self.body.last() {
            Some(Inst::For { extent, kind: LoopKind::Parallel, .. }) => extent.clone(),
            _ => Dim::ONE,
        }
    }
}

/// Calls `visit` for every instruction, also inside loops.
pub fn each(body: &[Inst], visit: &mut dyn FnMut(&Inst)) {
    for inst in body {
        visit(inst);
        match inst {
            Inst::For { body, .. } => each(body, visit),
            Inst::If { then, otherwise, .. } => {
                each(then, visit);
                each(otherwise, visit);
            }
            _ => {}
        }
    }
}

impl Inst {
    /// Calls `visit` for every integer expression of this instruction alone.
    pub fn each_dim(&self, visit: &mut dyn FnMut(&Dim)) {
        match self {
            Inst::Set { value, .. } => match value {
                Rhs::Index { base, step } => {
                    visit(base);
                    visit(step);
                }
                Rhs::Load { offset, stride, active, .. } => {
                    visit(offset);
                    visit(stride);
                    active.iter().for_each(visit);
                }
                _ => {}
            },
            Inst::Store { offset, stride, active, .. } => {
                visit(offset);
                visit(stride);
                active.iter().for_each(visit);
            }
            Inst::Alloc { memory, .. } => visit(&memory.elements),
            Inst::For { extent, .. } => visit(extent),
            Inst::If { conds, .. } => conds.iter().for_each(|c| {
                visit(&c.left);
                visit(&c.right);
            }),
            Inst::Tile(tile) => {
                [&tile.m, &tile.n, &tile.k].into_iter().for_each(&mut *visit);
                for panel in [&tile.a, &tile.b, &tile.c] {
                    [&panel.offset, &panel.row, &panel.column].into_iter().for_each(&mut *visit);
                }
            }
            Inst::Copy(copy) => {
                visit(&copy.to_offset);
                visit(&copy.from_offset);
                copy.active.iter().for_each(visit);
            }
            Inst::Bind { .. } | Inst::Barrier | Inst::Commit | Inst::Wait { .. } => {}
        }
    }
}
