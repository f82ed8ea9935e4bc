//! Types of gathers and scatters.

use super::{Types, Typing, Violation, one, require};
use crate::shape::{Shape, TensorType};

const REDUCTIONS: [&str; 5] = ["none", "add", "mul", "max", "min"];

pub(crate) fn gather(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, indices) = (t.ty(0), t.ty(1));
    let axis = t.axis("axis", x.shape.rank(), "C1")?;
    require!(indices.dtype.is_int(), "C2", "expected integer indices, got {indices}");
    let (before, after) = (&x.shape[..axis], &x.shape[axis + 1..]);
    one(TensorType::new(x.dtype, before.iter().chain(indices.shape.iter()).chain(after).cloned().collect()))
}

pub(crate) fn gather_elements(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, indices) = (t.ty(0), t.ty(1));
    let axis = t.axis("axis", x.shape.rank(), "C1")?;
    require!(
        indices.dtype.is_int() && indices.shape.rank() == x.shape.rank(),
        "C2",
        "expected integer indices of rank {}, got {indices}",
        x.shape.rank()
    );
    for (i, (index, extent)) in indices.shape.iter().zip(x.shape.iter()).enumerate() {
        require!(
            i == axis || !t.ranges.less(extent, index),
            "C3",
            "expected indices not to exceed {} away from axis {axis}, got {indices}",
            x.shape
        );
    }
    one(TensorType::new(x.dtype, indices.shape.clone()))
}

pub(crate) fn gather_nd(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, indices) = (t.ty(0), t.ty(1));
    let rank = indices.shape.rank();
    require!(
        indices.dtype.is_int() && rank >= 1,
        "C1",
        "expected integer indices of rank at least 1, got {indices}"
    );
    let batch = t.axis("batch", rank.min(x.shape.rank() + 1), "C2")?;
    let depth = depth(indices, x.shape.rank() - batch, "C3")?;
    for (a, b) in indices.shape[..batch].iter().zip(&x.shape[..batch]) {
        require!(t.can_equal(a, b), "C4", "expected {batch} equal batch extents, got {x} and {indices}");
    }
    one(TensorType::new(x.dtype, gathered(&x.shape, &indices.shape, batch, depth)))
}

/// The length of one coordinate.
fn depth(indices: &TensorType, most: usize, label: &'static str) -> Result<usize, Violation> {
    let last = &indices.shape[indices.shape.rank() - 1];
    let depth = last.as_const().and_then(|c| usize::try_from(c).ok()).filter(|d| *d <= most);
    depth.ok_or_else(|| {
        Violation::new(label, format!("expected a last extent of at most {most}, got {indices}"))
    })
}

fn gathered(x: &Shape, indices: &Shape, batch: usize, depth: usize) -> Shape {
    indices[..indices.rank() - 1].iter().chain(&x[batch + depth..]).cloned().collect()
}

pub(crate) fn scatter_elements(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, indices, updates) = (t.ty(0), t.ty(1), t.ty(2));
    t.axis("axis", x.shape.rank(), "C1")?;
    require!(
        indices.dtype.is_int() && indices.shape.equal(&updates.shape, t.ranges),
        "C2",
        "expected integer indices of shape {}, got {indices}",
        updates.shape
    );
    require!(
        updates.shape.rank() == x.shape.rank(),
        "C3",
        "expected updates of the rank of {x}, got {updates}"
    );
    require!(updates.dtype == x.dtype, "C4", "expected updates of type {}, got {updates}", x.dtype);
    require_reduction(t, "C5")?;
    one(x.clone())
}

pub(crate) fn scatter_nd(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, indices, updates) = (t.ty(0), t.ty(1), t.ty(2));
    let rank = indices.shape.rank();
    require!(
        indices.dtype.is_int() && rank >= 1,
        "C1",
        "expected integer indices of rank at least 1, got {indices}"
    );
    let depth = depth(indices, x.shape.rank(), "C1")?;
    require!(updates.dtype == x.dtype, "C2", "expected updates of type {}, got {updates}", x.dtype);
    let expected = gathered(&x.shape, &indices.shape, 0, depth);
    let fits = expected.rank() == updates.shape.rank()
        && expected.iter().zip(updates.shape.iter()).all(|(a, b)| t.can_equal(a, b));
    require!(fits, "C3", "expected updates of shape {expected}, got {updates}");
    require_reduction(t, "C4")?;
    one(x.clone())
}

fn require_reduction(t: &Typing<'_>, label: &'static str) -> Result<(), Violation> {
    let reduce = t.text("reduce");
    if REDUCTIONS.contains(&reduce) {
        return Ok(());
    }
    Err(Violation::new(
        label,
        format!("expected `reduce` to be one of {}, got `{reduce}`", REDUCTIONS.join(", ")),
    ))
}
