//! From graph to text.

use std::fmt::{self, Write};

use rustc_hash::FxHashSet;

use super::{PrintOptions, constant};
use crate::graph::{Attr, Graph, Node, Value};
use crate::shape::TensorType;
use crate::text::{write_name, write_string};

pub(crate) fn print_graph(graph: &Graph, out: &mut dyn Write, options: &PrintOptions) -> fmt::Result {
    Printer { out, options, depth: 0 }.graph(graph, "graph", &graph.name)
}

struct Printer<'a> {
    out: &'a mut dyn Write,
    options: &'a PrintOptions,
    depth: usize,
}

impl Printer<'_> {
    fn indent(&mut self) -> fmt::Result {
        for _ in 0..self.depth {
            self.out.write_str("  ")?;
        }
        Ok(())
    }

    fn graph(&mut self, graph: &Graph, keyword: &str, name: &str) -> fmt::Result {
        write!(self.out, "{keyword} ")?;
        write_name(&mut self.out, "@", name)?;
        self.out.write_str("(")?;
        for (i, (name, value)) in graph.params().iter().enumerate() {
            if i > 0 {
                self.out.write_str(", ")?;
            }
            write_name(&mut self.out, "%", name)?;
            write!(self.out, ": {}", graph.ty(*value))?;
        }
        self.out.write_str(") -> (")?;
        for (i, (name, value)) in graph.outputs().iter().enumerate() {
            if i > 0 {
                self.out.write_str(", ")?;
            }
            write_name(&mut self.out, "", name)?;
            write!(self.out, ": {}", graph.ty(*value))?;
        }
        self.out.write_str(")")?;
        // Regions inherit the ranges of the graph around them.
        let ranges = if keyword == "graph" { graph.ranges.iter().collect() } else { Vec::new() };
        for (i, (symbol, range)) in ranges.into_iter().enumerate() {
            self.out.write_str(if i == 0 { " where " } else { ", " })?;
            write!(self.out, "{symbol} in {}..={}", range.lo, range.hi)?;
        }
        self.out.write_str(" {\n")?;
        self.depth += 1;
        let names = Names::new(graph);
        for (_, node) in graph.nodes() {
            self.node(graph, node, &names)?;
        }
        self.indent()?;
        self.out.write_str("return")?;
        for (i, (_, value)) in graph.outputs().iter().enumerate() {
            self.out.write_str(if i == 0 { " " } else { ", " })?;
            names.write(*value, self.out)?;
        }
        self.depth -= 1;
        self.out.write_str("\n")?;
        self.indent()?;
        self.out.write_str("}\n")
    }

    fn node(&mut self, graph: &Graph, node: &Node, names: &Names<'_>) -> fmt::Result {
        self.indent()?;
        let results = node.results();
        for (i, value) in results.clone().enumerate() {
            if i > 0 {
                self.out.write_str(", ")?;
            }
            names.write(value, self.out)?;
        }
        if results.len() > 0 {
            self.out.write_str(" = ")?;
        }
        self.out.write_str(node.op.name())?;
        for (i, operand) in node.operands.iter().enumerate() {
            self.out.write_str(if i == 0 { " " } else { ", " })?;
            names.write(*operand, self.out)?;
        }
        for (def, attr) in node.op.def().attrs.iter().zip(&node.attrs) {
            write!(self.out, " {}=", def.name)?;
            self.attr(attr)?;
        }
        for (i, value) in results.enumerate() {
            self.out.write_str(if i == 0 { " : " } else { ", " })?;
            write!(self.out, "{}", graph.ty(value))?;
        }
        if let Some(origin) = &node.origin {
            self.out.write_str(" from ")?;
            write_string(&mut self.out, origin)?;
        }
        self.out.write_str("\n")?;
        for (name, region) in node.op.def().regions.iter().zip(&node.regions) {
            self.depth += 1;
            self.indent()?;
            self.graph(region, "region", name)?;
            self.depth -= 1;
        }
        Ok(())
    }

    fn attr(&mut self, attr: &Attr) -> fmt::Result {
        match attr {
            Attr::Bool(v) => write!(self.out, "{v}"),
            Attr::Int(v) => write!(self.out, "{v}"),
            // The shortest text that reads back to the same bits.
            Attr::Float(v) => write!(self.out, "{v:?}"),
            Attr::Text(v) => write_string(&mut self.out, v),
            Attr::Ints(v) => write!(self.out, "{:?}", v.as_slice()),
            Attr::Dim(v) => write!(self.out, "{v}"),
            Attr::Dims(v) => write!(self.out, "{v}"),
            Attr::DType(v) => write!(self.out, "{v}"),
            Attr::Types(types) => {
                self.out.write_str("(")?;
                self.types(types)?;
                self.out.write_str(")")
            }
            Attr::Tensor(v) => constant::print(v, &mut self.out, self.options),
        }
    }

    fn types(&mut self, types: &[TensorType]) -> fmt::Result {
        for (i, ty) in types.iter().enumerate() {
            if i > 0 {
                self.out.write_str(", ")?;
            }
            write!(self.out, "{ty}")?;
        }
        Ok(())
    }
}

/// The names of values: parameters have their own, results are numbered in order.
struct Names<'a> {
    graph: &'a Graph,
    numbers: Vec<u32>,
}

impl<'a> Names<'a> {
    fn new(graph: &'a Graph) -> Self {
        let taken: FxHashSet<u32> = graph.params().iter().filter_map(|(n, _)| n.parse().ok()).collect();
        let mut free = (0..).filter(|n| !taken.contains(n));
        let params = graph.params().len();
        let mut numbers = vec![0; params];
        numbers.extend((params..graph.value_count()).filter_map(|_| free.next()));
        Names { graph, numbers }
    }

    fn write(&self, value: Value, out: &mut dyn Write) -> fmt::Result {
        match self.graph.params().get(value.index()) {
            Some((name, _)) => write_name(&mut &mut *out, "%", name),
            None => write!(out, "%{}", self.numbers[value.index()]),
        }
    }
}
