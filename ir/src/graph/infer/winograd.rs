//! Types of the two ends of Winograd's convolutions.

use super::contraction::windows;
use super::{Types, Typing, Violation, one, require};
use crate::dim::Dim;
use crate::shape::{Shape, TensorType};
use crate::winograd::Winograd;

/// The products of a tile along an axis, and its outputs.
fn sizes(t: &Typing<'_>) -> Result<(Dim, Dim), Violation> {
    let m = t.int("m");
    let Some(winograd) = Winograd::of(m) else {
        return Err(Violation::new("C2", format!("expected `m` to be 2 or 4, got {m}")));
    };
    Ok((Dim::from(winograd.inputs()), Dim::from(m)))
}

pub(crate) fn input(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    require!(x.shape.rank() == 4 && x.dtype.is_float(), "C1", "expected floats with 4 axes, got {x}");
    let (inputs, m) = sizes(t)?;
    t.entries(&["lo", "hi"], 2, "C3")?;
    let padded = ["lo", "hi"].iter().all(|n| t.ints(n).iter().all(|p| *p >= 0));
    require!(padded, "C3", "expected paddings that are not negative");
    let tiles = (0..2).map(|i| {
        let padded = &(&x.shape[i + 1] + &Dim::from(t.ints("lo")[i])) + &Dim::from(t.ints("hi")[i]);
        windows(&padded, &Dim::from(3i64), &Dim::ONE, &Dim::ONE).ceil_div(&m)
    });
    let kept = [&inputs * &inputs, x.shape[0].clone()].into_iter();
    let shape: Shape = kept.chain(tiles).chain([x.shape[3].clone()]).collect();
    one(TensorType::new(x.dtype, shape))
}

pub(crate) fn output(t: &Typing<'_>) -> Result<Types, Violation> {
    let x = t.ty(0);
    require!(x.shape.rank() == 5 && x.dtype.is_float(), "C1", "expected floats with 5 axes, got {x}");
    let (inputs, m) = sizes(t)?;
    let products = &inputs * &inputs;
    require!(t.can_equal(&x.shape[0], &products), "C3", "expected {products} products, got {x}");
    t.entries(&["sizes"], 2, "C4")?;
    let sizes = t.dims("sizes");
    for (size, tiles) in sizes.iter().zip(&x.shape[2..4]) {
        let covered = t.can_equal(&size.ceil_div(&m), tiles);
        require!(covered, "C4", "expected {tiles} tiles of {m} to be those of {size} pixels");
    }
    let shape: Shape = [&x.shape[1], &sizes[0], &sizes[1], &x.shape[4]].into_iter().cloned().collect();
    one(TensorType::new(x.dtype, shape))
}
