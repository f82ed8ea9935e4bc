//! `collapse`: replaces a loop of one iteration by its body.
//!
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for i in 0..1 {
//!     for j in 0..4 {
//!       y[4*i + j] = x[4*i + j]
//!     }
//!   }
//! }
//! ```
//! ```steps
//! collapse(i)
//! ```
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[4]) {
//!   for j in 0..4 {
//!     y[j] = x[j]
//!   }
//! }
//! ```

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::Nest;

use crate::schedule::Refusal;
use crate::schedule::rewrite::with_index;
use crate::schedule::site::Site;

step! {
    /// Replaces a loop of one iteration by its body.
    Collapse = "collapse"(
        /// The loop.
        var: Symbol,
    )
}

impl Collapse {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        if !site.ranges.simplify(site.extent).is(1) {
            return Err(Refusal::new(format!("an extent of `{}` that is 1", self.var), site.extent.to_string()));
        }
        Ok(site.put(with_index(site.body, &self.var, Dim::ZERO)))
    }
}
