//! What the schedules for GPUs share: chains of loops, their joint index, and statements with names replaced.

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::loops::{Access, Combine, Cond, Expr, LoopKind, Nest, Stmt};

use crate::schedule::rewrite::{Rewrite, Substitute};
use crate::schedule::site::limit;

/// A loop variable with its extent.
pub(super) type Loop = (Symbol, Dim);

/// The parallel loops around everything else, outermost first, and what they stand around.
pub(super) fn parallel_chain(nest: &Nest) -> (Vec<Loop>, &[Stmt]) {
    chain(&nest.body, LoopKind::Parallel)
}

/// Loops of a kind that stand directly inside each other, outermost first.
pub(super) fn chain(mut body: &[Stmt], wanted: LoopKind) -> (Vec<Loop>, &[Stmt]) {
    let mut loops = Vec::new();
    while let [Stmt::For { var, extent, kind, body: inner }] = body
        && *kind == wanted
    {
        loops.push((var.clone(), extent.clone()));
        body = inner;
    }
    (loops, body)
}

/// How many iterations loops have together.
pub(super) fn total(loops: &[Loop]) -> Dim {
    loops.iter().map(|(_, e)| e.clone()).product()
}

/// What is known of the symbols and of loop variables.
pub(super) fn ranges(nest: &Nest, loops: &[Loop]) -> Ranges {
    let mut ranges = nest.ranges.clone();
    for (var, extent) in loops {
        limit(&mut ranges, var, extent);
    }
    ranges
}

/// The values of loop variables for one joint index, the last loop's the lowest digit.
pub(super) fn digits(loops: &[Loop], index: &Dim) -> Vec<Loop> {
    let mut digits = Vec::new();
    let mut rest = index.clone();
    for (i, (var, extent)) in loops.iter().enumerate().rev() {
        let digit = if i == 0 { rest.clone() } else { rest.modulo(extent) };
        rest = rest.floor_div(extent);
        digits.push((var.clone(), digit));
    }
    digits
}

/// Replaces several variables at once.
pub(super) fn replaced(body: &[Stmt], by: &[Loop]) -> Vec<Stmt> {
    Substitute(by).block(body)
}

pub(super) fn replaced_dim(dim: &Dim, by: &[Loop]) -> Dim {
    Substitute(by).dim(dim)
}

/// A loop over blocks.
pub(super) fn blocks(var: &Symbol, extent: Dim, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var: var.clone(), extent, kind: LoopKind::Block(0), body }
}

/// A loop over threads.
pub(super) fn threads(var: &Symbol, extent: i64, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var: var.clone(), extent: Dim::from(extent), kind: LoopKind::Thread(0), body }
}

/// A body under conditions that are not known to hold.
pub(super) fn guarded(conds: Vec<Cond>, body: Vec<Stmt>, ranges: &Ranges) -> Vec<Stmt> {
    let open: Vec<Cond> = conds.into_iter().filter(|c| !ranges.less(&c.left, &c.right)).collect();
    if open.is_empty() { body } else { vec![Stmt::If { conds: open, body }] }
}

/// Every access of statements, with whether it writes.
pub(super) fn accesses(body: &[Stmt]) -> Vec<(Access, bool)> {
    let mut found = Vec::new();
    for stmt in body {
        stmt.each(&mut |s| {
            if let Stmt::Store { targets, combine, .. } = s {
                for target in targets {
                    found.push((target.clone(), true));
                    if !matches!(combine, Combine::Replace) {
                        found.push((target.clone(), false));
                    }
                }
            }
            s.each_expr(&mut |e| {
                e.each(&mut |inner| {
                    if let Expr::Load(access) = inner {
                        found.push((access.clone(), false));
                    }
                });
            });
        });
    }
    found
}

/// Whether any statement inside is a condition or has a guarded value.
pub(super) fn has_conditions(body: &[Stmt]) -> bool {
    let mut found = false;
    for stmt in body {
        stmt.each(&mut |s| {
            found |= matches!(s, Stmt::If { .. });
            s.each_expr(&mut |e| e.each(&mut |inner| found |= matches!(inner, Expr::Guard { .. })));
        });
    }
    found
}

/// A statement with every access to some buffers replaced, written or read.
pub(super) fn redirected(stmt: &Stmt, by: &dyn Fn(&Access) -> Access) -> Stmt {
    Redirected(by).stmt(stmt)
}

struct Redirected<'a>(&'a dyn Fn(&Access) -> Access);

impl Rewrite for Redirected<'_> {
    fn access(&self, access: &Access) -> Access {
        (self.0)(access)
    }
}
