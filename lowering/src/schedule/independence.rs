//! Whether the iterations of a loop can run in any order, proven from the elements that they touch.
//!
//! Two iterations are apart if every buffer that is written moves with the loop: along one axis, or in the flat
//! index, all accesses are at `c*i + r + s` with the same `r` from outside of the loop and an `s` that stays in
//! a stretch shorter than `c`.

use std::collections::BTreeSet;

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::loops::{Access, Combine, LoopKind, Nest, Stmt};
use tcc_ir::scalar::ScalarOp;

use super::Refusal;
use super::site::{Site, buffer_of, declared, each_access, flat, limit};

/// Refuses unless the iterations of a loop are apart, because it says so or because it is proven.
pub(super) fn expect_independent(nest: &Nest, site: &Site<'_>) -> Result<(), Refusal> {
    if site.kind == LoopKind::Parallel {
        return Ok(());
    }
    match shared(nest, site.var, site.body, &[], &site.inner_ranges()) {
        None => Ok(()),
        Some(buffer) => Err(Refusal::new(
            format!("iterations of `{}` that are apart", site.var),
            format!("`{buffer}`, which several of them may touch"),
        )),
    }
}

/// A buffer that iterations of a loop may share with a write, if they are not proven apart. `also` are loops
/// further out that go their way between two iterations.
pub(super) fn shared(
    nest: &Nest,
    var: &Symbol,
    body: &[Stmt],
    also: &[Symbol],
    ranges: &Ranges,
) -> Option<Symbol> {
    let inside = declared(body);
    let moving: BTreeSet<Symbol> = inside.iter().chain(also).cloned().collect();
    let mut ranges = ranges.clone();
    for stmt in body {
        stmt.each(&mut |s| {
            if let Stmt::For { var, extent, .. } = s {
                limit(&mut ranges, var, extent);
            }
        });
    }
    let mut written: BTreeSet<Symbol> = BTreeSet::new();
    each_access(body, &mut |access, write| {
        if write && !inside.contains(&access.buffer) {
            written.insert(access.buffer.clone());
        }
    });
    written.into_iter().find(|name| {
        let mut accesses: Vec<Access> = Vec::new();
        each_access(body, &mut |access, _| {
            if access.buffer == *name {
                accesses.push(access.clone());
            }
        });
        let rank = accesses.first().map_or(0, |a| a.at.len());
        let along =
            |axis: usize| apart(&mut accesses.iter().map(|a| a.at[axis].clone()), var, &moving, &ranges);
        let flat_apart = || {
            let Some(buffer) = buffer_of(nest, name) else { return false };
            apart(&mut accesses.iter().map(|a| flat(&buffer, a)), var, &moving, &ranges)
        };
        !((0..rank).any(along) || flat_apart())
    })
}

/// Whether indices of different iterations differ.
fn apart(
    indices: &mut dyn Iterator<Item = Dim>,
    var: &Symbol,
    moving: &BTreeSet<Symbol>,
    ranges: &Ranges,
) -> bool {
    let mut fixed: Option<(Dim, Dim)> = None;
    let (mut lo, mut hi) = (i64::MAX, i64::MIN);
    for index in indices {
        let Some((step, rest)) = ranges.simplify(&index).affine_in(var) else { return false };
        if step.symbols().iter().any(|s| moving.contains(s)) {
            return false;
        }
        let outer = rest.substitute(&|s| moving.contains(s).then_some(Dim::ZERO));
        let inner = ranges.bounds(&(&rest - &outer));
        (lo, hi) = (lo.min(inner.lo), hi.max(inner.hi));
        let this = (step, outer);
        match &fixed {
            Some(first) if *first != this => return false,
            _ => fixed = Some(this),
        }
    }
    let Some((step, _)) = fixed else { return false };
    let step = ranges.bounds(&step);
    let least = step.lo.max(step.hi.saturating_neg());
    least > hi.saturating_sub(lo)
}

/// Whether statements only combine into buffers, each by one operation and without reading them, so that they
/// can run in any order but for rounding.
pub(super) fn only_combines(body: &[Stmt]) -> bool {
    let inside = declared(body);
    let mut into: Vec<(Symbol, Option<ScalarOp>)> = Vec::new();
    let mut read: BTreeSet<Symbol> = BTreeSet::new();
    for stmt in body {
        stmt.each(&mut |s| {
            if let Stmt::Store { targets, combine, .. } = s {
                let op = match combine {
                    Combine::With(op) => Some(*op),
                    Combine::Replace | Combine::Tuple { .. } => None,
                };
                into.extend(targets.iter().map(|t| (t.buffer.clone(), op)));
            }
        });
    }
    each_access(body, &mut |access, write| {
        if !write {
            read.insert(access.buffer.clone());
        }
    });
    into.retain(|(name, _)| !inside.contains(name));
    into.iter().all(|(name, op)| {
        op.is_some() && !read.contains(name) && into.iter().all(|(other, o)| other != name || o == op)
    })
}
