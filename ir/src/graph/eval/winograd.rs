//! The two ends of Winograd's convolutions, tile by tile.

use super::number::{Number, filled};
use super::{Call, EvalError};
use crate::tensor::Tensor;
use crate::winograd::{Winograd, both_sides};

fn matrices(call: &Call<'_>) -> Result<&'static Winograd, EvalError> {
    let m = call.typing.int("m");
    Winograd::of(m).ok_or_else(|| EvalError::value(format!("expected `m` to be 2 or 4, got {m}")))
}

/// The element where indices lie in their extents.
fn inside(at: [i128; 2], extents: [usize; 2]) -> Option<usize> {
    let [row, column] = at.map(usize::try_from);
    let (row, column) = (row.ok()?, column.ok()?);
    (row < extents[0] && column < extents[1]).then(|| row * extents[1] + column)
}

/// Every tile with its channel: the image, the tile's row and column, the channel.
fn tiles(images: usize, rows: usize, columns: usize, channels: usize) -> impl Iterator<Item = [usize; 4]> {
    (0..images * rows * columns * channels).map(move |flat| {
        let (rest, channel) = (flat / channels, flat % channels);
        [rest / columns / rows, rest / columns % rows, rest % columns, channel]
    })
}

pub(crate) fn input(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let winograd = matrices(call)?;
    let x = call.input(0);
    let shape = call.extents(&call.results[0].shape)?;
    let mut out = filled(x.dtype(), &shape, 0.0)?;
    let elements = f64::load(x)?;
    let (extents, channels) = ([x.shape()[1], x.shape()[2]], x.shape()[3]);
    let lo = [0, 1].map(|i| i128::from(call.typing.ints("lo")[i]));
    let (inputs, step) = (winograd.inputs(), winograd.outputs);
    let plane: usize = shape[1..].iter().product();
    for (at, [image, row, column, channel]) in tiles(shape[1], shape[2], shape[3], channels).enumerate() {
        let start = [(row * step) as i128 - lo[0], (column * step) as i128 - lo[1]];
        let element = |k: usize| {
            let place = [start[0] + (k / inputs) as i128, start[1] + (k % inputs) as i128];
            let pixel = inside(place, extents)?;
            Some(elements[(image * extents[0] * extents[1] + pixel) * channels + channel])
        };
        let window: Vec<f64> = (0..inputs * inputs).map(|k| element(k).unwrap_or(0.0)).collect();
        for (k, value) in both_sides(winograd.input, &window).into_iter().enumerate() {
            out[k * plane + at] = value;
        }
    }
    Ok(vec![f64::store(x.dtype(), &shape, &out)?])
}

pub(crate) fn output(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let winograd = matrices(call)?;
    let x = call.input(0);
    let shape = call.extents(&call.results[0].shape)?;
    let mut out = filled(x.dtype(), &shape, 0.0)?;
    let elements = f64::load(x)?;
    let (products, step) = (winograd.inputs().pow(2), winograd.outputs);
    let [rows, columns, channels] = [x.shape()[2], x.shape()[3], x.shape()[4]];
    let covered = |size: usize, tiles: usize| size.div_ceil(step) == tiles;
    if x.shape()[0] != products || !covered(shape[1], rows) || !covered(shape[2], columns) {
        return Err(EvalError::value(format!(
            "expected {products} products of the tiles of {} by {} pixels, got {:?}",
            shape[1],
            shape[2],
            x.shape()
        )));
    }
    let plane: usize = x.shape()[1..].iter().product();
    for (at, [image, row, column, channel]) in tiles(shape[0], rows, columns, channels).enumerate() {
        let square: Vec<f64> = (0..products).map(|k| elements[k * plane + at]).collect();
        for (k, value) in both_sides(winograd.output, &square).into_iter().enumerate() {
            let place = [(row * step + k / step) as i128, (column * step + k % step) as i128];
            if let Some(pixel) = inside(place, [shape[1], shape[2]]) {
                out[(image * shape[1] * shape[2] + pixel) * channels + channel] = value;
            }
        }
    }
    Ok(vec![f64::store(x.dtype(), &shape, &out)?])
}
