//! What the schedules for GPUs share: chains of loops, their joint index, and statements with names replaced.

use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::loops::{Access, Combine, Cond, Expr, LoopKind, Nest, Stmt};

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
        let hi = ranges.bounds(extent).hi.saturating_sub(1).max(0);
        ranges.set(var.clone(), Range { lo: 0, hi });
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
    body.iter().map(|s| s.map_dims(&|d| replaced_dim(d, by))).collect()
}

pub(super) fn replaced_dim(dim: &Dim, by: &[Loop]) -> Dim {
    dim.substitute(&|s| by.iter().find(|(v, _)| v == s).map(|(_, d)| d.clone()))
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

/// Names that a nest does not use.
pub(super) struct Fresh {
    taken: std::collections::BTreeSet<Symbol>,
}

impl Fresh {
    pub(super) fn of(nest: &Nest) -> Fresh {
        let mut taken: std::collections::BTreeSet<Symbol> = nest.params().map(|b| b.name.clone()).collect();
        taken.extend(nest.ranges.iter().map(|(s, _)| s.clone()));
        taken.extend(nest.symbols());
        for stmt in &nest.body {
            stmt.each(&mut |s| match s {
                Stmt::For { var: name, .. } | Stmt::Let { name, .. } => {
                    taken.insert(name.clone());
                }
                Stmt::Alloc { buffer, .. } => {
                    taken.insert(buffer.name.clone());
                }
                Stmt::Store { combine: Combine::Tuple { params, .. }, .. } => {
                    taken.extend(params.iter().cloned());
                }
                _ => {}
            });
        }
        Fresh { taken }
    }

    /// A new name that begins with a word.
    pub(super) fn name(&mut self, word: &str) -> Symbol {
        let mut name = Symbol::new(word);
        let mut number = 0;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = Symbol::new(&format!("{word}{number}"));
        }
        name
    }
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

/// Replaces every access to some buffers, written or read.
pub(super) fn redirected(stmt: &Stmt, by: &dyn Fn(&Access) -> Access) -> Stmt {
    let keep = |d: &Dim| d.clone();
    let expr = |e: &Expr| {
        let leaf = |leaf: &Expr| match leaf {
            Expr::Load(access) => Expr::Load(by(access)),
            other => other.clone(),
        };
        e.map_leaves(&leaf, &keep)
    };
    let many = |body: &[Stmt]| body.iter().map(|s| redirected(s, by)).collect();
    match stmt {
        Stmt::For { var, extent, kind, body } => {
            Stmt::For { var: var.clone(), extent: extent.clone(), kind: *kind, body: many(body) }
        }
        Stmt::If { conds, body } => Stmt::If { conds: conds.clone(), body: many(body) },
        Stmt::Let { name, value } => Stmt::Let { name: name.clone(), value: expr(value) },
        Stmt::Alloc { .. } => stmt.clone(),
        Stmt::Store { targets, values, combine } => Stmt::Store {
            targets: targets.iter().map(by).collect(),
            values: values.iter().map(expr).collect(),
            combine: combine.clone(),
        },
    }
}
