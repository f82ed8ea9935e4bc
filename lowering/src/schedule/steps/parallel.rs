//! `parallel`: promises that the iterations of a loop are apart, so that workers can share them.
//!
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for i in 0..4 {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//! ```steps
//! parallel(i)
//! ```
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for i in 0..4 parallel {
//!     y[i] = x[i]
//!   }
//! }
//! ```

use tcc_ir::dim::Symbol;
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::independence::expect_independent;
use crate::schedule::site::Site;

step! {
    /// Lets workers share the iterations of a loop.
    Parallel = "parallel"(
        /// The loop.
        var: Symbol,
    )
}

impl Parallel {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        expect_independent(nest, &site)?;
        Ok(site.put(vec![Stmt::For {
            var: self.var.clone(),
            extent: site.extent.clone(),
            kind: LoopKind::Parallel,
            body: site.body.to_vec(),
        }]))
    }
}
