//! Passes from graph to graph.

pub mod canonicalise;
pub mod cse;
pub mod dce;
pub mod fold;
pub mod inline_kernels;
pub mod integer_products;
pub mod lower_precision;
pub mod simplify_shapes;

use tcc_ir::graph::{Graph, Node};

use crate::pass::{Outcome, PassDef, PassError};

/// The passes of this module in order of name.
pub static PASSES: &[&PassDef] = &[
    &canonicalise::PASS,
    &cse::PASS,
    &dce::PASS,
    &crate::eqsat::PASS,
    &fold::PASS,
    &inline_kernels::PASS,
    &integer_products::PASS,
    &lower_precision::PASS,
    &simplify_shapes::PASS,
];

/// The regions of a node after a pass, and whether it changed any.
fn in_regions(
    node: &Node,
    mut pass: impl FnMut(&Graph) -> Result<Outcome<Graph>, PassError>,
) -> Result<(Vec<Graph>, bool), PassError> {
    let mut changed = false;
    let mut regions = Vec::with_capacity(node.regions.len());
    for region in &node.regions {
        regions.push(match pass(region)? {
            Outcome::Changed(next) => {
                changed = true;
                next
            }
            Outcome::Unchanged => region.clone(),
        });
    }
    Ok((regions, changed))
}
