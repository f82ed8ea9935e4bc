//! The passes that every graph goes through on its way to code.

use tcc_ir::graph::{Graph, Rewriter};

use crate::graph_passes::fold;
use crate::layout::{channels_last, lay_out_attention, pack_contractions};
use crate::pass::{Fuel, Options, Outcome, PassCx, PassFn};
use crate::schedule::Machine;

/// The graph in the form that lowering does best with.
pub fn optimise(graph: &Graph, machine: &Machine) -> Graph {
    let laid_out = drop_dead(&channels_last(&folded(graph), machine));
    let packed = lay_out_attention(&pack_contractions(&laid_out, machine), machine);
    drop_dead(&packed)
}

/// With what is computed from constants alone computed.
fn folded(graph: &Graph) -> Graph {
    let PassFn::Graph(run) = fold::PASS.run else { return graph.clone() };
    let (options, mut fuel) = (Options::defaults(fold::PASS.options), Fuel::unlimited());
    match run(graph, &mut PassCx::new(&options, &mut fuel)) {
        Ok(Outcome::Changed(next)) => next,
        _ => graph.clone(),
    }
}

/// Leaves out what no output needs.
fn drop_dead(graph: &Graph) -> Graph {
    let live = graph.live_nodes();
    let mut rewriter = Rewriter::new(graph);
    for (id, _) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        rewriter.copy(id);
    }
    rewriter.finish()
}
