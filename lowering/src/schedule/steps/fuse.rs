//! `fuse`: makes one loop of several that stand directly around each other.
//!
//! ```tcc
//! nest @f(x: f32[N, 10]) -> (y: f32[N, 10]) {
//!   for i in 0..N parallel {
//!     for j in 0..10 parallel {
//!       y[i, j] = x[i, j]
//!     }
//!   }
//! }
//! ```
//! ```steps
//! fuse([i, j]) -> e
//! ```
//! ```tcc
//! nest @f(x: f32[N, 10]) -> (y: f32[N, 10]) {
//!   for e in 0..10*N parallel {
//!     y[e / 10, e % 10] = x[e / 10, e % 10]
//!   }
//! }
//! ```
//!
//! Of one loop alone this is another name.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::rewrite::{Rewrite, Substitute};
use crate::schedule::site::{Chain, Names, Site, expect_plain};

step! {
    /// Makes one loop of several.
    Fuse = "fuse"(
        /// The loops, outermost first.
        loops: Vec<Symbol>,
    ) -> (
        /// The one loop.
        fused: Symbol,
    )
}

impl Fuse {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let (site, chain) = fusible(nest, &self.loops)?;
        Names::with(nest, &self.loops, std::slice::from_ref(&self.fused))?;
        Ok(site.put(vec![Stmt::For {
            var: self.fused.clone(),
            extent: chain.loops.iter().map(|l| l.extent.clone()).product(),
            kind: site.kind,
            body: with_digits(&chain, Dim::sym(self.fused.clone())),
        }]))
    }
}

/// Loops that stand around each other and can become one.
pub(super) fn fusible<'n>(nest: &'n Nest, loops: &[Symbol]) -> Result<(Site<'n>, Chain<'n>), Refusal> {
    let Some(first) = loops.first() else { return Err(Refusal::new("loops to fuse", "none")) };
    let site = Site::of(nest, first)?;
    let chain = site.chain(loops)?;
    for (i, l) in chain.loops.iter().enumerate() {
        expect_plain(l.var, l.kind)?;
        if l.kind != site.kind {
            let (expected, found) = (format!("loops that are all{} as `{first}` is", site.kind), l.var);
            return Err(Refusal::new(expected, format!("`{found}`, which is not")));
        }
        if let Some(outer) = chain.loops[..i].iter().find(|o| l.extent.mentions(o.var)) {
            let expected = format!("an extent of `{}` that does not depend on `{}`", l.var, outer.var);
            return Err(Refusal::new(expected, l.extent.to_string()));
        }
    }
    Ok((site, chain))
}

/// The body of loops with their variables as the digits of one index, the last loop's the lowest.
pub(super) fn with_digits(chain: &Chain<'_>, index: Dim) -> Vec<Stmt> {
    let mut digits: Vec<(Symbol, Dim)> = Vec::new();
    let mut rest = index;
    for (i, l) in chain.loops.iter().enumerate().rev() {
        let digit = if i == 0 { rest.clone() } else { rest.modulo(l.extent) };
        rest = rest.floor_div(l.extent);
        digits.push((l.var.clone(), digit));
    }
    Substitute(&digits).block(chain.body)
}
