//! What a vector loop does to an integer expression.

use tcc_ir::dim::{Dim, Symbol};

use super::{Lowering, NotVector};

/// The vector loop around the statements being lowered.
pub(super) struct Lanes {
    pub(super) var: Symbol,
    pub(super) count: u32,
}

impl Lowering {
    /// The value in the first lane and the distance of neighbouring lanes; a stride of zero outside of vector
    /// loops.
    pub(super) fn lane_step(&self, dim: &Dim) -> Result<(Dim, Dim), NotVector> {
        let Some(lanes) = &self.lanes else { return Ok((dim.clone(), Dim::ZERO)) };
        match dim.affine_in(&lanes.var) {
            Some((step, base)) => Ok((base, step)),
            None => Err(NotVector),
        }
    }

    /// Requires an expression to be the same in every lane.
    pub(super) fn uniform(&self, dim: &Dim) -> Result<(), NotVector> {
        match &self.lanes {
            Some(lanes) if self.ranges.simplify(dim).mentions(&lanes.var) => Err(NotVector),
            _ => Ok(()),
        }
    }
}
