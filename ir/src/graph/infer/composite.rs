//! Types of ops that have kernels of their own although simpler ops could express them.

use super::{Types, Typing, Violation, one, require};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::shape::{Shape, TensorType};

pub(crate) fn along_axis(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    t.axis("axis", x.shape.rank(), "C1")?;
    require!(x.dtype.is_float(), "C2", "expected a float type, got {x}");
    one(x.clone())
}

/// Layer and RMS normalisation differ only in whether there is a bias.
pub(crate) fn layer_norm(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    let axis = t.axis("axis", x.shape.rank(), "C1")?;
    require!(x.dtype.is_float(), "C2", "expected a float type, got {x}");
    let expected = TensorType::new(x.dtype, Shape::from(&x.shape[axis..]));
    for factor in &t.operands[1..] {
        require!(
            factor.dtype == x.dtype && factor.shape.equal(&expected.shape, t.ranges),
            "C3",
            "expected operands of type {expected}, got {factor}"
        );
    }
    one(x.clone())
}

pub(crate) fn group_norm(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    require!(
        x.dtype.is_float() && x.shape.rank() >= 2,
        "C1",
        "expected a float type of rank at least 2, got {x}"
    );
    let groups = t.int("groups");
    let channels = &x.shape[1];
    let divides = groups > 0 && channels.as_const().is_none_or(|c| c % groups == 0);
    require!(divides, "C2", "expected `groups` to divide {channels} channels, got {groups}");
    let expected = TensorType::new(x.dtype, [channels.clone()].into_iter().collect());
    for factor in &t.operands[1..] {
        require!(
            factor.dtype == x.dtype && factor.shape.equal(&expected.shape, t.ranges),
            "C3",
            "expected operands of type {expected}, got {factor}"
        );
    }
    one(x.clone())
}

pub(crate) fn attention(t: &Typing<'_>) -> Result<Types, Violation> {
    let (q, k, v) = (t.ty(0), t.ty(1), t.ty(2));
    let typed = [q, k, v].iter().all(|x| x.shape.rank() == 4 && x.dtype == q.dtype) && q.dtype.is_float();
    require!(typed, "C1", "expected three operands of one float type and rank 4, got {q}, {k} and {v}");
    let (heads, shared) = (&q.shape[1], &k.shape[1]);
    let divides = match (heads.as_const(), shared.as_const()) {
        (Some(h), Some(g)) => g > 0 && h % g == 0,
        _ => true,
    };
    let paired = t.can_equal(&q.shape[0], &k.shape[0])
        && t.can_equal(&k.shape[0], &v.shape[0])
        && t.can_equal(&q.shape[3], &k.shape[3])
        && t.can_equal(shared, &v.shape[1])
        && t.can_equal(&k.shape[2], &v.shape[2]);
    require!(
        paired && divides,
        "C2",
        "expected [B, H, S, D], [B, G, T, D] and [B, G, T, E] with G dividing H, got {q}, {k} and {v}"
    );
    let masks = &t.operands[3..];
    require!(masks.len() <= 1, "C3", "expected at most one mask, got {}", masks.len());
    if let [mask] = masks {
        let scores = [&q.shape[0], heads, &q.shape[2], &k.shape[2]];
        let fits = mask.shape.rank() <= 4
            && mask
                .shape
                .iter()
                .rev()
                .zip(scores.iter().rev())
                .all(|(m, s)| t.can_equal(m, &Dim::ONE) || t.can_equal(m, s));
        require!(
            fits && (mask.dtype == DType::Bool || mask.dtype == q.dtype),
            "C3",
            "expected a mask of bool or {} that broadcasts to {:?}, got {mask}",
            q.dtype,
            scores
        );
    }
    let out = [&q.shape[0], heads, &q.shape[2], &v.shape[3]];
    one(TensorType::new(q.dtype, out.into_iter().cloned().collect()))
}

pub(crate) fn det(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    let rank = x.shape.rank();
    let square = rank >= 2 && t.can_equal(&x.shape[rank - 1], &x.shape[rank - 2]);
    require!(square, "C1", "expected square matrices, got {x}");
    require!(x.dtype.is_float(), "C2", "expected a float type, got {x}");
    one(TensorType::new(x.dtype, Shape::from(&x.shape[..rank - 2])))
}
