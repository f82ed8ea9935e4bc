//! The schedule of contractions that there are micro-kernels for: micro-tiles, each with its epilogue.
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
use crate::schedule::site::flat;
use crate::schedule::steps::{Chunk, Enclose, Expand, Fuse, Isolate, Pad, Reorder, Split, Tail, Tensorise};
use crate::schedule::{Machine, MicroTile, Refusal};

/// The parts of a nest that is a contraction.
#[derive(Clone)]
struct Contraction {
    acc: Symbol,
    /// The outermost of the loops summed over.
    first: Symbol,
    /// The loops summed over.
    summed: Vec<(Symbol, Dim)>,
    a: Access,
    b: Access,
}

/// The nest in tiles, if it is a contraction that tiles can carry out.
pub(super) fn draft(nest: &Nest, machine: &Machine) -> Option<Draft> {
    let (loops, body) = parallel_loops(nest);
    let parts = recognise(nest, body)?;
    (0..loops.len()).rev().find_map(|at| {
        let mut outer = loops.clone();
        let column = outer.remove(at);
        with_columns(nest, machine, parts.clone(), &outer, &column)
    })
}

fn mentions(access: &Access, var: &Symbol) -> bool {
    access.at.iter().any(|d| d.mentions(var))
}

/// Tiles whose columns are those of one loop.
fn with_columns(
    nest: &Nest,
    machine: &Machine,
    mut parts: Contraction,
    outer: &[(Symbol, Dim)],
    column: &(Symbol, Dim),
) -> Option<Draft> {
    if mentions(&parts.a, &column.0) {
        std::mem::swap(&mut parts.a, &mut parts.b);
    }
    if mentions(&parts.a, &column.0) || !mentions(&parts.b, &column.0) {
        return None;
    }
    let micro = machine.tile(dtype(nest, &parts.a)?, dtype(nest, &parts.b)?)?;
    // Rows are neighbouring loops that move the left operand alone.
    let is_row = |l: &(Symbol, Dim)| mentions(&parts.a, &l.0) && !mentions(&parts.b, &l.0);
    let end = outer.iter().rposition(is_row).map_or(outer.len(), |last| last + 1);
    let start = end - outer[..end].iter().rev().take_while(|l| is_row(l)).count();
    // Of the loops summed over, those that walk over neighbours become the tile's own, as many as can be.
    parts.summed.sort_by_key(|(var, _)| {
        let steps = [&parts.b, &parts.a].map(|x| distance(nest, x, var));
        std::cmp::Reverse(steps)
    });
    (start..=end).find_map(|from| {
        let around: Vec<Symbol> = names(&outer[..from]).into_iter().chain(names(&outer[end..])).collect();
        let rows = &outer[from..end];
        (0..parts.summed.len())
            .find_map(|own| tiled(nest, machine, micro, &parts, own, &around, rows, column).ok())
    })
}

/// How far an access moves in memory as a variable moves by one, where that is a number.
fn distance(nest: &Nest, access: &Access, var: &Symbol) -> i64 {
    let buffer = nest.inputs.iter().find(|b| b.name == access.buffer);
    let step = buffer.and_then(|b| nest.ranges.simplify(&flat(b, access)).affine_in(var));
    step.and_then(|(step, _)| step.as_const()).unwrap_or(0)
}

/// The height of tiles such that all are about equally high.
fn even_height(rows: &Dim, most: i64) -> i64 {
    match rows.as_const() {
        Some(rows) if rows > most => {
            let tiles = (rows + most - 1) / most;
            (rows + tiles - 1) / tiles
        }
        _ => most,
    }
}

/// In which order tiles are visited.
enum Walk {
    /// All tiles of a row of tiles, one row after the other: `b` stays near, each row of `a` is read once, and what
    /// is written lies together.
    AlongRows,
    /// All tiles of a column of tiles: that part of `b` stays near, which is read once.
    AlongColumns,
    /// The same for blocks of so many tiles of a column, whose rows of `a` stay near as well.
    Blocks(i64),
}

/// The order that suits the second-level cache.
fn walk(machine: &Machine, products: &Dim, columns: &Dim, rows: &Dim, height: i64) -> Walk {
    let half = machine.facts.l2_bytes / 2;
    let bytes = |elements: Option<i64>| elements.map_or(i64::MAX, |n| n.saturating_mul(4));
    let known = |a: &Dim, b: &Dim| a.as_const().zip(b.as_const()).and_then(|(a, b)| a.checked_mul(b));
    if bytes(known(products, columns)) <= half {
        return Walk::AlongRows;
    }
    let tile = bytes(products.as_const().and_then(|k| k.checked_mul(height)));
    if tile.saturating_mul(FEWEST) > half || bytes(known(products, rows)) <= half {
        return Walk::AlongColumns;
    }
    Walk::Blocks(half / tile)
}

/// Blocks of fewer tiles than this would fetch `b` too often.
const FEWEST: i64 = 4;

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
    let [a, b] = factors.as_slice() else { return None };
    let (a, b) = (element(a)?, element(b)?);
    let sums = matches!(buffer.ty.dtype, DType::F32 | DType::I32);
    let plain = target.buffer == buffer.name && sums && [a, b].iter().all(|x| dtype(nest, x).is_some());
    let first = summed.first()?.0.clone();
    plain.then(|| Contraction { acc: buffer.name.clone(), first, summed, a: a.clone(), b: b.clone() })
}

/// An element that is read, also where it is converted.
fn element(factor: &Expr) -> Option<&Access> {
    match factor {
        Expr::Load(access) => Some(access),
        Expr::Cast { value, .. } => element(value),
        _ => None,
    }
}

/// The element type of an input.
fn dtype(nest: &Nest, access: &Access) -> Option<DType> {
    nest.inputs.iter().find(|i| i.name == access.buffer).map(|i| i.ty.dtype)
}

/// Tiles of these rows and columns that sum over the loops from `own` on. Those that need the same part of `b`
/// come one after the other, so that it stays near.
#[allow(clippy::too_many_arguments, reason = "what there is, and which loops play which part")]
fn tiled(
    nest: &Nest,
    machine: &Machine,
    micro: MicroTile,
    parts: &Contraction,
    own: usize,
    around: &[Symbol],
    rows: &[(Symbol, Dim)],
    (column, columns): &(Symbol, Dim),
) -> Result<Draft, Refusal> {
    let row_count: Dim = rows.iter().map(|(_, e)| e.clone()).product();
    let (height, width) = (even_height(&row_count, micro.rows), micro.columns);
    let rows = &names(rows)[..];
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
    let (moving, still): (Vec<_>, Vec<_>) = around.iter().cloned().partition(|v| mentions(&parts.b, v));
    let products: Dim = parts.summed.iter().map(|(_, e)| e.clone()).product();
    let walk = walk(machine, &products, columns, &row_count, height);
    let mut inner: Vec<Symbol> = match walk {
        Walk::AlongRows => still.into_iter().chain([rt, ct]).collect(),
        Walk::AlongColumns => [ct].into_iter().chain(still).chain([rt]).collect(),
        Walk::Blocks(_) if !still.is_empty() => [ct].into_iter().chain(still).chain([rt]).collect(),
        Walk::Blocks(tiles) => {
            let block = draft.fresh("rb");
            let loops = vec![block.clone(), rt.clone()];
            draft.step(Split { var: rt.clone(), factor: tiles, tail: Tail::Bound, loops })?;
            vec![block, ct, rt]
        }
    };
    let mut tiles = moving;
    tiles.append(&mut inner);
    draft.step(Reorder { loops: tiles.iter().cloned().chain([row.clone(), col.clone()]).collect() })?;
    let (both, extents) = (vec![row.clone(), col.clone()], vec![height, width]);
    let (buffer, loops) = (parts.acc.clone(), both.clone());
    draft.step(Expand { buffer, loops, extents, space: Space::Stack, expanded: c })?;
    draft.step(Isolate {
        var: parts.first.clone(),
        loops: both,
        before: vec![rowz.clone(), colz.clone()],
        behind: vec![rowe, cole.clone()],
    })?;

    let (others, inner) = parts.summed.split_at(own);
    if parts.summed.len() > 1 {
        let both = [row.clone(), col.clone()];
        draft.step(Reorder { loops: names(others).into_iter().chain(both).chain(names(inner)).collect() })?;
    }
    let sum = match inner {
        [(one, _)] => one.clone(),
        _ => {
            let k = draft.fresh("k");
            draft.step(Fuse { loops: names(inner), fused: k.clone() })?;
            k
        }
    };
    draft.step(Tensorise { loops: vec![row, col, sum], width })?;

    let vector = (machine.vector_bytes / 4).min(width);
    if others.is_empty() {
        // Right before the one product that overwrites it, zeroing costs nothing.
        draft.step(Tensorise { loops: vec![rowz, colz], width })?;
    } else {
        draft.step(Pad { var: colz.clone(), extent: width })?;
        draft.vectors(&colz, vector)?;
    }
    draft.vectors(&cole, vector)?;
    draft.step(Fuse { loops: tiles, fused: tile })?;
    Ok(draft)
}
