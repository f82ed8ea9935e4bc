//! Statements that follow each other, in one block: loops that only copy are shared among its threads, all else one
//! thread does.
//!
//! ```text
//! for i in 0..n { y[i] = x[i] }
//! for j in 0..m { y[clamp(p[j])] += u[j] }
//! ->
//! for block in 0..1 block.x {
//!   for thread in 0..256 thread.x { for step in 0..(n - thread + 255) / 256 { y[256*step + thread] = … } }
//!   for thread1 in 0..1 thread.x { for j in 0..m { y[clamp(p[j])] += u[j] } }
//! }
//! ```

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Combine, LoopKind, Nest, Space, Stmt};

use super::GpuMachine;
use super::loops::{Loop, accesses, blocks, chain, digits, replaced, threads, total};
use crate::schedule::site::Names;

pub(super) fn schedule(nest: &Nest, machine: &GpuMachine) -> Vec<Stmt> {
    let mut names = Names::of(nest);
    let block = names.fresh("block");
    let mut phases = Vec::new();
    // What names things, later statements may need; only loops and stores have the block to themselves.
    let separate = nest.body.iter().all(|s| matches!(s, Stmt::For { .. } | Stmt::Store { .. }));
    if !separate {
        let thread = names.fresh("thread");
        return vec![blocks(&block, Dim::ONE, vec![threads(&thread, 1, serial(&nest.body))])];
    }
    for stmt in &nest.body {
        let (loops, body) = chain(std::slice::from_ref(stmt), LoopKind::Serial);
        let thread = names.fresh("thread");
        if !loops.is_empty() && only_copies(nest, &loops, body) {
            let step = names.fresh("step");
            phases.push(spread(&loops, body, &thread, &step, 4 * machine.threads));
        } else {
            phases.push(threads(&thread, 1, serial(std::slice::from_ref(stmt))));
        }
    }
    vec![blocks(&block, Dim::ONE, phases)]
}

/// Loops in the order of the text.
fn serial(body: &[Stmt]) -> Vec<Stmt> {
    let one = |stmt: &Stmt| match stmt {
        Stmt::For { var, extent, body, .. } => Stmt::serial(var.clone(), extent.clone(), serial(body)),
        Stmt::If { conds, body } => Stmt::If { conds: conds.clone(), body: serial(body) },
        Stmt::Alloc { buffer, space: Space::Global | Space::Shared } => {
            Stmt::Alloc { buffer: buffer.clone(), space: Space::Stack }
        }
        other => other.clone(),
    };
    body.iter().map(one).collect()
}

/// The iterations of loops, shared among threads so that neighbours take neighbours.
pub(super) fn spread(loops: &[Loop], body: &[Stmt], thread: &Symbol, step: &Symbol, count: i64) -> Stmt {
    let all = total(loops);
    let width = all.as_const().map_or(count, |n| n.clamp(1, count));
    let (t, w) = (Dim::sym(thread.clone()), Dim::from(width));
    let at = &(&Dim::sym(step.clone()) * &w) + &t;
    let body = replaced(body, &digits(loops, &at));
    let steps = match all.as_const() {
        Some(n) if n % width == 0 => Dim::from(n / width),
        _ => (&all - &t).ceil_div(&w),
    };
    let body = if steps.is(1) {
        replaced(&body, &[(step.clone(), Dim::ZERO)])
    } else {
        vec![Stmt::serial(step.clone(), steps, body)]
    };
    threads(thread, width, body)
}

/// Whether each iteration writes elements of its own and reads nothing that is written.
fn only_copies(nest: &Nest, loops: &[Loop], body: &[Stmt]) -> bool {
    let own = |at: &[Dim]| {
        let named: Vec<&Symbol> = at.iter().filter_map(Dim::as_symbol).collect();
        loops.iter().all(|(var, extent)| extent.is(1) || named.contains(&var))
    };
    let plain = body
        .iter()
        .all(|s| matches!(s, Stmt::Let { .. }) || matches!(s, Stmt::Store { combine: Combine::Replace, .. }));
    let is_output = |name: &Symbol| nest.outputs.iter().any(|b| b.name == *name);
    plain
        && accesses(body).iter().all(|(access, writes)| {
            if *writes { is_output(&access.buffer) && own(&access.at) } else { !is_output(&access.buffer) }
        })
}
