//! Types of ops that move elements without looking at them.

use super::{Types, Typing, Violation, one, require};
use crate::dim::Dim;
use crate::shape::{Shape, TensorType};

pub(crate) fn reshape(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, shape) = (t.ty(0), t.dims("shape"));
    require!(
        t.can_equal(&x.shape.elements(), &shape.elements()),
        "C1",
        "expected {} elements, got shape {shape}",
        x.shape.elements()
    );
    one(TensorType::new(x.dtype, shape.clone()))
}

pub(crate) fn transpose(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    let perm = t.axes("perm", x.shape.rank(), "C1")?;
    require!(
        perm.len() == x.shape.rank(),
        "C1",
        "expected a permutation of 0..{}, got {perm:?}",
        x.shape.rank()
    );
    one(TensorType::new(x.dtype, perm.iter().map(|p| x.shape[*p].clone()).collect()))
}

pub(crate) fn broadcast(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, shape) = (t.ty(0), t.dims("shape"));
    require!(
        shape.rank() >= x.shape.rank(),
        "C1",
        "expected a rank of at least {}, got {shape}",
        x.shape.rank()
    );
    let aligned = &shape[shape.rank() - x.shape.rank()..];
    for (from, to) in x.shape.iter().zip(aligned) {
        require!(
            t.can_equal(from, &Dim::ONE) || t.can_equal(from, to),
            "C2",
            "expected extents that are 1 or those of {shape}, got {}",
            x.shape
        );
    }
    one(TensorType::new(x.dtype, shape.clone()))
}

pub(crate) fn slice(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    t.entries(&["starts", "sizes", "steps"], x.shape.rank(), "C1")?;
    let (starts, sizes, steps) = (t.dims("starts"), t.dims("sizes"), t.ints("steps"));
    for i in 0..x.shape.rank() {
        let (start, size, step, extent) = (&starts[i], &sizes[i], steps[i], &x.shape[i]);
        require!(step != 0, "C2", "expected steps other than 0, got {steps:?}");
        let size_bounds = t.ranges.bounds(size);
        if size_bounds.hi <= 0 {
            require!(size_bounds.hi == 0, "C3", "expected a size that is not negative, got {size}");
            continue;
        }
        let last = start + &(&(size - &Dim::ONE) * &Dim::from(step));
        let inside = |at: &Dim| t.ranges.bounds(at).hi >= 0 && t.ranges.bounds(&(extent - at)).hi > 0;
        // With a symbolic size the slice may be empty, and then start where it likes.
        require!(
            size_bounds.lo <= 0 || (inside(start) && inside(&last)),
            "C3",
            "expected elements of 0..{extent} of axis {i}, got {start}..={last}"
        );
    }
    one(TensorType::new(x.dtype, sizes.clone()))
}

pub(crate) fn pad(t: &Typing<'_>) -> Result<Types, Violation> {
    let (x, value) = (t.ty(0), t.ty(1));
    t.entries(&["lo", "hi", "inner"], x.shape.rank(), "C1")?;
    let (lo, hi, inner) = (t.dims("lo"), t.dims("hi"), t.ints("inner"));
    require!(
        lo.iter().chain(hi.iter()).all(|d| t.ranges.bounds(d).hi >= 0) && inner.iter().all(|i| *i >= 0),
        "C2",
        "expected paddings that are not negative, got lo={lo} hi={hi} inner={inner:?}"
    );
    require!(
        *value == TensorType::scalar(x.dtype),
        "C3",
        "expected a value of type {}, got {value}",
        TensorType::scalar(x.dtype)
    );
    let extent = |i: usize| {
        // Of no elements there are no neighbours.
        let between = &(&x.shape[i] - &Dim::ONE).maximum(&Dim::ZERO) * &Dim::from(inner[i]);
        let between = t.ranges.simplify(&between);
        &(&lo[i] + &hi[i]) + &(&x.shape[i] + &between)
    };
    one(TensorType::new(x.dtype, (0..x.shape.rank()).map(extent).collect()))
}

pub(crate) fn concat(t: &Typing<'_>) -> Result<Types, Violation> {
    require!(!t.operands.is_empty(), "C1", "expected at least one operand, got none");
    let first = t.ty(0);
    let axis = t.axis("axis", first.shape.rank(), "C3")?;
    let mut extent = Dim::ZERO;
    for x in t.operands {
        require!(
            x.dtype == first.dtype && x.shape.rank() == first.shape.rank(),
            "C2",
            "expected operands of one type and rank, got {first} and {x}"
        );
        extent = &extent + &x.shape[axis];
    }
    let common = common_extents(t);
    for x in t.operands {
        let mut paired = x.shape.iter().zip(common.iter()).enumerate();
        require!(
            paired.all(|(i, (a, b))| i == axis || t.can_equal(a, b)),
            "C4",
            "expected extents of {common} away from axis {axis}, got {x}"
        );
    }
    one(TensorType::new(first.dtype, common.with(axis, extent)))
}

/// Of extents that can be equal, those that are numbers say most.
fn common_extents(t: &Typing<'_>) -> Shape {
    let best = |i: usize| {
        let mut extents = t.operands.iter().map(|x| &x.shape[i]);
        extents.find(|d| d.as_const().is_some()).unwrap_or(&t.shape(0)[i]).clone()
    };
    (0..t.rank(0)).map(best).collect()
}

pub(crate) fn reverse(t: &Typing<'_>) -> Result<Types, Violation> {
    t.axes("axes", t.rank(0), "C1")?;
    one(t.ty(0).clone())
}

pub(crate) fn copy(t: &Typing<'_>) -> Result<Types, Violation> {
    one(t.ty(0).clone())
}

#[cfg(test)]
mod tests {
    use crate::graph::parse_graph;

    #[test]
    fn concat_refuses_numbers_that_differ_behind_a_symbol() {
        let text = "graph @t(%x: f32[1, N], %y: f32[1, 2], %z: f32[1, 3]) -> (o: f32[3, 2]) {
            %0 = concat %x, %y, %z axis=0 : f32[3, 2]
            return %0\n}";
        let error = format!("{:?}", parse_graph(text).unwrap_err());
        assert!(error.contains("expected extents of [1, 2] away from axis 0"), "{error}");
    }
}
