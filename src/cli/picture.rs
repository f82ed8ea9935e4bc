//! Kernels as a picture: which nodes of a graph each one holds, and what it reads from which.

use std::fmt::Write;

use rustc_hash::FxHashMap;
use tcc_ir::graph::{Graph, Op, Value};
use tcc_lowering::graph_to_loops::{Stage, Work};

/// What is drawn.
pub(super) struct Picture {
    kernels: Vec<Kernel>,
}

struct Kernel {
    name: String,
    /// The nodes that are computed in it, in order.
    nodes: Vec<String>,
    /// The kernels whose results it reads.
    reads: Vec<usize>,
    ty: String,
    origins: Vec<String>,
}

impl Picture {
    /// The kernels of a graph.
    pub(super) fn new(graph: &Graph, stages: &[Stage]) -> Picture {
        let mut made: FxHashMap<Value, usize> = FxHashMap::default();
        let mut kernels = Vec::with_capacity(stages.len());
        for (number, stage) in stages.iter().enumerate() {
            let name = match &stage.work {
                Work::Nest(nest) => nest.name.clone(),
                Work::Host(node) => format!("{} on the host", graph.node(*node).op.name()),
            };
            let mut reads: Vec<usize> = stage.inputs.iter().filter_map(|v| made.get(v).copied()).collect();
            reads.sort_unstable();
            reads.dedup();
            let ty = stage.outputs.first().map_or(String::new(), |v| graph.ty(*v).to_string());
            let origins = stage.origins.iter().map(ToString::to_string).collect();
            kernels.push(Kernel { name, nodes: inside(graph, stage), reads, ty, origins });
            stage.outputs.iter().for_each(|v| {
                made.insert(*v, number);
            });
        }
        Picture { kernels }
    }

    /// A graph for Graphviz.
    pub(super) fn dot(&self) -> String {
        // Writing to a string cannot fail.
        let mut out = "digraph kernels {\n  node [shape=box];\n".to_owned();
        for (number, kernel) in self.kernels.iter().enumerate() {
            let label = format!("{}\\n{}\\n{}", kernel.name, kernel.nodes.join(" "), kernel.ty);
            let _ = writeln!(out, "  k{number} [label=\"{}\"];", label.replace('"', "\\\""));
            for read in &kernel.reads {
                let _ = writeln!(out, "  k{read} -> k{number};");
            }
        }
        out + "}\n"
    }

    /// A page with one row for each kernel.
    pub(super) fn html(&self, title: &str) -> String {
        let title = escaped(title);
        let mut out = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<h1>{title}</h1>\n<table border=\"1\">\n\
             <tr><th>kernel<th>nodes<th>result<th>reads<th>from</tr>\n"
        );
        for (number, kernel) in self.kernels.iter().enumerate() {
            let link = |k: &usize| format!("<a href=\"#k{k}\">{k}</a>");
            let reads: Vec<String> = kernel.reads.iter().map(link).collect();
            let _ = writeln!(
                out,
                "<tr id=\"k{number}\"><td>{number} {}<td>{}<td>{}<td>{}<td>{}</tr>",
                escaped(&kernel.name),
                escaped(&kernel.nodes.join(" ")),
                escaped(&kernel.ty),
                reads.join(" "),
                escaped(&kernel.origins.join(" "))
            );
        }
        out + "</table>\n"
    }
}

/// The ops of a kernel: all that its results need up to what it reads from memory.
fn inside(graph: &Graph, stage: &Stage) -> Vec<String> {
    let mut seen: Vec<Value> = Vec::new();
    let mut todo: Vec<Value> = stage.outputs.clone();
    while let Some(value) = todo.pop() {
        let Some(node) = graph.def_node(value) else { continue };
        let read = stage.inputs.contains(&value) || node.op == Op::Const || seen.contains(&value);
        if !read {
            seen.push(value);
            todo.extend(node.operands.iter().copied());
        }
    }
    seen.sort_unstable();
    seen.iter().filter_map(|v| graph.def_node(*v)).map(|n| n.op.name().to_owned()).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
