//! A program with names replaced by slots, so that running it looks nothing up.

use rustc_hash::FxHashMap;

use crate::dim::{Dim, SlotDim as Index, Symbol};
use crate::dtype::{DType, Scalar};
use crate::loops::{Cond, Space};
use crate::mem::{Inst, LoopKind, Panel, Program, Reg, Rhs};
use crate::scalar::ScalarOp;

pub(super) enum Code {
    Set { to: Lanes, value: Value },
    Bind { slot: usize, from: Lanes },
    Store { place: Place, from: Lanes },
    Alloc { slot: usize, name: Symbol, dtype: DType, elements: Index, space: Space },
    For { slot: usize, var: Symbol, extent: Index, kind: LoopKind, body: Vec<Code> },
    If { conds: Vec<(Index, Index)>, then: Vec<Code>, otherwise: Vec<Code> },
    Tile(Box<Tile>),
    Barrier(Barrier),
    Copy(Box<Copy>),
    Commit,
    Wait { pending: usize },
}

/// Which of the program's barriers, in the order of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Barrier(pub(super) usize);

/// Where the lanes of a register lie among those of all registers.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    pub(super) start: usize,
    pub(super) count: usize,
    pub(super) dtype: DType,
}

pub(super) enum Value {
    Const(Scalar),
    Index {
        base: Index,
        step: Index,
    },
    Load(Place),
    Copy(Lanes),
    /// The type is that of the last operand.
    Op(ScalarOp, Vec<Lanes>, DType),
    Cast(Lanes, bool),
    Bitcast(Lanes),
    Extract(usize),
    Lanes(usize),
}

pub(super) struct Place {
    pub(super) memory: usize,
    pub(super) offset: Index,
    pub(super) stride: Index,
    pub(super) active: Option<Index>,
}

pub(super) struct Copy {
    pub(super) count: usize,
    pub(super) to: (usize, Index),
    pub(super) from: (usize, Index),
    pub(super) active: Option<Index>,
}

pub(super) struct Tile {
    pub(super) extents: [Index; 3],
    pub(super) shape: (u32, u32),
    pub(super) a: Matrix,
    pub(super) b: Matrix,
    pub(super) group: i64,
    pub(super) c: Matrix,
    pub(super) accumulate: bool,
}

pub(super) struct Matrix {
    pub(super) memory: usize,
    pub(super) offset: Index,
    pub(super) row: Index,
    pub(super) column: Index,
}

/// Gives names their slots; a name in scope means one thing, so that a slot does.
pub(super) struct Names<'a> {
    program: &'a Program,
    pub(super) indices: FxHashMap<Symbol, usize>,
    pub(super) memories: FxHashMap<Symbol, usize>,
    /// Where each register's lanes start, and behind them how many all have.
    pub(super) starts: Vec<usize>,
    barriers: usize,
    pub(super) threads: bool,
}

impl<'a> Names<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        let mut starts = vec![0usize];
        let mut end = 0usize;
        for ty in &program.regs {
            end = end.saturating_add(ty.lanes as usize);
            starts.push(end);
        }
        Names {
            program,
            indices: FxHashMap::default(),
            memories: FxHashMap::default(),
            starts,
            barriers: 0,
            threads: false,
        }
    }

    pub(super) fn index_slot(&mut self, name: &Symbol) -> usize {
        let next = self.indices.len();
        *self.indices.entry(name.clone()).or_insert(next)
    }

    pub(super) fn memory_slot(&mut self, name: &Symbol) -> usize {
        let next = self.memories.len();
        *self.memories.entry(name.clone()).or_insert(next)
    }

    pub(super) fn block(&mut self, body: &[Inst]) -> Vec<Code> {
        body.iter().map(|inst| self.instruction(inst)).collect()
    }

    fn instruction(&mut self, inst: &Inst) -> Code {
        match inst {
            Inst::Set { reg, value } => Code::Set { to: self.lanes(*reg), value: self.value(value) },
            Inst::Bind { name, reg } => Code::Bind { slot: self.index_slot(name), from: self.lanes(*reg) },
            Inst::Store { memory, offset, stride, value, active } => {
                Code::Store { place: self.place(memory, offset, stride, active), from: self.lanes(*value) }
            }
            Inst::Alloc { memory, space } => Code::Alloc {
                slot: self.memory_slot(&memory.name),
                name: memory.name.clone(),
                dtype: memory.dtype,
                elements: self.index(&memory.elements),
                space: *space,
            },
            Inst::For { var, extent, kind, body } => {
                self.threads |= matches!(kind, LoopKind::Thread(_));
                let (slot, extent) = (self.index_slot(var), self.index(extent));
                Code::For { slot, var: var.clone(), extent, kind: *kind, body: self.block(body) }
            }
            Inst::If { conds, then, otherwise } => Code::If {
                conds: conds
                    .iter()
                    .map(|Cond { left, right }| (self.index(left), self.index(right)))
                    .collect(),
                then: self.block(then),
                otherwise: self.block(otherwise),
            },
            Inst::Tile(tile) => Code::Tile(Box::new(Tile {
                extents: [&tile.m, &tile.n, &tile.k].map(|d| self.index(d)),
                shape: tile.shape,
                a: self.matrix(&tile.a),
                b: self.matrix(&tile.b),
                group: i64::from(tile.group),
                c: self.matrix(&tile.c),
                accumulate: tile.accumulate,
            })),
            Inst::Barrier => {
                self.barriers += 1;
                Code::Barrier(Barrier(self.barriers - 1))
            }
            Inst::Copy(copy) => Code::Copy(Box::new(Copy {
                count: copy.elements as usize,
                to: (self.memory_slot(&copy.to), self.index(&copy.to_offset)),
                from: (self.memory_slot(&copy.from), self.index(&copy.from_offset)),
                active: copy.active.as_ref().map(|d| self.index(d)),
            })),
            Inst::Commit => Code::Commit,
            Inst::Wait { pending } => Code::Wait { pending: *pending as usize },
        }
    }

    fn value(&mut self, value: &Rhs) -> Value {
        match value {
            Rhs::Const(value) => Value::Const(*value),
            Rhs::Index { base, step } => Value::Index { base: self.index(base), step: self.index(step) },
            Rhs::Load { memory, offset, stride, active } => {
                Value::Load(self.place(memory, offset, stride, active))
            }
            Rhs::Copy(from) => Value::Copy(self.lanes(*from)),
            Rhs::Op(op, args) => {
                let args: Vec<Lanes> = args.iter().map(|r| self.lanes(*r)).collect();
                let dtype = args.last().map_or(DType::F32, |l| l.dtype);
                Value::Op(*op, args, dtype)
            }
            Rhs::Cast { value, saturate } => Value::Cast(self.lanes(*value), *saturate),
            Rhs::Bitcast(from) => Value::Bitcast(self.lanes(*from)),
            Rhs::Extract(from, lane) => Value::Extract(self.lanes(*from).start + *lane as usize),
            Rhs::Lanes(from, first) => Value::Lanes(self.lanes(*from).start + *first as usize),
        }
    }

    fn place(&mut self, memory: &Symbol, offset: &Dim, stride: &Dim, active: &Option<Dim>) -> Place {
        Place {
            memory: self.memory_slot(memory),
            offset: self.index(offset),
            stride: self.index(stride),
            active: active.as_ref().map(|d| self.index(d)),
        }
    }

    fn matrix(&mut self, panel: &Panel) -> Matrix {
        Matrix {
            memory: self.memory_slot(&panel.memory),
            offset: self.index(&panel.offset),
            row: self.index(&panel.row),
            column: self.index(&panel.column),
        }
    }

    fn lanes(&self, reg: Reg) -> Lanes {
        let ty = self.program.ty(reg);
        Lanes { start: self.starts[reg.0 as usize], count: ty.lanes as usize, dtype: ty.dtype }
    }

    fn index(&mut self, dim: &Dim) -> Index {
        Index::new(dim, &mut |name| self.index_slot(name))
    }
}
