//! Long walks beside few neighbours: a block takes 32 neighbours, its warps share the walk, and one warp combines what
//! each of them has. A matrix and a vector, or a sum over the outer axis of a matrix, read memory side by side this way
//! and still fill the processor.
//!
//! ```text
//! for j in 0..n parallel { acc[] = 0; for k in 0..p { acc[] += x[k] * w[k, j] }; y[j] = f(acc[]) }
//! ->
//! for block in 0..(n + 31) / 32 block.x {
//!   for thread in 0..256 thread.x {
//!     own[] = 0
//!     if 32*block + thread % 32 < n { for step in 0..p / 8 { own[] += x[8*step + thread / 32] * w[…, …] } }
//!     part[thread] = own[]
//!   }
//!   for thread1 in 0..128 thread.x { part[thread1] += part[thread1 + 128] }
//!   …
//!   for thread4 in 0..32 thread.x { acc[] = 0; acc[] += part[thread4]; y[32*block + thread4] = f(acc[]) }
//! }
//! ```

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::shape::{Shape, TensorType};

use super::GpuMachine;
use super::loops::{
    blocks, chain, digits, guarded, parallel_chain, ranges, redirected, replaced, threads, total,
};
use super::rows::{Walk, reads_across};
use super::sequence::spread;
use crate::graph_to_loops::identity;
use crate::schedule::site::Names;

/// Neighbours of a block: a warp reads them side by side.
const WIDE: i64 = 32;
/// With more neighbours than this, a thread for each fills the processor.
const FEW: i64 = 1 << 15;
/// Shorter walks are not worth the combination.
const LONG: i64 = 128;

pub(super) fn schedule(nest: &Nest, machine: &GpuMachine) -> Option<Vec<Stmt>> {
    let (loops, body) = parallel_chain(nest);
    let walk = Walk::of(nest, body)?;
    let walks = body.iter().filter(|s| matches!(s, Stmt::For { .. })).count();
    let named = body.iter().any(|s| matches!(s, Stmt::Let { .. }));
    let wide = total(&loops).as_const().is_some_and(|n| (WIDE..=FEW).contains(&n));
    if walks != 1 || named || !wide || !walk.only_accumulates(LONG) || !reads_across(nest, &loops, body) {
        return None;
    }
    let at = body.iter().position(|s| matches!(s, Stmt::For { .. }))?;
    let (count, all) = (machine.threads, total(&loops));
    let mut names = Names::of(nest);
    let [block, thread, slice, step] = ["block", "thread", "slice", "step"].map(|w| names.fresh(w));
    let grid = all.ceil_div(&Dim::from(WIDE));
    let first = &Dim::sym(block.clone()) * &Dim::from(WIDE);
    let known = ranges(nest, &[(block.clone(), grid.clone()), (thread.clone(), Dim::from(count))]);
    let inside = |column: &Dim, body: Vec<Stmt>| {
        let body = replaced(&body, &digits(&loops, column));
        guarded(vec![Cond::less(column.clone(), all.clone())], body, &known)
    };

    // The walk, in as many slices as there are warps.
    let (walked, inner) = chain(std::slice::from_ref(&body[at]), LoopKind::Serial);
    let parts: Vec<Part> = walk
        .combined(inner)
        .into_iter()
        .map(|(acc, op)| {
            let own = names.fresh(&format!("{acc}_own"));
            let part = names.fresh(&format!("{acc}_part"));
            Part { dtype: walk.kept[&acc], acc, op, own, part }
        })
        .collect();
    // What else the walk reads would have to be there before it.
    if parts.is_empty() || parts.len() != walk.kept.len() {
        return None;
    }
    let owns: FxHashMap<&Symbol, &Symbol> = parts.iter().map(|p| (&p.acc, &p.own)).collect();
    let mine = |access: &Access| match owns.get(&access.buffer) {
        Some(own) => Access::new((*own).clone(), []),
        None => access.clone(),
    };
    let inner: Vec<Stmt> = inner.iter().map(|s| redirected(s, &mine)).collect();
    let Stmt::For { body: sliced, .. } = spread(&walked, &inner, &slice, &step, count / WIDE) else {
        return None;
    };
    let t = Dim::sym(thread.clone());
    let (lane, warp) = (t.modulo(&Dim::from(WIDE)), t.floor_div(&Dim::from(WIDE)));
    let sliced = replaced(&sliced, &[(slice, warp)]);
    let (mut out, mut own) = (Vec::new(), Vec::new());
    for part in &parts {
        let shape: Shape = [Dim::from(count)].into_iter().collect();
        let shared = Buffer { name: part.part.clone(), ty: TensorType::new(part.dtype, shape) };
        out.push(Stmt::Alloc { buffer: shared, space: Space::Shared });
        let scalar = Buffer { name: part.own.clone(), ty: TensorType::scalar(part.dtype) };
        own.push(Stmt::Alloc { buffer: scalar, space: Space::Register });
        own.push(Stmt::store(Access::new(part.own.clone(), []), identity(part.op, part.dtype)));
    }
    own.extend(inside(&(&first + &lane), sliced));
    for part in &parts {
        let value = Expr::Load(Access::new(part.own.clone(), []));
        own.push(Stmt::store(Access::new(part.part.clone(), [t.clone()]), value));
    }
    out.push(threads(&thread, count, own));

    // Halves of the slices, until one is left.
    let mut half = count / 2;
    while half >= WIDE {
        let thread = names.fresh("thread");
        let t = Dim::sym(thread.clone());
        let combine = parts.iter().map(|p| {
            let other = Expr::Load(Access::new(p.part.clone(), [&t + &Dim::from(half)]));
            Stmt::combine(Access::new(p.part.clone(), [t.clone()]), other, Combine::With(p.op))
        });
        out.push(threads(&thread, half, combine.collect()));
        half /= 2;
    }

    // What stands around the walk, for each neighbour.
    let last = names.fresh("thread");
    let t = Dim::sym(last.clone());
    let (mut around, before): (Vec<Stmt>, Vec<Stmt>) =
        body[..at].iter().cloned().partition(|s| matches!(s, Stmt::Alloc { .. }));
    let mut rest = before;
    rest.extend(parts.iter().map(|p| {
        let sum = Expr::Load(Access::new(p.part.clone(), [t.clone()]));
        Stmt::combine(Access::new(p.acc.clone(), []), sum, Combine::With(p.op))
    }));
    rest.extend_from_slice(&body[at + 1..]);
    around.extend(inside(&(&first + &t), rest));
    out.push(threads(&last, WIDE, around));
    Some(vec![blocks(&block, grid, out)])
}

/// An accumulator, a thread's own share of it, and all threads' shares.
struct Part {
    acc: Symbol,
    dtype: tcc_ir::dtype::DType,
    op: tcc_ir::scalar::ScalarOp,
    own: Symbol,
    part: Symbol,
}
