//! Cutting loops: into vectors with a tail, and copies of statements under new names.

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Combine, Expr, LoopKind, Stmt};

use super::replace_all;

/// ```text
/// for i in 0..n { s }
/// ->
/// for io in 0..n / w { for iv in 0..w vector { s[i -> io*w + iv] } }
/// for it in 0..n % w { s[i -> n / w * w + it] }
/// ```
pub(super) fn into_vectors(var: &Symbol, extent: &Dim, width: i64, body: &[Stmt]) -> Vec<Stmt> {
    let named = |suffix: &str| Symbol::new(&format!("{var}{suffix}"));
    let w = Dim::from(width);
    let (whole, rest) = (extent.floor_div(&w), extent.modulo(&w));
    let mut out = Vec::new();
    if !whole.is(0) {
        let (outer, lane) = (named("o"), named("v"));
        let at = &(&Dim::sym(outer.clone()) * &w) + &Dim::sym(lane.clone());
        let inner = replace_all(body, &[(var.clone(), at)]);
        let vector = Stmt::For { var: lane, extent: w.clone(), kind: LoopKind::Vector, body: inner };
        // One vector alone needs no loop around it.
        if whole.is(1) {
            out.extend(replace_all(&[vector], &[(outer, Dim::ZERO)]));
        } else {
            out.push(Stmt::serial(outer, whole.clone(), vec![vector]));
        }
    }
    if !rest.is(0) {
        let last = named("t");
        let at = &(&whole * &w) + &Dim::sym(last.clone());
        // If both parts are there, the second needs names of its own.
        let body = if out.is_empty() { body.to_vec() } else { renamed(body, "t") };
        out.push(Stmt::serial(last, rest, replace_all(&body, &[(var.clone(), at)])));
    }
    out
}

/// A copy in which everything that is named inside has another name.
pub(super) fn renamed(body: &[Stmt], suffix: &str) -> Vec<Stmt> {
    let mut names: FxHashMap<Symbol, Symbol> = FxHashMap::default();
    let mut note = |name: &Symbol| {
        names.insert(name.clone(), Symbol::new(&format!("{name}{suffix}")));
    };
    for stmt in body {
        stmt.each(&mut |s| match s {
            Stmt::For { var, .. } => note(var),
            Stmt::Let { name, .. } => note(name),
            Stmt::Alloc { buffer, .. } => note(&buffer.name),
            Stmt::Store { combine: Combine::Tuple { params, .. }, .. } => params.iter().for_each(&mut note),
            _ => {}
        });
    }
    body.iter().map(|s| rename(s, &names)).collect()
}

fn rename(stmt: &Stmt, names: &FxHashMap<Symbol, Symbol>) -> Stmt {
    let new = |s: &Symbol| names.get(s).cloned().unwrap_or_else(|| s.clone());
    let dims = |d: &Dim| d.substitute(&|s| names.get(s).map(|n| Dim::sym(n.clone())));
    let access = |a: &Access| Access { buffer: new(&a.buffer), at: a.at.iter().map(dims).collect() };
    let expr = |e: &Expr| {
        let leaf = |leaf: &Expr| match leaf {
            Expr::Var(name) => Expr::Var(new(name)),
            Expr::Load(from) => Expr::Load(access(from)),
            Expr::Index(dim) => Expr::Index(dims(dim)),
            other => other.clone(),
        };
        e.map_leaves(&leaf, &dims)
    };
    let many = |body: &[Stmt]| body.iter().map(|s| rename(s, names)).collect::<Vec<_>>();
    match stmt {
        Stmt::For { var, extent, kind, body } => {
            Stmt::For { var: new(var), extent: dims(extent), kind: *kind, body: many(body) }
        }
        Stmt::If { conds, body } => {
            Stmt::If { conds: conds.iter().map(|c| c.map_dims(&dims)).collect(), body: many(body) }
        }
        Stmt::Let { name, value } => Stmt::Let { name: new(name), value: expr(value) },
        Stmt::Alloc { .. } => match stmt.map_dims(&dims) {
            Stmt::Alloc { mut buffer, space } => {
                buffer.name = new(&buffer.name);
                Stmt::Alloc { buffer, space }
            }
            other => other,
        },
        Stmt::Store { targets, values, combine } => Stmt::Store {
            targets: targets.iter().map(access).collect(),
            values: values.iter().map(expr).collect(),
            combine: match combine {
                Combine::Tuple { params, results } => Combine::Tuple {
                    params: params.iter().map(new).collect(),
                    results: results.iter().map(expr).collect(),
                },
                other => other.clone(),
            },
        },
    }
}
