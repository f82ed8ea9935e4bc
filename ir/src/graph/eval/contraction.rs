//! Contractions and convolutions, as products of matrices computed in blocks that stay in cache.

use super::number::{Number, filled, too_large};
use super::window::{Steps, WindowAxis, coordinates};
use super::{Call, EvalError};
use crate::shape::Extents;
use crate::tensor::Tensor;

/// The columns of the right operand that are converted and multiplied at a time.
const BLOCK_COLUMNS: usize = 256;
/// The elements of the left operand that are converted at a time, so that large constants stay as they are.
const MOST_LEFT: usize = 1 << 22;
/// The elements of the patches that a convolution gathers at a time.
const BLOCK_ELEMENTS: usize = 1 << 17;

pub(crate) fn dot(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let out = if call.results[0].dtype.is_float() { product::<f64>(call)? } else { product::<i64>(call)? };
    Ok(vec![out])
}

fn product<N: Number>(call: &Call<'_>) -> Result<Tensor, EvalError> {
    let (lhs, rhs) = (call.input(0), call.input(1));
    let (lhs_batch, rhs_batch) = (call.axes("lhs_batch"), call.axes("rhs_batch"));
    let (lhs_contract, rhs_contract) = (call.axes("lhs_contract"), call.axes("rhs_contract"));
    let pairs = lhs_batch.iter().zip(&rhs_batch).chain(lhs_contract.iter().zip(&rhs_contract));
    for (l, r) in pairs {
        if lhs.shape()[*l] != rhs.shape()[*r] {
            return Err(EvalError::value(format!(
                "expected equal extents of axis {l} of {:?} and axis {r} of {:?}",
                lhs.shape(),
                rhs.shape()
            )));
        }
    }
    let free = |x: &Tensor, batch: &[usize], contract: &[usize]| -> Extents {
        (0..x.rank()).filter(|a| !batch.contains(a) && !contract.contains(a)).collect()
    };
    let lhs_free = free(lhs, &lhs_batch, &lhs_contract);
    let rhs_free = free(rhs, &rhs_batch, &rhs_contract);
    let extents = |x: &Tensor, axes: &[usize]| -> Extents { axes.iter().map(|a| x.shape()[*a]).collect() };
    let batch_shape = extents(lhs, &lhs_batch);
    let shape: Extents =
        [batch_shape.as_slice(), &extents(lhs, &lhs_free), &extents(rhs, &rhs_free)].concat().into();
    let dtype = call.results[0].dtype;
    let mut out = filled(dtype, &shape, N::ZERO)?;
    if out.is_empty() {
        return N::store(dtype, &shape, &out);
    }

    let batches: usize = batch_shape.iter().product();
    let rows: usize = extents(lhs, &lhs_free).iter().product();
    let columns: usize = extents(rhs, &rhs_free).iter().product();
    let depth: usize = extents(lhs, &lhs_contract).iter().product();
    let lhs = lhs.transpose(&[lhs_batch.as_slice(), &lhs_free, &lhs_contract].concat())?;
    let rhs = rhs.transpose(&[rhs_batch.as_slice(), &rhs_contract, &rhs_free].concat())?;
    let lhs = lhs.reshape(&[batches, rows, depth])?;
    let rhs = rhs.reshape(&[batches, depth, columns])?;
    let block_rows = (MOST_LEFT / depth.max(1)).max(BLOCK_COLUMNS);
    for batch in 0..batches {
        for row in (0..rows).step_by(block_rows) {
            let height = block_rows.min(rows - row);
            let a = N::load(&lhs.slice(&[batch, row, 0], &[1, height, depth], &[1; 3])?)?;
            for column in (0..columns).step_by(BLOCK_COLUMNS) {
                let width = BLOCK_COLUMNS.min(columns - column);
                let b = N::load(&rhs.slice(&[batch, 0, column], &[1, depth, width], &[1; 3])?)?;
                let out = &mut out[(batch * rows + row) * columns + column..];
                multiply(&a, &b, [height, depth, width], out, columns);
            }
        }
    }
    N::store(dtype, &shape, &out)
}

/// Sets rows of `out`, which begin `stride` apart, to the product of packed matrices `[rows, depth]` and
/// `[depth, columns]`.
fn multiply<N: Number>(a: &[N], b: &[N], [rows, depth, columns]: [usize; 3], out: &mut [N], stride: usize) {
    let mut row = 0;
    while row < rows {
        let height = if rows - row >= 4 { 4 } else { 1 };
        let a = &a[row * depth..][..height * depth];
        let mut column = 0;
        while column < columns {
            let width = if columns - column >= 4 { 4 } else { 1 };
            let out = &mut out[row * stride + column..];
            match (height, width) {
                (4, 4) => tile::<N, 4, 4>(a, b, depth, columns, column, out, stride),
                (4, _) => tile::<N, 4, 1>(a, b, depth, columns, column, out, stride),
                (_, 4) => tile::<N, 1, 4>(a, b, depth, columns, column, out, stride),
                _ => tile::<N, 1, 1>(a, b, depth, columns, column, out, stride),
            }
            column += width;
        }
        row += height;
    }
}

/// A tile of a product, small enough that its sums stay in registers.
#[inline(never)]
fn tile<N: Number, const ROWS: usize, const COLUMNS: usize>(
    a: &[N],
    b: &[N],
    depth: usize,
    columns: usize,
    column: usize,
    out: &mut [N],
    stride: usize,
) {
    let mut sums = [[N::ZERO; COLUMNS]; ROWS];
    let rows: [&[N]; ROWS] = std::array::from_fn(|r| &a[r * depth..][..depth]);
    for k in 0..depth {
        let right: &[N] = &b[k * columns + column..][..COLUMNS];
        for r in 0..ROWS {
            let left = rows[r][k];
            for c in 0..COLUMNS {
                sums[r][c] = sums[r][c].plus(left.times(right[c]));
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        out[r * stride..][..COLUMNS].copy_from_slice(sums);
    }
}

pub(crate) fn conv(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let out = if call.results[0].dtype.is_float() { convolve::<f64>(call)? } else { convolve::<i64>(call)? };
    Ok(vec![out])
}

fn convolve<N: Number>(call: &Call<'_>) -> Result<Tensor, EvalError> {
    let (x, w) = (call.input(0), call.input(1));
    let groups = usize::try_from(call.typing.int("groups")).unwrap_or(usize::MAX);
    let (samples, outputs) = (x.shape()[0], w.shape()[0]);
    let channels = w.shape()[1];
    if channels.checked_mul(groups) != Some(x.shape()[1]) || !outputs.is_multiple_of(groups) {
        return Err(EvalError::value(format!(
            "expected {groups} groups of the channels of {:?} and {:?}",
            x.shape(),
            w.shape()
        )));
    }
    let axes: Vec<WindowAxis> = (0..x.rank() - 2)
        .map(|i| {
            let at = |name| call.typing.ints(name)[i];
            let (stride, lo, hi) = (at("strides"), at("lo"), at("hi"));
            let steps = Steps { stride, lo, hi, dilation: at("dilation"), base: at("base") };
            WindowAxis::new(x.shape()[i + 2], w.shape()[i + 2] as i128, steps)
        })
        .collect();
    let shape: Extents = [samples, outputs].into_iter().chain(axes.iter().map(|a| a.positions)).collect();
    let dtype = call.results[0].dtype;
    let mut out = filled(dtype, &shape, N::ZERO)?;
    if out.is_empty() || w.is_empty() || x.is_empty() {
        return N::store(dtype, &shape, &out);
    }

    let (elements, weights) = (N::load(x)?, N::load(w)?);
    let plane: usize = x.shape()[2..].iter().product();
    let taps: usize = w.shape()[2..].iter().product();
    let positions: usize = shape[2..].iter().product();
    let (depth, rows) = (channels * taps, outputs / groups);
    let block = (BLOCK_ELEMENTS / depth).clamp(16, 1024).min(positions);
    let too_many = |_| too_large(x.dtype(), w.shape());
    let mut sources: Vec<Option<usize>> = Vec::new();
    let mut patch: Vec<N> = Vec::new();
    sources.try_reserve(taps.saturating_mul(block)).map_err(too_many)?;
    patch.try_reserve(depth.saturating_mul(block)).map_err(too_many)?;
    for first in (0..positions).step_by(block) {
        let width = block.min(positions - first);
        read_sources(&axes, first..first + width, &mut sources);
        for sample in 0..samples {
            for group in 0..groups {
                patch.clear();
                for channel in 0..channels {
                    let start = ((sample * groups + group) * channels + channel) * plane;
                    let from = &elements[start..][..plane];
                    patch.extend(sources.iter().map(|s| s.map_or(N::ZERO, |at| from[at])));
                }
                let output = group * rows;
                let a = &weights[output * depth..][..rows * depth];
                let out = &mut out[(sample * outputs + output) * positions + first..];
                multiply(a, &patch, [rows, depth, width], out, positions);
            }
        }
    }
    N::store(dtype, &shape, &out)
}

/// For each tap, and within it each position, the element of a channel that is read.
fn read_sources(axes: &[WindowAxis], positions: std::ops::Range<usize>, sources: &mut Vec<Option<usize>>) {
    sources.clear();
    let places: Vec<Extents> = positions
        .map(|position| {
            let mut place = Extents::from_elem(0, axes.len());
            coordinates(axes, position, &mut place);
            place
        })
        .collect();
    let taps: i128 = axes.iter().map(|a| a.window).product();
    let mut tap: Vec<i128> = vec![0; axes.len()];
    for flat in 0..taps {
        let mut rest = flat;
        for (slot, axis) in tap.iter_mut().zip(axes).rev() {
            *slot = rest % axis.window;
            rest /= axis.window;
        }
        sources.extend(places.iter().map(|place| {
            let read = axes.iter().zip(place).zip(&tap);
            read.into_iter().try_fold(0, |flat, ((axis, position), tap)| {
                Some(flat * axis.extent + axis.source(*position, *tap)?)
            })
        }));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dtype::DType;
    use crate::graph::eval::testing::{apply, floats, indices_of, ints, run_error, run_one};
    use crate::graph::{Attr, Op};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn dots_sum_products(
            [b, m, n, k, j] in [1usize..3, 0..10, 0..10, 0..6, 1..3],
            seed in any::<u64>(),
        ) {
            let lhs = Tensor::random(DType::F32, &[k, b, m, j], seed).unwrap();
            let rhs = Tensor::random(DType::F32, &[b, j, k, n], seed ^ 1).unwrap();
            let axes = [vec![1i64], vec![0], vec![3, 0], vec![1, 2]].map(Attr::from);
            let got = apply(Op::Dot, &[&lhs, &rhs], axes.into_iter().chain([DType::F32.into()]));
            prop_assert_eq!(got.shape(), &[b, m, n]);
            for at in indices_of(&[b, m, n]) {
                let term = |t: Vec<usize>| {
                    let left = lhs.get(&[t[0], at[0], at[1], t[1]]);
                    left.to_f64() * rhs.get(&[at[0], t[1], t[0], at[2]]).to_f64()
                };
                let sum: f64 = indices_of(&[k, j]).map(term).sum();
                prop_assert!((got.get(&at).to_f64() - sum).abs() <= 1e-5 * (1.0 + sum.abs()));
            }
        }

        #[test]
        fn convolutions_sum_windows(
            [groups, inputs, outputs] in [1usize..3, 1..4, 1..6],
            [extent, window] in [[1usize..7, 1..7], [1..4, 1..4]],
            [strides, dilation, base, lo, hi] in
                [[1i64..3, 1..3], [1..3, 1..3], [1..3, 1..3], [-1..3, -1..3], [-1..3, -1..3]],
            seed in any::<u64>(),
        ) {
            let x = Tensor::random(DType::I8, &[2, inputs * groups, extent[0], extent[1]], seed).unwrap();
            let w = [outputs * groups, inputs, window[0], window[1]];
            let w = Tensor::random(DType::I8, &w, seed ^ 1).unwrap();
            let attrs = [strides, lo, hi, dilation, base].map(Attr::from).into_iter();
            let attrs = attrs.chain([Attr::Int(groups as i64), Attr::DType(DType::I32)]);
            let count = |a: usize| {
                let spread = (extent[a] as i64 - 1) * base[a] + 1 + lo[a] + hi[a];
                (0..spread - (window[a] as i64 - 1) * dilation[a]).step_by(strides[a] as usize).count()
            };
            let got = apply(Op::Conv, &[&x, &w], attrs);
            prop_assert_eq!(got.shape(), &[2, outputs * groups, count(0), count(1)]);
            let read = |a: usize, position: usize, tap: usize| {
                let at = position as i64 * strides[a] + tap as i64 * dilation[a] - lo[a];
                let inside = at >= 0 && at % base[a] == 0 && at / base[a] < extent[a] as i64;
                inside.then_some((at / base[a]) as usize)
            };
            for at in indices_of(got.shape()) {
                let term = |t: Vec<usize>| {
                    let (row, column) = (read(0, at[2], t[1])?, read(1, at[3], t[2])?);
                    let left = x.get(&[at[0], at[1] / outputs * inputs + t[0], row, column]);
                    Some(left.to_i128() * w.get(&[at[1], t[0], t[1], t[2]]).to_i128())
                };
                let sum: i128 = indices_of(&w.shape()[1..]).filter_map(term).sum();
                prop_assert_eq!(got.get(&at).to_i128(), sum);
            }
        }
    }

    #[test]
    fn convolutions_have_any_number_of_spatial_axes() {
        let x = Tensor::from_slice(&[1, 2], &[3f32, 5.0]).unwrap();
        let w = Tensor::from_slice(&[1, 2], &[7f32, 11.0]).unwrap();
        let text = "graph @t(%x: f32[1, 2], %w: f32[1, 2]) -> (z: f32[1, 1]) {
            %0 = conv %x, %w strides=[] lo=[] hi=[] dilation=[] base=[] groups=1 dtype=f32 : f32[1, 1]
            return %0\n}";
        assert_eq!(floats(&run_one(text, &[x, w])), [76.0]);
        let text = "graph @t(%x: f32[1, 1, 2, 2, 2], %w: f32[1, 1, 2, 2, 2]) -> (z: f32[1, 1, 1, 1, 2]) {
            %0 = conv %x, %w strides=[1, 1, 1] lo=[0, 0, 0] hi=[0, 0, 1] dilation=[1, 1, 1] \
                base=[1, 1, 1] groups=1 dtype=f32 : f32[1, 1, 1, 1, 2]
            return %0\n}";
        let x = Tensor::from_f64_iter(DType::F32, &[1, 1, 2, 2, 2], (0..8).map(f64::from)).unwrap();
        let w = Tensor::full(DType::F32, &[1, 1, 2, 2, 2], 1.0.into()).unwrap();
        assert_eq!(floats(&run_one(text, &[x, w])), [28.0, 16.0]);
    }

    #[test]
    fn integer_products_wrap_to_the_result() {
        let text = "graph @t(%x: u8[2], %y: i8[2]) -> (z: i8[]) {
            %0 = dot %x, %y lhs_batch=[] rhs_batch=[] lhs_contract=[0] rhs_contract=[0] dtype=i8 : i8[]
            return %0\n}";
        let x = Tensor::from_slice(&[2], &[200u8, 100]).unwrap();
        let y = Tensor::from_slice(&[2], &[2i8, -1]).unwrap();
        assert_eq!(ints(&run_one(text, &[x, y])), [44]);
    }

    #[test]
    fn extents_that_differ_after_all_are_errors() {
        let x = |shape: &[usize]| Tensor::zeros(DType::F32, shape).unwrap();
        let text = "graph @t(%x: f32[N], %y: f32[M]) -> (z: f32[]) {
            %0 = dot %x, %y lhs_batch=[] rhs_batch=[] lhs_contract=[0] rhs_contract=[0] dtype=f32 : f32[]
            return %0\n}";
        assert!(run_error(text, &[x(&[2]), x(&[3])]).contains("equal extents"));
        let text = "graph @t(%x: f32[1, N], %y: f32[2, M]) -> (z: f32[1, 2]) {
            %0 = conv %x, %y strides=[] lo=[] hi=[] dilation=[] base=[] groups=2 dtype=f32 : f32[1, 2]
            return %0\n}";
        assert!(run_error(text, &[x(&[1, 3]), x(&[2, 1])]).contains("2 groups"));
    }
}
