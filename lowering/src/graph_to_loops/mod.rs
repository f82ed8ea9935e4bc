//! From a graph to kernels: which values get memory of their own, and a loop nest for each of those.
//!
//! A value without memory is computed where it is used: its definition is written into the expression of its
//! consumer ([`element`]), so elementwise chains and movements fuse by construction. Heavy ops (reductions,
//! contractions) have a nest each ([`reduction`], [`contraction`], …), whose last step may carry on with the
//! elementwise ops behind it. What has no loops, such as sorting, stays an op for the host.

mod attention;
mod contraction;
mod element;
mod grouping;
mod materialise;
mod normalise;
mod reduction;
mod scan;

pub(crate) use reduction::identity;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Attr, Graph, Node, NodeId, Op, Value};
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Space, Stmt, free_symbols};
use tcc_ir::shape::{Shape, TensorType};

use crate::eqsat::CostModel;

/// One step of a model.
#[derive(Clone, Debug)]
pub struct Stage {
    /// What is done.
    pub work: Work,
    /// The values it reads, in the order of the nest's inputs or the node's operands.
    pub inputs: Vec<Value>,
    /// The values it makes.
    pub outputs: Vec<Value>,
    /// The names of what it came from in the user's model, for profiles.
    pub origins: Vec<std::sync::Arc<str>>,
}

/// How a stage is carried out.
#[derive(Clone, Debug)]
pub enum Work {
    /// As a kernel.
    Nest(Nest),
    /// As an op that the host runs.
    Host(NodeId),
}

/// Cuts a graph into stages, in an order in which they can run, as suits a processor of a few cores.
pub fn lower_graph(graph: &Graph) -> Vec<Stage> {
    lower_graph_for(graph, &CostModel::cpu())
}

/// Cuts a graph into stages as suits a target.
pub fn lower_graph_for(graph: &Graph, model: &CostModel) -> Vec<Stage> {
    let plan = grouping::choose(graph, model);
    let mut stages = Vec::new();
    for (id, node) in graph.nodes() {
        if is_host(node.op) {
            let (inputs, outputs) = (node.operands.to_vec(), node.results().collect());
            stages.push(Stage {
                work: Work::Host(id),
                inputs,
                outputs,
                origins: node.origin.iter().cloned().collect(),
            });
            continue;
        }
        let value = node.result();
        if !plan.has_memory(value) || node.op == Op::Const {
            continue;
        }
        stages.push(lower_value(graph, &plan, value));
    }
    stages
}

/// Ops without a loop nest.
pub fn is_host(op: Op) -> bool {
    matches!(
        op,
        Op::Sort
            | Op::TopK
            | Op::NonZero
            | Op::Unique
            | Op::Nms
            | Op::If
            | Op::Loop
            | Op::Kernel
            | Op::CustomCall
            | Op::Det
            | Op::RandomBits
            | Op::BindDims
    )
}

fn lower_value(graph: &Graph, plan: &materialise::Plan, root: Value) -> Stage {
    let mut emit = Emit::new(graph, plan, root);
    let anchor = plan.anchor(root);
    let body = match anchor.and_then(|h| graph.def_node(h).map(|n| (h, n))) {
        None => emit.elementwise(),
        Some((heavy, node)) => emit.heavy(heavy, node),
    };
    let output = Buffer { name: emit.output.clone(), ty: graph.ty(root).clone() };
    let inputs = emit.inputs.iter().map(|v| Buffer { name: emit.names[v].clone(), ty: graph.ty(*v).clone() });
    let inputs: Vec<Buffer> = inputs.collect();
    // Of the model's symbols the nest declares those that it mentions.
    let mut used = free_symbols(&body);
    for buffer in inputs.iter().chain([&output]) {
        buffer.ty.shape.iter().for_each(|d| used.extend(d.symbols()));
    }
    let mut ranges = Ranges::default();
    for symbol in used {
        let range = graph.ranges.get(&symbol);
        ranges.set(symbol, range);
    }
    let name = kernel_name(graph, anchor.unwrap_or(root), root);
    let nest = Nest { name, ranges, inputs, outputs: vec![output], body };
    Stage { work: Work::Nest(nest), inputs: emit.inputs, outputs: vec![root], origins: emit.origins }
}

/// A kernel is named after its heaviest op.
fn kernel_name(graph: &Graph, heavy: Value, root: Value) -> String {
    let name = |v: Value| graph.def_node(v).map_or("copy", |n| n.op.name());
    if heavy == root { name(root).to_owned() } else { format!("{}_{}", name(heavy), name(root)) }
}

/// The nest of one value under construction.
pub(crate) struct Emit<'g> {
    graph: &'g Graph,
    plan: &'g materialise::Plan,
    root: Value,
    output: Symbol,
    /// The values read from memory, in order of first use.
    inputs: Vec<Value>,
    names: FxHashMap<Value, Symbol>,
    ranges: Ranges,
    loops: usize,
    scalars: usize,
    origins: Vec<std::sync::Arc<str>>,
    /// What the heavy value's element is, once it has been computed.
    heavy: Option<(Value, Expr)>,
}

/// Statements that will be executed in order, with the scalars named so far.
#[derive(Default)]
pub(crate) struct Block {
    stmts: Vec<Stmt>,
    named: FxHashMap<(Value, SmallVec<[Dim; 4]>), Expr>,
    /// Inside a guard nothing may be named, since a name is computed whether or not the guard holds.
    guards: usize,
}

impl<'g> Emit<'g> {
    fn new(graph: &'g Graph, plan: &'g materialise::Plan, root: Value) -> Self {
        Emit {
            graph,
            plan,
            root,
            output: Symbol::new("y"),
            inputs: Vec::new(),
            names: FxHashMap::default(),
            ranges: graph.ranges.clone(),
            loops: 0,
            scalars: 0,
            origins: Vec::new(),
            heavy: None,
        }
    }

    /// The name of a value's memory.
    fn input(&mut self, value: Value) -> Symbol {
        if let Some(name) = self.names.get(&value) {
            return name.clone();
        }
        let name = Symbol::new(&format!("x{}", self.inputs.len()));
        self.inputs.push(value);
        self.names.insert(value, name.clone());
        name
    }

    /// A new loop variable below an extent.
    fn loop_var(&mut self, extent: &Dim) -> Symbol {
        let var = Symbol::new(&format!("i{}", self.loops));
        self.loops += 1;
        let hi = self.ranges.bounds(extent).hi.saturating_sub(1).max(0);
        self.ranges.set(var.clone(), Range { lo: 0, hi });
        var
    }

    fn loop_vars(&mut self, shape: &[Dim]) -> Vec<(Symbol, Dim)> {
        shape.iter().map(|d| (self.loop_var(d), d.clone())).collect()
    }

    /// A name for a scalar.
    fn scalar_name(&mut self) -> Symbol {
        self.scalars += 1;
        Symbol::new(&format!("t{}", self.scalars - 1))
    }

    fn shape(&self, value: Value) -> &'g Shape {
        &self.graph.ty(value).shape
    }

    fn dtype(&self, value: Value) -> DType {
        self.graph.ty(value).dtype
    }

    fn note_origin(&mut self, node: &Node) {
        if let Some(origin) = &node.origin
            && !self.origins.contains(origin)
        {
            self.origins.push(origin.clone());
        }
    }

    /// A nest that computes each element by itself.
    fn elementwise(&mut self) -> Vec<Stmt> {
        let node = self.graph.def_node(self.root);
        if let Some(Attr::Dims(values)) = node.filter(|n| n.op == Op::Dims).map(|n| n.attr("values")) {
            let store = |(i, d): (usize, &Dim)| {
                Stmt::store(Access::new(self.output.clone(), [Dim::from(i)]), Expr::Index(d.clone()))
            };
            return values.iter().enumerate().map(store).collect();
        }
        let vars = self.loop_vars(&self.shape(self.root).clone());
        let at = indices(&vars);
        let mut block = Block::default();
        let value = self.definition(self.root, &at, &mut block);
        block.stmts.push(Stmt::store(Access::new(self.output.clone(), at), value));
        nested(&vars, LoopKind::Parallel, block.stmts)
    }

    fn heavy(&mut self, heavy: Value, node: &'g Node) -> Vec<Stmt> {
        self.note_origin(node);
        match node.op {
            Op::Dot => self.dot(heavy, node),
            Op::Conv => self.conv(heavy, node),
            Op::ReduceSum | Op::ReduceProd | Op::ReduceMax | Op::ReduceMin => self.reduce(heavy, node),
            Op::ArgMax | Op::ArgMin => self.arg_reduce(heavy, node),
            Op::PoolMax | Op::PoolSum => self.pool(heavy, node),
            Op::PoolArgMax => self.pool_arg(heavy, node),
            Op::CumSum | Op::CumProd => self.cumulative(heavy, node),
            Op::ScatterElements => self.scatter_elements(node),
            Op::ScatterNd => self.scatter_nd(node),
            Op::Softmax | Op::LogSoftmax => self.softmax(heavy, node),
            Op::LayerNorm | Op::RmsNorm => self.layer_norm(heavy, node),
            Op::GroupNorm => self.group_norm(heavy, node),
            Op::Attention => self.attention(heavy, node),
            op => unreachable!("`{}` is not heavy", op.name()),
        }
    }

    /// Stores the root's element, where the heavy value's element is `value` at `at`.
    fn finish(&mut self, heavy: Value, at: &[Dim], value: Expr, block: &mut Block) {
        self.heavy = Some((heavy, value));
        let at = self.place_of_root(heavy, at);
        let value = self.definition_or_heavy(&at, block);
        block.stmts.push(Stmt::store(Access::new(self.output.clone(), at), value));
    }

    /// Where the root's element is that carries on from an element of the heavy value.
    ///
    /// Between the two there may be reshapes, which keep the order of elements, and transposes.
    fn place_of_root(&self, heavy: Value, at: &[Dim]) -> Vec<Dim> {
        let mut way = Vec::new();
        let mut value = self.root;
        let carries =
            |v: &Value| *v == heavy || (!self.plan.has_memory(*v) && self.plan.anchor(*v) == Some(heavy));
        while value != heavy {
            let Some(node) = self.graph.def_node(value) else { break };
            let Some(from) = node.operands.iter().copied().find(carries) else { break };
            way.push((node, from));
            value = from;
        }
        let mut at = at.to_vec();
        for (node, from) in way.into_iter().rev() {
            at = match node.op {
                Op::Transpose => axes(node, "perm").into_iter().map(|p| at[p].clone()).collect(),
                Op::Reshape => self.reshape(self.shape(from), self.shape(node.result()), &at),
                _ => at,
            };
        }
        at
    }

    /// Loops in the order in which the root's elements lie.
    fn in_order_of_root(&self, heavy: Value, at: &[Dim], loops: &[(Symbol, Dim)]) -> Vec<(Symbol, Dim)> {
        let place = self.place_of_root(heavy, at);
        let mut ordered = loops.to_vec();
        ordered.sort_by_key(|(var, _)| place.iter().position(|d| d.mentions(var)));
        ordered
    }

    fn definition_or_heavy(&mut self, at: &[Dim], block: &mut Block) -> Expr {
        match &self.heavy {
            Some((value, expr)) if *value == self.root => expr.clone(),
            _ => self.definition(self.root, at, block),
        }
    }

    /// A buffer of one element in a register, set to a value.
    fn accumulator(&mut self, dtype: DType, start: Expr, block: &mut Block) -> Access {
        let name = Symbol::new(&format!("acc{}", self.scalars));
        self.scalars += 1;
        let buffer = Buffer { name: name.clone(), ty: TensorType::scalar(dtype) };
        block.stmts.push(Stmt::Alloc { buffer, space: Space::Register });
        let access = Access::new(name, []);
        block.stmts.push(Stmt::store(access.clone(), start));
        access
    }

    /// Names a value for the rest of the block.
    fn name(&mut self, value: Expr, block: &mut Block) -> Expr {
        let name = self.scalar_name();
        block.stmts.push(Stmt::Let { name: name.clone(), value });
        Expr::Var(name)
    }
}

/// The indices of loops.
fn indices(vars: &[(Symbol, Dim)]) -> Vec<Dim> {
    vars.iter().map(|(v, _)| Dim::sym(v.clone())).collect()
}

/// Loops around a body, the first outermost.
fn nested(vars: &[(Symbol, Dim)], kind: LoopKind, body: Vec<Stmt>) -> Vec<Stmt> {
    vars.iter().rev().fold(body, |body, (var, extent)| {
        vec![Stmt::For { var: var.clone(), extent: extent.clone(), kind, body }]
    })
}

/// An attribute that is a list of axes.
fn axes(node: &Node, name: &str) -> Vec<usize> {
    ints(node, name).into_iter().map(|a| a as usize).collect()
}

fn ints(node: &Node, name: &str) -> Vec<i64> {
    match node.attr(name) {
        Attr::Ints(list) => list.to_vec(),
        _ => Vec::new(),
    }
}

fn int(node: &Node, name: &str) -> i64 {
    match node.attr(name) {
        Attr::Int(value) => *value,
        _ => 0,
    }
}

fn flag(node: &Node, name: &str) -> bool {
    matches!(node.attr(name), Attr::Bool(true))
}

fn float(node: &Node, name: &str) -> f64 {
    match node.attr(name) {
        Attr::Float(value) => *value,
        _ => 0.0,
    }
}

fn dims(node: &Node, name: &str) -> Shape {
    match node.attr(name) {
        Attr::Dims(list) => list.clone(),
        _ => Shape::scalar(),
    }
}

/// The type that sums of a type are kept in.
fn accumulator_type(dtype: DType) -> DType {
    match dtype {
        DType::F64 | DType::F32 | DType::I64 | DType::U64 => dtype,
        d if d.is_float() => DType::F32,
        d if d.is_unsigned() => DType::U32,
        _ => DType::I32,
    }
}

/// Adds into an accumulator.
fn accumulate(target: Access, op: tcc_ir::scalar::ScalarOp, value: Expr) -> Stmt {
    Stmt::combine(target, value, Combine::With(op))
}
