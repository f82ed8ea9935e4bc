//! One program as one function in LLVM's text: control flow and memory.
//!
//! Registers are stack slots that the optimiser turns into SSA; names of integers are SSA values already.

use std::fmt::{Arguments, Write};

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::mem::{Cond, Inst, LoopKind, Memory, Program, Reg, Rhs, each};

use super::forms::{constant, held, held_scalar, spelled, wide};
use super::kept::{self, Kept};
use super::module::ModuleText;
use crate::{CpuTarget, EmitError, buffer_bytes};

/// Adds a program to a module.
pub(super) fn emit(program: &Program, target: &CpuTarget, module: &mut ModuleText) -> Result<(), EmitError> {
    let mut emit = Emit {
        program,
        target,
        module,
        slots: String::new(),
        body: String::new(),
        next: 0,
        block: "entry".to_owned(),
        symbols: FxHashMap::default(),
        memories: FxHashMap::default(),
        ranges: program.ranges.clone(),
        taken: Dim::ZERO,
        constants: constants(program),
        kept: Kept::default(),
        fixed: Vec::new(),
    };
    let memories = memories(program);
    let names: Vec<Symbol> = memories.iter().map(|m| m.name.clone()).collect();
    let scopes = emit.module.scopes(&names);
    for (i, symbol) in program.symbols().into_iter().enumerate() {
        let at = emit.line(format_args!("getelementptr i64, ptr %symbols, i64 {i}"));
        let value = emit.line(format_args!("load i64, ptr {at}, !invariant.load !0"));
        emit.symbols.insert(symbol, value);
    }
    for (memory, (name, scope)) in memories.iter().zip(scopes) {
        emit.memories
            .insert(name, Place { base: String::new(), dtype: memory.dtype, scope, constant: false });
    }
    emit.kept = kept::find(program, &|tile| emit.fits(tile));
    for (i, memory) in program.params().enumerate() {
        let at = emit.line(format_args!("getelementptr ptr, ptr %buffers, i64 {i}"));
        let base = emit.line(format_args!("load ptr, ptr {at}, !invariant.load !0"));
        emit.place(memory, base, i < program.inputs.len());
    }
    for (i, ty) in program.regs.iter().enumerate() {
        let _ = writeln!(emit.slots, "  %r{i} = alloca {}", held(*ty));
    }
    emit.block(&program.body)?;
    emit.effect(format_args!("ret void"));
    let (slots, body) = (emit.slots, emit.body);
    module.function(&program.name, &slots, &body);
    Ok(())
}

/// The buffers of a program, its own ones last.
fn memories(program: &Program) -> Vec<Memory> {
    let mut all: Vec<Memory> = program.params().cloned().collect();
    each(&program.body, &mut |inst| {
        if let Inst::Alloc { memory, .. } = inst
            && all.iter().all(|m| m.name != memory.name)
        {
            all.push(memory.clone());
        }
    });
    all
}

/// Where a buffer is, and what accesses to it are marked with.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) base: String,
    pub(super) dtype: DType,
    /// The marks that tell its accesses from those of all other buffers.
    pub(super) scope: String,
    /// Whether nothing writes to it while the program runs.
    pub(super) constant: bool,
}

pub(super) struct Emit<'a> {
    pub(super) program: &'a Program,
    pub(super) target: &'a CpuTarget,
    pub(super) module: &'a mut ModuleText,
    /// Stack slots, which stand first in the function.
    pub(super) slots: String,
    body: String,
    next: u32,
    /// The label of the block that is being written.
    block: String,
    pub(super) symbols: FxHashMap<Symbol, String>,
    pub(super) memories: FxHashMap<Symbol, Place>,
    pub(super) ranges: Ranges,
    /// How much of the scratch memory is taken.
    taken: Dim,
    /// By register, whether it holds one number wherever it is read.
    pub(super) constants: Vec<bool>,
    /// The tiles that stay in registers.
    pub(super) kept: Kept,
    /// The variables of the loops being written out.
    pub(super) fixed: Vec<(Symbol, i64)>,
}

/// The registers that are assigned once, a number or another such register.
fn constants(program: &Program) -> Vec<bool> {
    let mut constant = vec![false; program.regs.len()];
    let mut assigned = vec![false; program.regs.len()];
    each(&program.body, &mut |inst| {
        if let Inst::Set { reg, value } = inst {
            let at = reg.0 as usize;
            let number = match value {
                Rhs::Const(_) => true,
                Rhs::Copy(from) => constant[from.0 as usize],
                _ => false,
            };
            constant[at] = number && !assigned[at];
            assigned[at] = true;
        }
    });
    constant
}

impl Emit<'_> {
    /// An instruction with a result, which is given back.
    pub(super) fn line(&mut self, text: Arguments<'_>) -> String {
        let name = self.fresh("%v");
        let _ = writeln!(self.body, "  {name} = {text}");
        name
    }

    /// An instruction without a result.
    pub(super) fn effect(&mut self, text: Arguments<'_>) {
        let _ = writeln!(self.body, "  {text}");
    }

    pub(super) fn fresh(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// Starts a block.
    pub(super) fn start(&mut self, label: &str) {
        let _ = writeln!(self.body, "{label}:");
        self.block = label.to_owned();
    }

    /// The label of the block that is being written.
    pub(super) fn current(&self) -> String {
        self.block.clone()
    }

    /// A call of an intrinsic that is named after one type, which all its operands and its result have.
    pub(super) fn intrinsic(&mut self, name: &str, scalar: &str, lanes: u32, args: &[&str]) -> String {
        let ty = wide(scalar, lanes);
        let full = format!("llvm.{name}.{}", spelled(scalar, lanes));
        let types = vec![ty.as_str(); args.len()];
        self.call(&full, &ty, &types, args, "")
    }

    /// A call of a function that has no effect beside its result.
    pub(super) fn call(
        &mut self,
        name: &str,
        result: &str,
        types: &[&str],
        args: &[&str],
        attributes: &str,
    ) -> String {
        self.module.declare(name, result, &types.join(", "), attributes);
        let typed: Vec<String> = types.iter().zip(args).map(|(t, a)| format!("{t} {a}")).collect();
        self.line(format_args!("call {result} @{name}({})", typed.join(", ")))
    }

    /// A function of scalars, called for each lane.
    pub(super) fn each_lane(
        &mut self,
        name: &str,
        from: &str,
        to: &str,
        args: &[String],
        lanes: u32,
    ) -> String {
        let mut all = Vec::with_capacity(lanes as usize);
        for lane in 0..lanes {
            let one: Vec<String> = args.iter().map(|a| self.lane(from, a, lanes, lane)).collect();
            let one: Vec<&str> = one.iter().map(String::as_str).collect();
            // The library's functions are not to be replaced by ones that the loader does not know.
            let attributes = "nobuiltin nounwind willreturn memory(none)";
            all.push(self.call(name, to, &vec![from; one.len()], &one, attributes));
        }
        self.assemble(to, &all)
    }

    pub(super) fn unsupported(&self, message: String) -> EmitError {
        EmitError::Unsupported { program: self.program.name.clone(), message }
    }

    fn place(&mut self, memory: &Memory, base: String, constant: bool) {
        if let Some(place) = self.memories.get_mut(&memory.name) {
            (place.base, place.dtype, place.constant) = (base, memory.dtype, constant);
        }
    }

    fn block(&mut self, body: &[Inst]) -> Result<(), EmitError> {
        body.iter().try_for_each(|inst| self.inst(inst))
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), EmitError> {
        match inst {
            Inst::Set { reg, value } => self.set(*reg, value)?,
            Inst::Bind { name, reg } => {
                let dtype = self.program.ty(*reg).dtype;
                let value = self.read(*reg);
                let wide = match (dtype.bits(), dtype.is_signed()) {
                    (64, _) => value,
                    (_, true) => self.line(format_args!("sext {} {value} to i64", held_scalar(dtype))),
                    (_, false) => self.line(format_args!("zext {} {value} to i64", held_scalar(dtype))),
                };
                self.symbols.insert(name.clone(), wide);
                self.ranges.set(name.clone(), Range { lo: i64::MIN, hi: i64::MAX });
            }
            Inst::Store { memory, offset, stride, value, active } => {
                self.store(memory, offset, stride, *value, active.as_ref());
            }
            Inst::Alloc { memory, .. } if self.kept.buffers.contains_key(&memory.name) => self.slot(memory),
            Inst::Alloc { memory, .. } => {
                let offset = self.index(&self.taken.clone());
                let base = self.line(format_args!("getelementptr i8, ptr %scratch, i64 {offset}"));
                self.place(memory, base, false);
                self.taken = &self.taken + &buffer_bytes(memory);
            }
            Inst::For { var, extent, kind, body } => self.looped(var, extent, *kind, body)?,
            Inst::If { conds, then, otherwise } => self.branch(conds, then, otherwise)?,
            Inst::Tile(tile) => self.tile(tile)?,
            Inst::Barrier | Inst::Copy(_) | Inst::Commit | Inst::Wait { .. } => {
                let message = "expected a program for CPUs, got what threads of a block do";
                return Err(self.unsupported(message.to_owned()));
            }
        }
        Ok(())
    }

    fn looped(&mut self, var: &Symbol, extent: &Dim, kind: LoopKind, body: &[Inst]) -> Result<(), EmitError> {
        if let Some(copies) = self.kept.loops.get(var).copied() {
            return self.written_out(var, extent, copies, body);
        }
        let (first, stop) = match kind {
            LoopKind::Parallel => ("%begin".to_owned(), "%end".to_owned()),
            _ => ("0".to_owned(), self.index(extent)),
        };
        let hi = self.ranges.bounds(extent).hi.saturating_sub(1).max(0);
        self.ranges.set(var.clone(), Range { lo: 0, hi });
        let counter = self.open_loop(&first, &stop);
        self.symbols.insert(var.clone(), counter.value.clone());
        self.block(body)?;
        self.close_loop(&counter);
        Ok(())
    }

    /// A tile that stays in registers: a slot of its own, with room for a whole vector at the last element.
    fn slot(&mut self, memory: &Memory) {
        let name = format!("%{}", self.fresh("tile"));
        let elements = self.kept.buffers[&memory.name] + MOST_LANES;
        let _ =
            writeln!(self.slots, "  {name} = alloca [{elements} x {}], align 64", held_scalar(memory.dtype));
        self.place(memory, name, false);
    }

    /// The body of a loop, once for each value of its variable.
    fn written_out(
        &mut self,
        var: &Symbol,
        extent: &Dim,
        copies: i64,
        body: &[Inst],
    ) -> Result<(), EmitError> {
        let stop = extent.as_const();
        let count = if stop.is_none() { Some(self.index(extent)) } else { None };
        for value in 0..stop.unwrap_or(copies) {
            self.symbols.insert(var.clone(), value.to_string());
            self.ranges.set(var.clone(), Range { lo: value, hi: value });
            self.fixed.push((var.clone(), value));
            let after = count.as_ref().map(|count| {
                let id = self.fresh("");
                let runs = self.line(format_args!("icmp slt i64 {value}, {count}"));
                self.effect(format_args!("br i1 {runs}, label %body{id}, label %after{id}"));
                self.start(&format!("body{id}"));
                format!("after{id}")
            });
            self.block(body)?;
            if let Some(after) = after {
                self.effect(format_args!("br label %{after}"));
                self.start(&after);
            }
            self.fixed.pop();
        }
        Ok(())
    }

    /// Starts a loop over a counter; what follows is its body until it is closed.
    pub(super) fn open_loop(&mut self, first: &str, stop: &str) -> Counter {
        let id = self.fresh("");
        let counter = Counter { value: format!("%i{id}"), id: id.clone() };
        let before = self.current();
        self.effect(format_args!("br label %head{id}"));
        self.start(&format!("head{id}"));
        let value = &counter.value;
        self.effect(format_args!("{value} = phi i64 [ {first}, %{before} ], [ %next{id}, %latch{id} ]"));
        let more = self.line(format_args!("icmp slt i64 {value}, {stop}"));
        self.effect(format_args!("br i1 {more}, label %body{id}, label %after{id}"));
        self.start(&format!("body{id}"));
        counter
    }

    /// Ends a loop.
    pub(super) fn close_loop(&mut self, counter: &Counter) {
        let (id, value) = (&counter.id, &counter.value);
        self.effect(format_args!("br label %latch{id}"));
        self.start(&format!("latch{id}"));
        // A counter stays below its bound, so that one more does not overflow.
        self.effect(format_args!("%next{id} = add nsw i64 {value}, 1"));
        self.effect(format_args!("br label %head{id}"));
        self.start(&format!("after{id}"));
    }

    fn branch(&mut self, conds: &[Cond], then: &[Inst], otherwise: &[Inst]) -> Result<(), EmitError> {
        let mut all: Option<String> = None;
        for cond in conds {
            let (left, right) = (self.index(&cond.left), self.index(&cond.right));
            let holds = self.line(format_args!("icmp slt i64 {left}, {right}"));
            all = Some(match all {
                None => holds,
                Some(before) => self.line(format_args!("and i1 {before}, {holds}")),
            });
        }
        let Some(all) = all else { return self.block(then) };
        let id = self.fresh("");
        self.effect(format_args!("br i1 {all}, label %yes{id}, label %no{id}"));
        for (side, body) in [("yes", then), ("no", otherwise)] {
            self.start(&format!("{side}{id}"));
            self.block(body)?;
            self.effect(format_args!("br label %after{id}"));
        }
        self.start(&format!("after{id}"));
        Ok(())
    }

    fn set(&mut self, reg: Reg, value: &Rhs) -> Result<(), EmitError> {
        let ty = self.program.ty(reg);
        let value = match value {
            Rhs::Const(scalar) => constant(ty.dtype, *scalar, ty.lanes),
            Rhs::Index { base, step } => {
                let (base, step) = (self.index(base), self.index(step));
                let base = self.splat("i64", &base, ty.lanes);
                let step = self.splat("i64", &step, ty.lanes);
                let wide = wide("i64", ty.lanes);
                let offsets = self.line(format_args!("mul {wide} {step}, {}", lane_numbers(ty.lanes)));
                self.line(format_args!("add {wide} {base}, {offsets}"))
            }
            Rhs::Load { memory, offset, stride, active } => {
                let raw = self.load(memory, offset, stride, active.as_ref(), ty.lanes);
                self.as_held(&raw, ty.dtype, ty.lanes)
            }
            Rhs::Copy(from) if self.program.ty(*from).lanes == ty.lanes => self.read(*from),
            Rhs::Copy(from) => self.broadcast(*from, 0, ty.lanes),
            Rhs::Extract(from, lane) => self.broadcast(*from, *lane, ty.lanes),
            Rhs::Lanes(from, first) => self.some_lanes(*from, *first, ty.lanes),
            Rhs::Op(op, args) => self.operation(*op, args, ty.lanes)?,
            Rhs::Cast { value, .. } => self.cast(*value, ty),
            Rhs::Bitcast(from) => self.bitcast(*from, ty),
        };
        self.write(reg, &value);
        Ok(())
    }

    /// Neighbouring lanes of a register.
    fn some_lanes(&mut self, from: Reg, first: u32, lanes: u32) -> String {
        let source = self.program.ty(from);
        let value = self.read(from);
        if lanes == 1 {
            return self.lane(held_scalar(source.dtype), &value, source.lanes, first);
        }
        let wide = held(source);
        let numbers: Vec<String> = (first..first + lanes).map(|lane| format!("i32 {lane}")).collect();
        let numbers = numbers.join(", ");
        self.line(format_args!("shufflevector {wide} {value}, {wide} poison, <{lanes} x i32> <{numbers}>"))
    }

    /// One lane of a register in every lane.
    fn broadcast(&mut self, from: Reg, lane: u32, lanes: u32) -> String {
        let source = self.program.ty(from);
        let value = self.read(from);
        let one = self.lane(held_scalar(source.dtype), &value, source.lanes, lane);
        self.splat(held_scalar(source.dtype), &one, lanes)
    }
}

/// The most lanes that a vector has.
const MOST_LANES: i64 = 64;

/// A loop that is open.
pub(super) struct Counter {
    /// Its counter.
    pub(super) value: String,
    id: String,
}

/// The numbers of lanes as a vector of i64.
pub(super) fn lane_numbers(lanes: u32) -> String {
    if lanes == 1 {
        return "0".to_owned();
    }
    let numbers: Vec<String> = (0..lanes).map(|i| format!("i64 {i}")).collect();
    format!("<{}>", numbers.join(", "))
}
