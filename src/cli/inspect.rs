//! `tcc inspect`: what a model is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Graph, Node, Op, Value};
use tcc_ir::shape::TensorType;

use super::model::load_graph;
use super::{Context, Failure};

/// Show inputs, outputs, ops, parameters and work of a model.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A model: ONNX, graph.json, or the text of a graph.
    model: PathBuf,
    /// Print the graph for Graphviz.
    #[arg(long)]
    dot: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let graph = load_graph(&args.model)?;
    if args.dot {
        context.output.print(&dot(&graph));
        return Ok(());
    }
    let mut histogram: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut work, mut parameters, mut parameter_bytes) = (Dim::ZERO, 0usize, 0usize);
    let mut largest: Vec<(usize, String)> = Vec::new();
    for (_, node) in graph.nodes() {
        *histogram.entry(node.op.name()).or_default() += 1;
        work = &work + &operations(&graph, node);
        if let (Op::Const, Some(Attr::Tensor(tensor))) = (node.op, node.attrs.first()) {
            parameters += tensor.len();
            parameter_bytes += tensor.byte_len();
            let name = node.origin.as_deref().unwrap_or("const");
            largest.push((tensor.byte_len(), format!("{name}: {}{:?}", tensor.dtype(), tensor.shape())));
        }
    }
    largest.sort_by(|a, b| b.cmp(a));
    largest.truncate(10);
    let list = |values: &[(std::sync::Arc<str>, Value)]| -> Vec<String> {
        values.iter().map(|(name, v)| format!("{name}: {}", graph.ty(*v))).collect()
    };
    let symbols: Vec<String> =
        graph.ranges.iter().map(|(s, r)| format!("{s} in {}..={}", r.lo, r.hi)).collect();
    if context.output.json {
        let report = json!({
            "inputs": list(graph.params()), "outputs": list(graph.outputs()), "symbols": symbols,
            "nodes": graph.node_count(), "ops": histogram, "parameters": parameters,
            "parameter_bytes": parameter_bytes, "operations": work.to_string(),
            "largest": largest.iter().map(|(_, name)| name).collect::<Vec<_>>(),
        });
        context.output.print(&format!("{report}\n"));
        return Ok(());
    }
    let mut text = String::new();
    let mut section = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n"));
            lines.iter().for_each(|l| text.push_str(&format!("  {l}\n")));
        }
    };
    section("inputs", &list(graph.params()));
    section("outputs", &list(graph.outputs()));
    section("symbols", &symbols);
    let ops: Vec<String> = histogram.iter().map(|(op, count)| format!("{count:>6} {op}")).collect();
    section(&format!("{} nodes", graph.node_count()), &ops);
    section("parameters", &[format!("{parameters} in {parameter_bytes} bytes")]);
    section("multiplications and additions of contractions", &[work.to_string()]);
    section(
        "largest constants",
        &largest.iter().map(|(b, n)| format!("{b:>12} bytes  {n}")).collect::<Vec<_>>(),
    );
    context.output.print(&text);
    Ok(())
}

/// The multiplications and additions of a contraction; other ops are bound by memory.
fn operations(graph: &Graph, node: &Node) -> Dim {
    let out = graph.ty(node.result()).shape.elements();
    let summed = match node.op {
        Op::Dot => match node.attr("lhs_contract") {
            Attr::Ints(axes) => {
                let shape = &graph.ty(node.operands[0]).shape;
                axes.iter().map(|a| shape[*a as usize].clone()).product()
            }
            _ => Dim::ONE,
        },
        Op::Conv => graph.ty(node.operands[1]).shape[1..].iter().cloned().product(),
        _ => return Dim::ZERO,
    };
    &(&out * &summed) * &Dim::from(2i64)
}

fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph {\n  node [shape=box, fontname=monospace];\n");
    let label = |name: &str, ty: &TensorType| format!("{name}\\n{ty}").replace('"', "'");
    for (name, value) in graph.params() {
        text.push_str(&format!(
            "  v{} [label=\"{}\", style=rounded];\n",
            value.index(),
            label(name, graph.ty(*value))
        ));
    }
    for (_, node) in graph.nodes() {
        let first = node.result().index();
        text.push_str(&format!(
            "  v{first} [label=\"{}\"];\n",
            label(node.op.name(), graph.ty(node.result()))
        ));
        for operand in &node.operands {
            let from = graph.def_node(*operand).map_or(operand.index(), |n| n.result().index());
            text.push_str(&format!("  v{from} -> v{first};\n"));
        }
    }
    text.push_str("}\n");
    text
}
