//! One program as one function: control flow, memory and micro-tiles.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{Linkage, Module};
use cranelift_object::ObjectModule;
use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::mem::{Cond, Inst, LoopKind, Panel, Program, Reg, Rhs, Tile};

use super::lanes::Form;
use crate::{CpuTarget, EmitError, buffer_bytes};

/// Emits a program into an empty function that has its signature.
pub(super) fn emit(
    program: &Program,
    target: &CpuTarget,
    module: &mut ObjectModule,
    func: &mut Function,
    frontend: &mut FunctionBuilderContext,
) -> Result<(), EmitError> {
    let mut builder = FunctionBuilder::new(func, frontend);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let [buffers, symbols, begin, end, scratch] = [0, 1, 2, 3, 4].map(|i| builder.block_params(entry)[i]);
    let mut emit = Emit {
        program,
        target,
        module,
        builder,
        regs: Vec::new(),
        symbols: FxHashMap::default(),
        memories: FxHashMap::default(),
        ranges: program.ranges.clone(),
        calls: FxHashMap::default(),
        tiles: (begin, end),
        scratch: (scratch, Dim::ZERO),
        constants: constants(program),
    };
    for (i, symbol) in program.symbols().into_iter().enumerate() {
        let value = emit.builder.ins().load(types::I64, MemFlagsData::trusted(), symbols, 8 * i as i32);
        emit.bind(&symbol, value);
    }
    for (i, memory) in program.params().enumerate() {
        let base = emit.builder.ins().load(types::I64, MemFlagsData::trusted(), buffers, 8 * i as i32);
        emit.memories.insert(memory.name.clone(), (base, memory.dtype));
    }
    for ty in &program.regs {
        let form = Form::of(*ty);
        let parts = (0..form.parts).map(|_| emit.builder.declare_var(form.part)).collect();
        emit.regs.push((form, parts));
    }
    emit.block(&program.body)?;
    emit.builder.ins().return_(&[]);
    let config = emit.module.target_config();
    emit.builder.finalize(config);
    Ok(())
}

pub(super) struct Emit<'a> {
    pub(super) program: &'a Program,
    target: &'a CpuTarget,
    module: &'a mut ObjectModule,
    pub(super) builder: FunctionBuilder<'a>,
    /// The parts of each register.
    pub(super) regs: Vec<(Form, Vec<Variable>)>,
    pub(super) symbols: FxHashMap<Symbol, Variable>,
    memories: FxHashMap<Symbol, (Value, DType)>,
    pub(super) ranges: Ranges,
    calls: FxHashMap<String, cranelift_codegen::ir::FuncRef>,
    tiles: (Value, Value),
    /// The memory for buffers of the program's own, and how much of it is taken.
    scratch: (Value, Dim),
    /// The registers that hold one number wherever they are read.
    pub(super) constants: FxHashMap<Reg, Scalar>,
}

/// The registers that are assigned once, a number.
fn constants(program: &Program) -> FxHashMap<Reg, Scalar> {
    fn note(body: &[Inst], found: &mut FxHashMap<Reg, Option<Scalar>>) {
        for inst in body {
            match inst {
                Inst::Set { reg, value } => {
                    let number = match value {
                        Rhs::Const(scalar) if !found.contains_key(reg) => Some(*scalar),
                        _ => None,
                    };
                    found.insert(*reg, number);
                }
                Inst::For { body, .. } => note(body, found),
                Inst::If { then, otherwise, .. } => {
                    note(then, found);
                    note(otherwise, found);
                }
                _ => {}
            }
        }
    }
    let mut found = FxHashMap::default();
    note(&program.body, &mut found);
    found.into_iter().filter_map(|(reg, number)| Some((reg, number?))).collect()
}

impl Emit<'_> {
    pub(super) fn unsupported(&self, message: String) -> EmitError {
        EmitError::Unsupported { program: self.program.name.clone(), message }
    }

    fn bind(&mut self, symbol: &Symbol, value: Value) -> Variable {
        let var = self.builder.declare_var(types::I64);
        self.builder.def_var(var, value);
        self.symbols.insert(symbol.clone(), var);
        var
    }

    fn block(&mut self, body: &[Inst]) -> Result<(), EmitError> {
        body.iter().try_for_each(|inst| self.inst(inst))
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), EmitError> {
        match inst {
            Inst::Set { reg, value } => self.set(*reg, value),
            Inst::Bind { name, reg } => {
                let value = self.lane(*reg, 0);
                let dtype = self.program.ty(*reg).dtype;
                let value = self.widen_index(value, dtype);
                self.bind(name, value);
                self.ranges.set(name.clone(), Range { lo: i64::MIN, hi: i64::MAX });
                Ok(())
            }
            Inst::Store { memory, offset, stride, value, active } => {
                if active.is_some() {
                    return Err(
                        self.unsupported("expected a store of all lanes, got a partial one".to_owned())
                    );
                }
                self.store(memory, offset, stride, *value)
            }
            Inst::Alloc { memory, .. } => {
                let taken = self.scratch.1.clone();
                let offset = self.index(&taken);
                let base = self.builder.ins().iadd(self.scratch.0, offset);
                self.memories.insert(memory.name.clone(), (base, memory.dtype));
                self.scratch.1 = &taken + &buffer_bytes(memory);
                Ok(())
            }
            Inst::For { var, extent, kind, body } => self.looped(var, extent, *kind, body),
            Inst::If { conds, then, otherwise } => self.branch(conds, then, otherwise),
            Inst::Tile(tile) => self.tile(tile),
            Inst::Barrier | Inst::Copy(_) | Inst::Commit | Inst::Wait { .. } => {
                Err(self
                    .unsupported("expected a program for CPUs, got what threads of a block do".to_owned()))
            }
        }
    }

    fn looped(&mut self, var: &Symbol, extent: &Dim, kind: LoopKind, body: &[Inst]) -> Result<(), EmitError> {
        let (start, stop) = match kind {
            LoopKind::Parallel => self.tiles,
            _ => (self.builder.ins().iconst(types::I64, 0), self.index(extent)),
        };
        let counter = self.bind(var, start);
        let hi = self.ranges.bounds(extent).hi.saturating_sub(1).max(0);
        self.ranges.set(var.clone(), Range { lo: 0, hi });
        let [header, inside, after] = [(); 3].map(|()| self.builder.create_block());
        self.builder.ins().jump(header, &[]);
        self.builder.switch_to_block(header);
        let now = self.builder.use_var(counter);
        // The way out is named first. Cranelift walks over the blocks from the last target of a branch on while
        // it hoists, and forgets a loop as soon as it has left it: its body must be visited before that.
        let done = self.builder.ins().icmp(IntCC::SignedGreaterThanOrEqual, now, stop);
        self.builder.ins().brif(done, after, &[], inside, &[]);
        self.builder.seal_block(inside);
        self.builder.seal_block(after);
        self.builder.switch_to_block(inside);
        self.block(body)?;
        let now = self.builder.use_var(counter);
        let next = self.builder.ins().iadd_imm_s(now, 1);
        self.builder.def_var(counter, next);
        self.builder.ins().jump(header, &[]);
        // A block is sealed as soon as all ways to it are there: what a loop leaves alone becomes no parameter of
        // its header then, and is known not to change in it.
        self.builder.seal_block(header);
        self.builder.switch_to_block(after);
        Ok(())
    }

    fn branch(&mut self, conds: &[Cond], then: &[Inst], otherwise: &[Inst]) -> Result<(), EmitError> {
        let mut all = None;
        for cond in conds {
            let (left, right) = (self.index(&cond.left), self.index(&cond.right));
            let holds = self.builder.ins().icmp(IntCC::SignedLessThan, left, right);
            all = Some(match all {
                None => holds,
                Some(before) => self.builder.ins().band(before, holds),
            });
        }
        let Some(all) = all else { return self.block(then) };
        let [yes, no, after] = [(); 3].map(|()| self.builder.create_block());
        self.builder.ins().brif(all, yes, &[], no, &[]);
        self.builder.seal_block(yes);
        self.builder.seal_block(no);
        self.builder.switch_to_block(yes);
        self.block(then)?;
        self.builder.ins().jump(after, &[]);
        self.builder.switch_to_block(no);
        self.block(otherwise)?;
        self.builder.ins().jump(after, &[]);
        self.builder.seal_block(after);
        self.builder.switch_to_block(after);
        Ok(())
    }

    /// The address of an element, with the buffer's type.
    fn address(&mut self, memory: &Symbol, offset: &Dim) -> (Value, DType) {
        let (base, dtype) = self.memories[memory];
        let bytes = i64::from(dtype.bits() / 8);
        let offset = self.index(offset);
        let offset = if bytes == 1 { offset } else { self.builder.ins().imul_imm_s(offset, bytes) };
        (self.builder.ins().iadd(base, offset), dtype)
    }

    fn set(&mut self, reg: Reg, value: &Rhs) -> Result<(), EmitError> {
        let ty = self.program.ty(reg);
        match value {
            Rhs::Const(scalar) => {
                let value = self.constant(ty.dtype, *scalar);
                self.fill(reg, value);
            }
            Rhs::Index { base, step } => {
                let start = self.index(base);
                let step = self.index(step);
                let mut at = start;
                let lanes: Vec<Value> = (0..ty.lanes)
                    .map(|_| {
                        let lane = at;
                        at = self.builder.ins().iadd(at, step);
                        lane
                    })
                    .collect();
                self.assemble(reg, &lanes);
            }
            Rhs::Load { active: Some(_), .. } => {
                return Err(self.unsupported("expected a load of all lanes, got a partial one".to_owned()));
            }
            Rhs::Load { memory, offset, stride, active: None } => self.load(reg, memory, offset, stride)?,
            Rhs::Copy(from) => self.copy(reg, *from),
            Rhs::Op(op, args) => self.operation(reg, *op, args)?,
            Rhs::Cast { value, saturate } => self.cast(reg, *value, *saturate)?,
            Rhs::Bitcast(from) => self.bitcast(reg, *from)?,
            Rhs::Extract(from, lane) => {
                let value = self.lane(*from, *lane);
                self.fill(reg, value);
            }
            Rhs::Lanes(from, first) => self.some_lanes(reg, *from, *first),
        }
        Ok(())
    }

    fn load(&mut self, reg: Reg, memory: &Symbol, offset: &Dim, stride: &Dim) -> Result<(), EmitError> {
        let lanes = self.program.ty(reg).lanes;
        let (address, dtype) = self.address(memory, offset);
        let bytes = (dtype.bits() / 8) as i32;
        let (form, parts) = self.regs[reg.0 as usize].clone();
        if stride.is(1) && form.is_packed_memory(dtype) {
            for (i, part) in parts.iter().enumerate() {
                let flags = MemFlagsData::new().with_notrap();
                let value = self.builder.ins().load(form.part, flags, address, 16 * i as i32);
                self.builder.def_var(*part, value);
            }
            return Ok(());
        }
        let mut all = Vec::new();
        if stride.is(1) || lanes == 1 {
            for lane in 0..lanes as i32 {
                all.push(self.load_scalar(dtype, address, lane * bytes)?);
            }
        } else {
            let step = self.index(stride);
            let step = self.builder.ins().imul_imm_s(step, i64::from(bytes));
            let mut at = address;
            for _ in 0..lanes {
                all.push(self.load_scalar(dtype, at, 0)?);
                at = self.builder.ins().iadd(at, step);
            }
        }
        self.assemble(reg, &all);
        Ok(())
    }

    fn load_scalar(&mut self, dtype: DType, address: Value, offset: i32) -> Result<Value, EmitError> {
        let ty = memory_type(dtype);
        let raw = self.builder.ins().load(ty, MemFlagsData::new().with_notrap(), address, offset);
        self.as_held(raw, dtype)
    }

    fn store(&mut self, memory: &Symbol, offset: &Dim, stride: &Dim, value: Reg) -> Result<(), EmitError> {
        let lanes = self.program.ty(value).lanes;
        let (address, dtype) = self.address(memory, offset);
        let bytes = (dtype.bits() / 8) as i32;
        let (form, parts) = self.regs[value.0 as usize].clone();
        if stride.is(1) && form.is_packed_memory(dtype) {
            for (i, part) in parts.iter().enumerate() {
                let part = self.builder.use_var(*part);
                self.builder.ins().store(MemFlagsData::new().with_notrap(), part, address, 16 * i as i32);
            }
            return Ok(());
        }
        let dense = stride.is(1) || lanes == 1;
        let step = if dense {
            None
        } else {
            let step = self.index(stride);
            Some(self.builder.ins().imul_imm_s(step, i64::from(bytes)))
        };
        let mut at = address;
        for lane in 0..lanes {
            let scalar = self.lane(value, lane);
            let raw = self.as_stored(scalar, dtype)?;
            let offset = if dense { lane as i32 * bytes } else { 0 };
            self.builder.ins().store(MemFlagsData::new().with_notrap(), raw, at, offset);
            if let Some(step) = step {
                at = self.builder.ins().iadd(at, step);
            }
        }
        Ok(())
    }

    /// A call of a function of the runtime.
    pub(super) fn call(
        &mut self,
        name: &str,
        args: &[Value],
        result: Option<Type>,
    ) -> Result<Option<Value>, EmitError> {
        let callee = match self.calls.get(name) {
            Some(callee) => *callee,
            None => {
                let mut signature = self.module.make_signature();
                let types = args.iter().map(|a| self.builder.func.dfg.value_type(*a));
                signature.params.extend(types.map(AbiParam::new));
                signature.returns.extend(result.map(AbiParam::new));
                let id = self.module.declare_function(name, Linkage::Import, &signature).map_err(|e| {
                    EmitError::Internal { program: self.program.name.clone(), message: e.to_string() }
                })?;
                let callee = self.module.declare_func_in_func(id, self.builder.func);
                self.calls.insert(name.to_owned(), callee);
                callee
            }
        };
        let call = self.builder.ins().call(callee, args);
        Ok(result.map(|_| self.builder.inst_results(call)[0]))
    }

    fn tile(&mut self, tile: &Tile) -> Result<(), EmitError> {
        let types = [&tile.a, &tile.b, &tile.c].map(|p| self.memories[&p.memory].1);
        let Some(name) = self.target.kernel(types, tile.group).map(str::to_owned) else {
            return Err(self.unsupported(crate::no_kernel(types, tile.group)));
        };
        let k = self.index(&tile.k);
        let mut args = vec![k];
        let panel = |emit: &mut Self, panel: &Panel, both: bool| {
            let (address, _) = emit.address(&panel.memory, &panel.offset);
            let mut all = vec![address, emit.index(&panel.row)];
            if both {
                all.push(emit.index(&panel.column));
            }
            all
        };
        args.extend(panel(self, &tile.a, true));
        args.extend(panel(self, &tile.b, false));
        args.extend(panel(self, &tile.c, false));
        args.push(self.index(&tile.m));
        args.push(self.index(&tile.n));
        args.push(self.builder.ins().iconst(types::I64, i64::from(tile.accumulate)));
        self.call(&name, &args, None)?;
        Ok(())
    }
}

/// The type under which an element lies in memory.
pub(super) fn memory_type(dtype: DType) -> Type {
    match dtype {
        DType::F64 => types::F64,
        DType::F32 => types::F32,
        _ => match dtype.bits() {
            64 => types::I64,
            32 => types::I32,
            16 => types::I16,
            _ => types::I8,
        },
    }
}
