//! One kernel: the walk over the instructions of a program.
//!
//! Block and thread loops become the coordinates of the grid. What stands inside a block loop and outside of its
//! thread loops every thread does for itself, so nothing may be stored there. A thread loop of fewer iterations
//! than the block has threads is guarded, and must not hold a barrier.

mod code;
mod convert;
mod float;
mod fragment;
mod index;
mod integer;
mod memory;
mod ops;
mod raw;

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::mem::{Cond, Inst, LoopKind, Program, Reg, Rhs, each};

use self::code::{Class, Code, Int, Virtual};
use self::fragment::Fragment;
use self::index::Named;
pub(super) use self::memory::Space;
use self::memory::{Layout, Place};
use super::{GpuTarget, Kernel};
use crate::EmitError;

/// Appends an instruction to the innermost scope.
macro_rules! ins {
    ($emit:expr, $($format:tt)*) => { $emit.code.line(format_args!($($format)*)) };
}
use ins;

/// The kernel of a program and its PTX.
pub(super) fn kernel(program: &Program, target: GpuTarget) -> Result<(Kernel, String), EmitError> {
    let shape = Shape::of(program)?;
    let layout = Layout::of(program, shape.threads())?;
    let mut emit = Emit {
        program,
        target,
        ranges: program.ranges.clone(),
        code: Code::new(),
        names: FxHashMap::default(),
        memories: FxHashMap::default(),
        regs: Vec::new(),
        inside: None,
        lane: None,
        tiles: fragment::of(program),
        fragments: FxHashMap::default(),
        raw: raw::registers(program),
        layout,
        shape,
    };
    for ty in &program.regs {
        let class = if emit.raw[emit.regs.len()] { Class::B16 } else { Class::of(ty.dtype) };
        let lanes = (0..ty.lanes).map(|_| emit.code.reg(class)).collect();
        emit.regs.push(lanes);
    }
    emit.parameters();
    emit.block(&program.body)?;
    let kernel = Kernel {
        name: program.name.clone(),
        grid: emit.shape.grid.clone(),
        block: emit.shape.block,
        shared_bytes: emit.layout.shared.clone(),
        scratch_bytes: emit.layout.scratch.clone(),
        symbols: program.symbols(),
    };
    Ok((kernel, emit.finish()))
}

/// The extents of the grid and of its blocks.
struct Shape {
    grid: [Dim; 3],
    block: [u32; 3],
}

/// The most threads of a block, and along its last axis.
const MOST_THREADS: [u32; 3] = [1024, 1024, 64];

impl Shape {
    fn of(program: &Program) -> Result<Shape, EmitError> {
        let mut shape = Shape { grid: [Dim::ONE, Dim::ONE, Dim::ONE], block: [1; 3] };
        let mut blocks = [false; 3];
        let mut wrong = None;
        each(&program.body, &mut |inst| {
            let Inst::For { extent, kind, var, .. } = inst else { return };
            match kind {
                LoopKind::Block(axis) => {
                    let axis = usize::from(*axis).min(2);
                    if std::mem::replace(&mut blocks[axis], true) && shape.grid[axis] != *extent {
                        wrong = Some(format!("expected one block loop along an axis, got another, `{var}`"));
                    }
                    shape.grid[axis] = extent.clone();
                }
                LoopKind::Thread(axis) => {
                    let axis = usize::from(*axis).min(2);
                    let count = extent.as_const().and_then(|c| u32::try_from(c).ok());
                    match count.filter(|c| *c <= MOST_THREADS[axis]) {
                        Some(count) => shape.block[axis] = shape.block[axis].max(count),
                        None => {
                            wrong = Some(format!(
                                "expected at most {} threads, got {extent} of `{var}`",
                                MOST_THREADS[axis]
                            ))
                        }
                    }
                }
                LoopKind::Parallel => {
                    wrong = Some(format!("expected blocks and threads, got parallel `{var}`"))
                }
                LoopKind::Serial => {}
            }
        });
        if wrong.is_none() && shape.threads() > 1024 {
            wrong = Some(format!("expected at most 1024 threads in a block, got {:?}", shape.block));
        }
        match wrong {
            Some(message) => Err(EmitError::Unsupported { program: program.name.clone(), message }),
            None => Ok(shape),
        }
    }

    fn threads(&self) -> u32 {
        self.block.iter().product()
    }
}

pub(super) struct Emit<'p> {
    program: &'p Program,
    target: GpuTarget,
    ranges: Ranges,
    code: Code,
    names: FxHashMap<Symbol, Named>,
    memories: FxHashMap<Symbol, Place>,
    /// The lanes of the program's registers.
    regs: Vec<Vec<Virtual>>,
    /// Inside of thread loops, whether all threads of the block are there.
    inside: Option<bool>,
    /// The loop over the threads of the first axis that is around, the lanes of a warp.
    lane: Option<Symbol>,
    /// The results of the program's tiles, with their rows and columns.
    tiles: Vec<(Symbol, i64, i64)>,
    /// Where those are.
    fragments: FxHashMap<Symbol, Fragment>,
    /// Registers of narrow floats that are only moved, and stay bits.
    raw: Vec<bool>,
    layout: Layout,
    shape: Shape,
}

impl Emit<'_> {
    fn unsupported(&self, message: impl Into<String>) -> EmitError {
        EmitError::Unsupported { program: self.program.name.clone(), message: message.into() }
    }

    fn has(&self, capability: u32) -> bool {
        self.target.capability >= capability
    }

    fn parameters(&mut self) {
        let program = self.program;
        for (i, memory) in program.params().enumerate() {
            let space = if i < program.inputs.len() { Space::ReadOnly } else { Space::Global };
            let base = self.pointer(i);
            let place = Place { space, base: Int::Reg(base), depth: 0, dtype: memory.dtype };
            self.memories.insert(memory.name.clone(), place);
        }
        let count = program.params().count();
        let symbols = program.symbols();
        for (i, symbol) in symbols.iter().enumerate() {
            let reg = self.code.reg(Class::B64);
            ins!(self, "ld.param.u64 {reg}, [{}_{}]", self.program.name, count + i);
            let value = if self.is_narrow(&Dim::sym(symbol.clone())) {
                let narrow = self.code.reg(Class::B32);
                ins!(self, "cvt.u32.u64 {narrow}, {reg}");
                narrow
            } else {
                reg
            };
            self.names.insert(symbol.clone(), Named { value, depth: 0 });
        }
        if !self.layout.scratch.is(0) {
            self.layout.base = Some(self.pointer(count + symbols.len()));
        }
    }

    fn pointer(&mut self, number: usize) -> Virtual {
        let (generic, base) = (self.code.reg(Class::B64), self.code.reg(Class::B64));
        ins!(self, "ld.param.u64 {generic}, [{}_{number}]", self.program.name);
        ins!(self, "cvta.to.global.u64 {base}, {generic}");
        base
    }

    fn finish(mut self) -> String {
        let mut count = self.program.params().count() + self.program.symbols().len();
        count += usize::from(!self.layout.scratch.is(0));
        let params: Vec<String> =
            (0..count).map(|i| format!("    .param .u64 {}_{i}", self.program.name)).collect();
        let [x, y, z] = self.shape.block;
        let declarations = self.code.declarations();
        let local = self.layout.local_declarations();
        let body = self.code.close();
        format!(
            ".visible .entry {}(\n{}\n)\n.maxntid {x}, {y}, {z}\n{{\n{declarations}{local}{body}    ret;\n}}\n",
            self.program.name,
            params.join(",\n")
        )
    }

    fn block(&mut self, body: &[Inst]) -> Result<(), EmitError> {
        body.iter().try_for_each(|inst| self.inst(inst))
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), EmitError> {
        match inst {
            Inst::Set { reg, value } => self.set(*reg, value),
            Inst::Bind { name, reg } => {
                self.bind(name, *reg);
                Ok(())
            }
            Inst::Store { memory, offset, stride, value, active } => {
                let alone = self.inside.is_none() && self.shape.threads() > 1;
                if alone || (self.lane.is_none() && self.shape.block[0] > 1) {
                    return Err(self.unsupported(format!(
                        "expected stores inside of thread loops, got one to `{memory}` by all threads"
                    )));
                }
                self.store(memory, offset, stride, *value, active.as_ref())
            }
            Inst::Alloc { memory, space } => self.alloc(memory, *space),
            Inst::For { var, extent, kind, body } => match kind {
                LoopKind::Serial => self.serial(var, extent, body),
                LoopKind::Block(axis) => self.coordinate(var, extent, "%ctaid", *axis, body),
                LoopKind::Thread(axis) => self.threads(var, extent, *axis, body),
                LoopKind::Parallel => {
                    Err(self.unsupported("expected blocks and threads, got a parallel loop"))
                }
            },
            Inst::If { conds, then, otherwise } => self.branch(conds, then, otherwise),
            Inst::Tile(tile) => self.tile(tile),
            Inst::Copy(copy) => self.copy_async(copy),
            Inst::Commit => {
                ins!(self, "cp.async.commit_group");
                Ok(())
            }
            Inst::Wait { pending } => {
                ins!(self, "cp.async.wait_group {pending}");
                Ok(())
            }
            Inst::Barrier => match self.inside {
                Some(false) => Err(self.unsupported("expected all threads at a barrier, got some")),
                _ => {
                    ins!(self, "bar.sync 0");
                    Ok(())
                }
            },
        }
    }

    fn set(&mut self, reg: Reg, value: &Rhs) -> Result<(), EmitError> {
        let ty = self.program.ty(reg);
        let lanes = self.regs[reg.0 as usize].clone();
        match value {
            Rhs::Const(scalar) => {
                for to in lanes {
                    self.constant(to, ty.dtype, *scalar);
                }
            }
            Rhs::Index { base, step } => {
                for (lane, to) in lanes.into_iter().enumerate() {
                    let at = base + &(step * &Dim::from(lane));
                    let value = self.value(&at, true);
                    ins!(self, "mov.b64 {to}, {value}");
                }
            }
            Rhs::Load { memory, offset, stride, active } => {
                self.load(reg, memory, offset, stride, active.as_ref())?;
            }
            Rhs::Copy(from) => {
                for (lane, to) in lanes.into_iter().enumerate() {
                    let from = self.lane(*from, lane);
                    self.copy(to, from);
                }
            }
            Rhs::Op(op, args) => {
                for (lane, to) in lanes.into_iter().enumerate() {
                    let operands: Vec<Virtual> = args.iter().map(|a| self.lane(*a, lane)).collect();
                    let dtype = args.last().map_or(ty.dtype, |a| self.program.ty(*a).dtype);
                    self.operation(to, *op, dtype, &operands)?;
                }
            }
            Rhs::Cast { value, saturate: _ } => {
                let from = self.program.ty(*value).dtype;
                for (lane, to) in lanes.into_iter().enumerate() {
                    let operand = self.lane(*value, lane);
                    self.convert(to, ty.dtype, operand, from);
                }
            }
            Rhs::Bitcast(value) => {
                let from = self.program.ty(*value).dtype;
                for (lane, to) in lanes.into_iter().enumerate() {
                    let operand = self.lane(*value, lane);
                    self.bitcast(to, ty.dtype, operand, from);
                }
            }
            Rhs::Extract(from, lane) => {
                let from = self.regs[from.0 as usize][*lane as usize];
                for to in lanes {
                    self.copy(to, from);
                }
            }
            Rhs::Lanes(from, first) => {
                let from = self.regs[from.0 as usize][*first as usize..].to_vec();
                for (to, from) in lanes.into_iter().zip(from) {
                    self.copy(to, from);
                }
            }
        }
        Ok(())
    }

    /// A lane of a register; a scalar stands for every lane.
    fn lane(&self, reg: Reg, lane: usize) -> Virtual {
        let lanes = &self.regs[reg.0 as usize];
        lanes[if lanes.len() == 1 { 0 } else { lane }]
    }

    fn copy(&mut self, to: Virtual, from: Virtual) {
        if to != from {
            ins!(self, "mov.{} {to}, {from}", to.class.untyped());
        }
    }

    /// Names a copy of a register, which may change while the name stays.
    fn bind(&mut self, name: &Symbol, reg: Reg) {
        let (from, dtype) = (self.lane(reg, 0), self.program.ty(reg).dtype);
        let value = self.code.reg(from.class);
        self.copy(value, from);
        let value = if dtype == DType::U32 {
            // As an index it is not negative, which 32 bits with a sign cannot say.
            let wide = self.code.reg(Class::B64);
            ins!(self, "cvt.u64.u32 {wide}, {value}");
            wide
        } else {
            value
        };
        self.code.forget(name);
        self.names.insert(name.clone(), Named { value, depth: self.code.depth() });
        let range = match (dtype.int_min(), dtype.int_max()) {
            (Some(lo), Some(hi)) if dtype.bits() < 64 => Range { lo: lo as i64, hi: hi as i64 },
            _ => Range { lo: i64::MIN, hi: i64::MAX },
        };
        self.ranges.set(name.clone(), range);
    }

    fn limit(&mut self, var: &Symbol, extent: &Dim) {
        let hi = self.ranges.bounds(extent).hi.saturating_sub(1).max(0);
        self.ranges.set(var.clone(), Range { lo: 0, hi });
    }

    /// A loop over the blocks of the grid or the threads of a block.
    fn coordinate(
        &mut self,
        var: &Symbol,
        extent: &Dim,
        what: &str,
        axis: u8,
        body: &[Inst],
    ) -> Result<(), EmitError> {
        self.limit(var, extent);
        let value = self.code.reg(Class::B32);
        ins!(self, "mov.u32 {value}, {what}.{}", ["x", "y", "z"][usize::from(axis).min(2)]);
        self.code.forget(var);
        self.names.insert(var.clone(), Named { value, depth: self.code.depth() });
        self.block(body)
    }

    fn threads(&mut self, var: &Symbol, extent: &Dim, axis: u8, body: &[Inst]) -> Result<(), EmitError> {
        let outer = self.inside;
        let full = extent.is(i64::from(self.shape.block[usize::from(axis).min(2)]));
        self.inside = Some(outer.unwrap_or(true) && full);
        let around = self.lane.clone();
        if axis == 0 {
            self.lane = Some(var.clone());
        }
        let result = if full {
            self.coordinate(var, extent, "%tid", axis, body)
        } else {
            self.limit(var, extent);
            let value = self.code.reg(Class::B32);
            ins!(self, "mov.u32 {value}, %tid.{}", ["x", "y", "z"][usize::from(axis).min(2)]);
            self.code.forget(var);
            self.names.insert(var.clone(), Named { value, depth: self.code.depth() });
            let outside = self.code.reg(Class::Pred);
            ins!(self, "setp.ge.s32 {outside}, {value}, {extent}");
            self.skipped_if(outside, body)
        };
        self.inside = outer;
        self.lane = around;
        result
    }

    /// A body that is left out where a predicate holds.
    fn skipped_if(&mut self, skip: Virtual, body: &[Inst]) -> Result<(), EmitError> {
        let after = self.code.label();
        ins!(self, "@{skip} bra {after}");
        self.code.open();
        let done = self.block(body);
        let text = self.code.close();
        self.code.join(&text);
        self.code.place(&after);
        done
    }

    fn serial(&mut self, var: &Symbol, extent: &Dim, body: &[Inst]) -> Result<(), EmitError> {
        let bounds = self.ranges.bounds(extent);
        let (stop, wide) = self.index(extent);
        self.limit(var, extent);
        let (class, bits) = if wide { (Class::B64, 64) } else { (Class::B32, 32) };
        let (counter, more) = (self.code.reg(class), self.code.reg(Class::Pred));
        self.code.forget(var);
        self.names.insert(var.clone(), Named { value: counter, depth: self.code.depth() + 1 });
        self.code.open();
        let done = self.block(body);
        let text = self.code.close();
        done?;
        let (head, after) = (self.code.label(), self.code.label());
        ins!(self, "mov.b{bits} {counter}, 0");
        if bounds.lo < 1 {
            let none = self.code.reg(Class::Pred);
            ins!(self, "setp.le.s{bits} {none}, {stop}, 0");
            ins!(self, "@{none} bra {after}");
        }
        self.code.place(&head);
        self.code.join(&text);
        ins!(self, "add.s{bits} {counter}, {counter}, 1");
        ins!(self, "setp.lt.s{bits} {more}, {counter}, {stop}");
        ins!(self, "@{more} bra {head}");
        self.code.place(&after);
        Ok(())
    }

    fn branch(&mut self, conds: &[Cond], then: &[Inst], otherwise: &[Inst]) -> Result<(), EmitError> {
        let mut fails: Option<Virtual> = None;
        for cond in conds {
            let wide = !(self.is_narrow(&cond.left) && self.is_narrow(&cond.right));
            let (left, right) = (self.value(&cond.left, wide), self.value(&cond.right, wide));
            let left = self.in_register(left, wide);
            let (one, bits) = (self.code.reg(Class::Pred), if wide { 64 } else { 32 });
            match fails {
                None => ins!(self, "setp.ge.s{bits} {one}, {left}, {right}"),
                Some(before) => ins!(self, "setp.ge.or.s{bits} {one}, {left}, {right}, {before}"),
            }
            fails = Some(one);
        }
        let Some(fails) = fails else { return self.block(then) };
        if otherwise.is_empty() {
            return self.skipped_if(fails, then);
        }
        let (no, after) = (self.code.label(), self.code.label());
        self.code.open();
        self.block(then)?;
        let then = self.code.close();
        self.code.open();
        self.block(otherwise)?;
        let otherwise = self.code.close();
        ins!(self, "@{fails} bra {no}");
        self.code.join(&then);
        ins!(self, "bra {after}");
        self.code.place(&no);
        self.code.join(&otherwise);
        self.code.place(&after);
        Ok(())
    }

    fn in_register(&mut self, value: Int, wide: bool) -> Virtual {
        match value {
            Int::Reg(reg) => reg,
            Int::Number(number) => {
                let (class, bits) = if wide { (Class::B64, 64) } else { (Class::B32, 32) };
                let reg = self.code.reg(class);
                ins!(self, "mov.b{bits} {reg}, {number}");
                reg
            }
        }
    }
}
