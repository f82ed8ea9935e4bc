//! `split`: cuts a loop into an outer one and one of a fixed number of iterations.
//!
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for i in 0..N parallel {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//! ```steps
//! split(i, 8, bound) -> [io, ii]
//! ```
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for io in 0..(N + 7) / 8 parallel {
//!     for ii in 0..min(8, N - 8*io) parallel {
//!       y[ii + 8*io] = x[ii + 8*io]
//!     }
//!   }
//! }
//! ```
//!
//! What is left over if the extent is no multiple either ends the last inner loop early, as above, or is peeled
//! off into a loop behind, so that the inner extent is a number:
//!
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for i in 0..N parallel {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//! ```steps
//! split(i, 8, peel) -> [io, ii, rest]
//! ```
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for io in 0..N / 8 parallel {
//!     for ii in 0..8 parallel {
//!       y[ii + 8*io] = x[ii + 8*io]
//!     }
//!   }
//!   for rest in 0..N % 8 parallel {
//!     y[rest + 8*(N / 8)] = x[rest + 8*(N / 8)]
//!   }
//! }
//! ```
//!
//! or it is skipped by a condition around the body:
//!
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for i in 0..N parallel {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//! ```steps
//! split(i, 8, guard) -> [io, ii]
//! ```
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) {
//!   for io in 0..(N + 7) / 8 parallel {
//!     for ii in 0..8 parallel {
//!       if ii + 8*io < N {
//!         y[ii + 8*io] = x[ii + 8*io]
//!       }
//!     }
//!   }
//! }
//! ```
//!
//! A part that has no iterations is left out; the extent is known not to be negative where the loop is reached.

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::loops::{Cond, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::rewrite::{copied, with_index};
use crate::schedule::site::{Names, Site};
use crate::schedule::text::words;

/// What becomes of the iterations that do not fill an inner loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The last inner loop ends early.
    Bound,
    /// They have a loop of their own.
    Peel,
    /// A condition around the body skips what is too much.
    Guard,
}

words!(Tail: "bound" = Tail::Bound, "peel" = Tail::Peel, "guard" = Tail::Guard);

step! {
    /// Cuts a loop in two.
    Split = "split"(
        /// The loop.
        var: Symbol,
        /// The iterations of the inner loop.
        factor: i64,
        /// What becomes of the rest.
        tail: Tail,
    ) -> (
        /// The outer and the inner loop; if it is peeled, the one for the rest.
        loops: Vec<Symbol>,
    )
}

impl Split {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        let wanted = if self.tail == Tail::Peel { 3 } else { 2 };
        if self.loops.len() != wanted {
            return Err(Refusal::new(format!("{wanted} names for loops"), self.loops.len().to_string()));
        }
        if self.factor < 1 {
            return Err(Refusal::new("a factor above zero", self.factor.to_string()));
        }
        let mut names = Names::with(nest, std::slice::from_ref(&self.var), &self.loops)?;
        let (outer, inner) = (&self.loops[0], &self.loops[1]);
        let (factor, extent) = (Dim::from(self.factor), site.extent);
        let start = &Dim::sym(outer.clone()) * &factor;
        let at = &start + &Dim::sym(inner.clone());
        let body = with_index(site.body, &self.var, at.clone());
        let looped = |var: &Symbol, extent: Dim, body: Vec<Stmt>| Stmt::For {
            var: var.clone(),
            extent,
            kind: site.kind,
            body,
        };
        let divides = site.ranges.divides(&factor, extent);
        let two = |count: Dim, each: Dim, body| looped(outer, count, vec![looped(inner, each, body)]);
        let stmts = match self.tail {
            Tail::Bound => {
                vec![two(extent.ceil_div(&factor), bounded(extent, &start, self.factor, &site.ranges), body)]
            }
            Tail::Guard => {
                let conds = vec![Cond::less(at, extent.clone())];
                let body = if divides { body } else { vec![Stmt::If { conds, body }] };
                vec![two(extent.ceil_div(&factor), factor, body)]
            }
            Tail::Peel => {
                let whole = extent.floor_div(&factor);
                let rest = if divides { Dim::ZERO } else { extent.modulo(&factor) };
                let mut parts = Vec::new();
                if !whole.is(0) {
                    parts.push(two(whole.clone(), factor.clone(), body));
                }
                if !rest.is(0) {
                    let last = &self.loops[2];
                    let at = &(&whole * &factor) + &Dim::sym(last.clone());
                    // If both parts are there, the second needs names of its own.
                    let body = if parts.is_empty() {
                        site.body.to_vec()
                    } else {
                        copied(site.body, "t", &mut names)
                    };
                    parts.push(looped(last, rest, with_index(&body, &self.var, at)));
                }
                parts
            }
        };
        Ok(site.put(stmts))
    }
}

/// The iterations of an inner loop that begins at `start` and ends early at the end of the whole.
pub(super) fn bounded(extent: &Dim, start: &Dim, factor: i64, ranges: &Ranges) -> Dim {
    let whole = Dim::from(factor);
    match extent.as_const() {
        Some(all) if all <= factor => extent.clone(),
        _ if ranges.divides(&whole, extent) => whole,
        _ => whole.minimum(&(extent - start)),
    }
}
