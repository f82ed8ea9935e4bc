//! Schedules: how the loops of a nest are cut, ordered and mapped onto a processor.
//!
//! Lowering marks loops whose iterations are independent as parallel. The default schedule makes one parallel
//! loop over tiles of them, vectors of what is neighbouring in memory, and micro-tiles of contractions. Each
//! transformation keeps the meaning of the nest, which tests check with the interpreter of nests.

mod contraction;
mod cut;
pub mod gpu;
mod guards;
mod rows;

use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::loops::{LoopKind, Nest, Stmt};

/// What schedules need to know of a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes in a vector that loops are cut to.
    pub vector_bytes: i64,
    /// Rows of the f32 micro-tile.
    pub tile_rows: i64,
    /// Columns of the f32 micro-tile.
    pub tile_columns: i64,
}

/// Elements that one tile of an elementwise kernel has: enough to outweigh handing it to a worker.
const CHUNK: i64 = 4096;

/// The nest under its default schedule.
pub fn schedule(nest: &Nest, machine: &Machine) -> Nest {
    contraction::schedule(nest, machine).unwrap_or_else(|| rows::schedule(nest, machine))
}

/// The parallel loops around everything else, outermost first, and what they stand around.
fn parallel_loops(nest: &Nest) -> (Vec<(Symbol, Dim)>, &[Stmt]) {
    let mut loops = Vec::new();
    let mut body = nest.body.as_slice();
    while let [Stmt::For { var, extent, kind: LoopKind::Parallel, body: inner }] = body {
        loops.push((var.clone(), extent.clone()));
        body = inner;
    }
    (loops, body)
}

/// Gives a loop variable its range.
fn limit(ranges: &mut Ranges, var: &Symbol, extent: &Dim) {
    let hi = ranges.bounds(extent).hi.saturating_sub(1).max(0);
    ranges.set(var.clone(), Range { lo: 0, hi });
}

/// Replaces the variables of loops by the digits of one index, the last loop's the lowest.
fn join(body: &[Stmt], loops: &[(Symbol, Dim)], index: &Dim) -> Vec<Stmt> {
    let mut digits: Vec<(Symbol, Dim)> = Vec::new();
    let mut rest = index.clone();
    for (i, (var, extent)) in loops.iter().enumerate().rev() {
        let digit = if i == 0 { rest.clone() } else { rest.modulo(extent) };
        rest = rest.floor_div(extent);
        digits.push((var.clone(), digit));
    }
    replace_all(body, &digits)
}

/// Replaces several variables at once.
fn replace_all(body: &[Stmt], by: &[(Symbol, Dim)]) -> Vec<Stmt> {
    let with = |s: &Symbol| by.iter().find(|(v, _)| v == s).map(|(_, d)| d.clone());
    body.iter().map(|s| s.map_dims(&|d| d.substitute(&with))).collect()
}
