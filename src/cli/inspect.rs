//! `tcc inspect`: what a model or an artifact is made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Graph, Op, Value};
use tcc_ir::shape::TensorType;

use super::model::{load_graph, starts_with_magic};
use super::work::{Work, work};
use super::{Context, Failure, artifact};

const EXAMPLES: &str = "Examples:
  tcc inspect model.onnx
  tcc inspect model.onnx --nodes             the work of every node
  tcc inspect model.onnx --json              the same for programs
  tcc inspect model.tcc                      where an artifact comes from, and whether it is whole
  tcc inspect model.onnx --dot | dot -Tsvg   a picture";

/// Show inputs, outputs, ops, parameters and work of a model, or what an artifact says of itself.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model (ONNX, graph.json, the text of a graph) or an artifact.
    model: PathBuf,
    /// Print the graph for Graphviz.
    #[arg(long)]
    dot: bool,
    /// Print the work of every node too.
    #[arg(long, conflicts_with = "dot")]
    nodes: bool,
}

/// So many of the largest constants are named.
const LARGEST: usize = 10;

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if starts_with_magic(&args.model) {
        return artifact::inspect(&args.model, context);
    }
    let graph = load_graph(&args.model)?;
    if args.dot {
        context.output.print(&dot(&graph));
        return Ok(());
    }
    let summary = Summary::of(&graph);
    let text = if context.output.json { format!("{}\n", summary.json()) } else { summary.text(args.nodes) };
    context.output.print(&text);
    Ok(())
}

/// What is said of a graph.
struct Summary {
    inputs: Vec<String>,
    outputs: Vec<String>,
    symbols: Vec<String>,
    histogram: BTreeMap<&'static str, usize>,
    nodes: Vec<NodeLine>,
    total: Work,
    parameters: usize,
    parameter_bytes: usize,
    /// Bytes and description of constants, the largest first.
    largest: Vec<(usize, String)>,
}

struct NodeLine {
    op: &'static str,
    origin: String,
    result: String,
    work: Work,
}

impl Summary {
    fn of(graph: &Graph) -> Summary {
        let list = |values: &[(std::sync::Arc<str>, Value)]| -> Vec<String> {
            values.iter().map(|(name, v)| format!("{name}: {}", graph.ty(*v))).collect()
        };
        let mut summary = Summary {
            inputs: list(graph.params()),
            outputs: list(graph.outputs()),
            symbols: graph.ranges.iter().map(|(s, r)| format!("{s} in {}..={}", r.lo, r.hi)).collect(),
            histogram: BTreeMap::new(),
            nodes: Vec::new(),
            total: Work::default(),
            parameters: 0,
            parameter_bytes: 0,
            largest: Vec::new(),
        };
        for (_, node) in graph.nodes() {
            *summary.histogram.entry(node.op.name()).or_default() += 1;
            if let (Op::Const, Some(Attr::Tensor(tensor))) = (node.op, node.attrs.first()) {
                summary.parameters += tensor.len();
                summary.parameter_bytes += tensor.byte_len();
                let name = node.origin.as_deref().unwrap_or("const");
                let described = format!("{name}: {}{:?}", tensor.dtype(), tensor.shape());
                summary.largest.push((tensor.byte_len(), described));
                continue;
            }
            let work = work(graph, node);
            summary.total = summary.total.plus(&work);
            let result = node.results().next().map(|v| graph.ty(v).to_string()).unwrap_or_default();
            let origin = node.origin.as_deref().unwrap_or_default().to_owned();
            summary.nodes.push(NodeLine { op: node.op.name(), origin, result, work });
        }
        summary.largest.sort_by(|a, b| b.cmp(a));
        summary.largest.truncate(LARGEST);
        summary
    }

    fn json(&self) -> serde_json::Value {
        let number = |dim: &Dim| dim.as_const().map_or_else(|| json!(dim.to_string()), |c| json!(c));
        let node = |n: &NodeLine| {
            json!({
                "op": n.op, "from": n.origin, "type": n.result,
                "operations": number(&n.work.operations), "bytes": number(&n.work.bytes),
            })
        };
        let constant = |(bytes, name): &(usize, String)| json!({ "bytes": bytes, "tensor": name });
        json!({
            "inputs": self.inputs, "outputs": self.outputs, "symbols": self.symbols,
            "ops": self.histogram, "parameters": self.parameters, "parameter_bytes": self.parameter_bytes,
            "operations": number(&self.total.operations), "bytes": number(&self.total.bytes),
            "largest": self.largest.iter().map(constant).collect::<Vec<_>>(),
            "nodes": self.nodes.iter().map(node).collect::<Vec<_>>(),
        })
    }

    fn text(&self, nodes: bool) -> String {
        let mut text = String::new();
        let mut section = |title: &str, lines: &[String]| {
            if !lines.is_empty() {
                text.push_str(&format!("{title}\n"));
                lines.iter().for_each(|l| text.push_str(&format!("  {l}\n")));
            }
        };
        section("inputs", &self.inputs);
        section("outputs", &self.outputs);
        section("symbols", &self.symbols);
        let ops: Vec<String> = self.histogram.iter().map(|(op, count)| format!("{count:>6} {op}")).collect();
        let count: usize = self.histogram.values().sum();
        section(&format!("{count} nodes"), &ops);
        section("parameters", &[format!("{} in {} bytes", self.parameters, self.parameter_bytes)]);
        let total = [
            format!("{} operations", self.total.operations),
            format!("{} bytes read and written by nodes", self.total.bytes),
        ];
        section("work", &total);
        let largest: Vec<String> = self.largest.iter().map(|(b, n)| format!("{b:>12} bytes  {n}")).collect();
        section("largest constants", &largest);
        if nodes {
            let line = |n: &NodeLine| {
                format!(
                    "{:>14} operations {:>12} bytes  {} {} {}",
                    n.work.operations.to_string(),
                    n.work.bytes.to_string(),
                    n.op,
                    n.result,
                    n.origin
                )
            };
            section("nodes", &self.nodes.iter().map(line).collect::<Vec<_>>());
        }
        text
    }
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
