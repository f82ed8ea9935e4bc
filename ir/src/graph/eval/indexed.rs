//! Gathers and scatters: elements at places that other tensors give.

use super::number::{Number, room, with_number};
use super::place::{offsets, row_major, take};
use super::{Call, EvalError};
use crate::dtype::DType;
use crate::shape::Extents;
use crate::tensor::Tensor;

pub(crate) fn gather(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (x, indices) = (call.input(0), call.input(1));
    Ok(vec![gather_along(
        x,
        call.axis("axis"),
        indices.shape(),
        &places(indices, x.shape()[call.axis("axis")])?,
    )?])
}

/// The slices of `x` along an axis at places within it, which stand in a shape of their own.
pub(super) fn gather_along(
    x: &Tensor,
    axis: usize,
    indices: &[usize],
    places: &[usize],
) -> Result<Tensor, EvalError> {
    let (before, after) = (&x.shape()[..axis], &x.shape()[axis + 1..]);
    let shape = [before, indices, after].concat();
    let (extent, run): (usize, usize) = (x.shape()[axis], after.iter().product());
    let outer: usize = if shape.contains(&0) { 0 } else { before.iter().product() };
    let starts = (0..outer).flat_map(|row| places.iter().map(move |place| (row * extent + place) * run));
    take(x, &shape, run, starts)
}

/// Indices as places along an axis of some extent.
fn places(indices: &Tensor, extent: usize) -> Result<Vec<usize>, EvalError> {
    let mut places = room(indices.dtype(), indices.shape())?;
    for index in indices.iter_scalars() {
        places.push(place(index.to_i128(), extent)?);
    }
    Ok(places)
}

fn place(index: i128, extent: usize) -> Result<usize, EvalError> {
    let place = usize::try_from(index).ok().filter(|at| *at < extent);
    place.ok_or_else(|| EvalError::value(format!("expected an index in 0..{extent}, got {index}")))
}

pub(crate) fn gather_elements(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (x, indices) = (call.input(0), call.input(1));
    let at = element_places(x, indices, call.axis("axis"))?;
    Ok(vec![take(x, indices.shape(), 1, at.into_iter())?])
}

/// The row-major position in `x` of what each index stands for, replacing the coordinate at `axis`.
fn element_places(x: &Tensor, indices: &Tensor, axis: usize) -> Result<Vec<usize>, EvalError> {
    let within = (0..x.rank()).all(|a| a == axis || indices.shape()[a] <= x.shape()[a]);
    if !within {
        return Err(EvalError::value(format!(
            "expected indices not to exceed {:?} away from axis {axis}, got {:?}",
            x.shape(),
            indices.shape()
        )));
    }
    let mut at = places(indices, x.shape()[axis])?;
    let strides = row_major(x.shape());
    let mut others = strides.clone();
    others[axis] = 0;
    let around = offsets(indices.shape(), &others);
    at.iter_mut().zip(around).for_each(|(place, offset)| *place = *place * strides[axis] + offset);
    Ok(at)
}

pub(crate) fn gather_nd(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (x, indices) = (call.input(0), call.input(1));
    let rows = Coordinates::of(x, indices, call.typing.int("batch") as usize)?;
    Ok(vec![take(x, &rows.shape, rows.run, rows.starts.into_iter())?])
}

/// Rows of indices as the positions of the runs of `x` that they stand for.
struct Coordinates {
    /// The shape of what is gathered.
    shape: Extents,
    starts: Vec<usize>,
    run: usize,
}

impl Coordinates {
    fn of(x: &Tensor, indices: &Tensor, batch: usize) -> Result<Coordinates, EvalError> {
        if indices.shape()[..batch] != x.shape()[..batch] {
            return Err(EvalError::value(format!(
                "expected {batch} equal batch extents, got {:?} and {:?}",
                x.shape(),
                indices.shape()
            )));
        }
        let (rows, depth) = indices.shape().split_at(indices.rank() - 1);
        // Inference has made the last extent a number that fits.
        let addressed = &x.shape()[batch..batch + depth[0]];
        let strides = row_major(x.shape());
        let shape: Extents = [rows, &x.shape()[batch + depth[0]..]].concat().into();
        let run = x.shape()[batch + depth[0]..].iter().product();
        let of_batch: usize = rows[batch..].iter().product();
        let batch_stride: usize = x.shape()[batch..].iter().product();
        let mut starts = room(indices.dtype(), rows)?;
        let mut values = indices.iter_scalars();
        for row in 0..rows.iter().product::<usize>() {
            let mut start = row / of_batch * batch_stride;
            for (extent, stride) in addressed.iter().zip(&strides[batch..]) {
                let index = values.next().map_or(-1, |v| v.to_i128());
                start += place(index, *extent)? * stride;
            }
            starts.push(start);
        }
        Ok(Coordinates { shape, starts, run })
    }
}

pub(crate) fn scatter_elements(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (x, indices, updates) = (call.input(0), call.input(1), call.input(2));
    require_shape(updates, indices.shape())?;
    let at = element_places(x, indices, call.axis("axis"))?;
    scatter(call, &at, 1)
}

pub(crate) fn scatter_nd(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (x, indices, updates) = (call.input(0), call.input(1), call.input(2));
    let rows = Coordinates::of(x, indices, 0)?;
    require_shape(updates, &rows.shape)?;
    scatter(call, &rows.starts, rows.run)
}

fn require_shape(updates: &Tensor, shape: &[usize]) -> Result<(), EvalError> {
    if updates.shape() == shape {
        return Ok(());
    }
    Err(EvalError::value(format!("expected updates of shape {shape:?}, got {:?}", updates.shape())))
}

/// Combines runs of updates, one after the other, into `x` from the given positions on.
fn scatter(call: &Call<'_>, starts: &[usize], run: usize) -> Result<Vec<Tensor>, EvalError> {
    let (x, updates) = (call.input(0), call.input(2));
    with_number!(x.dtype(), N => {
        let mut elements = N::load(x)?;
        let updates = N::load(updates)?;
        let combine: fn(N, N) -> N = match call.typing.text("reduce") {
            "add" => N::plus,
            "mul" => N::times,
            "max" => N::larger,
            "min" => N::smaller,
            _ => |_, update| update,
        };
        for (start, updates) in starts.iter().zip(updates.chunks_exact(run.max(1))) {
            let places = &mut elements[*start..][..run];
            places.iter_mut().zip(updates).for_each(|(place, update)| *place = combine(*place, *update));
        }
        Ok(vec![N::store(x.dtype(), x.shape(), &elements)?])
    })
}

/// The slices of `x` along an axis at some places.
pub(super) fn select(x: &Tensor, axis: usize, places: &[usize]) -> Result<Tensor, EvalError> {
    gather_along(x, axis, &[places.len()], places)
}

/// A vector of positions.
pub(super) fn vector(values: impl ExactSizeIterator<Item = usize>) -> Result<Tensor, EvalError> {
    let values: Vec<i64> = values.map(|v| v as i64).collect();
    i64::store(DType::I64, &[values.len()], &values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dtype::Scalar;
    use crate::graph::eval::testing::{apply, indices_of, ints, run_error, run_one};
    use crate::graph::{Attr, Op};

    fn counting(dtype: DType, shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        Tensor::from_f64_iter(dtype, shape, (0..count).map(|i| i as f64)).unwrap()
    }

    fn indices(shape: &[usize], extent: usize, seed: u64) -> Tensor {
        let bits = Tensor::random(DType::U32, shape, seed).unwrap();
        let values =
            bits.iter_scalars().map(|s| (s.to_i128() as usize % extent.max(1)) as f64).collect::<Vec<_>>();
        Tensor::from_f64_iter(DType::I32, shape, values).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn gathers_and_scatters_follow_their_indices(
            [a, n, b, m] in [1usize..4, 1..6, 1..4, 0..4],
            narrow in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let dtype = if narrow { DType::U4 } else { DType::I32 };
            let x = Tensor::random(dtype, &[a, n, b], seed).unwrap();
            let axis = || [Attr::Int(1)];
            let place = |i: &Tensor, at: &[usize]| i.get(at).to_i128() as usize;

            let i = indices(&[m, 2], n, seed ^ 1);
            let got = apply(Op::Gather, &[&x, &i], axis());
            prop_assert_eq!(got.shape(), &[a, m, 2, b]);
            for at in indices_of(got.shape()) {
                prop_assert_eq!(got.get(&at), x.get(&[at[0], place(&i, &at[1..3]), at[3]]));
            }

            let i = indices(&[a, m, 1], n, seed ^ 2);
            let got = apply(Op::GatherNd, &[&x, &i], axis());
            prop_assert_eq!(got.shape(), &[a, m, b]);
            for at in indices_of(got.shape()) {
                prop_assert_eq!(got.get(&at), x.get(&[at[0], place(&i, &[at[0], at[1], 0]), at[2]]));
            }

            let i = indices(&[a, m, b], n, seed ^ 3);
            let got = apply(Op::GatherElements, &[&x, &i], axis());
            let updates = Tensor::random(dtype, &[a, m, b], seed ^ 4).unwrap();
            for reduce in ["none", "add", "mul", "max", "min"] {
                let mut expected = x.clone();
                for at in indices_of(&[a, m, b]) {
                    let target = [at[0], place(&i, &at), at[2]];
                    prop_assert_eq!(got.get(&at), x.get(&target));
                    let (old, update) = (expected.get(&target).to_i128(), updates.get(&at).to_i128());
                    let new = match reduce {
                        "add" => old + update,
                        "mul" => old * update,
                        "max" => old.max(update),
                        "min" => old.min(update),
                        _ => update,
                    };
                    expected.set(&target, Scalar::Int(new)).unwrap();
                }
                let attrs = [Attr::Int(1), reduce.into()];
                let got = apply(Op::ScatterElements, &[&x, &i, &updates], attrs);
                prop_assert_eq!(got, expected, "{}", reduce);
            }
        }
    }

    #[test]
    fn scatter_nd_combines_slices() {
        let text = "graph @t(%x: i32[3, 2], %i: i64[2, 1], %u: i32[2, 2]) -> (y: i32[3, 2]) {
            %0 = scatter_nd %x, %i, %u reduce=\"add\" : i32[3, 2]\n return %0\n}";
        let i = Tensor::from_slice(&[2, 1], &[2i64, 2]).unwrap();
        let got = run_one(text, &[counting(DType::I32, &[3, 2]), i, counting(DType::I32, &[2, 2])]);
        assert_eq!(ints(&got), [0, 1, 2, 3, 6, 9]);
        let text = "graph @t(%x: i32[2], %i: i64[0], %u: i32[2]) -> (y: i32[2]) {
            %0 = scatter_nd %x, %i, %u reduce=\"none\" : i32[2]\n return %0\n}";
        let inputs = [counting(DType::I32, &[2]), counting(DType::I64, &[0]), counting(DType::I32, &[2])];
        assert_eq!(ints(&run_one(text, &inputs)), [0, 1]);
    }

    #[test]
    fn indices_out_of_bounds_are_errors() {
        let text = "graph @t(%x: f32[3], %i: i64[1]) -> (y: f32[1]) {
            %0 = gather %x, %i axis=0 : f32[1]
            return %0\n}";
        for bad in [3i64, -1, i64::MIN] {
            let error =
                run_error(text, &[counting(DType::F32, &[3]), Tensor::from_slice(&[1], &[bad]).unwrap()]);
            assert!(error.contains(&format!("expected an index in 0..3, got {bad}")), "{error}");
        }
        let text = "graph @t(%x: f32[N], %i: i64[M], %u: f32[M]) -> (y: f32[N]) {
            %0 = scatter_elements %x, %i, %u axis=0 reduce=\"max\" : f32[N]\n return %0\n}";
        let inputs = [counting(DType::F32, &[0]), counting(DType::I64, &[1]), counting(DType::F32, &[1])];
        assert!(run_error(text, &inputs).contains("0..0"));
        let text = "graph @t(%x: f32[N, 2], %i: i64[M, 2]) -> (y: f32[M, 2]) {
            %0 = gather_elements %x, %i axis=1 : f32[M, 2]\n return %0\n}";
        let inputs = [counting(DType::F32, &[1, 2]), Tensor::zeros(DType::I64, &[2, 2]).unwrap()];
        assert!(run_error(text, &inputs).contains("not to exceed"));
    }
}
