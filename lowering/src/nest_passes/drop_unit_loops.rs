//! `drop-unit-loops`: replaces a loop of one iteration by its body.
//!
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for i in 0..1 {
//!     for j in 0..4 {
//!       y[4*i + j] = x[j]
//!     }
//!   }
//! }
//! ```
//! ->
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for j in 0..4 {
//!     y[j] = x[j]
//!   }
//! }
//! ```
//!
//! Loops over blocks and threads stay, since they say how a kernel is launched, and so do those of a
//! micro-tile, which come in threes.

use tcc_ir::dim::Dim;
use tcc_ir::loops::{LoopKind, Nest, Stmt};
use tcc_ir::numerics::Numerics;

use crate::pass::{Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "drop-unit-loops",
    summary: "replaces a loop of one iteration by its body",
    source: include_str!("drop_unit_loops.rs"),
    options: &[],
    numerics: Numerics::Exact,
    run: PassFn::Nest(run),
};

fn run(nest: &Nest, cx: &mut PassCx<'_>) -> Result<Outcome<Nest>, PassError> {
    let mut changed = false;
    let body = block(&nest.body, cx, &mut changed);
    Ok(Outcome::of(changed, Nest { body, ..nest.clone() }))
}

fn block(body: &[Stmt], cx: &mut PassCx<'_>, changed: &mut bool) -> Vec<Stmt> {
    let mut out = Vec::with_capacity(body.len());
    for stmt in body {
        match stmt {
            Stmt::For { var, extent, kind, body: inner } => {
                let inner = block(inner, cx, changed);
                let bound = matches!(kind, LoopKind::Block(_) | LoopKind::Thread(_) | LoopKind::Tile);
                if extent.is(1) && !bound && cx.rewrite() {
                    *changed = true;
                    out.extend(inner.iter().map(|s| s.replace(var, &Dim::ZERO)));
                } else {
                    out.push(Stmt::For {
                        var: var.clone(),
                        extent: extent.clone(),
                        kind: *kind,
                        body: inner,
                    });
                }
            }
            Stmt::If { conds, body: inner } => {
                out.push(Stmt::If { conds: conds.clone(), body: block(inner, cx, changed) });
            }
            other => out.push(other.clone()),
        }
    }
    out
}
