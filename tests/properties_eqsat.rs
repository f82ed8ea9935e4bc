//! Rewriting keeps what random graphs compute: bit for bit where only exact rules apply, within tolerance else.
//!
//! 1,000 graphs in the ordinary run, 10,000 with `TCC_LONG=1`; `TCC_SEED` starts at another seed.

use tcc::ir::numerics::Numerics;
use tcc::lowering::eqsat::Optimizer;
use tcc::lowering::pass::{Ir, compare_runs};

use crate::properties::seeds;
use crate::support::generate;

#[test]
fn rewriting_keeps_what_is_computed() {
    let (mut rewritten, mut compared) = (0, 0);
    let seeds = seeds();
    for seed in seeds.start..seeds.start + 2 * (seeds.end - seeds.start) {
        let graph = generate::graph(seed);
        for numerics in [Numerics::Exact, Numerics::Reassociates] {
            let (next, report) = Optimizer::builtin(numerics).run(&graph, &mut || true);
            assert!(report.kept.is_none(), "seed {seed}: {:?}\n{graph}", report.kept);
            assert!(report.after <= report.before, "seed {seed}: {} after {}", report.after, report.before);
            let Some(next) = next else { continue };
            next.verify().unwrap_or_else(|d| panic!("seed {seed}: {d}\n{next}"));
            rewritten += 1;
            let checked =
                compare_runs(&Ir::Graph(graph.clone()), &Ir::Graph(next.clone()), numerics, 2, seed);
            let checked = checked.unwrap_or_else(|e| panic!("seed {seed}: {numerics}: {e}\n{graph}{next}"));
            compared += checked.compared;
        }
    }
    assert!(rewritten > 100 && compared > 100, "{rewritten} rewritten, {compared} compared");
}
