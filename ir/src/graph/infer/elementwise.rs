//! Types of elementwise ops.

use smallvec::SmallVec;

use super::{Types, Typing, Violation, one, require};
use crate::dtype::DType;
use crate::graph::Op;

/// Equal shapes; element types as the scalar operation has them.
pub(crate) fn scalar(t: &Typing<'_>) -> Result<Types, Violation> {
    let Op::Scalar(op) = t.op else { unreachable!("the table pairs this rule with scalar operations only") };
    let dtypes: SmallVec<[DType; 3]> = t.operands.iter().map(|o| o.dtype).collect();
    let dtype = op.result(&dtypes).map_err(|message| Violation::new("dtype", message))?;
    let first = t.ty(0);
    for other in &t.operands[1..] {
        require!(
            other.shape.equal(&first.shape, t.ranges),
            "shape",
            "expected operands of one shape, got {} and {}",
            first.shape,
            other.shape
        );
    }
    one(first.of(dtype))
}
