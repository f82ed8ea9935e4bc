//! Schedules of everything but contractions: elementwise kernels, reductions, rows that are walked repeatedly.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};

use super::{Draft, NARROW, names, narrower, parallel_loops, products};
use crate::schedule::site::{Site, buffer_of, each_access, flat};
use crate::schedule::steps::{
    Chunk, Collapse, Cut, Fuse, Halve, Reorder, Split, SplitReduction, Tail, Unroll, Vectorise,
};
use crate::schedule::{Machine, Refusal};

/// Elements that one tile of an elementwise kernel has: enough to outweigh handing it to a worker.
const CHUNK: i64 = 4096;

/// What can be done, at the least nothing.
pub(super) fn draft(nest: &Nest, machine: &Machine) -> Draft {
    let (loops, body) = parallel_loops(nest);
    let width = vector_width(nest, machine);
    let has_loops = body.iter().any(|s| matches!(s, Stmt::For { .. }));
    let drafted = match (loops.last(), has_loops) {
        (None, _) => Ok(Draft::of(nest)),
        (Some(_), false) => crosswise(nest, &loops, body, width)
            .or_else(|| by_rows(nest, &loops, body, width))
            .unwrap_or_else(|| elementwise(nest, &loops, width)),
        (Some((var, extent)), true) => {
            let columns = neighbours(nest, body, var) && extent.as_const() != Some(1);
            let blocks = products::draft(nest, machine);
            let mut found = Vec::new();
            let (_, body) = parallel_loops(blocks.nest());
            inner_loops(blocks.nest(), body, width, &mut found);
            if found.is_empty() && columns {
                side_by_side(nest, &loops, body, width)
            } else {
                one_after_the_other(blocks, &loops, &found, width)
            }
        }
    };
    // A step that is refused leaves a nest that still computes the same, only slower.
    drafted.unwrap_or_else(|_| Draft::of(nest))
}

/// Lanes such that the widest type that is common among buffers fills a vector.
fn vector_width(nest: &Nest, machine: &Machine) -> i64 {
    let bits = nest.params().map(|b| b.ty.dtype.bits()).filter(|b| *b >= 8).min().unwrap_or(32);
    // Narrow types are computed with in 32 bits.
    machine.vector_bytes * 8 / i64::from(bits.clamp(32, 64))
}

/// One parallel loop over chunks of all elements, vectors inside.
fn elementwise(nest: &Nest, loops: &[(Symbol, Dim)], width: i64) -> Result<Draft, Refusal> {
    let mut draft = Draft::of(nest);
    let (tile, element) = (draft.fresh("tile"), draft.fresh("e"));
    let chunks = vec![tile, element.clone()];
    draft.step(Chunk { loops: names(loops), size: CHUNK, chunks })?;
    draft.vectors(&element, width)?;
    Ok(draft)
}

/// Neighbours that one cache line holds of most types.
const LINE: i64 = 16;

/// Where a vector gathers elements that lie apart, the loop whose neighbours lie beside each of them goes inside of
/// the loop over vectors: what a vector touched is used up before it is lost, as in transposes.
fn crosswise(
    nest: &Nest,
    loops: &[(Symbol, Dim)],
    body: &[Stmt],
    width: i64,
) -> Option<Result<Draft, Refusal>> {
    let ((var, extent), around) = loops.split_last()?;
    let width = fitting(extent, width);
    if extent.as_const()? % width != 0 || !turning_points(var, extent.as_const()?, body).is_empty() {
        return None;
    }
    let mut along = None;
    each_access(body, &mut |access, writes| {
        let Some(buffer) = buffer_of(nest, &access.buffer).filter(|_| !writes) else { return };
        let apart = step(&buffer, access, var).is_some_and(|s| !s.is(0) && !s.is(1));
        let beside = |(u, e): &&(Symbol, Dim)| {
            e.as_const().is_none_or(|e| e >= NARROW) && step(&buffer, access, u).is_some_and(|s| s.is(1))
        };
        if let Some((u, e)) = around.iter().find(beside).filter(|_| apart) {
            along = Some((u.clone(), e.as_const()));
        }
    });
    let (along, length) = along?;
    let outer: Vec<_> = around.iter().filter(|(u, _)| *u != along).cloned().collect();
    let drafted = || {
        let mut draft = Draft::of(nest);
        let [vector, lane] = ["o", "v"].map(|suffix| draft.fresh(&format!("{var}{suffix}")));
        let loops = vec![vector.clone(), lane.clone()];
        draft.step(Split { var: var.clone(), factor: width, tail: Tail::Bound, loops })?;
        let mut shared = names(&outer);
        let mut inner = vec![along.clone(), lane.clone()];
        if length.is_some_and(|e| e > LINE && e % LINE == 0) {
            // As many rows are written at once as the processor knows the pages of.
            let [block, one] = ["b", "u"].map(|suffix| draft.fresh(&format!("{along}{suffix}")));
            let loops = vec![block.clone(), one.clone()];
            draft.step(Split { var: along.clone(), factor: LINE, tail: Tail::Bound, loops })?;
            shared.push(block);
            inner = vec![vector, one, lane.clone()];
        } else {
            shared.push(vector);
        }
        draft.step(Reorder { loops: shared.iter().cloned().chain(inner).collect() })?;
        draft.step(Vectorise { var: lane })?;
        let fused = draft.fresh("tile");
        draft.step(Fuse { loops: shared, fused })?;
        Ok(draft)
    };
    Some(drafted())
}

/// One parallel loop over chunks of rows, each cut where its guards change; nothing if there are none and vectors
/// of all elements can run across the ends of rows.
fn by_rows(
    nest: &Nest,
    loops: &[(Symbol, Dim)],
    body: &[Stmt],
    width: i64,
) -> Option<Result<Draft, Refusal>> {
    let ((var, extent), outer) = loops.split_last()?;
    let end = extent.as_const()?;
    let cuts = turning_points(var, end, body);
    let mut guards = false;
    body.iter().for_each(|s| {
        s.each_expr(&mut |e| e.each(&mut |inner| guards |= matches!(inner, Expr::Guard { .. })));
    });
    let ragged = end % width != 0 && end >= 4 && !outer.is_empty() && !dense(nest, loops, body);
    let whole = !guards || outer.is_empty();
    if cuts.is_empty() && !ragged && whole {
        return None;
    }
    // Rows of rows need no division for each row.
    let (outer, length) = match outer {
        [outer @ .., (_, count)] if !outer.is_empty() => (outer, end.saturating_mul(count.as_const()?)),
        _ => (outer, end),
    };
    let rows = (CHUNK / length.max(1)).max(1);
    let drafted = || {
        let mut draft = Draft::of(nest);
        if !outer.is_empty() {
            let chunks = vec![draft.fresh("tile"), draft.fresh("r")];
            draft.step(Chunk { loops: names(outer), size: rows, chunks })?;
        }
        if cuts.is_empty() {
            draft.vectors(var, fitting(extent, width))?;
            return Ok(draft);
        }
        let stretches: Vec<Symbol> = (0..=cuts.len()).map(|i| draft.fresh(&format!("{var}{i}"))).collect();
        let at = cuts.iter().map(|c| Dim::from(*c)).collect();
        draft.step(Cut { var: var.clone(), at, stretches: stretches.clone() })?;
        stretches.iter().try_for_each(|s| draft.vectors(s, width))?;
        Ok(draft)
    };
    Some(drafted())
}

/// The widest vector, up to a width, that cuts an extent without leaving a rest; the width if there is none.
pub(super) fn fitting(extent: &Dim, width: i64) -> i64 {
    let fits = |w: &i64| extent.as_const().is_some_and(|e| e % w == 0);
    [width, width / 2, width / 4].into_iter().filter(|w| *w >= 4).find(fits).unwrap_or(width)
}

/// Whether everything that is accessed lies as the loops go.
fn dense(nest: &Nest, loops: &[(Symbol, Dim)], body: &[Stmt]) -> bool {
    let mut dense = true;
    each_access(body, &mut |access, _| {
        let known = nest.params().any(|b| b.name == access.buffer);
        let along = access.at.len() == loops.len()
            && access.at.iter().zip(loops).all(|(at, (var, e))| at.as_symbol() == Some(var) || e.is(1));
        dense &= !known || along || access.at.is_empty();
    });
    dense
}

/// Where the guards of a loop's body begin or cease to hold, in order.
fn turning_points(var: &Symbol, end: i64, body: &[Stmt]) -> Vec<i64> {
    let mut cuts = Vec::new();
    for stmt in body {
        stmt.each_expr(&mut |e| {
            e.each(&mut |inner| {
                if let Expr::Guard { conds, .. } = inner {
                    cuts.extend(conds.iter().filter_map(|c| turning_point(c, var)));
                }
            });
        });
    }
    cuts.retain(|c| (1..end).contains(c));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
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

/// Neighbouring outputs side by side in vectors, whatever loops they need inside.
fn side_by_side(nest: &Nest, loops: &[(Symbol, Dim)], body: &[Stmt], width: i64) -> Result<Draft, Refusal> {
    let mut draft = Draft::of(nest);
    let tile = draft.fresh("tile");
    let Some(((var, extent), outer)) = loops.split_last() else { return Ok(draft) };
    let width = fitting(extent, width);
    let mut windows = false;
    for window in body.iter().map(nested_loops) {
        let count = window.iter().try_fold(1i64, |n, (_, e)| n.checked_mul(e.as_const()?));
        if count.is_some_and(|n| n <= UNROLLED) {
            windows |= count.is_some_and(|n| n > 1);
            window.into_iter().try_for_each(|(var, _)| draft.step(Unroll { var }))?;
        }
    }
    // Windows of neighbours overlap, and have the same weights: what several of them read is read once.
    if windows
        && let [outer @ .., (across, extent)] = outer
        && let Some(together) = (2..=TOGETHER).rev().find(|n| extent.as_const().is_some_and(|e| e % n == 0))
    {
        let (group, one) = (draft.fresh(&format!("{across}g")), draft.fresh(&format!("{across}u")));
        let loops = vec![group.clone(), one.clone()];
        draft.step(Split { var: across.clone(), factor: together, tail: Tail::Bound, loops })?;
        draft.step(Reorder { loops: vec![var.clone(), one.clone()] })?;
        draft.vectors(var, width)?;
        draft.step(Unroll { var: one })?;
        let loops = names(outer).into_iter().chain([group]).collect();
        draft.step(Fuse { loops, fused: tile })?;
        return Ok(draft);
    }
    if outer.is_empty() {
        // The columns are all there is to share among workers.
        let column = draft.fresh("column");
        let loops = vec![tile, column.clone()];
        draft.step(Split { var: var.clone(), factor: 8 * width, tail: Tail::Bound, loops })?;
        draft.vectors(&column, width)?;
    } else {
        draft.vectors(var, width)?;
        draft.step(Fuse { loops: names(outer), fused: tile })?;
    }
    Ok(draft)
}

/// Neighbours that share what they read, as many as registers hold the sums of.
const TOGETHER: i64 = 8;

/// Up to this many repetitions are written out.
const UNROLLED: i64 = 25;

/// A loop with those directly inside of it, such as those over a window.
fn nested_loops(stmt: &Stmt) -> Vec<(Symbol, Dim)> {
    let mut loops = Vec::new();
    let mut inner = std::slice::from_ref(stmt);
    while let [Stmt::For { var, extent, kind: LoopKind::Serial, body }] = inner {
        loops.push((var.clone(), extent.clone()));
        inner = body;
    }
    loops
}

/// A loop inside that is cut into vectors.
enum Inner {
    /// Its iterations write elements of their own.
    Elements(Symbol),
    /// Its iterations combine into one element of a buffer; whether there is much to compute for each.
    Reduction { var: Symbol, into: Symbol, dear: bool },
}

/// One parallel loop over rows, the loops inside cut into vectors.
fn one_after_the_other(
    mut draft: Draft,
    loops: &[(Symbol, Dim)],
    inner: &[Inner],
    width: i64,
) -> Result<Draft, Refusal> {
    for found in inner {
        match found {
            Inner::Elements(var) => draft.vectors(var, width)?,
            Inner::Reduction { var, into, dear } => {
                let extent = Site::of(draft.nest(), var)?.extent.as_const();
                // One vector after the other would wait for the one before.
                let ways = if !dear && extent.is_some_and(|e| e >= 2 * WAYS * width) { WAYS } else { 1 };
                partial_sums(&mut draft, var, into, ways * width)?;
            }
        }
    }
    let tile = draft.fresh("tile");
    draft.step(Fuse { loops: names(loops), fused: tile })?;
    Ok(draft)
}

/// Vectors of partial results that are under way at once.
const WAYS: i64 = 2;

/// Combines into lanes of their own, and these after the loop, half with half until two are left.
fn partial_sums(draft: &mut Draft, var: &Symbol, into: &Symbol, width: i64) -> Result<(), Refusal> {
    let partial = draft.fresh(&format!("{into}_lanes_{var}"));
    let loops = ["l", "o", "v", "t", "r"].map(|suffix| draft.fresh(&format!("{var}{suffix}")));
    let [init, outer, lane, rest, mut last] = loops.clone();
    draft.step(SplitReduction {
        var: var.clone(),
        into: into.clone(),
        parts: width,
        space: Space::Register,
        partial,
        loops: loops.to_vec(),
    })?;
    draft.step(Vectorise { var: init })?;
    draft.step(Vectorise { var: lane })?;
    let mut left = width;
    while left > 2 && left % 2 == 0 {
        let [pairs, lane, next] =
            ["pairs", "p", "q"].map(|name| draft.fresh(&format!("{into}_{name}_{var}")));
        draft.step(Halve {
            var: last,
            space: Space::Register,
            pairs,
            loops: vec![lane.clone(), next.clone()],
        })?;
        draft.step(Vectorise { var: lane })?;
        (last, left) = (next, left / 2);
    }
    draft.step(Unroll { var: last })?;
    // One vector alone needs no loop around it.
    if Site::of(draft.nest(), &outer)?.extent.is(1) {
        draft.step(Collapse { var: outer })?;
    }
    match Site::of(draft.nest(), &rest).ok().and_then(|site| site.extent.as_const()) {
        Some(few) if few >= NARROW => partial_sums(draft, &rest, into, narrower(few)),
        _ => Ok(()),
    }
}

/// Finds the innermost loops that can be cut into vectors.
fn inner_loops(nest: &Nest, body: &[Stmt], width: i64, found: &mut Vec<Inner>) {
    for stmt in body {
        let Stmt::For { var, extent, kind: LoopKind::Serial, body } = stmt else { continue };
        if body.iter().any(|s| matches!(s, Stmt::For { .. })) {
            inner_loops(nest, body, width, found);
            continue;
        }
        let worthwhile = extent.as_const().is_none_or(|e| e >= width);
        if !worthwhile || !neighbours(nest, body, var) {
            continue;
        }
        if stores_to_memory(nest, body, var) {
            found.push(Inner::Elements(var.clone()));
        } else if let Some(into) = combines_into(nest, body, var) {
            let dear = body.iter().any(computes_much);
            found.push(Inner::Reduction { var: var.clone(), into, dear });
        }
    }
}

/// Whether every store of a loop's body goes to an element of its own.
fn stores_to_memory(nest: &Nest, body: &[Stmt], var: &Symbol) -> bool {
    let own = |target: &Access| {
        nest.outputs.iter().any(|b| b.name == target.buffer)
            || buffer_of(nest, &target.buffer).and_then(|b| step(&b, target, var)).is_some_and(|s| s.is(1))
    };
    body.iter().all(|s| match s {
        Stmt::Store { targets, combine: Combine::Replace, .. } => targets.iter().all(own),
        Stmt::Let { .. } => true,
        _ => false,
    })
}

/// The scalar that a loop's body combines one value into, beside what it stores to elements of its own.
fn combines_into(nest: &Nest, body: &[Stmt], var: &Symbol) -> Option<Symbol> {
    let (last, before) = body.split_last()?;
    let Stmt::Store { targets, combine: Combine::With(_), .. } = last else { return None };
    let [target] = targets.as_slice() else { return None };
    let scalar = target.at.is_empty() && !nest.params().any(|b| b.name == target.buffer);
    (scalar && stores_to_memory(nest, before, var)).then(|| target.buffer.clone())
}

/// Whether a statement calls functions, so that there is enough to do while a combination is under way.
fn computes_much(stmt: &Stmt) -> bool {
    let mut found = false;
    stmt.each_expr(&mut |e| {
        e.each(&mut |inner| {
            use tcc_ir::scalar::ScalarOp::*;
            let cheap =
                [Add, Sub, Mul, Max, Min, Neg, Abs, Select, Lt, Le, Gt, Ge, Eq, Ne, And, Or, Xor, Not];
            found |= matches!(inner, Expr::Op(op, _) if !cheap.contains(op));
        });
    });
    found
}

/// Whether every access moves by one element, or none, as a loop variable moves by one; how most of them do.
fn neighbours(nest: &Nest, body: &[Stmt], var: &Symbol) -> bool {
    let mut good = true;
    let mut found = false;
    each_access(body, &mut |access, _| {
        let Some(buffer) = buffer_of(nest, &access.buffer) else { return };
        match step(&buffer, access, var) {
            Some(s) if s.is(1) => found = true,
            Some(s) if s.is(0) => {}
            _ => good = false,
        }
    });
    good && found
}

/// How far an access moves in memory as a variable moves by one.
fn step(buffer: &Buffer, access: &Access, var: &Symbol) -> Option<Dim> {
    flat(buffer, access).affine_in(var).map(|(step, _)| step)
}
