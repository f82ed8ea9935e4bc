//! Products of matrices inside of a nest that does more, as attention does: micro-tiles over their rows and columns.
//!
//! ```text
//! for i in 0..m { for j in 0..n { for k in 0..p { c[i, j] += a[i, k] * b[k, j] } } }
//! ->
//! for jt in 0..n / w { for it in 0..m / h { c[h rows, w columns] += a * b as one micro-tile } }
//! ```

use tcc_ir::dim::Symbol;
use tcc_ir::loops::{Combine, Expr, LoopKind, Nest, Stmt};
use tcc_ir::scalar::ScalarOp;

use super::Draft;
use crate::schedule::steps::{Reorder, Split, Tail, Tensorise};
use crate::schedule::{Machine, Refusal};

/// The nest with those of its products in micro-tiles that can be.
pub(super) fn draft(nest: &Nest, machine: &Machine) -> Draft {
    let mut draft = Draft::of(nest);
    for loops in products(nest) {
        let mut tried = draft.clone();
        if tiled(&mut tried, machine, &loops).is_ok() {
            draft = tried;
        }
    }
    draft
}

/// Rows, columns and products of every sum of products of two elements.
fn products(nest: &Nest) -> Vec<[Symbol; 3]> {
    let mut found = Vec::new();
    for stmt in &nest.body {
        stmt.each(&mut |s| found.extend(product(s)));
    }
    found
}

fn product(stmt: &Stmt) -> Option<[Symbol; 3]> {
    let (i, body) = serial(stmt)?;
    let [inner] = body else { return None };
    let (j, body) = serial(inner)?;
    let [inner] = body else { return None };
    let (k, body) = serial(inner)?;
    let [Stmt::Store { values, combine: Combine::With(ScalarOp::Add), .. }] = body else { return None };
    let [Expr::Op(ScalarOp::Mul, factors)] = values.as_slice() else { return None };
    let loads = factors.iter().all(|f| matches!(f, Expr::Load(_)));
    loads.then(|| [i, j, k].map(Symbol::clone))
}

fn serial(stmt: &Stmt) -> Option<(&Symbol, &[Stmt])> {
    match stmt {
        Stmt::For { var, kind: LoopKind::Serial, body, .. } => Some((var, body)),
        _ => None,
    }
}

fn tiled(draft: &mut Draft, machine: &Machine, [i, j, k]: &[Symbol; 3]) -> Result<(), Refusal> {
    let mut outer = Vec::new();
    for (var, factor) in [(j, machine.tile_columns), (i, machine.tile_rows)] {
        let tile = draft.fresh(&format!("{var}t"));
        let loops = vec![tile.clone(), var.clone()];
        draft.step(Split { var: var.clone(), factor, tail: Tail::Bound, loops })?;
        outer.push(tile);
    }
    // Tiles of one column of tiles follow each other, so that its part of the right operand stays near.
    let inner = [i, j, k].map(Symbol::clone);
    draft.step(Reorder { loops: outer.into_iter().chain(inner.clone()).collect() })?;
    draft.step(Tensorise { loops: inner.to_vec(), width: machine.tile_columns })
}
