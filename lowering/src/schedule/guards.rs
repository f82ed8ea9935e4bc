//! Cutting a loop where its guards change, so that each part runs without asking.
//!
//! ```text
//! for i in 0..10 { y[i] = (if -1 < i - 2 && i - 2 < 6 then x[i - 2] else f32(0.0)) }
//! ->
//! for i0 in 0..2 { y[i0] = f32(0.0) }
//! for i1 in 0..6 { y[i1 + 2] = x[i1] }
//! for i2 in 0..2 { y[i2 + 8] = f32(0.0) }
//! ```

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::loops::{Cond, Expr, Stmt};

use super::{limit, replace_all};

/// A stretch of a loop in which its guards do not change.
pub(super) struct Stretch {
    pub(super) var: Symbol,
    pub(super) extent: Dim,
    pub(super) body: Vec<Stmt>,
}

/// The stretches of a loop; nothing if there is only one.
pub(super) fn stretches(var: &Symbol, extent: &Dim, body: &[Stmt], ranges: &Ranges) -> Option<Vec<Stretch>> {
    let end = extent.as_const()?;
    let mut cuts = vec![0, end];
    for stmt in body {
        stmt.each_expr(&mut |e| {
            e.each(&mut |inner| {
                if let Expr::Guard { conds, .. } = inner {
                    cuts.extend(
                        conds.iter().filter_map(|c| turning_point(c, var)).filter(|p| (1..end).contains(p)),
                    );
                }
            });
        });
    }
    cuts.sort_unstable();
    cuts.dedup();
    if cuts.len() < 3 {
        return None;
    }
    let mut parts = Vec::new();
    for (i, pair) in cuts.windows(2).enumerate() {
        let part = Symbol::new(&format!("{var}{i}"));
        let length = Dim::from(pair[1] - pair[0]);
        let mut ranges = ranges.clone();
        limit(&mut ranges, &part, &length);
        let at = &Dim::sym(part.clone()) + &Dim::from(pair[0]);
        let copy = super::cut::renamed(&replace_all(body, &[(var.clone(), at)]), &format!("s{i}"));
        let body = copy.iter().map(|s| settle(s, &ranges)).collect();
        parts.push(Stretch { var: part, extent: length, body });
    }
    Some(parts)
}

/// The first index at which a condition is another than before.
fn turning_point(cond: &Cond, var: &Symbol) -> Option<i64> {
    let (slope, rest) = (&cond.right - &cond.left).affine_in(var)?;
    match (slope.as_const()?, rest.as_const()?) {
        // `i + rest > 0` holds from `1 - rest` on, `rest - i > 0` up to `rest`.
        (1, rest) => Some(1 - rest),
        (-1, rest) => Some(rest),
        _ => None,
    }
}

/// A statement whose guards are dropped where the ranges decide them.
fn settle(stmt: &Stmt, ranges: &Ranges) -> Stmt {
    match stmt {
        Stmt::Let { name, value } => Stmt::Let { name: name.clone(), value: settled(value, ranges) },
        Stmt::Store { targets, values, combine } => Stmt::Store {
            targets: targets.clone(),
            values: values.iter().map(|v| settled(v, ranges)).collect(),
            combine: combine.clone(),
        },
        other => other.clone(),
    }
}

fn settled(expr: &Expr, ranges: &Ranges) -> Expr {
    match expr {
        Expr::Guard { conds, then, otherwise } => {
            if conds.iter().any(|c| ranges.at_most(&c.right, &c.left)) {
                return settled(otherwise, ranges);
            }
            let open: Vec<Cond> = conds.iter().filter(|c| !ranges.less(&c.left, &c.right)).cloned().collect();
            if open.is_empty() {
                return settled(then, ranges);
            }
            let (then, otherwise) = (settled(then, ranges), settled(otherwise, ranges));
            Expr::Guard { conds: open, then: Box::new(then), otherwise: Box::new(otherwise) }
        }
        Expr::Op(op, args) => Expr::Op(*op, args.iter().map(|a| settled(a, ranges)).collect()),
        Expr::Cast { to, saturate, value } => {
            Expr::Cast { to: *to, saturate: *saturate, value: Box::new(settled(value, ranges)) }
        }
        Expr::Bitcast(to, value) => Expr::Bitcast(*to, Box::new(settled(value, ranges))),
        other => other.clone(),
    }
}
