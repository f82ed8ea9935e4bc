//! From stages to a model: programs, buffers, steps.

use rustc_hash::FxHashMap;
use tcc_codegen::{Backend, CpuTarget, scratch_bytes};
use tcc_ir::dim::{Atom, Dim, Symbol};
use tcc_ir::graph::{Attr, Graph, Node, Op, Value};
use tcc_ir::loops::Nest;
use tcc_ir::mem::Program;
use tcc_ir::shape::TensorType;
use tcc_ir::tensor::Tensor;
use tcc_lowering::graph_to_loops::{Stage, Work, lower_graph};
use tcc_lowering::loops_to_mem::lower_nest;
use tcc_lowering::mem_passes::{expand_functions, fuse_multiply_adds};
use tcc_lowering::memory_plan::{Lifetime, lower_bound, place};
use tcc_lowering::schedule::schedule;
use tcc_runtime::model::{BufferDef, Constant, Expr, Model, Op as ExprOp, Param, Place, Step};

use super::host::HostWork;
use super::operations::{arithmetic, operations};
use super::target::Schedulable;
use super::{CompileError, Report};

/// A model with what the interpreter does for it.
pub(super) struct Planned {
    pub(super) model: Model,
    pub(super) host: Vec<HostWork>,
    pub(super) report: Report,
}

/// Plans all stages of a graph.
pub(super) fn plan(
    graph: &Graph,
    backend: &dyn Backend,
    target: &CpuTarget,
) -> Result<Planned, CompileError> {
    let stages = lower_graph(graph);
    let mut planner = Planner::new(graph);
    planner.params();
    planner.results(&stages);
    for stage in &stages {
        planner.stage(stage, backend, target)?;
    }
    let _span =
        tracing::info_span!("emit", backend = backend.name(), kernels = planner.programs.len()).entered();
    planner.outputs()?;
    planner.report.kernels = planner.programs.len();
    planner.model.functions = planner.programs.iter().map(|p| p.name.clone()).collect();
    if !planner.programs.is_empty() {
        planner.model.object = backend.emit(&planner.programs, target)?;
    }
    Ok(Planned { model: planner.model, host: planner.host, report: planner.report })
}

/// A model under construction.
pub(super) struct Planner<'g> {
    pub(super) graph: &'g Graph,
    pub(super) model: Model,
    pub(super) numbers: FxHashMap<Symbol, u32>,
    pub(super) buffers: FxHashMap<Value, u32>,
    pub(super) host: Vec<HostWork>,
    programs: Vec<Program>,
    /// Programs by their text, so that equal kernels are compiled once.
    known: FxHashMap<String, u32>,
    /// Nests by their text, so that equal ones are scheduled and lowered once.
    lowered: FxHashMap<String, u32>,
    pub(super) report: Report,
}

impl<'g> Planner<'g> {
    pub(super) fn new(graph: &'g Graph) -> Self {
        let symbols = graph.symbols();
        let ranges = symbols.iter().map(|s| graph.ranges.get(s)).map(|range| [range.lo, range.hi]);
        let model = Model {
            symbols: symbols.iter().map(ToString::to_string).collect(),
            ranges: ranges.collect(),
            ..Model::default()
        };
        Planner {
            graph,
            model,
            numbers: symbols.into_iter().enumerate().map(|(i, s)| (s, i as u32)).collect(),
            buffers: FxHashMap::default(),
            host: Vec::new(),
            programs: Vec::new(),
            known: FxHashMap::default(),
            lowered: FxHashMap::default(),
            report: Report::default(),
        }
    }

    pub(super) fn expr(&self, dim: &Dim) -> Expr {
        let mut ops = Vec::new();
        self.push_dim(dim, &mut ops);
        Expr(ops)
    }

    /// An expression over the model's symbols; nothing at all where there are others in it.
    fn known_expr(&self, dim: &Dim) -> Expr {
        let known = dim.symbols().iter().all(|s| self.numbers.contains_key(s));
        if known { self.expr(dim) } else { Expr::constant(0) }
    }

    fn push_dim(&self, dim: &Dim, ops: &mut Vec<ExprOp>) {
        let mut terms = 0;
        for term in dim.terms() {
            let mut factors = 0;
            if term.coeff != 1 || term.atoms.is_empty() {
                ops.push(ExprOp::Const(term.coeff));
                factors += 1;
            }
            for atom in &term.atoms {
                let pair = |p: &(Dim, Dim), op: ExprOp, ops: &mut Vec<ExprOp>| {
                    self.push_dim(&p.0, ops);
                    self.push_dim(&p.1, ops);
                    ops.push(op);
                };
                match atom {
                    Atom::Sym(s) => {
                        ops.push(ExprOp::Symbol(self.numbers.get(s).copied().unwrap_or(u32::MAX)))
                    }
                    Atom::FloorDiv(p) => pair(p, ExprOp::FloorDiv, ops),
                    Atom::Mod(p) => pair(p, ExprOp::Mod, ops),
                    Atom::Min(p) => pair(p, ExprOp::Min, ops),
                    Atom::Max(p) => pair(p, ExprOp::Max, ops),
                }
                factors += 1;
                if factors > 1 {
                    ops.push(ExprOp::Mul);
                }
            }
            terms += 1;
            if terms > 1 {
                ops.push(ExprOp::Add);
            }
        }
        if terms == 0 {
            ops.push(ExprOp::Const(0));
        }
    }

    fn bytes(ty: &TensorType) -> Dim {
        let bits = &ty.shape.elements() * &Dim::from(i64::from(ty.dtype.bits()));
        bits.ceil_div(&Dim::from(8i64))
    }

    fn add_buffer(&mut self, value: Value, place: Place) -> u32 {
        let ty = self.graph.ty(value);
        let def = BufferDef {
            place,
            bytes: self.expr(&Self::bytes(ty)),
            dtype: ty.dtype.name().to_owned(),
            shape: ty.shape.iter().map(|d| self.expr(d)).collect(),
        };
        self.model.buffers.push(def);
        let number = self.model.buffers.len() as u32 - 1;
        self.buffers.insert(value, number);
        number
    }

    fn param(&self, name: &str, ty: &TensorType, buffer: u32) -> Param {
        Param {
            name: name.to_owned(),
            dtype: ty.dtype.name().to_owned(),
            bits: ty.dtype.bits(),
            shape: ty.shape.iter().map(|d| self.expr(d)).collect(),
            buffer,
        }
    }

    pub(super) fn params(&mut self) {
        for (i, (name, value)) in self.graph.params().iter().enumerate() {
            let buffer = self.add_buffer(*value, Place::Input(i as u32));
            let param = self.param(name, self.graph.ty(*value), buffer);
            self.model.inputs.push(param);
        }
    }

    /// Constants get a buffer when something reads them.
    fn constant(&mut self, value: Value) -> Result<Option<u32>, CompileError> {
        let Some(node) = self.graph.def_node(value).filter(|n| n.op == Op::Const) else { return Ok(None) };
        let Attr::Tensor(tensor) = &node.attrs[0] else { return Ok(None) };
        let number = self.model.constants.len() as u32;
        self.model.constants.push(Constant { bytes: std::sync::Arc::new(Bytes(tensor.contiguous()?)) });
        Ok(Some(self.add_buffer(value, Place::Constant(number))))
    }

    pub(super) fn buffer(&mut self, value: Value) -> Result<u32, CompileError> {
        if let Some(buffer) = self.buffers.get(&value) {
            return Ok(*buffer);
        }
        Ok(self.constant(value)?.unwrap_or(u32::MAX))
    }

    /// Places what stages make: outputs with the caller, the rest in the arena, or late where the size is not
    /// known when a run starts.
    pub(super) fn results(&mut self, stages: &[Stage]) {
        let mut last: FxHashMap<Value, usize> = FxHashMap::default();
        for (i, stage) in stages.iter().enumerate() {
            last.extend(stage.inputs.iter().map(|v| (*v, i)));
        }
        let mut from_inputs = std::collections::BTreeSet::new();
        for ty in self.graph.param_types() {
            ty.shape.iter().for_each(|d| from_inputs.extend(d.symbols()));
        }
        let mut placed = Vec::new();
        let mut lifetimes = Vec::new();
        for (i, stage) in stages.iter().enumerate() {
            for value in &stage.outputs {
                let output = self.graph.outputs().iter().position(|(_, v)| v == value);
                let bytes = Self::bytes(self.graph.ty(*value));
                if let Some(o) = output {
                    self.add_buffer(*value, Place::Output(o as u32));
                } else if bytes.symbols().iter().all(|s| from_inputs.contains(s)) {
                    placed.push(*value);
                    lifetimes.push(Lifetime { bytes, first: i, last: last.get(value).copied().unwrap_or(i) });
                } else {
                    self.add_buffer(*value, Place::Late);
                }
            }
        }
        if placed.is_empty() {
            return;
        }
        let placement = place(&lifetimes, &self.graph.ranges);
        for (value, offset) in placed.iter().zip(&placement.offsets) {
            let offset = self.expr(offset);
            self.add_buffer(*value, Place::Arena(offset));
        }
        self.report.arena_bytes = placement.total.as_const();
        self.report.arena_lower_bound = lower_bound(&lifetimes);
        // Micro-kernels may read, though never use, a row of a tile beyond the end of their operand.
        self.model.arena_bytes = Some(self.expr(&(&placement.total + &Dim::from(READ_BEYOND))));
    }

    fn stage(
        &mut self,
        stage: &Stage,
        backend: &dyn Backend,
        target: &CpuTarget,
    ) -> Result<(), CompileError> {
        let mut inputs = Vec::with_capacity(stage.inputs.len());
        for value in &stage.inputs {
            inputs.push(self.buffer(*value)?);
        }
        let outputs: Vec<u32> = stage.outputs.iter().map(|v| self.buffers[v]).collect();
        let nest = match &stage.work {
            Work::Host(id) => {
                let node = self.graph.node(*id);
                let work = self.alone(node)?;
                self.report.interpreted.push(format!("{}: no kernel", node.describe()));
                self.host_step(work, node.op.name(), inputs, outputs);
                return Ok(());
            }
            Work::Nest(nest) => nest,
        };
        if let Some(dtype) = types(nest).into_iter().find(|d| !backend.has_type(*d)) {
            self.report.interpreted.push(format!("{}: the backend has no {dtype}", nest.name));
            self.host_step(HostWork::Nest(nest.clone()), &nest.name, inputs, outputs);
            return Ok(());
        }
        let function = self.function(nest, target);
        let program = &self.programs[function as usize];
        let numbers =
            program.symbols().iter().map(|s| self.numbers.get(s).copied().unwrap_or(u32::MAX)).collect();
        let step = Step::Kernel {
            function,
            buffers: inputs.into_iter().chain(outputs).collect(),
            symbols: numbers,
            tiles: self.expr(&program.tiles()),
            scratch: self.expr(&scratch_bytes(program)),
            name: program.name.clone(),
            operations: self.known_expr(&operations(nest)),
            arithmetic: arithmetic(nest),
        };
        self.model.steps.push(step);
        self.report.calls += 1;
        Ok(())
    }

    /// The number of a nest's program, which is made if there is no equal one.
    fn function(&mut self, nest: &Nest, target: &CpuTarget) -> u32 {
        let unnamed = Nest { name: String::new(), ..nest.clone() }.to_string();
        if let Some(function) = self.lowered.get(&unnamed) {
            return *function;
        }
        let mut program = program(nest, target);
        program.name.clear();
        let text = program.to_string();
        let function = match self.known.get(&text) {
            Some(function) => *function,
            None => {
                let number = self.programs.len() as u32;
                program.name = format!("k{number}_{}", nest.name);
                self.known.insert(text, number);
                self.programs.push(program);
                number
            }
        };
        self.lowered.insert(unnamed, function);
        function
    }

    /// A graph of one node.
    pub(super) fn alone(&self, node: &Node) -> Result<HostWork, CompileError> {
        let mut one = self.graph.region_of();
        let operands = node.operands.iter().enumerate();
        let operands: Vec<Value> =
            operands.map(|(i, v)| one.add_param(&i.to_string(), self.graph.ty(*v).clone())).collect();
        let pushed = one
            .push(node.op, &operands, node.attrs.clone(), node.regions.to_vec())
            .map_err(CompileError::Binding)?;
        let results: Vec<Value> = one.node(pushed).results().collect();
        results.into_iter().enumerate().for_each(|(i, v)| one.add_output(&i.to_string(), v));
        Ok(HostWork::Node(one))
    }

    fn host_step(&mut self, work: HostWork, name: &str, inputs: Vec<u32>, outputs: Vec<u32>) {
        let index = self.host.len() as u32;
        self.host.push(work);
        self.model.steps.push(Step::Host { index, inputs, outputs, name: name.to_owned() });
    }

    pub(super) fn outputs(&mut self) -> Result<(), CompileError> {
        for (name, value) in self.graph.outputs() {
            let buffer = self.buffer(*value)?;
            let param = self.param(name, self.graph.ty(*value), buffer);
            self.model.outputs.push(param);
        }
        Ok(())
    }
}

/// The program of a nest under its default schedule.
pub(super) fn program(nest: &Nest, target: &CpuTarget) -> Program {
    let mut program = lower_nest(&schedule(nest, &target.schedule()));
    let fma = target.has("avx2") || target.arch == "aarch64";
    expand_functions(&mut program, fma);
    if fma {
        fuse_multiply_adds(&mut program);
    }
    program
}

/// The widest row of a micro-tile.
pub(super) const READ_BEYOND: i64 = 512;

/// The types that a nest's memory and scalars have.
pub(super) fn types(nest: &Nest) -> Vec<tcc_ir::dtype::DType> {
    use tcc_ir::loops::{Expr, Stmt};
    let mut found: Vec<tcc_ir::dtype::DType> = nest.params().map(|b| b.ty.dtype).collect();
    for stmt in &nest.body {
        stmt.each(&mut |s| {
            if let Stmt::Alloc { buffer, .. } = s {
                found.push(buffer.ty.dtype);
            }
            s.each_expr(&mut |e| {
                e.each(&mut |inner| match inner {
                    Expr::Const(dtype, _) | Expr::Bitcast(dtype, _) => found.push(*dtype),
                    Expr::Cast { to, .. } => found.push(*to),
                    _ => {}
                });
            });
        });
    }
    found
}

/// A tensor as the bytes it holds.
struct Bytes(Tensor);

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        match self.0.to_bytes() {
            Ok(std::borrow::Cow::Borrowed(bytes)) => bytes,
            // A contiguous tensor lends its bytes.
            _ => &[],
        }
    }
}
