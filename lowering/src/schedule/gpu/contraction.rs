//! Contractions: a block computes a tile of the result from tiles of both operands in shared memory, and each of its
//! threads a small tile of that in registers.
//!
//! ```text
//! for i in 0..m parallel { for j in 0..n parallel {
//!   acc[] = 0; for k in 0..p { acc[] += a[i, k] * b[k, j] }; y[i, j] = f(acc[])
//! } }
//! ->
//! for block in 0..(m / 64) * (n / 64) block.x {
//!   for thread in 0..256 thread.x { sums[thread, 0..4, 0..4] = 0 }
//!   for step in 0..p / 16 {
//!     for thread1 in 0..256 thread.x { left[0..16, 0..64] = a[…]; right[0..16, 0..64] = b[…] }
//!     for thread2 in 0..256 thread.x { sums[thread2, i, j] = fma(left[k, …], right[k, …], sums[thread2, i, j]) }
//!   }
//!   for thread3 in 0..256 thread.x { y[…] = f(sums[thread3, i, j]) }
//! }
//! ```
//!
//! Elements beyond the edges, and those that a condition leaves out, count as zero.

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};

use super::GpuMachine;
use super::loops::{
    Loop, accesses, blocks, chain, digits, guarded, parallel_chain, ranges, redirected, replaced,
    replaced_dim, threads, total,
};
use crate::schedule::site::Names;

/// Smaller sides than this leave too much of a tile unused.
const SMALL: i64 = 16;

/// The extents of tiles.
#[derive(Clone, Copy)]
struct Tile {
    /// Rows and columns of a block's tile.
    side: i64,
    /// Rows and columns of a thread's tile, a multiple of four.
    own: i64,
    /// What is summed over at a time.
    depth: i64,
}

const TILES: [Tile; 2] = [Tile { side: 128, own: 8, depth: 8 }, Tile { side: 64, own: 4, depth: 16 }];

/// Enough blocks to keep most GPUs busy.
const MANY_BLOCKS: i64 = 160;

/// One operand: an element of it, when it exists, and the loops that move along a side of the tile.
pub(super) struct Factor {
    pub(super) value: Expr,
    pub(super) conds: Vec<Cond>,
    pub(super) loops: Vec<Loop>,
}

/// The parts of a nest that is a contraction.
pub(super) struct Contraction<'n> {
    pub(super) acc: Symbol,
    pub(super) dtype: DType,
    pub(super) left: Factor,
    pub(super) right: Factor,
    pub(super) batch: Vec<Loop>,
    pub(super) summed: Vec<Loop>,
    pub(super) epilogue: &'n [Stmt],
}

pub(super) fn schedule(nest: &Nest, machine: &GpuMachine) -> Option<Vec<Stmt>> {
    let parts = recognise(nest)?;
    let size = |loops: &[Loop]| total(loops).as_const();
    let large = |n: Option<i64>, least: i64| n.is_none_or(|n| n >= least);
    let (m, n) = (size(&parts.left.loops), size(&parts.right.loops));
    if machine.threads != 256 || !large(m, SMALL) || !large(n, SMALL) || !large(size(&parts.summed), 8) {
        return None;
    }
    let tiles =
        |t: &Tile| Some((m? / t.side).saturating_mul(n? / t.side).saturating_mul(size(&parts.batch)?));
    let tile = TILES.iter().find(|t| tiles(t).is_some_and(|n| n >= MANY_BLOCKS)).unwrap_or(&TILES[1]);
    Some(Build { nest, names: Names::of(nest), parts, tile: *tile }.body())
}

pub(super) fn recognise(nest: &Nest) -> Option<Contraction<'_>> {
    let (loops, body) = parallel_chain(nest);
    let [Stmt::Alloc { buffer, .. }, Stmt::Store { values, .. }, first @ Stmt::For { .. }, epilogue @ ..] =
        body
    else {
        return None;
    };
    if !matches!(values.as_slice(), [Expr::Const(_, zero)] if !zero.is_truthy()) || buffer.ty.shape.rank() > 0
    {
        return None;
    }
    let (summed, inner) = chain(std::slice::from_ref(first), LoopKind::Serial);
    let (conds, inner) = match inner {
        [Stmt::If { conds, body }] => (conds.clone(), body.as_slice()),
        other => (Vec::new(), other),
    };
    let [Stmt::Store { targets, values, combine: Combine::With(ScalarOp::Add) }] = inner else { return None };
    let ([target], [Expr::Op(ScalarOp::Mul, factors)]) = (targets.as_slice(), values.as_slice()) else {
        return None;
    };
    let [a, b] = factors.as_slice() else { return None };
    let once = accesses(epilogue).iter().all(|(access, writes)| !writes || access.buffer != buffer.name);
    let straight = epilogue.iter().all(|s| matches!(s, Stmt::Let { .. } | Stmt::Store { .. }));
    if target.buffer != buffer.name || !is_element(nest, a) || !is_element(nest, b) || !once || !straight {
        return None;
    }
    let (mut rows, mut columns, mut batch) = (Vec::new(), Vec::new(), Vec::new());
    for one in &loops {
        match (mentions(a, &one.0), mentions(b, &one.0)) {
            (true, false) => rows.push(one.clone()),
            (false, true) => columns.push(one.clone()),
            _ => batch.push(one.clone()),
        }
    }
    let mut left = Factor { value: a.clone(), conds: Vec::new(), loops: rows };
    let mut right = Factor { value: b.clone(), conds: Vec::new(), loops: columns };
    // Columns are what is neighbouring in the result.
    let last = loops.last()?;
    if left.loops.contains(last) {
        std::mem::swap(&mut left, &mut right);
    }
    for cond in conds {
        let outside = |other: &Factor| {
            other.loops.iter().any(|(var, _)| cond.left.mentions(var) || cond.right.mentions(var))
        };
        if !outside(&right) {
            left.conds.push(cond);
        } else if !outside(&left) {
            right.conds.push(cond);
        } else {
            return None;
        }
    }
    let (acc, dtype) = (buffer.name.clone(), buffer.ty.dtype);
    Some(Contraction { acc, dtype, left, right, batch, summed, epilogue })
}

/// Whether an expression is an element of an input, maybe converted.
fn is_element(nest: &Nest, value: &Expr) -> bool {
    match value {
        Expr::Load(access) => nest.inputs.iter().any(|b| b.name == access.buffer),
        Expr::Cast { value, .. } => is_element(nest, value),
        _ => false,
    }
}

pub(super) fn access_of(value: &Expr) -> Option<&Access> {
    match value {
        Expr::Load(access) => Some(access),
        Expr::Cast { value, .. } => access_of(value),
        _ => None,
    }
}

fn mentions(value: &Expr, var: &Symbol) -> bool {
    access_of(value).is_some_and(|a| a.at.iter().any(|d| d.mentions(var)))
}

struct Build<'n> {
    nest: &'n Nest,
    names: Names,
    parts: Contraction<'n>,
    tile: Tile,
}

impl Build<'_> {
    fn body(mut self) -> Vec<Stmt> {
        let Tile { side, own, depth } = self.tile;
        let across = side / own;
        let count = across * across;
        let [block, step] = ["block", "step"].map(|w| self.names.fresh(w));
        let [sums, left, right] = ["sums", "left", "right"].map(|w| self.names.fresh(w));
        let (m, n) = (total(&self.parts.left.loops), total(&self.parts.right.loops));
        let p = total(&self.parts.summed);
        let s = Dim::from(side);
        let (row_tiles, column_tiles) = (m.ceil_div(&s), n.ceil_div(&s));
        let grid = &(&row_tiles * &column_tiles) * &total(&self.parts.batch);
        let index = Dim::sym(block.clone());
        let rest = index.floor_div(&column_tiles);
        let first_column = &index.modulo(&column_tiles) * &s;
        let first_row = &rest.modulo(&row_tiles) * &s;
        let mut batch = digits(&self.parts.batch, &rest.floor_div(&row_tiles));
        if self.parts.batch.is_empty() {
            batch.clear();
        }
        let steps = p.ceil_div(&Dim::from(depth));
        let known = ranges(self.nest, &[(block.clone(), grid.clone()), (step.clone(), steps.clone())]);

        // A pad keeps columns of the left tile, which is stored with its rows as neighbours, in different banks.
        let pitch = side + 4;
        let mut body = vec![
            self.alloc(&left, &[depth, pitch], Space::Shared),
            self.alloc(&right, &[depth, pitch], Space::Shared),
            self.alloc(&sums, &[count, own, own], Space::Register),
        ];
        let zero = self.zero();
        body.push(self.for_own(count, "i", |t, i, j| {
            vec![Stmt::store(Access::new(sums.clone(), [t.clone(), i.clone(), j.clone()]), zero.clone())]
        }));
        let start = &Dim::sym(step.clone()) * &Dim::from(depth);
        let mut inner =
            vec![self.fill(count, [&left, &right], [&first_row, &first_column], &start, &batch, &known)];
        inner.push(self.products(count, &sums, &left, &right));
        body.push(Stmt::serial(step, steps, inner));

        let (parts_left, parts_right) = (self.parts.left.loops.clone(), self.parts.right.loops.clone());
        let (acc, epilogue) = (self.parts.acc.clone(), self.parts.epilogue.to_vec());
        body.push(self.for_own(count, "r", |t, i, j| {
            let (up, along) = (t.floor_div(&Dim::from(across)), t.modulo(&Dim::from(across)));
            let row = &first_row + &place(&up, i, across);
            let column = &first_column + &place(&along, j, across);
            let mut by = batch.clone();
            by.extend(digits(&parts_left, &row));
            by.extend(digits(&parts_right, &column));
            let sum = |access: &Access| match access.buffer == acc {
                true => Access::new(sums.clone(), [t.clone(), i.clone(), j.clone()]),
                false => access.clone(),
            };
            let last: Vec<Stmt> = replaced(&epilogue, &by).iter().map(|s| redirected(s, &sum)).collect();
            let mut conds = Vec::new();
            if m.as_const().is_none_or(|m| m % side != 0) {
                conds.push(Cond::less(row, m.clone()));
            }
            if n.as_const().is_none_or(|n| n % side != 0) {
                conds.push(Cond::less(column, n.clone()));
            }
            guarded(conds, last, &known)
        }));
        vec![blocks(&block, grid, body)]
    }

    fn alloc(&self, name: &Symbol, shape: &[i64], space: Space) -> Stmt {
        let shape: Shape = shape.iter().map(|n| Dim::from(*n)).collect();
        let buffer = Buffer { name: name.clone(), ty: TensorType::new(self.parts.dtype, shape) };
        Stmt::Alloc { buffer, space }
    }

    fn zero(&self) -> Expr {
        Expr::number(self.parts.dtype, 0.0)
    }

    /// Every element of every thread's tile.
    fn for_own(&mut self, count: i64, word: &str, body: impl FnOnce(&Dim, &Dim, &Dim) -> Vec<Stmt>) -> Stmt {
        let [t, i, j] = ["thread", word, "c"].map(|w| self.names.fresh(w));
        let inner = body(&Dim::sym(t.clone()), &Dim::sym(i.clone()), &Dim::sym(j.clone()));
        let extent = Dim::from(self.tile.own);
        let unrolled = |var: Symbol, body: Vec<Stmt>| {
            vec![Stmt::For { var, extent: extent.clone(), kind: LoopKind::Unrolled, body }]
        };
        threads(&t, count, unrolled(i, unrolled(j, inner)))
    }

    /// Both operands' tiles, from memory.
    fn fill(
        &mut self,
        count: i64,
        tiles: [&Symbol; 2],
        first: [&Dim; 2],
        start: &Dim,
        batch: &[Loop],
        known: &Ranges,
    ) -> Stmt {
        let Tile { side, depth, .. } = self.tile;
        let thread = self.names.fresh("thread");
        let each = Dim::from(side * depth / count);
        let mut body = Vec::new();
        for (which, (tile, first)) in tiles.into_iter().zip(first).enumerate() {
            let part = self.names.fresh("part");
            let factor = if which == 0 { &self.parts.left } else { &self.parts.right };
            let number = &(&Dim::sym(part.clone()) * &Dim::from(count)) + &Dim::sym(thread.clone());
            // Neighbouring threads take what is neighbouring in memory.
            let (k, at) = if self.is_deep(factor) {
                (number.modulo(&Dim::from(depth)), number.floor_div(&Dim::from(depth)))
            } else {
                (number.floor_div(&Dim::from(side)), number.modulo(&Dim::from(side)))
            };
            let (from_k, from) = (start + &k, first + &at);
            let mut by = batch.to_vec();
            by.extend(digits(&factor.loops, &from));
            by.extend(digits(&self.parts.summed, &from_k));
            let mut conds = Vec::new();
            let (length, summed) = (total(&factor.loops), total(&self.parts.summed));
            if length.as_const().is_none_or(|n| n % side != 0) {
                conds.push(Cond::less(from, length));
            }
            if summed.as_const().is_none_or(|n| n % depth != 0) {
                conds.push(Cond::less(from_k, summed));
            }
            let given = factor.conds.iter().map(|c| c.map_dims(&|d| replaced_dim(d, &by)));
            conds.extend(given);
            conds.retain(|c| !known.less(&c.left, &c.right));
            let mut value = factor.value.map_dims(&|d| replaced_dim(d, &by));
            if !conds.is_empty() {
                value = Expr::Guard { conds, then: Box::new(value), otherwise: Box::new(self.zero()) };
            }
            let store = Stmt::store(Access::new((*tile).clone(), [k, at]), value);
            body.push(Stmt::For {
                var: part,
                extent: each.clone(),
                kind: LoopKind::Unrolled,
                body: vec![store],
            });
        }
        threads(&thread, count, body)
    }

    /// Whether what is summed over is neighbouring in an operand's memory, rather than the side of the tile.
    fn is_deep(&self, factor: &Factor) -> bool {
        let Some(access) = access_of(&factor.value) else { return false };
        let Some(buffer) = self.nest.inputs.iter().find(|b| b.name == access.buffer) else { return false };
        let flat = access.at.iter().zip(buffer.ty.shape.iter()).fold(Dim::ZERO, |f, (i, e)| &(&f * e) + i);
        let moves = |loops: &[Loop]| {
            let last = loops.iter().rev().find(|(_, e)| !e.is(1));
            last.and_then(|(var, _)| flat.affine_in(var)).is_some_and(|(step, _)| step.is(1))
        };
        moves(&self.parts.summed) && !moves(&factor.loops)
    }

    /// The products of the tiles, added to the sums.
    fn products(&mut self, count: i64, sums: &Symbol, left: &Symbol, right: &Symbol) -> Stmt {
        let Tile { own, depth, side } = self.tile;
        let across = side / own;
        let [thread, k] = ["thread", "k"].map(|w| self.names.fresh(w));
        let t = Dim::sym(thread.clone());
        let (up, along) = (t.floor_div(&Dim::from(across)), t.modulo(&Dim::from(across)));
        let mut body = Vec::new();
        let mut fragments = [Vec::new(), Vec::new()];
        for (which, (tile, at)) in [(left, &up), (right, &along)].into_iter().enumerate() {
            for quad in 0..own / 4 {
                let [name, lane] = ["quad", "lane"].map(|w| self.names.fresh(w));
                body.push(self.alloc(&name, &[4], Space::Register));
                let index = place(at, &(&Dim::from(4 * quad) + &Dim::sym(lane.clone())), across);
                let from = Access::new(tile.clone(), [Dim::sym(k.clone()), index]);
                let to = Access::new(name.clone(), [Dim::sym(lane.clone())]);
                body.push(Stmt::For {
                    var: lane,
                    extent: Dim::from(4i64),
                    kind: LoopKind::Vector,
                    body: vec![Stmt::store(to, Expr::Load(from))],
                });
                fragments[which].push(name);
            }
        }
        for i in 0..own {
            for j in 0..own {
                let element = |which: usize, at: i64| {
                    let name = fragments[which][(at / 4) as usize].clone();
                    Expr::Load(Access::new(name, [Dim::from(at % 4)]))
                };
                let sum = Access::new(sums.clone(), [t.clone(), Dim::from(i), Dim::from(j)]);
                let (a, b) = (element(0, i), element(1, j));
                let stmt = if self.parts.dtype.is_float() {
                    let fma = Expr::Op(ScalarOp::Fma, vec![a, b, Expr::Load(sum.clone())]);
                    Stmt::store(sum, fma)
                } else {
                    Stmt::combine(sum, Expr::binary(ScalarOp::Mul, a, b), Combine::With(ScalarOp::Add))
                };
                body.push(stmt);
            }
        }
        let all = Stmt::For { var: k, extent: Dim::from(depth), kind: LoopKind::Unrolled, body };
        threads(&thread, count, vec![all])
    }
}

/// Where along its side of the block's tile an element of a thread's tile lies: quads of neighbours, and threads
/// side by side, so that their loads cover the banks evenly.
fn place(thread: &Dim, index: &Dim, across: i64) -> Dim {
    let (quad, lane) = (index.floor_div(&Dim::from(4i64)), index.modulo(&Dim::from(4i64)));
    &(&(&quad * &Dim::from(4 * across)) + &(thread * &Dim::from(4i64))) + &lane
}
