//! `chunk`: makes one loop of several that stand directly around each other, and cuts it into chunks.
//!
//! ```tcc
//! nest @f(x: f32[N, 8, 10]) -> (y: f32[N, 8, 10]) {
//!   for i in 0..N parallel {
//!     for j in 0..8 parallel {
//!       for k in 0..10 parallel {
//!         y[i, j, k] = x[i, j, k]
//!       }
//!     }
//!   }
//! }
//! ```
//! ```steps
//! chunk([i, j, k], 40) -> [tile, e]
//! ```
//! ```tcc
//! nest @f(x: f32[N, 8, 10]) -> (y: f32[N, 8, 10]) {
//!   for tile in 0..2*N parallel {
//!     for e in 0..40 parallel {
//!       y[(4*tile + e / 10) / 8, (4*tile + e / 10) % 8, e % 10] = x[(4*tile + e / 10) / 8, (4*tile + e / 10) % 8, e % 10]
//!     }
//!   }
//! }
//! ```
//!
//! What `fuse` and `split` do one after the other, but indices stay simpler: what the chunks move by leaves the
//! quotients of one loop after the other, where a quotient by their product cannot be taken apart again.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Nest, Stmt};

use super::fuse::{fusible, with_digits};
use super::split::bounded;
use crate::schedule::Refusal;
use crate::schedule::site::Names;

step! {
    /// Makes chunks of the iterations of several loops.
    Chunk = "chunk"(
        /// The loops, outermost first.
        loops: Vec<Symbol>,
        /// The iterations of a chunk.
        size: i64,
    ) -> (
        /// The loop over chunks and the one within a chunk, whose last run may end early.
        chunks: Vec<Symbol>,
    )
}

impl Chunk {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let (site, chain) = fusible(nest, &self.loops)?;
        let [outer, inner] = self.chunks.as_slice() else {
            return Err(Refusal::new("2 names for loops", self.chunks.len().to_string()));
        };
        if self.size < 1 {
            return Err(Refusal::new("a size above zero", self.size.to_string()));
        }
        Names::with(nest, &self.loops, &self.chunks)?;
        let size = Dim::from(self.size);
        let total: Dim = chain.loops.iter().map(|l| l.extent.clone()).product();
        let start = &Dim::sym(outer.clone()) * &size;
        let within = Stmt::For {
            var: inner.clone(),
            extent: bounded(&total, &start, self.size, &site.ranges),
            kind: site.kind,
            body: with_digits(&chain, &start + &Dim::sym(inner.clone())),
        };
        let (var, extent, kind) = (outer.clone(), total.ceil_div(&size), site.kind);
        Ok(site.put(vec![Stmt::For { var, extent, kind, body: vec![within] }]))
    }
}
