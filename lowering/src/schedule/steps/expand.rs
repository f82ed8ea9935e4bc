//! `expand`: gives each iteration of loops its own part of one buffer, in place of a buffer of its own.
//!
//! ```tcc
//! nest @f(x: f32[4, 9]) -> (y: f32[4]) {
//!   for i in 0..4 parallel {
//!     alloc acc: f32[] in register
//!     acc[] = f32(0.0)
//!     for k in 0..9 {
//!       acc[] += x[i, k]
//!     }
//!     y[i] = acc[]
//!   }
//! }
//! ```
//! ```steps
//! expand(acc, [i], [4], stack) -> sums
//! ```
//! ```tcc
//! nest @f(x: f32[4, 9]) -> (y: f32[4]) {
//!   alloc sums: f32[4] in stack
//!   for i in 0..4 parallel {
//!     sums[i] = f32(0.0)
//!     for k in 0..9 {
//!       sums[i] += x[i, k]
//!     }
//!     y[i] = sums[i]
//!   }
//! }
//! ```
//!
//! The new axes come first, of extents that no loop exceeds.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Buffer, Nest, Space, Stmt};
use tcc_ir::shape::TensorType;

use crate::schedule::Refusal;
use crate::schedule::rewrite::{Redirect, Rewrite};
use crate::schedule::site::{Names, Site, declared, nested};

step! {
    /// Makes one buffer of those that iterations make for themselves.
    Expand = "expand"(
        /// The buffer, made directly inside of the loops.
        buffer: Symbol,
        /// The loops, outermost first.
        loops: Vec<Symbol>,
        /// The extents of the new axes.
        extents: Vec<i64>,
        /// Where the new buffer lives.
        space: Space,
    ) -> (
        /// The new buffer.
        expanded: Symbol,
    )
}

impl Expand {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let Some(first) = self.loops.first() else { return Err(Refusal::new("loops to expand over", "none")) };
        if self.extents.len() != self.loops.len() {
            let expected = format!("{} extents", self.loops.len());
            return Err(Refusal::new(expected, self.extents.len().to_string()));
        }
        let site = Site::of(nest, first)?;
        let chain = site.chain(&self.loops)?;
        Names::with(nest, std::slice::from_ref(&self.buffer), std::slice::from_ref(&self.expanded))?;
        let mut ranges = site.ranges.clone();
        for (l, extent) in chain.loops.iter().zip(&self.extents) {
            if !ranges.at_most(l.extent, &Dim::from(*extent)) {
                let expected = format!("at most {extent} iterations of `{}`", l.var);
                return Err(Refusal::new(expected, l.extent.to_string()));
            }
            crate::schedule::site::limit(&mut ranges, l.var, l.extent);
        }
        let made = chain.body.iter().find_map(|s| match s {
            Stmt::Alloc { buffer, .. } if buffer.name == self.buffer => Some(buffer),
            _ => None,
        });
        let Some(made) = made else {
            let expected = format!("a buffer `{}` made directly inside of the loops", self.buffer);
            return Err(Refusal::new(expected, "none"));
        };
        let inside = declared(chain.body);
        let moving = |d: &Dim| d.symbols().iter().any(|s| self.loops.contains(s) || inside.contains(s));
        if let Some(extent) = made.ty.shape.iter().find(|d| moving(d)) {
            return Err(Refusal::new("extents that are the same in each iteration", extent.to_string()));
        }
        let shape = self.extents.iter().map(|e| Dim::from(*e)).chain(made.ty.shape.iter().cloned()).collect();
        let buffer = Buffer { name: self.expanded.clone(), ty: TensorType::new(made.ty.dtype, shape) };
        let own = |access: &Access| {
            let at = self.loops.iter().map(|v| Dim::sym(v.clone())).chain(access.at.iter().cloned());
            Access::new(self.expanded.clone(), at)
        };
        let rest: Vec<Stmt> = chain
            .body
            .iter()
            .filter(|s| !matches!(s, Stmt::Alloc { buffer, .. } if buffer.name == self.buffer))
            .cloned()
            .collect();
        let body = Redirect { buffer: &self.buffer, to: &own }.block(&rest);
        let mut stmts = vec![Stmt::Alloc { buffer, space: self.space }];
        stmts.extend(nested(&chain.loops, body));
        Ok(site.put(stmts))
    }
}
