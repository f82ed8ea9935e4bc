//! Prints how parsing, printing, verifying and the basic passes scale with the number of nodes.
//!
//! ```text
//! cargo run --release -p tcc-lowering --example graph_scale [NODES…]
//! ```

use std::time::Instant;

use tcc_ir::dim::{Dim, Range, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Graph, Value, Violation, parse_graph};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};
use tcc_lowering::pass::{Ir, Pipeline, Registry, RunOptions, run};

const PIPELINE: &str = "fold,cse,dce";

#[allow(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<usize> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let sizes = if given.is_empty() { vec![10_000, 100_000, 1_000_000] } else { given };
    println!("| nodes | build | print | parse | verify | {PIPELINE} | text | bytes a node |");
    println!("|---|---|---|---|---|---|---|---|");
    for nodes in sizes {
        let before = resident();
        let (graph, build) = timed(|| layers(nodes));
        let graph = graph?;
        let bytes = resident().saturating_sub(before) / nodes as u64;
        let (text, print) = timed(|| graph.to_string());
        let (parsed, parse) = timed(|| parse_graph(&text));
        assert!(parsed? == graph, "expected the text to read back");
        let (verified, verify) = timed(|| graph.verify());
        verified?;
        let pipeline = Pipeline::parse(PIPELINE, &Registry::builtin())?;
        let options = RunOptions { verify: false, ..RunOptions::default() };
        let (done, passes) = timed(|| run(Ir::Graph(graph), &pipeline, &options, &mut |_| {}));
        done?;
        println!(
            "| {nodes} | {build:.3} s | {print:.3} s | {parse:.3} s | {verify:.3} s | {passes:.3} s | {:.1} MB | {bytes} |",
            text.len() as f64 / 1e6
        );
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed().as_secs_f64())
}

/// The memory in use, where the system says it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Layers of an MLP over a symbolic batch: products, biases, nonlinearities, some of them twice, some dead,
/// some constant.
fn layers(nodes: usize) -> Result<Graph, Violation> {
    let mut graph = Graph::new("layers");
    graph.set_range(Symbol::new("N"), Range { lo: 1, hi: 64 });
    let shape: Shape = [Dim::sym("N"), Dim::from(64usize)].into_iter().collect();
    let mut x = graph.add_param("x", TensorType::new(DType::F32, shape.clone()));
    let w = graph.add_param("w", TensorType::fixed(DType::F32, &[64, 64]));
    while graph.node_count() < nodes {
        let product = graph.matmul(x, w, DType::F32)?;
        let small = graph.number(DType::F32, graph.node_count() as f64)?;
        let negated = graph.scalar(ScalarOp::Neg, &[small])?;
        let bias = graph.broadcast(negated, &shape)?;
        let sum = graph.scalar(ScalarOp::Add, &[product, bias])?;
        let halves: Vec<Value> =
            (0..2).map(|_| graph.scalar(ScalarOp::Tanh, &[sum])).collect::<Result<_, _>>()?;
        graph.scalar(ScalarOp::Exp, &[sum])?;
        x = graph.scalar(ScalarOp::Max, &halves)?;
    }
    graph.add_output("y", x);
    Ok(graph)
}
