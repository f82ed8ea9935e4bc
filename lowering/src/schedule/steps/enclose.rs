//! `enclose`: puts a loop of one iteration around a loop, where a later step wants one.
//!
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for i in 0..4 {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//! ```steps
//! enclose(i) -> row
//! ```
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for row in 0..1 parallel {
//!     for i in 0..4 {
//!       y[i] = x[i]
//!     }
//!   }
//! }
//! ```

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::site::{Names, Site};

step! {
    /// Puts a loop of one iteration around another.
    Enclose = "enclose"(
        /// The loop inside.
        var: Symbol,
    ) -> (
        /// The loop around it.
        outer: Symbol,
    )
}

impl Enclose {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        Names::with(nest, &[], std::slice::from_ref(&self.outer))?;
        let inner = Stmt::For {
            var: self.var.clone(),
            extent: site.extent.clone(),
            kind: site.kind,
            body: site.body.to_vec(),
        };
        let (var, kind) = (self.outer.clone(), LoopKind::Parallel);
        Ok(site.put(vec![Stmt::For { var, extent: Dim::ONE, kind, body: vec![inner] }]))
    }
}
