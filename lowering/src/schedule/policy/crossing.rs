//! Kernels that read along one axis and write along another, such as transposes: blocks that both sides keep near.
//!
//! ```text
//! for i in 0..n parallel { for j in 0..m parallel { y[i, j] = x[j, i] } }
//! ->
//! for tile in 0..(n / r) * (m / c) parallel { for i in 0..r { for j in 0..c in vectors { y[i, j] = x[j, i] } } }
//! ```
//!
//! A block reads every line of the cache that it needs once for all elements in it. Without blocks a line is fetched
//! again for each of them wherever the lines between two of its uses do not fit the cache.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Nest, Stmt};

use super::rows::fitting;
use super::{Draft, names, parallel_loops};
use crate::schedule::site::{buffer_of, each_access, flat};
use crate::schedule::steps::{Fuse, Reorder, Split, Tail};
use crate::schedule::{Machine, Refusal};

/// Elements of a block along the axis that is read: two lines of the cache.
const READ: i64 = 32;
/// Elements of a block along the axis that is written.
const WRITTEN: i64 = 64;
/// Axes shorter than this are as well walked over as a whole.
const SHORTEST: i64 = 8;

/// The nest in blocks, if it crosses.
pub(super) fn draft(nest: &Nest, machine: &Machine) -> Option<Draft> {
    let (loops, body) = parallel_loops(nest);
    if body.iter().any(|s| matches!(s, Stmt::For { .. })) {
        return None;
    }
    let worthwhile = |(_, extent): &&(Symbol, Dim)| extent.as_const().is_none_or(|e| e >= SHORTEST);
    let written = &loops.iter().filter(worthwhile).find(|(var, _)| outputs_walk(nest, body, var))?.0;
    let read = &loops.iter().filter(worthwhile).find(|(var, _)| crosses(nest, body, var, written))?.0;
    blocked(nest, machine, &loops, read, written).ok()
}

/// Whether all that is written lies one after the other as a loop goes.
fn outputs_walk(nest: &Nest, body: &[Stmt], var: &Symbol) -> bool {
    let mut walk = true;
    each_access(body, &mut |access, stored| {
        let output = nest.outputs.iter().find(|b| b.name == access.buffer);
        walk &=
            !stored || output.is_some_and(|b| flat(b, access).affine_in(var).is_some_and(|(s, _)| s.is(1)));
    });
    walk
}

/// Whether something is read that lies one after the other along `read` and apart along `written`.
fn crosses(nest: &Nest, body: &[Stmt], read: &Symbol, written: &Symbol) -> bool {
    let mut crosses = false;
    each_access(body, &mut |access, stored| {
        let Some(buffer) = buffer_of(nest, &access.buffer).filter(|_| !stored && read != written) else {
            return;
        };
        let step = |var| flat(&buffer, access).affine_in(var).and_then(|(step, _)| step.as_const());
        crosses |= step(read) == Some(1) && step(written).is_none_or(|s| s != 0 && s != 1);
    });
    crosses
}

/// A size of blocks, a multiple of a width, such that all are about equally large.
fn even(extent: &Dim, most: i64, width: i64) -> i64 {
    let Some(extent) = extent.as_const() else { return most };
    let blocks = (extent + most - 1) / most;
    let size = (extent + blocks - 1) / blocks;
    (size + width - 1) / width * width
}

fn blocked(
    nest: &Nest,
    machine: &Machine,
    loops: &[(Symbol, Dim)],
    read: &Symbol,
    written: &Symbol,
) -> Result<Draft, Refusal> {
    let mut draft = Draft::of(nest);
    let extent = |var: &Symbol| loops.iter().find(|(l, _)| l == var).map_or(Dim::ZERO, |(_, e)| e.clone());
    let width = fitting(&extent(written), machine.vector_bytes / 4);
    let mut around = names(loops);
    around.retain(|l| l != read && l != written);
    let sizes = [(written, even(&extent(written), WRITTEN, width)), (read, even(&extent(read), READ, 1))];
    for (var, factor) in sizes {
        let block = draft.fresh(&format!("{var}b"));
        let loops = vec![block.clone(), var.clone()];
        draft.step(Split { var: var.clone(), factor, tail: Tail::Bound, loops })?;
        around.push(block);
    }
    let inside = [read.clone(), written.clone()];
    draft.step(Reorder { loops: around.iter().cloned().chain(inside).collect() })?;
    draft.vectors(written, width)?;
    let tile = draft.fresh("tile");
    draft.step(Fuse { loops: around, fused: tile })?;
    Ok(draft)
}
