//! `bind`: runs the iterations of a loop as blocks of a grid or threads of a block.
//!
//! ```tcc
//! nest @f(x: f32[4, 32]) -> (y: f32[4, 32]) {
//!   for i in 0..4 parallel {
//!     for j in 0..32 parallel {
//!       y[i, j] = x[i, j]
//!     }
//!   }
//! }
//! ```
//! ```steps
//! bind(i, block.x)
//! bind(j, thread.x)
//! ```
//! ```tcc
//! nest @f(x: f32[4, 32]) -> (y: f32[4, 32]) {
//!   for i in 0..4 block.x {
//!     for j in 0..32 thread.x {
//!       y[i, j] = x[i, j]
//!     }
//!   }
//! }
//! ```
//!
//! The iterations are apart; each axis is given once on a way inwards, and blocks stand outside of threads.

use tcc_ir::dim::Symbol;
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::independence::expect_independent;
use crate::schedule::site::Site;
use crate::schedule::text::words;

/// What a loop can be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say all")]
pub enum Axis {
    BlockX,
    BlockY,
    BlockZ,
    ThreadX,
    ThreadY,
    ThreadZ,
}

words!(Axis: "block.x" = Axis::BlockX, "block.y" = Axis::BlockY, "block.z" = Axis::BlockZ,
    "thread.x" = Axis::ThreadX, "thread.y" = Axis::ThreadY, "thread.z" = Axis::ThreadZ);

impl Axis {
    /// The kind of a loop along it.
    pub fn kind(self) -> LoopKind {
        match self {
            Axis::BlockX => LoopKind::Block(0),
            Axis::BlockY => LoopKind::Block(1),
            Axis::BlockZ => LoopKind::Block(2),
            Axis::ThreadX => LoopKind::Thread(0),
            Axis::ThreadY => LoopKind::Thread(1),
            Axis::ThreadZ => LoopKind::Thread(2),
        }
    }
}

step! {
    /// Gives iterations to blocks or threads.
    Bind = "bind"(
        /// The loop.
        var: Symbol,
        /// The axis: blocks or threads, along x, y or z.
        axis: Axis,
    )
}

impl Bind {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        let axis = self.axis.kind();
        let mut inside = Vec::new();
        for stmt in site.body {
            stmt.each(&mut |s| {
                if let Stmt::For { var, kind, .. } = s {
                    inside.push((var.clone(), *kind));
                }
            });
        }
        let around = site.around.iter().map(|(v, k)| ((*v).clone(), *k));
        if let Some((other, kind)) = around.clone().chain(inside.iter().cloned()).find(|(_, k)| *k == axis) {
            return Err(Refusal::new(format!("no other loop that is{kind} on the way"), format!("`{other}`")));
        }
        let misplaced = match axis {
            LoopKind::Block(_) => around.into_iter().find(|(_, k)| !matches!(k, LoopKind::Block(_))),
            _ => inside.into_iter().find(|(_, k)| matches!(k, LoopKind::Block(_))),
        };
        if let Some((other, _)) = misplaced {
            return Err(Refusal::new("blocks outside of all other loops", format!("`{other}` in between")));
        }
        expect_independent(nest, &site)?;
        Ok(site.put(vec![Stmt::For {
            var: self.var.clone(),
            extent: site.extent.clone(),
            kind: axis,
            body: site.body.to_vec(),
        }]))
    }
}
