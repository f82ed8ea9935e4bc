//! Three tile loops around a sum of products become one micro-tile contraction.
//!
//! ```text
//! for i in 0..m tile { for j in 0..n tile { for p in 0..k tile { c[i, j] += a[i, p] * b[p, j] } } }
//! ```

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Combine, Expr, LoopKind, Stmt};
use tcc_ir::mem::{Panel, Tile};
use tcc_ir::scalar::ScalarOp;

use super::{Lowering, Place};
use crate::schedule::right_panel;

impl Lowering {
    /// The contraction that a loop is the outermost of, if it is one.
    pub(super) fn tile(&mut self, stmt: &Stmt) -> Option<Tile> {
        let (i, m, body) = tile_loop(stmt)?;
        let [inner] = body else { return None };
        let (j, n, body) = tile_loop(inner)?;
        let [inner] = body else { return None };
        let (p, k, body) = tile_loop(inner)?;
        let [Stmt::Store { targets, values, combine: Combine::With(ScalarOp::Add) }] = body else {
            return None;
        };
        let ([c], [Expr::Op(ScalarOp::Mul, factors)]) = (targets.as_slice(), values.as_slice()) else {
            return None;
        };
        let [a, b] = factors.as_slice() else { return None };
        let (a, b) = (self.operand(a, c)?, self.operand(b, c)?);
        for (var, extent) in [(i, m), (j, n), (p, k)] {
            self.limit(var, extent);
        }
        let c = self.panel(c, i, j)?;
        let a = self.panel(a, i, p)?;
        let Some(Place::Memory(buffer)) = self.buffers.get(&b.buffer) else { return None };
        let right = right_panel(&self.offset(buffer, b), p, j, &self.ranges)?;
        let (memory, column) = (b.buffer.clone(), Dim::from(i64::from(right.group)));
        let (b, group) = (Panel { memory, offset: right.start, row: right.row, column }, right.group);
        if !c.column.is(1) {
            return None;
        }
        let most = |dim: &Dim| u32::try_from(self.ranges.bounds(dim).hi).unwrap_or(u32::MAX);
        let shape = (most(m), most(n));
        let [m, n, k] = [m, n, k].map(|d| self.ranges.simplify(d));
        Some(Tile { m, n, k, a, b, group, c, accumulate: true, shape })
    }

    /// An element as it lies in memory; a tile converts it to the type of its result by itself.
    fn operand<'e>(&self, value: &'e Expr, result: &Access) -> Option<&'e Access> {
        match value {
            Expr::Load(access) => Some(access),
            Expr::Cast { to, value, .. } => match (&**value, self.buffers.get(&result.buffer)) {
                (Expr::Load(access), Some(Place::Memory(buffer))) if buffer.ty.dtype == *to => Some(access),
                _ => None,
            },
            _ => None,
        }
    }

    /// A matrix whose rows and columns two loops walk over.
    fn panel(&self, access: &Access, row: &Symbol, column: &Symbol) -> Option<Panel> {
        let Some(Place::Memory(buffer)) = self.buffers.get(&access.buffer) else { return None };
        let offset = self.offset(buffer, access);
        let (rows, rest) = offset.affine_in(row)?;
        let (columns, rest) = rest.affine_in(column)?;
        if rows.mentions(column) {
            return None;
        }
        Some(Panel { memory: access.buffer.clone(), offset: rest, row: rows, column: columns })
    }
}

/// The buffer that two tile loops set to zero, if that is all they do.
pub(super) fn zeroed(stmt: &Stmt) -> Option<&Symbol> {
    let (_, _, body) = tile_loop(stmt)?;
    let [inner] = body else { return None };
    let (_, _, body) = tile_loop(inner)?;
    let [Stmt::Store { targets, values, combine: Combine::Replace }] = body else { return None };
    match (targets.as_slice(), values.as_slice()) {
        ([target], [Expr::Const(_, value)]) if !value.is_truthy() => Some(&target.buffer),
        _ => None,
    }
}

fn tile_loop(stmt: &Stmt) -> Option<(&Symbol, &Dim, &[Stmt])> {
    match stmt {
        Stmt::For { var, extent, kind: LoopKind::Tile, body } => Some((var, extent, body)),
        _ => None,
    }
}
