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

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};

use super::cut::into_vectors;
use super::{Machine, join, limit, parallel_loops, replace_all};

/// The parts of a nest that is a contraction.
#[derive(Clone)]
struct Contraction<'n> {
    acc: Symbol,
    /// The loops summed over, outermost first.
    summed: Vec<(Symbol, Dim)>,
    a: Access,
    b: Access,
    epilogue: &'n [Stmt],
}

/// The nest in tiles, if it is a contraction that tiles can carry out.
pub(super) fn schedule(nest: &Nest, machine: &Machine) -> Option<Nest> {
    let (loops, body) = parallel_loops(nest);
    let parts = recognise(nest, body)?;
    (0..loops.len()).rev().find_map(|at| {
        let mut outer = loops.clone();
        let column = outer.remove(at);
        with_columns(nest, machine, &parts, &outer, &column)
    })
}

fn mentions(access: &Access, var: &Symbol) -> bool {
    access.at.iter().any(|d| d.mentions(var))
}

/// The nest in tiles whose columns are those of one loop.
fn with_columns(
    nest: &Nest,
    machine: &Machine,
    parts: &Contraction<'_>,
    outer: &[(Symbol, Dim)],
    column: &(Symbol, Dim),
) -> Option<Nest> {
    let mut parts = parts.clone();
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
    // Of the loops summed over, those that walk over neighbours become the tile's own, as many as can be.
    let distance = |(var, _): &(Symbol, Dim)| {
        let steps = [&parts.b, &parts.a].map(|x| step(nest, x, var).and_then(|s| s.as_const()));
        std::cmp::Reverse(steps.map(|s| s.unwrap_or(0)))
    };
    let mut summed = parts.summed.clone();
    summed.sort_by_key(distance);
    parts.summed = summed;
    let joined: Vec<Contraction<'_>> = (0..parts.summed.len()).map(|from| parts.joined(from)).collect();
    (start..=end).find_map(|from| {
        let around: Vec<(Symbol, Dim)> = outer[..from].iter().chain(&outer[end..]).cloned().collect();
        joined.iter().find_map(|parts| tile(nest, machine, parts, &around, &outer[from..end], column))
    })
}

/// How far an access moves in memory as a variable moves by one.
fn step(nest: &Nest, access: &Access, var: &Symbol) -> Option<Dim> {
    flat(nest, access, &nest.ranges)?.affine_in(var).map(|(step, _)| step)
}

/// The position of an element in its buffer.
fn flat(nest: &Nest, access: &Access, ranges: &Ranges) -> Option<Dim> {
    let buffer = nest.inputs.iter().find(|x| x.name == access.buffer)?;
    let extents = buffer.ty.shape.iter();
    let flat = access.at.iter().zip(extents).fold(Dim::ZERO, |f, (at, e)| &(&f * e) + at);
    Some(ranges.simplify(&flat))
}

impl Contraction<'_> {
    /// With all loops summed over from one on as one loop.
    fn joined(&self, from: usize) -> Self {
        let (outer, inner) = self.summed.split_at(from);
        if inner.len() < 2 {
            return self.clone();
        }
        let k = Symbol::new("k");
        let extent: Dim = inner.iter().map(|(_, e)| e.clone()).product();
        let product = Expr::binary(ScalarOp::Mul, Expr::Load(self.a.clone()), Expr::Load(self.b.clone()));
        let stmt = Stmt::store(Access::new(k.clone(), []), product);
        let joined = join(&[stmt], inner, &Dim::sym(k.clone()));
        let mut accesses = Vec::new();
        joined[0].each_expr(&mut |e| {
            e.each(&mut |inner| {
                if let Expr::Load(access) = inner {
                    accesses.push(access.clone());
                }
            });
        });
        let summed = outer.iter().cloned().chain([(k, extent)]).collect();
        match <[Access; 2]>::try_from(accesses) {
            Ok([a, b]) => Contraction { summed, a, b, ..self.clone() },
            Err(_) => self.clone(),
        }
    }
}

fn recognise<'n>(nest: &'n Nest, body: &'n [Stmt]) -> Option<Contraction<'n>> {
    let [Stmt::Alloc { buffer, .. }, Stmt::Store { .. }, first @ Stmt::For { .. }, epilogue @ ..] = body
    else {
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
    plain.then(|| Contraction { acc: buffer.name.clone(), summed, a: a.clone(), b: b.clone(), epilogue })
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

/// The digits of an index, the last of them the lowest.
fn digits<const N: usize>(index: &Dim, extents: &[Dim; N]) -> [Dim; N] {
    let mut rest = index.clone();
    let mut digits = std::array::from_fn(|_| Dim::ZERO);
    for at in (0..N).rev() {
        digits[at] =
            if extents[..at].iter().all(|e| e.is(1)) { rest.clone() } else { rest.modulo(&extents[at]) };
        rest = rest.floor_div(&extents[at]);
    }
    digits
}

/// How many there are of something in the tile that starts at `start`.
fn part(total: &Dim, start: &Dim, most: i64) -> Dim {
    match total.as_const() {
        Some(t) if t <= most => Dim::from(t),
        Some(t) if t % most == 0 => Dim::from(most),
        _ => Dim::from(most).minimum(&(total - start)),
    }
}

fn tile(
    nest: &Nest,
    machine: &Machine,
    parts: &Contraction<'_>,
    around: &[(Symbol, Dim)],
    rows: &[(Symbol, Dim)],
    column: &(Symbol, Dim),
) -> Option<Nest> {
    let row_count: Dim = rows.iter().map(|(_, e)| e.clone()).product();
    let (height, width) = (even_height(&row_count, machine.tile_rows), machine.tile_columns);
    let (row_tiles, column_tiles) =
        (row_count.ceil_div(&Dim::from(height)), column.1.ceil_div(&Dim::from(width)));
    let [tile, i, j] = ["tile", "row", "col"].map(Symbol::new);
    let mut ranges = nest.ranges.clone();
    around.iter().chain(&parts.summed).for_each(|(v, e)| limit(&mut ranges, v, e));

    // Tiles that need the same part of `b` follow each other, so that it stays near.
    let (moving, still): (Vec<_>, Vec<_>) = around.iter().cloned().partition(|(v, _)| mentions(&parts.b, v));
    let count = |loops: &[(Symbol, Dim)]| loops.iter().map(|(_, e)| e.clone()).product::<Dim>();
    let order = [count(&moving), column_tiles.clone(), count(&still), row_tiles.clone()];
    let digits = digits(&Dim::sym(tile.clone()), &order);
    let [moving_index, column_tile, still_index, row_tile] = digits;
    let [row_start, column_start] = [("rt", &row_tile), ("ct", &column_tile)].map(|(n, _)| Symbol::new(n));
    limit(&mut ranges, &row_start, &row_tiles);
    limit(&mut ranges, &column_start, &column_tiles);
    let first_row = &Dim::sym(row_start.clone()) * &Dim::from(height);
    let first_column = &Dim::sym(column_start.clone()) * &Dim::from(width);
    let (m, n) = (part(&row_count, &first_row, height), part(&column.1, &first_column, width));
    limit(&mut ranges, &i, &Dim::from(height));
    limit(&mut ranges, &j, &Dim::from(width));

    let at_row = &first_row + &Dim::sym(i.clone());
    let at_column = &first_column + &Dim::sym(j.clone());
    // Both indices of an element of the tile, in the nest's own terms.
    let element = |stmts: &[Stmt]| {
        let stmts = replace_all(stmts, &[(column.0.clone(), at_column.clone())]);
        if rows.is_empty() { stmts } else { join(&stmts, rows, &at_row) }
    };
    let c = Symbol::new("c");
    let element_of_c = Access::new(c.clone(), [Dim::sym(i.clone()), Dim::sym(j.clone())]);
    let product = Expr::binary(ScalarOp::Mul, Expr::Load(parts.a.clone()), Expr::Load(parts.b.clone()));
    let sum = Stmt::combine(element_of_c.clone(), product, Combine::With(ScalarOp::Add));
    let sum = element(&[sum]);
    let ((k, extent), others) = parts.summed.split_last()?;
    check_panels(nest, &sum, &ranges, &i, &j, k, width)?;

    let tile_loop = |var: &Symbol, extent: &Dim, body: Vec<Stmt>| Stmt::For {
        var: var.clone(),
        extent: extent.clone(),
        kind: LoopKind::Tile,
        body,
    };
    let named = |stmts: Vec<Stmt>, suffix: &str| {
        let fresh = |s: &Symbol| Dim::sym(Symbol::new(&format!("{s}{suffix}")).name());
        replace_all(&stmts, &[(i.clone(), fresh(&i)), (j.clone(), fresh(&j))])
    };
    let vector = (machine.vector_bytes / 4).min(width);
    let product = tile_loop(&i, &m, vec![tile_loop(&j, &n, vec![tile_loop(k, extent, sum)])]);
    let product = others
        .iter()
        .rev()
        .fold(product, |body, (var, extent)| Stmt::serial(var.clone(), extent.clone(), vec![body]));
    let [zi, zj] = [&i, &j].map(|s| Symbol::new(&format!("{s}z")));
    let zero = named(vec![Stmt::store(element_of_c.clone(), Expr::number(DType::F32, 0.0))], "z");
    let zero = if parts.summed.len() == 1 {
        // Right before the one product that overwrites it, zeroing costs nothing.
        tile_loop(&zi, &m, vec![tile_loop(&zj, &n, zero)])
    } else {
        let whole = Dim::from(width);
        Stmt::serial(zi, m.clone(), into_vectors(&zj, &whole, vector, &zero))
    };

    let [ei, ej] = [&i, &j].map(|s| Symbol::new(&format!("{s}e")));
    let epilogue = element(&in_place_of(parts.epilogue, &parts.acc, &element_of_c));
    let epilogue = named(epilogue, "e");
    let vectors = into_vectors(&ej, &n, vector, &epilogue);
    let epilogue = Stmt::serial(ei, m.clone(), vectors);

    let shape: Shape = [Dim::from(height), Dim::from(width)].into_iter().collect();
    let buffer = Buffer { name: c, ty: TensorType::new(DType::F32, shape) };
    let stmts = vec![Stmt::Alloc { buffer, space: Space::Stack }, zero, product, epilogue];
    let stmts = replace_all(&stmts, &[(row_start, row_tile), (column_start, column_tile)]);
    let stmts = if moving.is_empty() { stmts } else { join(&stmts, &moving, &moving_index) };
    let stmts = if still.is_empty() { stmts } else { join(&stmts, &still, &still_index) };
    let total: Dim = order.iter().cloned().product();
    let body = vec![Stmt::For { var: tile, extent: total, kind: LoopKind::Parallel, body: stmts }];
    Some(Nest { body, ..nest.clone() })
}

/// The operands must be matrices in memory: rows and columns at fixed distances, neighbours along the columns of
/// `b`, whose rows can be read up to the width of a tile.
fn check_panels(
    nest: &Nest,
    sum: &[Stmt],
    ranges: &Ranges,
    i: &Symbol,
    j: &Symbol,
    k: &Symbol,
    width: i64,
) -> Option<()> {
    let [Stmt::Store { values, .. }] = sum else { return None };
    let [Expr::Op(_, factors)] = values.as_slice() else { return None };
    let [Expr::Load(a), Expr::Load(b)] = factors.as_slice() else { return None };
    let flat = |access: &Access| flat(nest, access, ranges);
    let matrix = |flat: Dim, row: &Symbol, column: &Symbol| {
        let (rows, rest) = flat.affine_in(row)?;
        let (columns, _) = rest.affine_in(column)?;
        (!rows.mentions(column)).then_some((rows, columns))
    };
    matrix(flat(a)?, i, k)?;
    let (_, columns) = matrix(flat(b)?, k, j)?;
    if !columns.is(1) {
        return None;
    }
    // A whole row of a tile is read even of the last columns: it must lie in its axis, or at least in the buffer.
    let buffer = nest.inputs.iter().find(|x| x.name == b.buffer)?;
    let last = Dim::from(width - 1);
    let in_axis =
        b.at.iter().zip(buffer.ty.shape.iter()).filter(|(at, _)| at.mentions(j)).all(|(at, extent)| {
            let at = ranges.simplify(&at.replace(j, &last));
            ranges.less(&at, extent)
        });
    let furthest = flat(b)?.replace(j, &last);
    let in_buffer = ranges.bounds(&(&buffer.ty.shape.elements() - &furthest)).lo > 0;
    (in_axis || in_buffer).then_some(())
}

/// Reads another element in place of a scalar buffer.
fn in_place_of(body: &[Stmt], scalar: &Symbol, element: &Access) -> Vec<Stmt> {
    let swap = |e: &Expr| {
        e.map_leaves(
            &|leaf| match leaf {
                Expr::Load(access) if access.buffer == *scalar => Expr::Load(element.clone()),
                other => other.clone(),
            },
            &|d| d.clone(),
        )
    };
    let mapped = body.iter().map(|stmt| match stmt {
        Stmt::Let { name, value } => Stmt::Let { name: name.clone(), value: swap(value) },
        Stmt::Store { targets, values, combine } => Stmt::Store {
            targets: targets.clone(),
            values: values.iter().map(swap).collect(),
            combine: combine.clone(),
        },
        other => other.clone(),
    });
    mapped.collect()
}
