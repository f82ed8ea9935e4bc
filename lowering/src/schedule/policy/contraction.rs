//! The schedule of contractions of f32: micro-tiles, each with its epilogue.
//!
//! ```text
//! for i in 0..m parallel { for j in 0..n parallel {
//!   acc[] = 0; for k in 0..p { acc[] += a[i, k] * b[k, j] }; y[i, j] = f(acc[])
//! } }
//! ->
//! for tile in 0..(m / r) * (n / c) parallel {
//!   c[0..r, 0..c] = 0; c += a * b as one micro-tile
//!   for each element of the tile in vectors { y[i, j] = f(c[i, j]) }
//! }
//! ```
//!
//! The columns of `b` must be neighbours in memory and readable up to a whole tile; the passes over layouts see
//! to that.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Combine, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::scalar::ScalarOp;

use super::{Draft, names, parallel_loops};
use crate::schedule::steps::{Chunk, Enclose, Expand, Fuse, Isolate, Pad, Reorder, Split, Tail, Tensorise};
use crate::schedule::{Machine, Refusal};

/// The parts of a nest that is a contraction.
struct Contraction {
    acc: Symbol,
    /// The loops summed over, outermost first.
    summed: Vec<(Symbol, Dim)>,
    a: Access,
    b: Access,
}

/// The nest in tiles, if it is a contraction that tiles can carry out.
pub(super) fn draft(nest: &Nest, machine: &Machine) -> Option<Draft> {
    let (loops, body) = parallel_loops(nest);
    let mut parts = recognise(nest, body)?;
    let (column, outer) = loops.split_last()?;
    let mentions = |access: &Access, var: &Symbol| access.at.iter().any(|d| d.mentions(var));
    if mentions(&parts.a, &column.0) {
        std::mem::swap(&mut parts.a, &mut parts.b);
    }
    if mentions(&parts.a, &column.0) || !mentions(&parts.b, &column.0) {
        return None;
    }
    // Rows are neighbouring loops that move the left operand alone.
    let is_row = |l: &(Symbol, Dim)| mentions(&parts.a, &l.0) && !mentions(&parts.b, &l.0);
    let end = outer.iter().rposition(is_row).map_or(outer.len(), |last| last + 1);
    let start = end - outer[..end].iter().rev().take_while(|l| is_row(l)).count();
    (start..=end).find_map(|from| {
        let around: Vec<Symbol> = names(&outer[..from]).into_iter().chain(names(&outer[end..])).collect();
        tiled(nest, machine, &parts, &around, &names(&outer[from..end]), &column.0).ok()
    })
}

fn recognise(nest: &Nest, body: &[Stmt]) -> Option<Contraction> {
    let [Stmt::Alloc { buffer, .. }, Stmt::Store { .. }, first @ Stmt::For { .. }, ..] = body else {
        return None;
    };
    let mut summed = Vec::new();
    let mut inner = std::slice::from_ref(first);
    while let [Stmt::For { var, extent, kind: LoopKind::Serial, body }] = inner {
        summed.push((var.clone(), extent.clone()));
        inner = body;
    }
    let [Stmt::Store { targets, values, combine: Combine::With(ScalarOp::Add) }] = inner else { return None };
    let ([target], [Expr::Op(ScalarOp::Mul, factors)]) = (targets.as_slice(), values.as_slice()) else {
        return None;
    };
    let [Expr::Load(a), Expr::Load(b)] = factors.as_slice() else { return None };
    let is_f32 =
        |access: &Access| nest.inputs.iter().any(|i| i.name == access.buffer && i.ty.dtype == DType::F32);
    let plain = target.buffer == buffer.name && buffer.ty.dtype == DType::F32 && is_f32(a) && is_f32(b);
    plain.then(|| Contraction { acc: buffer.name.clone(), summed, a: a.clone(), b: b.clone() })
}

/// Tiles of these rows and columns, those of one column of tiles one after the other, so that its part of `b`
/// stays near.
fn tiled(
    nest: &Nest,
    machine: &Machine,
    parts: &Contraction,
    around: &[Symbol],
    rows: &[Symbol],
    column: &Symbol,
) -> Result<Draft, Refusal> {
    let (height, width) = (machine.tile_rows, machine.tile_columns);
    let mut draft = Draft::of(nest);
    let [tile, row, col, rt, ct] = ["tile", "row", "col", "rt", "ct"].map(|n| draft.fresh(n));
    let [rowz, colz, rowe, cole, c] = ["rowz", "colz", "rowe", "cole", "c"].map(|n| draft.fresh(n));
    let tiles = vec![rt.clone(), row.clone()];
    let rows = if rows.is_empty() {
        draft.step(Enclose { var: column.clone(), outer: row.clone() })?;
        vec![row.clone()]
    } else {
        rows.to_vec()
    };
    draft.step(Chunk { loops: rows, size: height, chunks: tiles })?;
    let tiles = vec![ct.clone(), col.clone()];
    draft.step(Split { var: column.clone(), factor: width, tail: Tail::Bound, loops: tiles })?;
    let inside = [&ct, &rt, &row, &col].map(Symbol::clone);
    draft.step(Reorder { loops: around.iter().chain(&inside).cloned().collect() })?;
    let (both, extents) = (vec![row.clone(), col.clone()], vec![height, width]);
    let (buffer, loops) = (parts.acc.clone(), both.clone());
    draft.step(Expand { buffer, loops, extents, space: Space::Stack, expanded: c })?;
    draft.step(Isolate {
        var: parts.summed[0].0.clone(),
        loops: both,
        before: vec![rowz.clone(), colz.clone()],
        behind: vec![rowe, cole.clone()],
    })?;

    // The longest loop summed over becomes the tile's own.
    let by_extent =
        |(at, (_, e)): &(usize, &(Symbol, Dim))| (e.as_const().unwrap_or(i64::MAX), std::cmp::Reverse(*at));
    let longest = parts.summed.iter().enumerate().max_by_key(by_extent).map_or(0, |(at, _)| at);
    let sum = parts.summed[longest].0.clone();
    if parts.summed.len() > 1 {
        let others = parts.summed.iter().enumerate().filter(|(at, _)| *at != longest);
        let others = others.map(|(_, (var, _))| var.clone());
        draft.step(Reorder { loops: others.chain([row.clone(), col.clone(), sum.clone()]).collect() })?;
    }
    draft.step(Tensorise { loops: vec![row, col, sum] })?;

    let vector = (machine.vector_bytes / 4).min(width);
    if parts.summed.len() == 1 {
        // Right before the one product that overwrites it, zeroing costs nothing.
        draft.step(Tensorise { loops: vec![rowz, colz] })?;
    } else {
        draft.step(Pad { var: colz.clone(), extent: width })?;
        draft.vectors(&colz, vector)?;
    }
    draft.vectors(&cole, vector)?;
    draft.step(Fuse { loops: around.iter().cloned().chain([ct, rt]).collect(), fused: tile })?;
    Ok(draft)
}
