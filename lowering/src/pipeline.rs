//! The passes that every graph goes through on its way to code.

use tcc_ir::graph::{Graph, Rewriter};

use crate::layout::{lay_out_convolutions, pack_contractions};
use crate::schedule::Machine;

/// The graph in the form that lowering does best with.
pub fn optimise(graph: &Graph, machine: &Machine) -> Graph {
    let laid_out = lay_out_convolutions(graph, machine);
    let packed = pack_contractions(&laid_out, machine);
    drop_dead(&packed)
}

/// Leaves out what no output needs.
pub fn drop_dead(graph: &Graph) -> Graph {
    let live = graph.live_nodes();
    let mut rewriter = Rewriter::new(graph);
    for (id, _) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        rewriter.copy(id);
    }
    rewriter.finish()
}
