//! `split_reduction`: combines into several partial results, and those after the loop.
//!
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[]) {
//!   y[] = f32(0.0)
//!   for k in 0..N {
//!     y[] += x[k]
//!   }
//! }
//! ```
//! ```steps
//! split_reduction(k, y, 8, register) -> parts, [init, ko, ki, rest, last]
//! ```
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[]) {
//!   y[] = f32(0.0)
//!   alloc parts: f32[8] in register
//!   for init in 0..8 parallel {
//!     parts[init] = f32(0.0)
//!   }
//!   for ko in 0..N / 8 {
//!     for ki in 0..8 {
//!       parts[ki] += x[ki + 8*ko]
//!     }
//!   }
//!   for rest in 0..N % 8 {
//!     y[] += x[rest + 8*(N / 8)]
//!   }
//!   for last in 0..8 {
//!     y[] += parts[last]
//!   }
//! }
//! ```
//!
//! The iterations of the inner loop are then apart. The order of combination changes, so results may be rounded
//! differently. Parts of the loop that have no iterations are left out.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::TensorType;

use super::split::{Split, Tail};
use crate::graph_to_loops::identity;
use crate::schedule::Refusal;
use crate::schedule::rewrite::{Redirect, Rewrite};
use crate::schedule::site::{Names, Site, buffer_of, declared, each_access};

step! {
    /// Combines into partial results first.
    SplitReduction = "split_reduction"(
        /// The loop.
        var: Symbol,
        /// What is combined into.
        into: Symbol,
        /// How many partial results there are.
        parts: i64,
        /// Where they are kept.
        space: Space,
    ) -> (
        /// The partial results.
        partial: Symbol,
        /// The loops that fill them with the identity, go over whole groups, within a group, over the rest, and
        /// over the partial results at the end.
        loops: Vec<Symbol>,
    )
}

/// More parts than this are more than registers could hold on any machine.
const MAX_PARTS: i64 = 1 << 12;

impl SplitReduction {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        let [init, outer, inner, rest, last] = self.loops.as_slice() else {
            return Err(Refusal::new("5 names for loops", self.loops.len().to_string()));
        };
        if site.kind != LoopKind::Serial {
            let found = format!("one that is{}", site.kind);
            return Err(Refusal::new(format!("`{}` to be a serial loop", self.var), found));
        }
        if !(1..=MAX_PARTS).contains(&self.parts) {
            return Err(Refusal::new(format!("a number of parts in 1..={MAX_PARTS}"), self.parts.to_string()));
        }
        let new: Vec<Symbol> = self.loops.iter().chain([&self.partial]).cloned().collect();
        Names::with(nest, std::slice::from_ref(&self.var), &new)?;
        let Some(buffer) = buffer_of(nest, &self.into) else {
            return Err(Refusal::new(format!("a buffer `{}`", self.into), "none"));
        };
        let (target, op) = self.reduction(&site)?;
        let dtype = buffer.ty.dtype;
        let neutral = match op {
            ScalarOp::Add | ScalarOp::Mul | ScalarOp::Max | ScalarOp::Min => identity(op, dtype),
            other => {
                let found = format!("`{}`", other.name());
                return Err(Refusal::new("a combination by add, mul, max or min", found));
            }
        };
        // The rest goes on combining into the buffer itself.
        let split = Split {
            var: self.var.clone(),
            factor: self.parts,
            tail: Tail::Peel,
            loops: vec![outer.clone(), inner.clone(), rest.clone()],
        };
        let part = |at: &Symbol| Access::new(self.partial.clone(), [Dim::sym(at.clone())]);
        let split = split.apply(nest)?;
        let split = match Site::of(&split, inner) {
            Ok(inside) => inside.put(vec![Stmt::For {
                var: inner.clone(),
                extent: inside.extent.clone(),
                kind: inside.kind,
                body: Redirect { buffer: &self.into, to: &|_| part(inner) }.block(inside.body),
            }]),
            // All iterations are the rest.
            Err(_) => return Ok(split),
        };
        let parts = Dim::from(self.parts);
        let shape = [parts.clone()].into_iter().collect();
        let alloc = Stmt::Alloc {
            buffer: Buffer { name: self.partial.clone(), ty: TensorType::new(dtype, shape) },
            space: self.space,
        };
        let fill = Stmt::For {
            var: init.clone(),
            extent: parts.clone(),
            kind: LoopKind::Parallel,
            body: vec![Stmt::store(part(init), neutral)],
        };
        let sum = Stmt::combine(target, Expr::Load(part(last)), Combine::With(op));
        let finish = Stmt::serial(last.clone(), parts, vec![sum]);
        let whole = Site::of(&split, outer)?;
        let peeled = Site::of(&split, rest).is_ok();
        let depth = whole.blocks().len() - 1;
        Ok(whole.put_block(depth, |block, at| {
            let behind = at + 1 + usize::from(peeled);
            block.insert(behind, finish);
            block.splice(at..at, [alloc, fill]);
        }))
    }

    /// The one element that the loop combines into, and how; all uses of its buffer must be that.
    fn reduction(&self, site: &Site<'_>) -> Result<(Access, ScalarOp), Refusal> {
        let mut found: Option<(Access, ScalarOp)> = None;
        let mut stores = 0;
        let mut uses = 0;
        for stmt in site.body {
            stmt.each(&mut |s| {
                if let Stmt::Store { targets, combine: Combine::With(op), .. } = s
                    && let [target] = targets.as_slice()
                    && target.buffer == self.into
                {
                    let this = (target.clone(), *op);
                    if found.as_ref().is_none_or(|f| *f == this) {
                        found = Some(this);
                        stores += 1;
                    }
                }
            });
        }
        each_access(site.body, &mut |access, _| uses += usize::from(access.buffer == self.into));
        let inside = declared(site.body);
        let moves = |target: &Access| {
            target.at.iter().any(|d| d.symbols().iter().any(|s| *s == self.var || inside.contains(s)))
        };
        match found {
            Some((target, op)) if stores == uses && !moves(&target) => Ok((target, op)),
            _ => Err(Refusal::new(
                format!("a loop that only combines into one element of `{}`", self.into),
                if uses == 0 { "no use of it" } else { "other uses of it" },
            )),
        }
    }
}
