//! `vectorise`: runs the iterations of a loop as the lanes of vector instructions.
//!
//! ```tcc
//! nest @f(x: f32[8]) -> (y: f32[8]) {
//!   for i in 0..8 {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//! ```steps
//! vectorise(i)
//! ```
//! ```tcc
//! nest @f(x: f32[8]) -> (y: f32[8]) {
//!   for i in 0..8 vector {
//!     y[i] = x[i]
//!   }
//! }
//! ```
//!
//! The extent is a number and the iterations are apart.

use tcc_ir::dim::Symbol;
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::independence::expect_independent;
use crate::schedule::site::Site;

step! {
    /// Makes lanes of iterations.
    Vectorise = "vectorise"(
        /// The loop.
        var: Symbol,
    )
}

/// Wider vectors than this no machine of ours splits.
const MAX_LANES: i64 = 1 << 10;

impl Vectorise {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        match site.extent.as_const() {
            Some(lanes) if (1..=MAX_LANES).contains(&lanes) => {}
            _ => {
                let expected = format!("an extent of `{}` in 1..={MAX_LANES}", self.var);
                return Err(Refusal::new(expected, site.extent.to_string()));
            }
        }
        let mut vector = site.around.iter().find(|(_, k)| *k == LoopKind::Vector).map(|(v, _)| (*v).clone());
        for stmt in site.body {
            stmt.each(&mut |s| {
                if let Stmt::For { var, kind: LoopKind::Vector, .. } = s {
                    vector = Some(var.clone());
                }
            });
        }
        if let Some(vector) = vector {
            return Err(Refusal::new(format!("no vector loop around or inside of `{}`", self.var), format!("`{vector}`")));
        }
        expect_independent(nest, &site)?;
        Ok(site.put(vec![Stmt::For {
            var: self.var.clone(),
            extent: site.extent.clone(),
            kind: LoopKind::Vector,
            body: site.body.to_vec(),
        }]))
    }
}
