//! `halve`: combines elements in pairs before the loop that combines them one after the other.
//!
//! ```tcc
//! nest @f(x: f32[8]) -> (y: f32[]) {
//!   y[] = f32(0.0)
//!   for k in 0..8 {
//!     y[] += x[k]
//!   }
//! }
//! ```
//! ```steps
//! halve(k, register) -> pairs, [lane, last]
//! ```
//! ```tcc
//! nest @f(x: f32[8]) -> (y: f32[]) {
//!   y[] = f32(0.0)
//!   alloc pairs: f32[4] in register
//!   for lane in 0..4 parallel {
//!     pairs[lane] = x[lane] + x[lane + 4]
//!   }
//!   for last in 0..4 {
//!     y[] += pairs[last]
//!   }
//! }
//! ```
//!
//! Repeated, it makes of a long chain of combinations one whose length is the logarithm. The order of combination
//! changes, so results may be rounded differently.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::TensorType;

use crate::schedule::Refusal;
use crate::schedule::site::{Names, Site, buffer_of};

step! {
    /// Combines elements in pairs first.
    Halve = "halve"(
        /// The loop.
        var: Symbol,
        /// Where the combined pairs are kept.
        space: Space,
    ) -> (
        /// The combined pairs.
        pairs: Symbol,
        /// The loops over the pairs, and over what came of them.
        loops: Vec<Symbol>,
    )
}

/// More elements than this are no chain to shorten but data to stream.
const MAX_ELEMENTS: i64 = 1 << 12;

impl Halve {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        let [lane, last] = self.loops.as_slice() else {
            return Err(Refusal::new("2 names for loops", self.loops.len().to_string()));
        };
        if site.kind != LoopKind::Serial {
            let found = format!("one that is{}", site.kind);
            return Err(Refusal::new(format!("`{}` to be a serial loop", self.var), found));
        }
        let half = match site.extent.as_const() {
            Some(n) if n % 2 == 0 && (2..=MAX_ELEMENTS).contains(&n) => Dim::from(n / 2),
            _ => {
                let expected =
                    format!("an extent of `{}` that is an even number up to {MAX_ELEMENTS}", self.var);
                return Err(Refusal::new(expected, site.extent.to_string()));
            }
        };
        let new: Vec<Symbol> = self.loops.iter().chain([&self.pairs]).cloned().collect();
        Names::with(nest, std::slice::from_ref(&self.var), &new)?;
        let (target, op, from) = self.combination(&site)?;
        let dtype = match buffer_of(nest, &target.buffer) {
            Some(buffer) => buffer.ty.dtype,
            None => return Err(Refusal::new(format!("a buffer `{}`", target.buffer), "none")),
        };
        let at = |index: &Dim| {
            let moved = from.at.iter().map(|d| d.replace(&self.var, index));
            Expr::Load(Access::new(from.buffer.clone(), moved))
        };
        let index = Dim::sym(lane.clone());
        let pair = |of: &Symbol| Access::new(self.pairs.clone(), [Dim::sym(of.clone())]);
        let joined = Expr::binary(op, at(&index), at(&(&index + &half)));
        let shape = [half.clone()].into_iter().collect();
        let buffer = Buffer { name: self.pairs.clone(), ty: TensorType::new(dtype, shape) };
        Ok(site.put(vec![
            Stmt::Alloc { buffer, space: self.space },
            Stmt::For {
                var: lane.clone(),
                extent: half.clone(),
                kind: LoopKind::Parallel,
                body: vec![Stmt::store(pair(lane), joined)],
            },
            Stmt::serial(
                last.clone(),
                half,
                vec![Stmt::combine(target, Expr::Load(pair(last)), Combine::With(op))],
            ),
        ]))
    }

    /// What the loop combines into, how, and from which elements: that must be all it does.
    fn combination(&self, site: &Site<'_>) -> Result<(Access, ScalarOp, Access), Refusal> {
        if let [Stmt::Store { targets, values, combine: Combine::With(op) }] = site.body
            && let ([target], [Expr::Load(from)]) = (targets.as_slice(), values.as_slice())
            && matches!(op, ScalarOp::Add | ScalarOp::Mul | ScalarOp::Max | ScalarOp::Min)
            && target.buffer != from.buffer
            && !target.at.iter().any(|d| d.symbols().contains(&self.var))
        {
            return Ok((target.clone(), *op, from.clone()));
        }
        Err(Refusal::new(
            format!("`{}` to combine elements of a buffer into one of another, and no more", self.var),
            "other statements",
        ))
    }
}
