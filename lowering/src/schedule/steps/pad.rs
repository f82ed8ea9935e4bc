//! `pad`: lets a loop that fills a buffer with one value go on to a fixed extent.
//!
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) where N in 1..=8 {
//!   alloc t: f32[8] in stack
//!   for i in 0..N {
//!     t[i] = f32(0.0)
//!   }
//!   for j in 0..N {
//!     y[j] = x[j] + t[j]
//!   }
//! }
//! ```
//! ```steps
//! pad(i, 8)
//! ```
//! ```tcc
//! nest @f(x: f32[N]) -> (y: f32[N]) where N in 1..=8 {
//!   alloc t: f32[8] in stack
//!   for i in 0..8 {
//!     t[i] = f32(0.0)
//!   }
//!   for j in 0..N {
//!     y[j] = x[j] + t[j]
//!   }
//! }
//! ```
//!
//! The buffer is of the nest's own and untouched before, so that what is written too much is never missed.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Combine, Expr, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::site::{Site, limit, touches};

step! {
    /// Lets a loop that fills a buffer go on.
    Pad = "pad"(
        /// The loop.
        var: Symbol,
        /// Its new extent.
        extent: i64,
    )
}

impl Pad {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        let extent = Dim::from(self.extent);
        if !site.ranges.at_most(site.extent, &extent) {
            let expected = format!("at most {extent} iterations of `{}`", self.var);
            return Err(Refusal::new(expected, site.extent.to_string()));
        }
        let filled = match site.body {
            [Stmt::Store { targets, values, combine: Combine::Replace }] => match (targets.as_slice(), values.as_slice()) {
                ([target], [Expr::Const(..)]) => Some(target),
                _ => None,
            },
            _ => None,
        };
        let Some(target) = filled else {
            return Err(Refusal::new("one store of a constant", "another body"));
        };
        // Only the axis that the loop walks along moves with it, and all of the new extent lies in it.
        let mut along = target.at.iter().enumerate().filter(|(_, d)| d.mentions(&self.var));
        let axis = match (along.next(), along.next()) {
            (Some((axis, at)), None) if at.as_symbol() == Some(&self.var) => axis,
            _ => {
                let expected = format!("`{}` as the index of one axis", self.var);
                return Err(Refusal::new(expected, target.to_string()));
            }
        };
        let blocks = site.blocks();
        let made = blocks.iter().find_map(|(block, at)| {
            let position = block[..*at].iter().position(
                |s| matches!(s, Stmt::Alloc { buffer, .. } if buffer.name == target.buffer),
            )?;
            match &block[position] {
                Stmt::Alloc { buffer, .. } => Some((buffer, &block[position + 1..*at], &block[*at])),
                _ => None,
            }
        });
        let Some((buffer, between, holder)) = made else {
            return Err(Refusal::new(format!("`{}` to be a buffer of the nest's own", target.buffer), "another"));
        };
        let mut ranges = site.ranges.clone();
        limit(&mut ranges, &self.var, &extent);
        if !ranges.at_most(&extent, &buffer.ty.shape[axis]) {
            return Err(Refusal::new(format!("{extent} elements along axis {axis}"), buffer.to_string()));
        }
        if touches(between, &target.buffer) || alone(holder, &target.buffer) != 1 {
            return Err(Refusal::new(format!("`{}` untouched before", target.buffer), "other uses of it"));
        }
        Ok(site.put(vec![Stmt::For {
            var: self.var.clone(),
            extent,
            kind: site.kind,
            body: site.body.to_vec(),
        }]))
    }
}

/// How often a statement touches a buffer.
fn alone(stmt: &Stmt, buffer: &Symbol) -> usize {
    let mut count = 0;
    crate::schedule::site::each_access(std::slice::from_ref(stmt), &mut |a, _| {
        count += usize::from(a.buffer == *buffer);
    });
    count
}
