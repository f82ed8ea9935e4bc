//! One thread for each iteration of the parallel loops, or for a few neighbouring ones.
//!
//! ```text
//! for i in 0..n parallel { y[i] = f(x[i]) }
//! ->
//! for block in 0..(n + 1023) / 1024 block.x { for thread in 0..256 thread.x {
//!   if 1024*block + 4*thread < n { for lane in 0..4 vector { y[1024*block + 4*thread + lane] = … } }
//! } }
//! ```

use tcc_ir::dim::Dim;
use tcc_ir::loops::{Cond, LoopKind, Nest, Stmt};

use super::GpuMachine;
use super::loops::{
    blocks, digits, guarded, has_conditions, parallel_chain, ranges, replaced, threads, total,
};
use crate::schedule::site::Names;

pub(super) fn schedule(nest: &Nest, machine: &GpuMachine) -> Option<Vec<Stmt>> {
    let (loops, body) = parallel_chain(nest);
    let (_, last) = loops.last()?;
    let mut names = Names::of(nest);
    let all = total(&loops);
    let plain = !body.iter().any(|s| matches!(s, Stmt::For { .. })) && !has_conditions(body);
    let width = if plain { lanes(nest, last) } else { 1 };
    let groups = all.ceil_div(&Dim::from(width));
    // A block of whole warps, or of just as many threads as there is work.
    let count = groups.as_const().map_or(machine.threads, |g| g.clamp(1, machine.threads));
    let (block, thread) = (names.fresh("block"), names.fresh("thread"));
    let number = &(&Dim::sym(block.clone()) * &Dim::from(count)) + &Dim::sym(thread.clone());
    let first = &number * &Dim::from(width);
    let inner = if width == 1 {
        replaced(body, &digits(&loops, &first))
    } else {
        let lane = names.fresh("lane");
        let at = &first + &Dim::sym(lane.clone());
        let body = replaced(body, &digits(&loops, &at));
        vec![Stmt::For { var: lane, extent: Dim::from(width), kind: LoopKind::Vector, body }]
    };
    let grid = groups.ceil_div(&Dim::from(count));
    let known = ranges(nest, &[(block.clone(), grid.clone()), (thread.clone(), Dim::from(count))]);
    let inner = guarded(vec![Cond::less(first, all)], inner, &known);
    Some(vec![blocks(&block, grid, vec![threads(&thread, count, inner)])])
}

/// How many neighbouring elements a thread takes: as many as 16 bytes of the widest buffer hold, if rows divide.
fn lanes(nest: &Nest, last: &Dim) -> i64 {
    let bits = nest.params().map(|b| b.ty.dtype.bits()).max().unwrap_or(32).max(8);
    let widest = i64::from(128 / bits).clamp(1, 8);
    match last.as_const() {
        Some(extent) if extent % widest == 0 => widest,
        _ => 1,
    }
}
