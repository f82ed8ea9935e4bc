//! Reductions over whole axes and over windows, and running sums.

use std::cmp::Ordering;

use super::number::{Number, room, with_number};
use super::place::{last_back, with_last};
use super::window::{Steps, WindowAxis, coordinates};
use super::{Call, EvalError};
use crate::dtype::DType;
use crate::shape::Extents;
use crate::tensor::Tensor;

pub(crate) fn sum(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    with_number!(call.input(0).dtype(), N => reduce::<N>(call, N::ZERO, N::plus))
}

pub(crate) fn prod(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    with_number!(call.input(0).dtype(), N => reduce::<N>(call, N::ONE, N::times))
}

pub(crate) fn max(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let dtype = call.input(0).dtype();
    with_number!(dtype, N => reduce::<N>(call, N::least(dtype), N::larger))
}

pub(crate) fn min(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let dtype = call.input(0).dtype();
    with_number!(dtype, N => reduce::<N>(call, N::greatest(dtype), N::smaller))
}

fn reduce<N: Number>(call: &Call<'_>, identity: N, combine: fn(N, N) -> N) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let axes = call.axes("axes");
    let moved = with_last(x, &axes)?;
    let shape = &moved.shape()[..x.rank() - axes.len()];
    let rows = Rows::of(&moved, shape.len())?;
    let mut out: Vec<N> = room(x.dtype(), shape)?;
    out.extend(rows.iter().map(|row| row.iter().fold(identity, |a, b| combine(a, *b))));
    Ok(vec![N::store(x.dtype(), shape, &out)?])
}

/// The elements of a tensor as rows over its last axes.
struct Rows<N> {
    elements: Vec<N>,
    count: usize,
    length: usize,
}

impl<N: Number> Rows<N> {
    /// Rows over the axes from `axis` on.
    fn of(x: &Tensor, axis: usize) -> Result<Rows<N>, EvalError> {
        let (outer, inner) = x.shape().split_at(axis);
        Ok(Rows { elements: N::load(x)?, count: outer.iter().product(), length: inner.iter().product() })
    }

    fn iter(&self) -> impl Iterator<Item = &[N]> {
        (0..self.count).map(|i| &self.elements[i * self.length..][..self.length])
    }
}

pub(crate) fn argmax(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    with_number!(call.input(0).dtype(), N => arg_extremum::<N>(call, N::order))
}

pub(crate) fn argmin(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    // NaN wins here too.
    let order = |a: f64, b: f64| if a.is_nan() || b.is_nan() { a.order(b) } else { b.order(a) };
    match call.input(0).dtype() {
        dtype if dtype.is_float() => arg_extremum::<f64>(call, order),
        DType::U64 => arg_extremum::<u64>(call, |a, b| b.cmp(&a)),
        _ => arg_extremum::<i64>(call, |a, b| b.cmp(&a)),
    }
}

/// Where along the axis the element stands that no other is above in this order.
fn arg_extremum<N: Number>(
    call: &Call<'_>,
    order: impl Fn(N, N) -> Ordering,
) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let last = call.typing.flag("last");
    let moved = with_last(x, &[call.axis("axis")])?;
    let shape = &moved.shape()[..x.rank() - 1];
    let rows = Rows::<N>::of(&moved, shape.len())?;
    if rows.length == 0 && rows.count > 0 {
        return Err(EvalError::value(format!("expected elements along the axis, got {:?}", x.shape())));
    }
    let best = |row: &[N]| {
        let mut best = 0;
        for (i, element) in row.iter().enumerate().skip(1) {
            match order(*element, row[best]) {
                Ordering::Greater => best = i,
                Ordering::Equal if last => best = i,
                _ => {}
            }
        }
        best as i64
    };
    let mut out: Vec<i64> = room(DType::I64, shape)?;
    out.extend(rows.iter().map(best));
    Ok(vec![i64::store(DType::I64, shape, &out)?])
}

pub(crate) fn pool_max(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let dtype = call.input(0).dtype();
    with_number!(dtype, N => {
        let largest = |plane: &[N], read: &[usize]| {
            read.iter().fold(N::least(dtype), |a, at| a.larger(plane[*at]))
        };
        pool::<N, N>(call, N::ZERO, largest)
    })
}

pub(crate) fn pool_sum(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    with_number!(call.input(0).dtype(), N => {
        let total = |plane: &[N], read: &[usize]| read.iter().fold(N::ZERO, |a, at| a.plus(plane[*at]));
        pool::<N, N>(call, N::ZERO, total)
    })
}

/// Of a window that lies in the padding altogether the index is 0.
pub(crate) fn pool_argmax(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    with_number!(call.input(0).dtype(), N => {
        let place = |plane: &[N], read: &[usize]| {
            let better = |best: usize, at: &usize| {
                if plane[*at].order(plane[best]) == Ordering::Greater { *at } else { best }
            };
            read.first().map_or(0, |first| read.iter().fold(*first, better)) as i64
        };
        pool::<N, i64>(call, 0, place)
    })
}

/// Combines the elements that a window reads, given as their places in row-major order within a plane.
fn pool<N: Number, R: Number>(
    call: &Call<'_>,
    blank: R,
    combine: impl Fn(&[N], &[usize]) -> R,
) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let window = call.typing.ints("window");
    let (outer, pooled) = x.shape().split_at(x.rank() - window.len());
    let axes: Vec<WindowAxis> = (0..window.len())
        .map(|i| {
            let at = |name| call.typing.ints(name)[i];
            let (stride, lo, hi) = (at("strides"), at("lo"), at("hi"));
            let steps = Steps { stride, lo, hi, dilation: at("dilation"), base: 1 };
            WindowAxis::new(pooled[i], window[i].into(), steps)
        })
        .collect();
    let shape: Extents = outer.iter().copied().chain(axes.iter().map(|a| a.positions)).collect();
    let dtype = call.results[0].dtype;
    let mut out: Vec<R> = super::number::filled(dtype, &shape, blank)?;
    let elements = N::load(x)?;
    let plane: usize = pooled.iter().product();
    let planes: usize = outer.iter().product();
    let positions = if out.is_empty() { 0 } else { out.len() / planes };
    let mut place = Extents::from_elem(0, axes.len());
    let (mut read, mut wider) = (Vec::new(), Vec::new());
    for position in 0..positions {
        coordinates(&axes, position, &mut place);
        read.clear();
        read.push(0);
        for (axis, at) in axes.iter().zip(&place) {
            wider.clear();
            for start in &read {
                let sources = axis.taps(*at).filter_map(|tap| axis.source(*at, tap));
                wider.extend(sources.map(|s| start * axis.extent + s));
            }
            std::mem::swap(&mut read, &mut wider);
        }
        for i in 0..planes {
            out[i * positions + position] = combine(&elements[i * plane..][..plane], &read);
        }
    }
    Ok(vec![R::store(dtype, &shape, &out)?])
}

pub(crate) fn cumsum(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    with_number!(call.input(0).dtype(), N => accumulate::<N>(call, N::ZERO, N::plus))
}

pub(crate) fn cumprod(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    with_number!(call.input(0).dtype(), N => accumulate::<N>(call, N::ONE, N::times))
}

fn accumulate<N: Number>(
    call: &Call<'_>,
    identity: N,
    combine: fn(N, N) -> N,
) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let axis = call.axis("axis");
    let (exclusive, reverse) = (call.typing.flag("exclusive"), call.typing.flag("reverse"));
    let moved = with_last(x, &[axis])?;
    let mut elements = N::load(&moved)?;
    let length = x.shape()[axis].max(1);
    for row in elements.chunks_exact_mut(length) {
        if reverse {
            row.reverse();
        }
        let mut sum = identity;
        for element in row.iter_mut() {
            let next = combine(sum, *element);
            *element = if exclusive { sum } else { next };
            sum = next;
        }
        if reverse {
            row.reverse();
        }
    }
    Ok(vec![last_back(&N::store(x.dtype(), moved.shape(), &elements)?, axis)?])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::graph::eval::testing::{apply, floats, indices_of, ints, run_error, run_one};
    use crate::graph::{Attr, Op};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn reductions_combine_what_vanishes(shape in [0usize..6, 0..6, 0..6], seed in any::<u64>()) {
            let x = Tensor::random(DType::I16, &shape, seed).unwrap();
            type Combine = fn(i128, i128) -> i128;
            let cases: [(Op, i128, Combine); 4] = [
                (Op::ReduceSum, 0, |a, b| a + b),
                (Op::ReduceProd, 1, |a, b| i128::from((a * b) as i16)),
                (Op::ReduceMax, i16::MIN.into(), i128::max),
                (Op::ReduceMin, i16::MAX.into(), i128::min),
            ];
            for (op, identity, combine) in cases {
                let got = apply(op, &[&x], [Attr::from([2, 0])]);
                prop_assert_eq!(got.shape(), &shape[1..2]);
                for j in 0..shape[1] {
                    let value = |at: Vec<usize>| x.get(&[at[0], j, at[1]]).to_i128();
                    let expected = indices_of(&[shape[0], shape[2]]).map(value).fold(identity, combine);
                    prop_assert_eq!(got.get(&[j]).to_i128(), expected, "{:?}", op);
                }
            }
        }

        #[test]
        fn pools_combine_windows(
            shape in [0usize..4, 0..6, 0..6],
            [window, strides, dilation] in [[1i64..4, 1..4], [1..3, 1..3], [1..3, 1..3]],
            [lo, hi] in [[0i64..3, 0..3], [0..3, 0..3]],
            seed in any::<u64>(),
        ) {
            let x = Tensor::random(DType::I16, &shape, seed).unwrap();
            let count = |a: usize| {
                let padded = shape[a + 1] as i64 + lo[a] + hi[a];
                (0..padded - (window[a] - 1) * dilation[a]).step_by(strides[a] as usize).count()
            };
            let read = |a: usize, position: usize, tap: usize| {
                let at = position as i64 * strides[a] + tap as i64 * dilation[a] - lo[a];
                usize::try_from(at).ok().filter(|at| *at < shape[a + 1])
            };
            let apply = |op| apply(op, &[&x], [window, strides, lo, hi, dilation].map(Attr::from));
            let (sum, max, argmax) = (apply(Op::PoolSum), apply(Op::PoolMax), apply(Op::PoolArgMax));
            prop_assert_eq!(sum.shape(), &[shape[0], count(0), count(1)]);
            for at in indices_of(sum.shape()) {
                let element = |t: Vec<usize>| {
                    let (row, column) = (read(0, at[1], t[0])?, read(1, at[2], t[1])?);
                    Some((x.get(&[at[0], row, column]).to_i128(), (row * shape[2] + column) as i128))
                };
                let elements: Vec<(i128, i128)> =
                    indices_of(&window.map(|w| w as usize)).filter_map(element).collect();
                let most = elements.iter().map(|e| e.0).max().unwrap_or(i16::MIN.into());
                let first = elements.iter().find(|e| e.0 == most).map_or(0, |e| e.1);
                prop_assert_eq!(sum.get(&at).to_i128(), elements.iter().map(|e| e.0).sum::<i128>());
                prop_assert_eq!(max.get(&at).to_i128(), most);
                prop_assert_eq!(argmax.get(&at).to_i128(), first);
            }
        }
    }

    fn along_row(op: &str, dtype: DType, attrs: &str, x: &[f64]) -> Tensor {
        let n = x.len();
        let text = format!(
            "graph @t(%x: {dtype}[{n}]) -> (y: {dtype}[{n}]) {{
             %0 = {op} %x {attrs} : {dtype}[{n}]
             return %0\n}}"
        );
        run_one(&text, &[Tensor::from_f64_iter(dtype, &[n], x.iter().copied()).unwrap()])
    }

    fn reduced(op: &str, dtype: DType, attrs: &str, x: &[f64]) -> f64 {
        let (n, out) = (x.len(), if op.starts_with("arg") { DType::I64 } else { dtype });
        let text = format!(
            "graph @t(%x: {dtype}[{n}]) -> (y: {out}[]) {{\n %0 = {op} %x {attrs} : {out}[]\n return %0\n}}"
        );
        floats(&run_one(&text, &[Tensor::from_f64_iter(dtype, &[n], x.iter().copied()).unwrap()]))[0]
    }

    #[test]
    fn nothing_gives_the_identity_and_nan_spreads() {
        assert_eq!(reduced("reduce_max", DType::F32, "axes=[0]", &[]), f64::NEG_INFINITY);
        assert_eq!(reduced("reduce_max", DType::F8E4M3, "axes=[0]", &[]), -448.0);
        assert_eq!(reduced("reduce_min", DType::Bool, "axes=[0]", &[]), 1.0);
        assert_eq!(reduced("reduce_min", DType::U4, "axes=[0]", &[]), 15.0);
        assert_eq!(reduced("reduce_prod", DType::F16, "axes=[0]", &[]), 1.0);
        assert!(reduced("reduce_max", DType::F32, "axes=[0]", &[1.0, f64::NAN, 2.0]).is_nan());
        assert!(reduced("reduce_min", DType::F32, "axes=[0]", &[f64::NAN, 2.0]).is_nan());
        // In f16 itself the sum would stop at 2048.
        assert_eq!(reduced("reduce_sum", DType::F16, "axes=[0]", &[1.0; 4096]), 4096.0);
    }

    #[test]
    fn argmax_takes_the_first_or_last_of_equals_and_nan() {
        let x = [1.0, 5.0, 5.0, 2.0];
        assert_eq!(reduced("argmax", DType::F32, "axis=0 last=false", &x), 1.0);
        assert_eq!(reduced("argmax", DType::I8, "axis=0 last=true", &x), 2.0);
        let nan = [3.0, f64::NAN, 9.0, f64::NAN, 0.0];
        assert_eq!(reduced("argmax", DType::F32, "axis=0 last=false", &nan), 1.0);
        assert_eq!(reduced("argmin", DType::F32, "axis=0 last=false", &nan), 1.0);
        assert_eq!(reduced("argmin", DType::U64, "axis=0 last=false", &x), 0.0);
        let text =
            "graph @t(%x: f32[0]) -> (y: i64[]) {\n %0 = argmax %x axis=0 last=false : i64[]\n return %0\n}";
        assert!(run_error(text, &[Tensor::zeros(DType::F32, &[0]).unwrap()]).contains("expected elements"));
    }

    #[test]
    fn pool_argmax_takes_the_first_of_equals_and_nan() {
        let attrs = || [[3i64], [1], [1], [0], [1]].map(Attr::from);
        let places =
            |x: &[f32]| ints(&apply(Op::PoolArgMax, &[&Tensor::from_slice(&[x.len()], x).unwrap()], attrs()));
        assert_eq!(places(&[5.0, 5.0, 7.0, 7.0]), [0, 2, 2]);
        assert_eq!(places(&[1.0, f32::NAN, f32::NAN, 9.0]), [1, 1, 1]);
        assert_eq!(places(&[f32::NEG_INFINITY; 3]), [0, 0]);
    }

    #[test]
    fn running_sums_start_at_either_end() {
        let x = [1.0, 2.0, 3.0];
        let sums = |attrs: &str| ints(&along_row("cumsum", DType::I32, attrs, &x));
        assert_eq!(sums("axis=0 exclusive=false reverse=false"), [1, 3, 6]);
        assert_eq!(sums("axis=0 exclusive=true reverse=false"), [0, 1, 3]);
        assert_eq!(sums("axis=0 exclusive=false reverse=true"), [6, 5, 3]);
        assert_eq!(sums("axis=0 exclusive=true reverse=true"), [5, 3, 0]);
        assert_eq!(
            floats(&along_row("cumprod", DType::F32, "axis=0 exclusive=false reverse=false", &x)),
            [1.0, 2.0, 6.0]
        );
    }
}
