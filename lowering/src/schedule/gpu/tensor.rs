//! Contractions of narrow floats for tensor cores: tiles of both operands in shared memory, and micro-tiles that a
//! warp carries out as a whole, their sums spread over its lanes.
//!
//! ```text
//! for i in 0..m parallel { for j in 0..n parallel {
//!   acc[] = 0; for k in 0..p { acc[] += cast<f32>(a[i, k]) * cast<f32>(b[k, j]) }; y[i, j] = f(acc[])
//! } }
//! ->
//! for block in 0..(m / 64) * (n / 64) block.x {
//!   for warp in 0..4 thread.y { sums[warp, 0..32, 0..32] = 0 }
//!   for step in 0..p / 32 {
//!     for warp1 in 0..4 thread.y { for lane in 0..32 thread.x { left[…] = a[…]; right[…] = b[…] } }
//!     for warp2 in 0..4 thread.y { sums[warp2, …] += left · right as one micro-tile }
//!   }
//!   for warp3 in 0..4 thread.y { for lane in 0..32 thread.x { y[…] = f(sums[warp3, row of lane, column of lane]) } }
//! }
//! ```
//!
//! A lane holds the elements that the instruction gives it: rows `lane / 4` and 8 below, columns `2 * (lane % 4)` and
//! its neighbour, of every 16 rows and 8 columns.

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::TensorType;

use super::GpuMachine;
use super::contraction::{Contraction, Factor, access_of, recognise};
use super::loops::{Loop, blocks, digits, guarded, ranges, redirected, replaced, replaced_dim, total};
use crate::schedule::site::Names;

const WARPS: i64 = 4;
const LANES: i64 = 32;
/// Elements that are moved at once.
const VECTOR: i64 = 8;
/// What is summed over at a time.
const DEPTH: i64 = 32;
/// Elements behind each row of a tile in shared memory, so that rows begin in different banks.
const PAD: i64 = 8;

/// Sides of a block's tile, the largest first; each of four warps has a quarter.
const SIDES: [i64; 2] = [128, 64];
/// Enough blocks to keep most GPUs busy.
const MANY_BLOCKS: i64 = 160;

pub(super) fn schedule(nest: &Nest, machine: &GpuMachine) -> Option<Vec<Stmt>> {
    if !machine.tensor_cores {
        return None;
    }
    let parts = recognise(nest)?;
    let dtype = narrow(nest, &parts.left).filter(|d| narrow(nest, &parts.right) == Some(*d))?;
    let size = |loops: &[Loop]| total(loops).as_const();
    let large = |n: Option<i64>| n.is_none_or(|n| n >= 16);
    let (m, n) = (size(&parts.left.loops), size(&parts.right.loops));
    if parts.dtype != DType::F32 || !large(m) || !large(n) || !large(size(&parts.summed)) {
        return None;
    }
    let count = |side: i64| Some((m? / side).saturating_mul(n? / side).saturating_mul(size(&parts.batch)?));
    let side = SIDES.into_iter().find(|s| count(*s).is_some_and(|c| c >= MANY_BLOCKS)).unwrap_or(SIDES[1]);
    Some(Build { nest, names: Names::of(nest), parts, side, dtype }.body())
}

/// The type of a factor that tensor cores take, converted to f32.
fn narrow(nest: &Nest, factor: &Factor) -> Option<DType> {
    let Expr::Cast { to: DType::F32, value, .. } = &factor.value else { return None };
    let Expr::Load(access) = &**value else { return None };
    let buffer = nest.inputs.iter().find(|b| b.name == access.buffer)?;
    Some(buffer.ty.dtype).filter(|d| matches!(d, DType::F16 | DType::BF16))
}

struct Build<'n> {
    nest: &'n Nest,
    names: Names,
    parts: Contraction<'n>,
    side: i64,
    dtype: DType,
}

impl Build<'_> {
    fn body(mut self) -> Vec<Stmt> {
        let (side, own) = (self.side, self.side / 2);
        let [block, step] = ["block", "step"].map(|w| self.names.fresh(w));
        let [sums, left, right] = ["sums", "left", "right"].map(|w| self.names.fresh(w));
        let (m, n) = (total(&self.parts.left.loops), total(&self.parts.right.loops));
        let s = Dim::from(side);
        let (row_tiles, column_tiles) = (m.ceil_div(&s), n.ceil_div(&s));
        let grid = &(&row_tiles * &column_tiles) * &total(&self.parts.batch);
        let index = Dim::sym(block.clone());
        let rest = index.floor_div(&column_tiles);
        let first = [&rest.modulo(&row_tiles) * &s, &index.modulo(&column_tiles) * &s];
        let batch = match self.parts.batch.is_empty() {
            true => Vec::new(),
            false => digits(&self.parts.batch, &rest.floor_div(&row_tiles)),
        };
        let steps = total(&self.parts.summed).ceil_div(&Dim::from(DEPTH));
        let known = ranges(self.nest, &[(block.clone(), grid.clone()), (step.clone(), steps.clone())]);
        let mut body = vec![
            alloc(&left, self.dtype, &[side, DEPTH + PAD], Space::Shared),
            alloc(&right, self.dtype, &[DEPTH, side + PAD], Space::Shared),
            alloc(&sums, DType::F32, &[WARPS, own, own], Space::Register),
        ];
        body.push(self.zero(&sums, &left, &right));
        let start = &Dim::sym(step.clone()) * &Dim::from(DEPTH);
        let filled = self.fill([&left, &right], &first, &start, &batch, &known);
        let product = self.product(&sums, &left, &right, DEPTH);
        let warp = self.names.fresh("warp");
        let product = warps(&warp, product(&warp));
        body.push(Stmt::serial(step, steps, vec![filled, product]));
        body.push(self.epilogue(&sums, &first, &batch, &known));
        vec![blocks(&block, grid, body)]
    }

    /// Zeros, as a product over nothing.
    fn zero(&mut self, sums: &Symbol, left: &Symbol, right: &Symbol) -> Stmt {
        let [warp, i, j] = ["warp", "i", "j"].map(|w| self.names.fresh(w));
        let own = Dim::from(self.side / 2);
        let at = [&warp, &i, &j].map(|s| Dim::sym(s.clone()));
        let store = Stmt::store(Access::new(sums.clone(), at), Expr::number(DType::F32, 0.0));
        let zero = tile(&i, own.clone(), vec![tile(&j, own, vec![store])]);
        let product = self.product(sums, left, right, 0);
        let mut body = vec![zero];
        body.extend(product(&warp));
        warps(&warp, body)
    }

    /// A warp's product of the tiles in shared memory.
    fn product(
        &mut self,
        sums: &Symbol,
        left: &Symbol,
        right: &Symbol,
        depth: i64,
    ) -> impl Fn(&Symbol) -> Vec<Stmt> + use<> {
        let [i, j, k] = ["i", "j", "k"].map(|w| self.names.fresh(w));
        let (sums, left, right) = (sums.clone(), left.clone(), right.clone());
        let own = Dim::from(self.side / 2);
        move |warp: &Symbol| {
            let w = Dim::sym(warp.clone());
            let [at_i, at_j, at_k] = [&i, &j, &k].map(|s| Dim::sym(s.clone()));
            let two = Dim::from(2i64);
            let row = &(&w.floor_div(&two) * &own) + &at_i;
            let column = &(&w.modulo(&two) * &own) + &at_j;
            let element = |from: &Symbol, at: [Dim; 2]| Expr::Cast {
                to: DType::F32,
                saturate: true,
                value: Box::new(Expr::Load(Access::new(from.clone(), at))),
            };
            let factors = [element(&left, [row, at_k.clone()]), element(&right, [at_k, column])];
            let value = Expr::Op(ScalarOp::Mul, factors.to_vec());
            let sum = Access::new(sums.clone(), [w, at_i, at_j]);
            let add = Stmt::combine(sum, value, Combine::With(ScalarOp::Add));
            let inner = tile(&j, own.clone(), vec![tile(&k, Dim::from(depth), vec![add])]);
            vec![tile(&i, own.clone(), vec![inner])]
        }
    }

    /// Both tiles, from memory; each thread takes runs of neighbours.
    fn fill(
        &mut self,
        tiles: [&Symbol; 2],
        first: &[Dim; 2],
        start: &Dim,
        batch: &[Loop],
        known: &Ranges,
    ) -> Stmt {
        let [warp, lane] = ["warp", "lane"].map(|w| self.names.fresh(w));
        let thread = &(&Dim::sym(warp.clone()) * &Dim::from(LANES)) + &Dim::sym(lane.clone());
        let mut body = Vec::new();
        for (which, tile) in tiles.into_iter().enumerate() {
            let [part, element] = ["part", "element"].map(|w| self.names.fresh(w));
            let factor = if which == 0 { &self.parts.left } else { &self.parts.right };
            // The left tile has what is summed over as its columns, the right one as its rows.
            let width = if which == 0 { DEPTH } else { self.side };
            let (inner, other) = match which {
                0 => (&self.parts.summed, &factor.loops),
                _ => (&factor.loops, &self.parts.summed),
            };
            let vector = match self.in_runs(factor, inner) {
                true => VECTOR,
                false => 1,
            };
            let number = &(&Dim::sym(part.clone()) * &Dim::from(WARPS * LANES)) + &thread;
            // Without runs, neighbouring threads take what is neighbouring in memory.
            let across = vector == 1 && self.steps_by_one(factor, other) && !self.steps_by_one(factor, inner);
            let height = self.side * DEPTH / width;
            let (row, column) = if across {
                (number.modulo(&Dim::from(height)), number.floor_div(&Dim::from(height)))
            } else {
                let runs = Dim::from(width / vector);
                (number.floor_div(&runs), &number.modulo(&runs) * &Dim::from(vector))
            };
            let at = &column + &Dim::sym(element.clone());
            let place = |column: &Dim| match which {
                0 => (&first[0] + &row, start + column),
                _ => (&first[1] + column, start + &row),
            };
            let ((from, from_k), (lead, lead_k)) = (place(&at), place(&column));
            let mut by = batch.to_vec();
            by.extend(digits(&factor.loops, &from));
            by.extend(digits(&self.parts.summed, &from_k));
            let (length, summed) = (total(&factor.loops), total(&self.parts.summed));
            // Runs do not cross edges, so that their first element decides.
            let mut conds = Vec::new();
            if length.as_const().is_none_or(|n| n % self.side != 0) {
                conds.push(Cond::less(lead, length));
            }
            if summed.as_const().is_none_or(|n| n % DEPTH != 0) {
                conds.push(Cond::less(lead_k, summed));
            }
            conds.extend(factor.conds.iter().map(|c| c.map_dims(&|d| replaced_dim(d, &by))));
            conds.retain(|c| !known.less(&c.left, &c.right));
            let Expr::Cast { value, .. } = &factor.value else { continue };
            let mut value = value.map_dims(&|d| replaced_dim(d, &by));
            if !conds.is_empty() {
                let zero = Expr::number(self.dtype, 0.0);
                value = Expr::Guard { conds, then: Box::new(value), otherwise: Box::new(zero) };
            }
            let store = Stmt::store(Access::new(tile.clone(), [row, at]), value);
            let run = if vector == 1 {
                replaced(&[store], &[(element, Dim::ZERO)])
            } else {
                let extent = Dim::from(vector);
                vec![Stmt::For { var: element, extent, kind: LoopKind::Vector, body: vec![store] }]
            };
            let extent = Dim::from(self.side * DEPTH / (WARPS * LANES * vector));
            body.push(Stmt::For { var: part, extent, kind: LoopKind::Unrolled, body: run });
        }
        warps(&warp, vec![lanes(&lane, body)])
    }

    fn steps_by_one(&self, factor: &Factor, loops: &[Loop]) -> bool {
        let Some(access) = access_of(&factor.value) else { return false };
        let Some(buffer) = self.nest.inputs.iter().find(|b| b.name == access.buffer) else { return false };
        let flat = access.at.iter().zip(buffer.ty.shape.iter()).fold(Dim::ZERO, |f, (i, e)| &(&f * e) + i);
        let last = loops.iter().rev().find(|(_, e)| !e.is(1));
        last.and_then(|(var, _)| flat.affine_in(var)).is_some_and(|(step, _)| step.is(1))
    }

    /// Whether runs of elements along one side are neighbours in memory, whole and unconditional.
    fn in_runs(&self, factor: &Factor, inner: &[Loop]) -> bool {
        let last = inner.iter().rev().find(|(_, e)| !e.is(1));
        let whole = last.and_then(|(_, e)| e.as_const()).is_some_and(|e| e % VECTOR == 0);
        whole && factor.conds.is_empty() && self.steps_by_one(factor, inner)
    }

    fn epilogue(&mut self, sums: &Symbol, first: &[Dim; 2], batch: &[Loop], known: &Ranges) -> Stmt {
        let own = self.side / 2;
        let [warp, lane, high, wide, half, next] =
            ["warp", "lane", "high", "wide", "half", "next"].map(|w| self.names.fresh(w));
        let sym = |s: &Symbol| Dim::sym(s.clone());
        let (four, two) = (Dim::from(4i64), Dim::from(2i64));
        let row = &(&(&sym(&high) * &Dim::from(16i64)) + &(&sym(&half) * &Dim::from(8i64)))
            + &sym(&lane).floor_div(&four);
        let column = &(&(&sym(&wide) * &Dim::from(8i64)) + &sym(&next)) + &(&sym(&lane).modulo(&four) * &two);
        let w = sym(&warp);
        let of = Dim::from(own);
        let i = &(&first[0] + &(&w.floor_div(&two) * &of)) + &row;
        let j = &(&first[1] + &(&w.modulo(&two) * &of)) + &column;
        let mut by = batch.to_vec();
        by.extend(digits(&self.parts.left.loops, &i));
        by.extend(digits(&self.parts.right.loops, &j));
        let acc = &self.parts.acc;
        let sum = |access: &Access| match access.buffer == *acc {
            true => Access::new(sums.clone(), [w.clone(), row.clone(), column.clone()]),
            false => access.clone(),
        };
        let last: Vec<Stmt> =
            replaced(self.parts.epilogue, &by).iter().map(|s| redirected(s, &sum)).collect();
        let mut conds = Vec::new();
        for (at, loops) in [(i, &self.parts.left.loops), (j, &self.parts.right.loops)] {
            let length = total(loops);
            if length.as_const().is_none_or(|n| n % self.side != 0) {
                conds.push(Cond::less(at, length));
            }
        }
        let mut body = guarded(conds, last, known);
        for (var, extent) in [(next, 2), (half, 2), (wide, own / 8), (high, own / 16)] {
            body = vec![Stmt::For { var, extent: Dim::from(extent), kind: LoopKind::Unrolled, body }];
        }
        warps(&warp, vec![lanes(&lane, body)])
    }
}

fn alloc(name: &Symbol, dtype: DType, shape: &[i64], space: Space) -> Stmt {
    let shape = shape.iter().map(|n| Dim::from(*n)).collect();
    Stmt::Alloc { buffer: Buffer { name: name.clone(), ty: TensorType::new(dtype, shape) }, space }
}

fn tile(var: &Symbol, extent: Dim, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var: var.clone(), extent, kind: LoopKind::Tile, body }
}

fn warps(var: &Symbol, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var: var.clone(), extent: Dim::from(WARPS), kind: LoopKind::Thread(1), body }
}

fn lanes(var: &Symbol, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var: var.clone(), extent: Dim::from(LANES), kind: LoopKind::Thread(0), body }
}
