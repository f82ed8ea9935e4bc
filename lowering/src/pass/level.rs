//! A program at one of the levels, told apart by its first word.

use std::fmt;

use tcc_ir::diag::Diags;
use tcc_ir::dim::{Bindings, Dim};
use tcc_ir::graph::eval::evaluate;
use tcc_ir::graph::{Graph, PrintOptions, parse_graph};
use tcc_ir::loops::{Nest, interpret, interpret_with, parse_nest};
use tcc_ir::mem::{self, Program, parse_program};
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
    /// A program of the memory level.
    Program(Program),
}

impl Ir {
    /// Parses and verifies a text of any level.
    pub fn parse(text: &str) -> Result<Ir, Diags> {
        match Level::of(text) {
            Some(Level::Graph) => parse_graph(text).map(Ir::Graph),
            Some(Level::Nest) => parse_nest(text).map(Ir::Nest),
            Some(Level::Program) => parse_program(text).map(Ir::Program),
            None => Err(Cursor::new(text).expected("`graph`, `nest` or `program`").into()),
        }
    }

    /// Its level.
    pub fn level(&self) -> Level {
        match self {
            Ir::Graph(_) => Level::Graph,
            Ir::Nest(_) => Level::Nest,
            Ir::Program(_) => Level::Program,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Ir::Graph(graph) => &graph.name,
            Ir::Nest(nest) => &nest.name,
            Ir::Program(program) => &program.name,
        }
    }

    /// Checks everything that must hold of it.
    pub fn verify(&self) -> Result<(), Diags> {
        match self {
            Ir::Graph(graph) => graph.verify(),
            Ir::Nest(nest) => nest.verify(),
            Ir::Program(program) => program.verify(),
        }
    }

    /// What it means for some inputs; an error says why it means nothing. Symbols take their values from the inputs.
    pub fn interpret(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        match self {
            Ir::Graph(graph) => evaluate(graph, inputs).map_err(|e| e.to_string()),
            Ir::Nest(nest) => interpret(nest, inputs).map_err(|e| e.to_string()),
            Ir::Program(program) => self.interpret_with(inputs, &bound_by(program, inputs)),
        }
    }

    /// What it means where symbols have these values; a graph finds them out by itself.
    pub fn interpret_with(&self, inputs: &[Tensor], bindings: &Bindings) -> Result<Vec<Tensor>, String> {
        match self {
            Ir::Graph(graph) => evaluate(graph, inputs).map_err(|e| e.to_string()),
            Ir::Nest(nest) => interpret_with(nest, inputs, bindings).map_err(|e| e.to_string()),
            Ir::Program(program) => mem::interpret(program, inputs, bindings).map_err(|e| e.to_string()),
        }
    }

    /// The text for reading, without the elements of large constants.
    pub fn outline(&self) -> String {
        match self {
            Ir::Graph(graph) => graph.print(&PrintOptions { elide_constants: true }),
            Ir::Nest(nest) => nest.to_string(),
            Ir::Program(program) => program.to_string(),
        }
    }
}

impl fmt::Display for Ir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ir::Graph(graph) => graph.fmt(f),
            Ir::Nest(nest) => nest.fmt(f),
            Ir::Program(program) => program.fmt(f),
        }
    }
}

/// Buffers of a program are flat, so that a symbol follows from a number of elements that is affine in it alone. Others
/// take the least value of their range.
fn bound_by(program: &Program, inputs: &[Tensor]) -> Bindings {
    let mut bindings = Bindings::new();
    for (memory, tensor) in program.inputs.iter().zip(inputs) {
        let symbols = memory.elements.symbols();
        let Some(symbol) = symbols.first().filter(|_| symbols.len() == 1) else { continue };
        if let Some((factor, rest)) = memory.elements.affine_in(symbol)
            && let Some(value) = (&Dim::from(tensor.len()) - &rest).floor_div(&factor).as_const()
        {
            bindings.entry(symbol.clone()).or_insert(value);
        }
    }
    for symbol in program.symbols() {
        let least = program.ranges.get(&symbol).lo;
        bindings.entry(symbol).or_insert(least);
    }
    bindings
}
