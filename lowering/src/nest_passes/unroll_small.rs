//! `unroll-small`: replaces a serial loop of small constant extent by copies of its body.
//!
//! ```tcc
//! nest @f(x: f32[2]) -> (y: f32[2]) {
//!   for i in 0..2 {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//! ->
//! ```tcc
//! nest @f(x: f32[2]) -> (y: f32[2]) {
//!   y[0] = x[0]
//!   y[1] = x[1]
//! }
//! ```
//!
//! A body that names scalars or buffers of its own stays a loop, since names are distinct within a nest.

use tcc_ir::dim::Dim;
use tcc_ir::loops::{LoopKind, Nest, Stmt};
use tcc_ir::numerics::Numerics;

use crate::pass::{OptionDef, OptionKind, Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "unroll-small",
    summary: "replaces a serial loop of small constant extent by copies of its body",
    source: include_str!("unroll_small.rs"),
    options: &[OptionDef {
        name: "limit",
        kind: OptionKind::Count,
        default: "4",
        doc: "the largest extent that is unrolled",
    }],
    numerics: Numerics::Exact,
    run: PassFn::Nest(run),
};

/// No body grows beyond this many statements, however loops are nested.
const MAX_STATEMENTS: usize = 4096;

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
                let copies = copies(extent, *kind, &inner, cx.options.count("limit"));
                match copies.filter(|_| cx.rewrite()) {
                    Some(copies) => {
                        *changed = true;
                        for i in 0..copies {
                            let at = Dim::from(i as i64);
                            out.extend(inner.iter().map(|s| s.replace(var, &at)));
                        }
                    }
                    None => out.push(Stmt::For {
                        var: var.clone(),
                        extent: extent.clone(),
                        kind: *kind,
                        body: inner,
                    }),
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

/// How many copies take the place of a loop that can be unrolled.
fn copies(extent: &Dim, kind: LoopKind, body: &[Stmt], limit: u64) -> Option<u64> {
    let copies = extent.as_const().and_then(|n| u64::try_from(n).ok()).filter(|n| *n <= limit)?;
    let (mut names, mut size) = (false, 0usize);
    for stmt in body {
        stmt.each(&mut |s| {
            names |= !matches!(s, Stmt::Store { .. } | Stmt::If { .. });
            size += 1;
        });
    }
    let small = size.saturating_mul(copies as usize) <= MAX_STATEMENTS;
    (kind == LoopKind::Serial && !names && small).then_some(copies)
}
