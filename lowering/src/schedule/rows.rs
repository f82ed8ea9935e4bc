//! Schedules of everything but contractions: elementwise kernels, reductions, rows that are walked repeatedly.

use smallvec::SmallVec;
use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::shape::TensorType;

use super::cut::into_vectors;
use super::guards::stretches;
use super::{CHUNK, Machine, join, limit, parallel_loops};

pub(super) fn schedule(nest: &Nest, machine: &Machine) -> Nest {
    let (loops, body) = parallel_loops(nest);
    let mut ranges = nest.ranges.clone();
    loops.iter().for_each(|(v, e)| limit(&mut ranges, v, e));
    let width = vector_width(nest, machine);
    let has_loops = body.iter().any(|s| matches!(s, Stmt::For { .. }));
    let body = match (loops.last(), has_loops) {
        (None, _) => nest.body.clone(),
        (Some(_), false) => {
            by_rows(nest, &loops, body, width, &ranges).unwrap_or_else(|| elementwise(&loops, body, width))
        }
        (Some((var, extent)), true) => {
            let neighbours = neighbours(nest, body, var);
            let inner = inner_vectors(nest, body, width, &mut ranges);
            if inner.is_none() && neighbours && extent.as_const() != Some(1) {
                columns(&loops, body, width)
            } else {
                let body = inner.unwrap_or_else(|| body.to_vec());
                around(&loops, body)
            }
        }
    };
    Nest { body, ..nest.clone() }
}

/// Lanes such that the widest type that is common among buffers fills a vector.
fn vector_width(nest: &Nest, machine: &Machine) -> i64 {
    let bits = nest.params().map(|b| b.ty.dtype.bits()).filter(|b| *b >= 8).min().unwrap_or(32);
    // Narrow types are computed with in 32 bits.
    machine.vector_bytes * 8 / i64::from(bits.clamp(32, 64))
}

/// One parallel loop over chunks of all elements, vectors inside.
fn elementwise(loops: &[(Symbol, Dim)], body: &[Stmt], width: i64) -> Vec<Stmt> {
    let total: Dim = loops.iter().map(|(_, e)| e.clone()).product();
    let chunk = Dim::from(CHUNK);
    let (tile, element) = (Symbol::new("tile"), Symbol::new("e"));
    let start = &Dim::sym(tile.clone()) * &chunk;
    let index = &start + &Dim::sym(element.clone());
    let body = join(body, loops, &index);
    let single = total.as_const().is_some_and(|t| t <= CHUNK);
    let extent = match total.as_const() {
        Some(t) if single || t % CHUNK == 0 => Dim::from(t.min(CHUNK)),
        _ => chunk.minimum(&(&total - &start)),
    };
    let inner = into_vectors(&element, &extent, width, &body);
    let tiles = total.ceil_div(&chunk);
    vec![Stmt::For { var: tile, extent: tiles, kind: LoopKind::Parallel, body: inner }]
}

/// One parallel loop over chunks of rows, each cut where its guards change, if there are any or if vectors of all
/// elements would run across the ends of rows where they must not.
fn by_rows(
    nest: &Nest,
    loops: &[(Symbol, Dim)],
    body: &[Stmt],
    width: i64,
    ranges: &Ranges,
) -> Option<Vec<Stmt>> {
    let ((var, extent), outer) = loops.split_last()?;
    let mut guards = false;
    body.iter().for_each(|s| {
        s.each_expr(&mut |e| e.each(&mut |inner| guards |= matches!(inner, Expr::Guard { .. })));
    });
    let length = extent.as_const()?;
    let ragged = length % width != 0 && length >= 4 && !dense(nest, loops, body);
    if !guards && !ragged {
        return None;
    }
    let row = |body: &[Stmt]| -> Vec<Stmt> {
        let vectors = |var: &Symbol, extent: &Dim, body: &[Stmt]| {
            into_vectors(var, extent, fitting(extent, width), body)
        };
        match stretches(var, extent, body, ranges) {
            Some(parts) => parts.iter().flat_map(|p| vectors(&p.var, &p.extent, &p.body)).collect(),
            None => vectors(var, extent, body),
        }
    };
    let (row, outer, length) = match outer {
        [] => return None,
        [_] => (row(body), outer, length),
        // Rows of rows need no division for each row.
        [outer @ .., (next, count)] => {
            let rows = match stretches(next, count, body, ranges) {
                Some(parts) => {
                    let one = |(i, p): (usize, &super::guards::Stretch)| {
                        let inner = super::cut::renamed(&row(&p.body), &format!("r{i}"));
                        Stmt::serial(p.var.clone(), p.extent.clone(), inner)
                    };
                    parts.iter().enumerate().map(one).collect()
                }
                None => vec![Stmt::serial(next.clone(), count.clone(), row(body))],
            };
            (rows, outer, length * count.as_const()?)
        }
    };
    let total: Dim = outer.iter().map(|(_, e)| e.clone()).product();
    let rows = Dim::from((CHUNK / length.max(1)).max(1));
    let (tile, row_of_tile) = (Symbol::new("tile"), Symbol::new("r"));
    let start = &Dim::sym(tile.clone()) * &rows;
    let at = &start + &Dim::sym(row_of_tile.clone());
    let count = if rows.is(1) { Dim::ONE } else { rows.minimum(&(&total - &start)) };
    let inner = Stmt::serial(row_of_tile, count, join(&row, outer, &at));
    Some(vec![Stmt::For {
        var: tile,
        extent: total.ceil_div(&rows),
        kind: LoopKind::Parallel,
        body: vec![inner],
    }])
}

/// The widest vector, up to a width, that cuts an extent without leaving a rest; the width if there is none.
fn fitting(extent: &Dim, width: i64) -> i64 {
    let fits = |w: &i64| extent.as_const().is_some_and(|e| e % w == 0);
    [width, width / 2, width / 4].into_iter().filter(|w| *w >= 4).find(fits).unwrap_or(width)
}

/// Whether everything that is accessed lies as the loops go.
fn dense(nest: &Nest, loops: &[(Symbol, Dim)], body: &[Stmt]) -> bool {
    let mut dense = true;
    let mut check = |access: &Access| {
        let known = nest.params().any(|b| b.name == access.buffer);
        let along = access.at.len() == loops.len()
            && access.at.iter().zip(loops).all(|(at, (var, e))| at.as_symbol() == Some(var) || e.is(1));
        dense &= !known || along || access.at.is_empty();
    };
    each_access(body, &mut check);
    dense
}

/// One parallel loop over rows.
fn around(loops: &[(Symbol, Dim)], body: Vec<Stmt>) -> Vec<Stmt> {
    let total: Dim = loops.iter().map(|(_, e)| e.clone()).product();
    let tile = Symbol::new("tile");
    let body = join(&body, loops, &Dim::sym(tile.clone()));
    vec![Stmt::For { var: tile, extent: total, kind: LoopKind::Parallel, body }]
}

/// Neighbouring outputs side by side in vectors, whatever loops they need inside.
fn columns(loops: &[(Symbol, Dim)], body: &[Stmt], width: i64) -> Vec<Stmt> {
    let Some(((var, extent), outer)) = loops.split_last() else { return body.to_vec() };
    let width = fitting(extent, width);
    let body = &unrolled(body);
    let inner = into_vectors(var, extent, width, body);
    if outer.is_empty() {
        // The columns are all there is to share among workers.
        let tile = Symbol::new("tile");
        let chunk = Dim::from(8 * width);
        let start = &Dim::sym(tile.clone()) * &chunk;
        let column = Symbol::new("column");
        let at = &start + &Dim::sym(column.clone());
        let body = super::replace_all(body, &[(var.clone(), at)]);
        let size = chunk.minimum(&(extent - &start));
        let inner = into_vectors(&column, &size, width, &body);
        return vec![Stmt::For {
            var: tile,
            extent: extent.ceil_div(&chunk),
            kind: LoopKind::Parallel,
            body: inner,
        }];
    }
    around(outer, inner)
}

/// Up to this many repetitions are written out.
const UNROLLED: i64 = 25;

/// Loops of few repetitions in all, such as those over a window, written out.
fn unrolled(body: &[Stmt]) -> Vec<Stmt> {
    fn repetitions(stmt: &Stmt) -> i64 {
        match stmt {
            Stmt::For { extent, body, .. } => {
                let inner = body.iter().map(repetitions).max().unwrap_or(1);
                extent.as_const().map_or(i64::MAX, |e| e.saturating_mul(inner))
            }
            Stmt::If { body, .. } => body.iter().map(repetitions).max().unwrap_or(1),
            _ => 1,
        }
    }
    fn written_out(stmt: &Stmt) -> Stmt {
        let all = |body: &[Stmt]| body.iter().map(written_out).collect();
        match stmt {
            Stmt::For { var, extent, kind: LoopKind::Serial, body } => Stmt::For {
                var: var.clone(),
                extent: extent.clone(),
                kind: LoopKind::Unrolled,
                body: all(body),
            },
            Stmt::If { conds, body } => Stmt::If { conds: conds.clone(), body: all(body) },
            other => other.clone(),
        }
    }
    let one = |s: &Stmt| if repetitions(s) <= UNROLLED { written_out(s) } else { s.clone() };
    body.iter().map(one).collect()
}

/// Calls `visit` for every access of statements.
fn each_access(body: &[Stmt], visit: &mut dyn FnMut(&Access)) {
    for stmt in body {
        stmt.each(&mut |s| {
            if let Stmt::Store { targets, .. } = s {
                targets.iter().for_each(&mut *visit);
            }
            s.each_expr(&mut |e| {
                e.each(&mut |inner| {
                    if let Expr::Load(access) = inner {
                        visit(access);
                    }
                });
            });
        });
    }
}

/// Whether every access moves by one element, or none, as a loop variable moves by one; how most of them do.
fn neighbours(nest: &Nest, body: &[Stmt], var: &Symbol) -> bool {
    let mut good = true;
    let mut found = false;
    let mut check = |access: &Access| {
        let Some(buffer) = nest.params().find(|b| b.name == access.buffer) else { return };
        match step(buffer, access, var) {
            Some(s) if s.is(1) => found = true,
            Some(s) if s.is(0) => {}
            _ => good = false,
        }
    };
    each_access(body, &mut check);
    good && found
}

/// How far an access moves in memory as a variable moves by one.
fn step(buffer: &Buffer, access: &Access, var: &Symbol) -> Option<Dim> {
    let flat = access.at.iter().zip(buffer.ty.shape.iter()).fold(Dim::ZERO, |f, (i, e)| &(&f * e) + i);
    flat.affine_in(var).map(|(step, _)| step)
}

/// The loops inside cut into vectors where their accesses are neighbours; nothing if none of them could be.
fn inner_vectors(nest: &Nest, body: &[Stmt], width: i64, ranges: &mut Ranges) -> Option<Vec<Stmt>> {
    let mut any = false;
    let body = cut_block(nest, body, width, ranges, &mut any);
    any.then_some(body)
}

fn cut_block(nest: &Nest, body: &[Stmt], width: i64, ranges: &mut Ranges, any: &mut bool) -> Vec<Stmt> {
    let mut out = Vec::new();
    for stmt in body {
        let Stmt::For { var, extent, kind: LoopKind::Serial, body } = stmt else {
            out.push(stmt.clone());
            continue;
        };
        limit(ranges, var, extent);
        let innermost = !body.iter().any(|s| matches!(s, Stmt::For { .. }));
        let worthwhile = extent.as_const().is_none_or(|e| e >= width);
        if !innermost {
            let body = cut_block(nest, body, width, ranges, any);
            out.push(Stmt::serial(var.clone(), extent.clone(), body));
        } else if worthwhile && neighbours(nest, body, var) && stores_to_memory(nest, body) {
            *any = true;
            out.extend(into_vectors(var, extent, width, body));
        } else if let Some(parts) =
            worthwhile.then(|| split_reduction(nest, var, extent, width, body)).flatten()
        {
            *any = true;
            out.extend(parts);
        } else {
            out.push(stmt.clone());
        }
    }
    out
}

/// Whether every store of a loop's body goes to an element of its own.
fn stores_to_memory(nest: &Nest, body: &[Stmt]) -> bool {
    body.iter().all(|s| match s {
        Stmt::Store { targets, combine: Combine::Replace, .. } => {
            targets.iter().all(|t| nest.outputs.iter().any(|b| b.name == t.buffer))
        }
        Stmt::Let { .. } => true,
        _ => false,
    })
}

/// Sums lanes of their own, and combines them after the loop.
///
/// ```text
/// for k in 0..n { acc[] += x[k] }
/// ->
/// alloc lanes: f32[w] in register
/// for l in 0..w vector { lanes[l] = 0 }
/// for ko in 0..n / w { for kv in 0..w vector { lanes[kv] += x[ko*w + kv] } }
/// for kt in 0..n % w { acc[] += x[n / w * w + kt] }
/// for l in 0..w unrolled { acc[] += lanes[l] }
/// ```
fn split_reduction(nest: &Nest, var: &Symbol, extent: &Dim, width: i64, body: &[Stmt]) -> Option<Vec<Stmt>> {
    let (last, before) = body.split_last()?;
    let Stmt::Store { targets, values, combine: Combine::With(op) } = last else { return None };
    let ([target], [value]) = (targets.as_slice(), values.as_slice()) else { return None };
    let scalar = target.at.is_empty() && !nest.params().any(|b| b.name == target.buffer);
    let plain = before.iter().all(|s| matches!(s, Stmt::Let { .. }));
    if !scalar || !plain || !neighbours(nest, body, var) {
        return None;
    }
    let dtype = type_of(nest, before, value)?;
    let lanes = Symbol::new(&format!("{}_lanes_{var}", target.buffer));
    let lane = Symbol::new(&format!("{var}l"));
    let at = |i: &Symbol| Access::new(lanes.clone(), [Dim::sym(i.clone())]);
    let shape = [Dim::from(width)].into_iter().collect();
    let buffer = Buffer { name: lanes.clone(), ty: TensorType::new(dtype, shape) };
    let mut out = vec![Stmt::Alloc { buffer, space: Space::Register }];
    let zero = Stmt::store(at(&lane), crate::graph_to_loops::identity(*op, dtype));
    out.push(Stmt::For { var: lane, extent: Dim::from(width), kind: LoopKind::Vector, body: vec![zero] });
    // The lanes' variable only exists once the loop is cut, so cut a body that names it through the loop's own.
    let parts = into_vectors(var, extent, width, body);
    let vector = Symbol::new(&format!("{var}v"));
    out.extend(parts.into_iter().map(|part| into_lanes(part, &vector, target, &at(&vector))));
    let last = Symbol::new(&format!("{var}r"));
    let add = Stmt::Store {
        targets: SmallVec::from_iter([target.clone()]),
        values: SmallVec::from_iter([Expr::Load(at(&last))]),
        combine: Combine::With(*op),
    };
    out.push(Stmt::For { var: last, extent: Dim::from(width), kind: LoopKind::Unrolled, body: vec![add] });
    Some(out)
}

/// Redirects sums inside the vector loop to its lanes.
fn into_lanes(stmt: Stmt, vector: &Symbol, target: &Access, lanes: &Access) -> Stmt {
    match stmt {
        Stmt::For { var, extent, kind, body } => {
            let inside = kind == LoopKind::Vector && var == *vector;
            let body = body.into_iter().map(|s| match s {
                Stmt::Store { targets, values, combine } if inside && targets.first() == Some(target) => {
                    Stmt::Store { targets: SmallVec::from_iter([lanes.clone()]), values, combine }
                }
                other => into_lanes(other, vector, target, lanes),
            });
            Stmt::For { var, extent, kind, body: body.collect() }
        }
        other => other,
    }
}

/// The type of an expression over the names before it.
fn type_of(nest: &Nest, before: &[Stmt], value: &Expr) -> Option<DType> {
    match value {
        Expr::Const(dtype, _) | Expr::Bitcast(dtype, _) => Some(*dtype),
        Expr::Index(_) => Some(DType::I64),
        Expr::Cast { to, .. } => Some(*to),
        Expr::Load(access) => nest.params().find(|b| b.name == access.buffer).map(|b| b.ty.dtype),
        Expr::Var(name) => before.iter().find_map(|s| match s {
            Stmt::Let { name: n, value } if n == name => type_of(nest, before, value),
            _ => None,
        }),
        Expr::Op(op, args) => {
            let types: Option<Vec<DType>> = args.iter().map(|a| type_of(nest, before, a)).collect();
            op.result(&types?).ok()
        }
        Expr::Guard { then, .. } => type_of(nest, before, then),
    }
}
