//! Prints what rewriting and fusion make of models: kernels, bytes moved, what is left, time and memory.
//!
//! ```text
//! cargo run --release -p tcc-lowering --example upper_level [MODEL.onnx | NETWORK]…
//! ```
//!
//! Without arguments it takes the networks of `networks.rs`. "Unfused" counts one kernel for each op of the
//! imported graph that computes or moves elements; "fused" counts the kernels that lowering makes. Bytes are
//! those that kernels read and write, without weights.

mod networks;

use std::path::Path;
use std::time::Instant;

use tcc_ir::dim::{Bindings, Dim};
use tcc_ir::graph::{Graph, Op, Value};
use tcc_ir::import::onnx;
use tcc_lowering::eqsat::{CostModel, Optimizer, RuleSet, builtin_rules};
use tcc_lowering::graph_to_loops::{Stage, Work, lower_graph};
use tcc_lowering::pass::{Ir, Pipeline, Registry, RunOptions, run};
use tcc_lowering::pipeline::{GraphOptions, Strictness, optimise};
use tcc_lowering::schedule::Machine;

/// What is done before rewriting.
const BEFORE: &str = "fold,simplify-shapes,canonicalise,cse,dce";

/// How often the rules are applied in an order drawn at random.
const ORDERS: u64 = 20;

/// What a symbol is taken to be.
const TYPICAL: i64 = 128;

type Failure = Box<dyn std::error::Error>;

#[allow(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() -> Result<(), Failure> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let names =
        if given.is_empty() { networks::NAMES.iter().map(|n| (*n).to_owned()).collect() } else { given };
    println!(
        "| model | ops | kernels | ops / kernels | MB unfused | MB fused | ratio | moves left | alone | cost before \
         | after | best of {ORDERS} orders | after, GPU | rewriting | resident |"
    );
    println!("|---|{}", "---|".repeat(14));
    for name in names {
        println!("{}", row(&name)?);
    }
    Ok(())
}

fn row(name: &str) -> Result<String, Failure> {
    let graph = if name.ends_with(".onnx") {
        bound(&onnx::import_file(Path::new(name)).map_err(|e| e.to_string())?)?
    } else {
        networks::network(name)?
    };
    let graph = prepared(graph)?;
    let unfused: Vec<(Vec<Value>, Vec<Value>)> = graph
        .nodes()
        .filter(|(_, n)| is_work(n.op))
        .map(|(_, n)| (n.operands.to_vec(), n.results().collect()))
        .collect();
    let before_bytes: f64 = unfused.iter().map(|(i, o)| traffic(&graph, i, o)).sum();

    let optimizer = Optimizer::builtin(Strictness::Default.numerics());
    let resident = peak();
    let start = Instant::now();
    let (_, report) = optimizer.run(&graph, &mut || true);
    let seconds = start.elapsed().as_secs_f64();
    let resident = peak().saturating_sub(resident);
    let gpu = with_cost(CostModel::gpu()).run(&graph, &mut || true).1.after;

    let machine = Machine::of("x86-64-v4")?;
    let lowered = optimise(&graph, &machine, &GraphOptions::default())?;
    let stages = lower_graph(&lowered);
    let bytes: f64 = stages.iter().map(|s| traffic(&lowered, &s.inputs, &s.outputs)).sum();
    let (moves, alone) = leftovers(&lowered, &stages);
    let orders =
        (0..ORDERS).map(|seed| in_some_order(&graph, seed)).collect::<Result<Vec<f64>, Failure>>()?;
    let best = orders.into_iter().fold(f64::INFINITY, f64::min) / 1e3;
    let short = Path::new(name);
    let short = match short.file_stem().and_then(|s| s.to_str()) {
        Some("model") => short.parent().and_then(Path::file_name).and_then(|s| s.to_str()).unwrap_or(name),
        Some(stem) => stem,
        None => name,
    };
    Ok(format!(
        "| {short} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {moves} | {alone} | {:.1} | {:.1} | {best:.1} | {:.1} | {:.0} ms | {:.0} MB |",
        unfused.len(),
        stages.len(),
        unfused.len() as f64 / stages.len() as f64,
        before_bytes / 1e6,
        bytes / 1e6,
        before_bytes / bytes,
        report.before / 1e3,
        report.after / 1e3,
        gpu / 1e3,
        seconds * 1e3,
        resident as f64 / 1e6,
    ))
}

fn with_cost(cost: CostModel) -> Optimizer {
    let mut optimizer = Optimizer::new(builtin_rules().within(Strictness::Default.numerics()));
    optimizer.cost = cost;
    optimizer
}

/// Symbols become numbers, so that bytes can be counted.
fn bound(graph: &Graph) -> Result<Graph, Failure> {
    let of = |s: &tcc_ir::dim::Symbol| {
        let range = graph.ranges.get(s);
        let batch = range.lo <= 1 && s.to_string().to_lowercase().contains("batch");
        Some(Dim::from(if batch { 1 } else { TYPICAL.clamp(range.lo, range.hi) }))
    };
    Ok(graph.substitute(&of)?)
}

fn prepared(graph: Graph) -> Result<Graph, Failure> {
    let pipeline = Pipeline::parse(BEFORE, &Registry::builtin())?;
    match run(Ir::Graph(graph), &pipeline, &RunOptions::default(), &mut |_| {})? {
        Ir::Graph(graph) => Ok(graph),
        _ => Err("expected a graph".into()),
    }
}

/// Ops that would be a kernel each.
fn is_work(op: Op) -> bool {
    !matches!(op, Op::Const | Op::Iota | Op::Dims | Op::Reshape | Op::Broadcast | Op::BindDims)
}

/// The bytes that a kernel reads and writes. What is repeated is read once, and weights do not count.
fn traffic(graph: &Graph, inputs: &[Value], outputs: &[Value]) -> f64 {
    let source = |mut value: Value| {
        while let Some(node) = graph.def_node(value).filter(|n| matches!(n.op, Op::Broadcast | Op::Reshape)) {
            value = node.operands[0];
        }
        value
    };
    let weighs = |v: &Value| graph.def_node(*v).is_none_or(|n| n.op != Op::Const);
    let size = |v: Value| {
        let ty = graph.ty(v);
        let elements = ty.shape.elements().eval(&Bindings::new()).unwrap_or(0);
        elements as f64 * ty.dtype.bits() as f64 / 8.0
    };
    let mut read: Vec<Value> = inputs.iter().map(|v| source(*v)).filter(weighs).collect();
    read.sort_unstable();
    read.dedup();
    read.into_iter().chain(outputs.iter().copied()).map(size).sum()
}

/// Kernels that only move elements, and kernels of elementwise ops alone.
fn leftovers(graph: &Graph, stages: &[Stage]) -> (usize, usize) {
    let (mut moves, mut alone) = (0, 0);
    for stage in stages {
        let Work::Nest(nest) = &stage.work else { continue };
        let moving = |op: Op| {
            let copies = matches!(op, Op::Pad | Op::Concat | Op::Copy | Op::Slice | Op::Reverse | Op::Gather);
            copies || matches!(op, Op::Transpose | Op::Reshape | Op::Broadcast)
        };
        let Some(node) = graph.def_node(stage.outputs[0]) else { continue };
        // A kernel with a heavy op is named after both.
        let has_sum = nest.to_string().contains("+=") || nest.to_string().contains("max=");
        if moving(node.op) && !has_sum {
            moves += 1;
        } else if matches!(node.op, Op::Scalar(_) | Op::Cast) && !has_sum {
            alone += 1;
        }
    }
    (moves, alone)
}

/// The cost after the rules were applied one by one, in an order drawn at random, each wherever it applies, as
/// passes do that keep no alternatives.
fn in_some_order(graph: &Graph, seed: u64) -> Result<f64, Failure> {
    let mut rules: Vec<_> = builtin_rules().within(Strictness::Default.numerics()).rules;
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for i in (1..rules.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        rules.swap(i, (state >> 33) as usize % (i + 1));
    }
    let mut graph = graph.clone();
    let mut cost = f64::INFINITY;
    for rule in rules {
        let mut one = Optimizer::new(RuleSet { rules: vec![rule] });
        one.budget.merges = 1;
        let (next, report) = one.run(&graph, &mut || true);
        cost = report.after;
        if let Some(next) = next {
            graph = next;
        }
    }
    Ok(cost)
}

/// The most memory that was in use, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}
