//! Random programs that use all of their language: every element type, scalar operation and instruction. They verify;
//! what they compute is of no interest, and may be nothing.

use smallvec::SmallVec;
use tcc::ir::dim::{Dim, Range, Symbol};
use tcc::ir::dtype::DType;
use tcc::ir::loops::Space;
use tcc::ir::mem::{Copy, Inst, LoopKind, Memory, Panel, Program, Reg, RegType, Rhs, Tile};

use super::vocabulary::Maker;

/// A program of up to some fifty instructions.
pub(crate) fn program(seed: u64) -> Program {
    let mut writer = Writer { maker: Maker::new(seed), regs: Vec::new(), assigned: Vec::new(), own: 0 };
    let mut program = Program { name: format!("program {seed}"), ..Program::default() };
    program.ranges.set(Symbol::new("N"), Range { lo: 1, hi: 9 });
    program.inputs = (0..3).map(|_| writer.memory(None)).collect();
    program.outputs = (0..2).map(|_| writer.memory(None)).collect();
    for dtype in [DType::F32, DType::F32, DType::F32] {
        program.outputs.push(writer.memory(Some(dtype)));
    }
    let places = Places { read: program.params().cloned().collect(), written: program.outputs.clone() };
    program.body = match seed % 3 {
        0 => writer.block(3, &places),
        1 => vec![writer.looped(LoopKind::Parallel, |w| w.block(3, &places))],
        _ => vec![writer.looped(LoopKind::Block(0), |w| w.grid(&places))],
    };
    program.regs = writer.regs;
    program
}

/// The buffers in scope.
#[derive(Clone)]
struct Places {
    read: Vec<Memory>,
    written: Vec<Memory>,
}

struct Writer {
    maker: Maker,
    regs: Vec<RegType>,
    assigned: Vec<Reg>,
    /// Those from here on are of this iteration of the concurrent loop around, which may assign them again.
    own: usize,
}

impl Writer {
    fn memory(&mut self, dtype: Option<DType>) -> Memory {
        let dtype = dtype.unwrap_or_else(|| self.maker.dtype());
        Memory { name: self.maker.name("m"), dtype, elements: self.maker.dim(1).maximum(&Dim::from(8i64)) }
    }

    fn looped(&mut self, kind: LoopKind, body: impl FnOnce(&mut Writer) -> Vec<Inst>) -> Inst {
        let (extent, var) = (self.maker.dim(1), self.maker.name("i"));
        let (assigned, own) = (self.assigned.len(), self.own);
        if kind != LoopKind::Serial {
            self.own = assigned;
        }
        self.maker.indices.push(var.clone());
        let body = body(self);
        self.maker.indices.retain(|name| *name != var);
        self.assigned.truncate(assigned);
        self.own = own;
        Inst::For { var, extent, kind, body }
    }

    /// What a block does: shared memory, copies to it, threads and barriers.
    fn grid(&mut self, places: &Places) -> Vec<Inst> {
        let source = self.maker.random.pick(&places.read).clone();
        let shared = self.memory(Some(source.dtype));
        let mut inner = places.clone();
        inner.read.push(shared.clone());
        inner.written.push(shared.clone());
        let threads = self.looped(LoopKind::Thread(1), |w| {
            let mut body = w.block(2, &inner);
            let active = if w.maker.random.one_in(2) { Some(w.maker.dim(1)) } else { None };
            body.push(Inst::Copy(Box::new(Copy {
                elements: 1 + w.maker.random.below(8) as u32,
                to: shared.name.clone(),
                to_offset: w.maker.dim(1),
                from: source.name.clone(),
                from_offset: w.maker.dim(2),
                active,
            })));
            body.extend([
                Inst::Commit,
                Inst::Wait { pending: w.maker.random.below(3) as u32 },
                Inst::Barrier,
            ]);
            body.extend(w.block(1, &inner));
            body
        });
        vec![Inst::Alloc { memory: shared, space: Space::Shared }, threads]
    }

    fn block(&mut self, depth: usize, places: &Places) -> Vec<Inst> {
        let mut places = places.clone();
        let (assigned, indices) = (self.assigned.len(), self.maker.indices.len());
        let count = 1 + self.maker.random.below(6);
        let mut body = Vec::new();
        for _ in 0..count {
            match self.maker.random.below(if depth == 0 { 8 } else { 11 }) {
                0 | 1 => self.store(&places, &mut body),
                2 => {
                    let memory = self.memory(None);
                    places.read.push(memory.clone());
                    places.written.push(memory.clone());
                    let space = *self.maker.random.pick(&[Space::Global, Space::Stack, Space::Register]);
                    body.push(Inst::Alloc { memory, space });
                }
                3 => {
                    let dtypes: Vec<DType> =
                        DType::ALL.into_iter().filter(|d| d.is_int() && !d.is_bool()).collect();
                    let ty = RegType { dtype: *self.maker.random.pick(&dtypes), lanes: 1 };
                    let reg = self.value(ty, &places, 1, &mut body);
                    let name = self.maker.name("at");
                    self.maker.indices.push(name.clone());
                    body.push(Inst::Bind { name, reg });
                }
                4 => self.tile(&places, &mut body),
                5..=7 => {
                    let ty =
                        RegType { dtype: self.maker.dtype(), lanes: *self.maker.random.pick(&[1, 3, 8, 16]) };
                    self.value(ty, &places, 3, &mut body);
                }
                8 => {
                    let conds = self.maker.conds();
                    let then = self.block(depth - 1, &places);
                    let otherwise =
                        if self.maker.random.one_in(2) { self.block(depth - 1, &places) } else { Vec::new() };
                    body.push(Inst::If { conds, then, otherwise });
                }
                _ => {
                    let inner = places.clone();
                    body.push(self.looped(LoopKind::Serial, |w| w.block(depth - 1, &inner)));
                }
            }
        }
        self.assigned.truncate(assigned);
        self.maker.indices.truncate(indices);
        body
    }

    fn store(&mut self, places: &Places, body: &mut Vec<Inst>) {
        let memory = self.maker.random.pick(&places.written).clone();
        let ty = RegType { dtype: memory.dtype, lanes: *self.maker.random.pick(&[1, 4]) };
        let value = self.value(ty, places, 2, body);
        let stride = Dim::from(*self.maker.random.pick(&[1i64, 1, 2, -1]));
        let active = if self.maker.random.one_in(3) { Some(self.maker.dim(1)) } else { None };
        body.push(Inst::Store { memory: memory.name, offset: self.maker.dim(2), stride, value, active });
    }

    fn tile(&mut self, places: &Places, body: &mut Vec<Inst>) {
        let floats: Vec<&Memory> = places.written.iter().filter(|m| m.dtype == DType::F32).collect();
        let [a, b, c, ..] = floats.as_slice() else { return };
        let mut panel = |memory: &Memory, column: Dim| Panel {
            memory: memory.name.clone(),
            offset: self.maker.dim(1),
            row: self.maker.dim(1),
            column,
        };
        let (a, b, c) = (panel(a, Dim::from(2i64)), panel(b, Dim::ONE), panel(c, Dim::ONE));
        let [m, n, k] = [0; 3].map(|_| self.maker.dim(1));
        let accumulate = self.maker.random.one_in(2);
        body.push(Inst::Tile(Box::new(Tile { m, n, k, a, b, c, accumulate, group: 1, shape: (4, 16) })));
    }

    /// A register of a type that holds something, assigned by up to `depth` levels of instructions.
    fn value(&mut self, ty: RegType, places: &Places, depth: usize, body: &mut Vec<Inst>) -> Reg {
        let alike = |w: &Writer, from: usize| -> Vec<Reg> {
            let known = w.assigned.iter().skip(from).copied();
            known.filter(|r| w.regs[r.0 as usize] == ty).collect()
        };
        let known = alike(self, 0);
        if !known.is_empty() && self.maker.random.one_in(4) {
            return *self.maker.random.pick(&known);
        }
        let value = self.right_side(ty, places, depth, body);
        // Registers may be assigned again.
        let own = alike(self, self.own);
        let reg = if !own.is_empty() && self.maker.random.one_in(3) {
            *self.maker.random.pick(&own)
        } else {
            self.regs.push(ty);
            Reg(self.regs.len() as u32 - 1)
        };
        if !self.assigned.contains(&reg) {
            self.assigned.push(reg);
        }
        body.push(Inst::Set { reg, value });
        reg
    }

    fn right_side(&mut self, ty: RegType, places: &Places, depth: usize, body: &mut Vec<Inst>) -> Rhs {
        let RegType { dtype, lanes } = ty;
        let sources: Vec<&Memory> = places.read.iter().filter(|m| m.dtype == dtype).collect();
        let choice = self.maker.random.below(if depth == 0 { 3 } else { 8 });
        let other = self.maker.dtype();
        match choice {
            0 if dtype == DType::I64 => Rhs::Index { base: self.maker.dim(2), step: self.maker.dim(1) },
            1 if !sources.is_empty() => Rhs::Load {
                memory: self.maker.random.pick(&sources).name.clone(),
                offset: self.maker.dim(2),
                stride: Dim::from(self.maker.random.below(3)),
                active: if self.maker.random.one_in(3) { Some(self.maker.dim(1)) } else { None },
            },
            3 => Rhs::Copy(self.value(RegType { dtype, lanes: 1 }, places, depth - 1, body)),
            4 => {
                let from = self.value(RegType { dtype, lanes: 6 }, places, depth - 1, body);
                Rhs::Extract(from, self.maker.random.below(6) as u32)
            }
            5 => {
                let value = self.value(RegType { dtype: other, lanes }, places, depth - 1, body);
                Rhs::Cast { value, saturate: self.maker.random.one_in(2) }
            }
            6 => {
                let same: Vec<DType> = DType::ALL.into_iter().filter(|d| d.bits() == dtype.bits()).collect();
                let from = *self.maker.random.pick(&same);
                Rhs::Bitcast(self.value(RegType { dtype: from, lanes }, places, depth - 1, body))
            }
            7 => match self.maker.operation(dtype) {
                Some((op, types)) => {
                    let args: SmallVec<[Reg; 3]> = types
                        .into_iter()
                        .map(|dtype| self.value(RegType { dtype, lanes }, places, depth - 1, body))
                        .collect();
                    Rhs::Op(op, args)
                }
                None => Rhs::Const(self.maker.number(dtype)),
            },
            _ => Rhs::Const(self.maker.number(dtype)),
        }
    }
}
