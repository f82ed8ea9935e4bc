//! Which buffers that ask for registers can have them, and how.
//!
//! Registers have no addresses: every index must be a number once loops are unrolled, or name all lanes of a
//! vector loop at once. A buffer used in another way is put into memory instead.

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Combine, Expr, LoopKind, Space, Stmt};

/// How a buffer is kept in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// A register for each element.
    Elements,
    /// One register, whose lanes are the elements.
    Wide,
}

/// What the uses of one buffer have in common.
struct Uses {
    extents: Vec<Dim>,
    elements: bool,
    wide: bool,
}

/// The buffers that can be kept in registers.
pub(super) fn classify(body: &[Stmt]) -> FxHashMap<Symbol, Kept> {
    let mut walk = Walk { uses: FxHashMap::default(), unrolled: Vec::new(), vectors: Vec::new() };
    walk.block(body);
    let kept = |uses: &Uses| match uses {
        Uses { elements: true, .. } => Some(Kept::Elements),
        Uses { wide: true, .. } => Some(Kept::Wide),
        _ => None,
    };
    walk.uses.iter().filter_map(|(name, uses)| Some((name.clone(), kept(uses)?))).collect()
}

/// The lane that a vector loop over neighbouring ones begins with.
pub(super) fn first_lane(at: &Dim, var: &Symbol) -> Option<u32> {
    let (step, first) = at.affine_in(var)?;
    if step.is(1) { first.as_const().and_then(|f| u32::try_from(f).ok()) } else { None }
}

struct Walk {
    uses: FxHashMap<Symbol, Uses>,
    unrolled: Vec<Symbol>,
    vectors: Vec<(Symbol, Dim)>,
}

impl Walk {
    fn block(&mut self, body: &[Stmt]) {
        for stmt in body {
            match stmt {
                Stmt::Alloc { buffer, space: Space::Register } => {
                    let extents = buffer.ty.shape.to_vec();
                    let wide = extents.len() == 1 && self.vectors.is_empty();
                    self.uses.insert(buffer.name.clone(), Uses { extents, elements: true, wide });
                }
                Stmt::Store { targets, values, combine } => {
                    targets.iter().for_each(|t| self.access(t, true));
                    values.iter().for_each(|v| self.expr(v));
                    if let Combine::Tuple { results, .. } = combine {
                        results.iter().for_each(|r| self.expr(r));
                    }
                }
                Stmt::Let { value, .. } => self.expr(value),
                Stmt::For { var, extent, kind, body } => {
                    match kind {
                        LoopKind::Unrolled => self.unrolled.push(var.clone()),
                        LoopKind::Vector => self.vectors.push((var.clone(), extent.clone())),
                        _ => {}
                    }
                    self.block(body);
                    match kind {
                        LoopKind::Unrolled => drop(self.unrolled.pop()),
                        LoopKind::Vector => drop(self.vectors.pop()),
                        _ => {}
                    }
                }
                Stmt::If { body, .. } => self.block(body),
                Stmt::Alloc { .. } => {}
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        let mut loads: Vec<Access> = Vec::new();
        expr.each(&mut |e| {
            if let Expr::Load(access) = e {
                loads.push(access.clone());
            }
        });
        loads.iter().for_each(|a| self.access(a, false));
    }

    fn access(&mut self, access: &Access, write: bool) {
        let number = access.at.iter().all(|d| d.symbols().iter().all(|s| self.unrolled.contains(s)));
        let lanes = match (access.at.as_slice(), self.vectors.last()) {
            ([at], Some((var, extent))) => {
                let all = at.as_symbol() == Some(var)
                    && self.uses.get(&access.buffer).is_some_and(|u| u.extents.first() == Some(extent));
                all || !write && first_lane(at, var).is_some()
            }
            _ => false,
        };
        let Some(uses) = self.uses.get_mut(&access.buffer) else { return };
        uses.elements &= number;
        uses.wide &= lanes || (!write && number && self.vectors.is_empty());
    }
}
