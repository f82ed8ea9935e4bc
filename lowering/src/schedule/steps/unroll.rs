//! `unroll`: runs the iterations of a loop as copies of its body.
//!
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[]) {
//!   y[] = f32(0.0)
//!   for i in 0..4 {
//!     y[] += x[i]
//!   }
//! }
//! ```
//! ```steps
//! unroll(i)
//! ```
//! ```tcc
//! nest @f(x: f32[4]) -> (y: f32[]) {
//!   y[] = f32(0.0)
//!   for i in 0..4 unrolled {
//!     y[] += x[i]
//!   }
//! }
//! ```
//!
//! Registers that such a loop indexes can then be told apart.

use tcc_ir::dim::Symbol;
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::site::Site;

step! {
    /// Makes copies of iterations.
    Unroll = "unroll"(
        /// The loop.
        var: Symbol,
    )
}

/// More copies than this cost more than they save.
const MAX_COPIES: i64 = 256;

impl Unroll {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        match site.extent.as_const() {
            Some(copies) if copies <= MAX_COPIES => {}
            _ => {
                let expected = format!("an extent of `{}` that is a number up to {MAX_COPIES}", self.var);
                return Err(Refusal::new(expected, site.extent.to_string()));
            }
        }
        Ok(site.put(vec![Stmt::For {
            var: self.var.clone(),
            extent: site.extent.clone(),
            kind: LoopKind::Unrolled,
            body: site.body.to_vec(),
        }]))
    }
}
