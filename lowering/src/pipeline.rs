//! The passes that every graph goes through on its way to code.

use tcc_ir::graph::Graph;

use crate::schedule::Machine;

/// The graph in the form that lowering does best with.
pub fn optimise(graph: &Graph, _machine: &Machine) -> Graph {
    graph.clone()
}
