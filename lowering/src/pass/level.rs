//! A program at one of the levels, told apart by its first word.

use std::fmt;

use tcc_ir::diag::{Diag, Diags};
use tcc_ir::graph::eval::evaluate;
use tcc_ir::graph::{Graph, PrintOptions, parse_graph};
use tcc_ir::loops::{Nest, interpret, parse_nest};
use tcc_ir::tensor::Tensor;
use tcc_ir::text::Cursor;

/// A level of representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Dataflow over tensors.
    Graph,
    /// Loops over elements.
    Nest,
    /// Addresses and registers.
    Program,
}

impl Level {
    /// Every level, from the top.
    pub const ALL: [Level; 3] = [Level::Graph, Level::Nest, Level::Program];

    /// The word that its text begins with.
    pub fn keyword(self) -> &'static str {
        match self {
            Level::Graph => "graph",
            Level::Nest => "nest",
            Level::Program => "program",
        }
    }

    /// The level of a text, by its first word behind space and comments.
    pub fn of(text: &str) -> Option<Level> {
        let cursor = Cursor::new(text);
        Level::ALL.into_iter().find(|level| cursor.peek(level.keyword()))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

/// A program of any level that has a text.
#[derive(Clone, Debug, PartialEq)]
pub enum Ir {
    /// A graph.
    Graph(Graph),
    /// A nest.
    Nest(Nest),
}

impl Ir {
    /// Parses and verifies a text of any level.
    pub fn parse(text: &str) -> Result<Ir, Diags> {
        match Level::of(text) {
            Some(Level::Graph) => parse_graph(text).map(Ir::Graph),
            Some(Level::Nest) => parse_nest(text).map(Ir::Nest),
            Some(Level::Program) => Err(Diag::of(
                "program",
                "level",
                "expected a graph or a nest, got a program, which can be printed but not read yet",
            )
            .into()),
            None => Err(Cursor::new(text).expected("`graph` or `nest`").into()),
        }
    }

    /// Its level.
    pub fn level(&self) -> Level {
        match self {
            Ir::Graph(_) => Level::Graph,
            Ir::Nest(_) => Level::Nest,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Ir::Graph(graph) => &graph.name,
            Ir::Nest(nest) => &nest.name,
        }
    }

    /// Checks everything that must hold of it.
    pub fn verify(&self) -> Result<(), Diags> {
        match self {
            Ir::Graph(graph) => graph.verify(),
            Ir::Nest(nest) => nest.verify(),
        }
    }

    /// What it means for some inputs; an error says why it means nothing.
    pub fn interpret(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        match self {
            Ir::Graph(graph) => evaluate(graph, inputs).map_err(|e| e.to_string()),
            Ir::Nest(nest) => interpret(nest, inputs).map_err(|e| e.to_string()),
        }
    }

    /// The text for reading, without the elements of large constants.
    pub fn outline(&self) -> String {
        match self {
            Ir::Graph(graph) => graph.print(&PrintOptions { elide_constants: true }),
            Ir::Nest(nest) => nest.to_string(),
        }
    }
}

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ir::Graph(graph) => graph.fmt(f),
            Ir::Nest(nest) => nest.fmt(f),
        }
    }
}
