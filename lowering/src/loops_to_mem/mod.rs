//! From a scheduled nest to a program: flat addresses, registers, vectors.
//!
//! ```text
//! for i in 0..8 vector { y[r, i] = max(x[r, i], f32(0.0)) }
//! ->
//! %0: f32x8 = load x[8*r]
//! %1: f32 = 0.0
//! %2: f32x8 = %1
//! %3: f32x8 = max %0, %2
//! store y[8*r] = %3
//! ```

mod phases;
mod registers;
mod tile;
mod value;
mod vector;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind as NestKind, Nest, Space, Stmt};
use tcc_ir::mem::{Inst, LoopKind, Memory, Program, Reg, Rhs, Tile};

use self::registers::Kept;
use self::vector::Lanes;

/// Lowers a verified nest.
pub fn lower_nest(nest: &Nest) -> Program {
    let own = phases::own_registers(&nest.body);
    let mut registers = registers::classify(&own);
    if let Some(program) = attempt(nest, &own, registers.clone()) {
        return program;
    }
    // A loop that was to fill a wide register runs element by element, and the lanes have no addresses.
    registers.retain(|_, kept| *kept != Kept::Wide);
    attempt(nest, &own, registers)
        .expect("without wide registers only vector loops refuse, and those have a way out")
}

/// Lowers a nest, `own` being its body, with these buffers in registers, unless a wide one is used where there is no
/// vector loop.
fn attempt(nest: &Nest, own: &[Stmt], registers: FxHashMap<Symbol, Kept>) -> Option<Program> {
    let mut program = Program { name: nest.name.clone(), ranges: nest.ranges.clone(), ..Program::default() };
    let memory =
        |b: &Buffer| Memory { name: b.name.clone(), dtype: b.ty.dtype, elements: b.ty.shape.elements() };
    program.inputs = nest.inputs.iter().map(memory).collect();
    program.outputs = nest.outputs.iter().map(memory).collect();
    let mut lowering = Lowering {
        program,
        ranges: nest.ranges.clone(),
        buffers: FxHashMap::default(),
        scalars: FxHashMap::default(),
        indices: index_names(own),
        registers,
        lanes: None,
        refused: false,
    };
    for buffer in nest.params() {
        lowering.buffers.insert(buffer.name.clone(), Place::Memory(buffer.clone()));
    }
    let outermost = own.len() == 1;
    let mut body = Vec::new();
    for stmt in own {
        lowering.statement(stmt, outermost, &mut body);
    }
    lowering.program.body = body;
    (!lowering.refused).then_some(lowering.program)
}

/// The names that integer expressions use, which must be bound as indices and not only held in registers.
fn index_names(body: &[Stmt]) -> FxHashSet<Symbol> {
    let found = std::cell::RefCell::new(FxHashSet::default());
    let collect = |dim: &Dim| {
        found.borrow_mut().extend(dim.symbols());
        dim.clone()
    };
    for stmt in body {
        stmt.map_dims(&collect);
    }
    found.into_inner()
}

/// Where a buffer of the nest went.
#[derive(Clone)]
enum Place {
    Memory(Buffer),
    /// Registers by flat index; of a vector register the index is the lane.
    Registers {
        shape: tcc_ir::shape::Extents,
        regs: Vec<Reg>,
        dtype: DType,
        wide: bool,
    },
}

struct Lowering {
    program: Program,
    ranges: Ranges,
    buffers: FxHashMap<Symbol, Place>,
    scalars: FxHashMap<Symbol, Reg>,
    indices: FxHashSet<Symbol>,
    registers: FxHashMap<Symbol, Kept>,
    /// The vector loop around.
    lanes: Option<Lanes>,
    /// Whether a wide register was used outside of a vector loop of its width, so that nothing made is good.
    refused: bool,
}

/// A vector loop cannot be carried out with vectors; it is then run element by element.
struct NotVector;

impl Lowering {
    fn set(&mut self, dtype: DType, lanes: u32, value: Rhs, out: &mut Vec<Inst>) -> Reg {
        let reg = self.program.reg(dtype, lanes);
        out.push(Inst::Set { reg, value });
        reg
    }

    fn block(&mut self, body: &[Stmt], out: &mut Vec<Inst>) {
        let mut rest = body.iter();
        while let Some(stmt) = rest.next() {
            // A tile that is zeroed right before its product is overwritten by it instead.
            if let Some(zeroed) = tile::zeroed(stmt)
                && let Some(next) = rest.as_slice().first()
                && let Some(tile) = self.tile(next).filter(|t| t.c.memory == *zeroed)
            {
                out.push(Inst::Tile(Box::new(Tile { accumulate: false, ..tile })));
                rest.next();
                continue;
            }
            self.statement(stmt, false, out);
        }
    }

    /// Outside of vector loops everything can be lowered but uses of wide registers.
    fn statement(&mut self, stmt: &Stmt, outermost: bool, out: &mut Vec<Inst>) {
        if let Stmt::For { var, extent, kind: NestKind::Vector, body } = stmt {
            let count = extent.as_const().and_then(|c| u32::try_from(c).ok()).unwrap_or(1);
            let mut vector = Vec::new();
            let saved = (self.buffers.clone(), self.scalars.clone());
            self.limit(var, extent);
            self.lanes = Some(Lanes { var: var.clone(), count });
            let done = count > 1 && body.iter().try_for_each(|s| self.inside(s, &mut vector)).is_ok();
            self.lanes = None;
            if done {
                out.extend(vector);
                return;
            }
            (self.buffers, self.scalars) = saved;
            self.serial(var, extent, LoopKind::Serial, body, out);
            return;
        }
        if let Stmt::For { var, extent, kind, body } = stmt
            && *kind != NestKind::Vector
        {
            if let Some(tile) = self.tile(stmt) {
                out.push(Inst::Tile(Box::new(tile)));
                return;
            }
            match kind {
                NestKind::Unrolled => {
                    for i in 0..extent.as_const().unwrap_or(0) {
                        let copy: Vec<Stmt> = body.iter().map(|s| s.replace(var, &Dim::from(i))).collect();
                        self.block(&copy, out);
                    }
                }
                NestKind::Parallel if outermost => self.serial(var, extent, LoopKind::Parallel, body, out),
                NestKind::Block(axis) => {
                    self.limit(var, extent);
                    let mut inner = Vec::new();
                    if self.phases(body, &mut inner) {
                        let extent = self.ranges.simplify(extent);
                        let kind = LoopKind::Block(*axis);
                        out.push(Inst::For { var: var.clone(), extent, kind, body: inner });
                    } else {
                        self.serial(var, extent, LoopKind::Block(*axis), body, out);
                    }
                }
                NestKind::Thread(axis) => self.serial(var, extent, LoopKind::Thread(*axis), body, out),
                _ => self.serial(var, extent, LoopKind::Serial, body, out),
            }
            return;
        }
        self.refused |= self.inside(stmt, out).is_err();
    }

    fn limit(&mut self, var: &Symbol, extent: &Dim) {
        let hi = self.ranges.bounds(extent).hi.saturating_sub(1).max(0);
        self.ranges.set(var.clone(), Range { lo: 0, hi });
    }

    fn serial(&mut self, var: &Symbol, extent: &Dim, kind: LoopKind, body: &[Stmt], out: &mut Vec<Inst>) {
        self.limit(var, extent);
        let mut inner = Vec::new();
        self.block(body, &mut inner);
        out.push(Inst::For { var: var.clone(), extent: self.ranges.simplify(extent), kind, body: inner });
    }

    /// A statement, with or without lanes around it.
    fn inside(&mut self, stmt: &Stmt, out: &mut Vec<Inst>) -> Result<(), NotVector> {
        match stmt {
            Stmt::For { var, extent, kind, body } => {
                if self.lanes.is_none() {
                    self.statement(stmt, false, out);
                    return Ok(());
                }
                self.uniform(extent)?;
                if *kind == NestKind::Unrolled {
                    for i in 0..extent.as_const().unwrap_or(0) {
                        for s in body {
                            self.inside(&s.replace(var, &Dim::from(i)), out)?;
                        }
                    }
                    return Ok(());
                }
                self.limit(var, extent);
                let mut inner = Vec::new();
                body.iter().try_for_each(|s| self.inside(s, &mut inner))?;
                let extent = self.ranges.simplify(extent);
                out.push(Inst::For { var: var.clone(), extent, kind: LoopKind::Serial, body: inner });
                Ok(())
            }
            Stmt::If { conds, body } => {
                for cond in conds {
                    self.uniform(&cond.left)?;
                    self.uniform(&cond.right)?;
                }
                let mut then = Vec::new();
                body.iter().try_for_each(|s| self.inside(s, &mut then))?;
                out.push(Inst::If { conds: self.conditions(conds), then, otherwise: Vec::new() });
                Ok(())
            }
            Stmt::Let { name, value } => {
                let reg = self.value(value, out)?;
                if self.indices.contains(name) {
                    if self.program.ty(reg).lanes > 1 {
                        return Err(NotVector);
                    }
                    out.push(Inst::Bind { name: name.clone(), reg });
                }
                self.scalars.insert(name.clone(), reg);
                Ok(())
            }
            Stmt::Alloc { buffer, space } => self.alloc(buffer, *space, out),
            Stmt::Store { targets, values, combine } => self.store(targets, values, combine, out),
        }
    }

    fn alloc(&mut self, buffer: &Buffer, space: Space, out: &mut Vec<Inst>) -> Result<(), NotVector> {
        let (name, dtype) = (buffer.name.clone(), buffer.ty.dtype);
        let kept = if space == Space::Register { self.registers.get(&name).copied() } else { None };
        let Some(kept) = kept else {
            // Each lane would need a buffer of its own.
            if self.lanes.is_some() {
                return Err(NotVector);
            }
            let elements = buffer.ty.shape.elements();
            out.push(Inst::Alloc { memory: Memory { name: name.clone(), dtype, elements }, space });
            self.buffers.insert(name, Place::Memory(buffer.clone()));
            return Ok(());
        };
        let shape = buffer.ty.shape.as_fixed().unwrap_or_default();
        let count: usize = shape.iter().product();
        let place = match kept {
            Kept::Wide => {
                let reg = self.program.reg(dtype, count as u32);
                Place::Registers { shape, regs: vec![reg], dtype, wide: true }
            }
            Kept::Elements => {
                // Inside of a vector loop each element is as wide as the loop.
                let width = self.lanes.as_ref().map_or(1, |l| l.count);
                let regs = (0..count).map(|_| self.program.reg(dtype, width)).collect();
                Place::Registers { shape, regs, dtype, wide: false }
            }
        };
        self.buffers.insert(name, place);
        Ok(())
    }

    fn store(
        &mut self,
        targets: &[Access],
        values: &[Expr],
        combine: &Combine,
        out: &mut Vec<Inst>,
    ) -> Result<(), NotVector> {
        let mut given: SmallVec<[Reg; 2]> = SmallVec::new();
        for value in values {
            given.push(self.value(value, out)?);
        }
        let new = match combine {
            Combine::Replace => given,
            Combine::With(op) => {
                let mut new = SmallVec::new();
                for (target, value) in targets.iter().zip(given) {
                    let old = self.load(target, out)?;
                    new.push(self.operation(*op, &[old, value], out));
                }
                new
            }
            Combine::Tuple { params, results } => {
                for (param, target) in params.iter().zip(targets) {
                    let old = self.load(target, out)?;
                    // A copy, since the target's register changes before the last result is computed.
                    let ty = self.program.ty(old);
                    let copy = self.set(ty.dtype, ty.lanes, Rhs::Copy(old), out);
                    self.scalars.insert(param.clone(), copy);
                }
                for (param, value) in params[targets.len()..].iter().zip(given) {
                    self.scalars.insert(param.clone(), value);
                }
                let mut new = SmallVec::new();
                for result in results {
                    new.push(self.value(result, out)?);
                }
                new
            }
        };
        for (target, value) in targets.iter().zip(new) {
            self.write(target, value, out)?;
        }
        Ok(())
    }

    fn write(&mut self, target: &Access, value: Reg, out: &mut Vec<Inst>) -> Result<(), NotVector> {
        match self.buffers.get(&target.buffer).cloned() {
            Some(Place::Registers { shape, regs, wide, .. }) => {
                let reg = self.register(&shape, &regs, wide, target)?;
                if self.program.ty(reg).lanes < self.program.ty(value).lanes {
                    return Err(NotVector);
                }
                out.push(Inst::Set { reg, value: Rhs::Copy(value) });
                Ok(())
            }
            Some(Place::Memory(buffer)) => {
                let offset = self.offset(&buffer, target);
                let (offset, stride) = self.lane_step(&offset)?;
                let count = self.lanes.as_ref().map_or(1, |l| l.count);
                if count > 1 && stride.is(0) {
                    return Err(NotVector);
                }
                let ty = self.program.ty(value);
                let value =
                    if ty.lanes == count { value } else { self.set(ty.dtype, count, Rhs::Copy(value), out) };
                out.push(Inst::Store { memory: target.buffer.clone(), offset, stride, value, active: None });
                Ok(())
            }
            None => unreachable!("a verified nest names buffers in scope"),
        }
    }

    /// The register of an element of a register buffer.
    fn register(&self, shape: &[usize], regs: &[Reg], wide: bool, access: &Access) -> Result<Reg, NotVector> {
        if wide {
            // Inside the vector loop of its width, the loop variable names every lane at once.
            let lane = self.lanes.as_ref().map(|l| Dim::sym(l.var.clone()));
            return if lane.as_ref() == access.at.first() { Ok(regs[0]) } else { Err(NotVector) };
        }
        let mut flat = 0;
        for (at, extent) in access.at.iter().zip(shape) {
            let index = self.ranges.simplify(at).as_const().and_then(|c| usize::try_from(c).ok());
            let index = index
                .unwrap_or_else(|| panic!("index `{at}` of registers `{}` is not a number", access.buffer));
            flat = flat * extent + index;
        }
        Ok(regs[flat])
    }

    /// The flat index of an access.
    fn offset(&self, buffer: &Buffer, access: &Access) -> Dim {
        let flat =
            access.at.iter().zip(buffer.ty.shape.iter()).fold(Dim::ZERO, |flat, (i, e)| &(&flat * e) + i);
        self.ranges.simplify(&flat)
    }
}
