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
    use crate::graph::eval::testing::{floats, ints, run_error, run_one, shape_text};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn reductions_and_pools_agree_with_their_definitions(
            shape in proptest::collection::vec(0usize..6, 3), window in proptest::collection::vec(1i64..4, 2),
            strides in proptest::collection::vec(1i64..3, 2), lo in proptest::collection::vec(0i64..3, 2),
            hi in proptest::collection::vec(0i64..3, 2), dilation in proptest::collection::vec(1i64..3, 2), seed in any::<u64>(),
        ) {
            let x = Tensor::random(DType::I16, &shape, seed).unwrap();
            let ty = shape_text(DType::I16, &shape);
            let kept = shape_text(DType::I16, &[shape[1]]);
            for (op, identity) in [("sum", 0), ("prod", 1), ("max", i128::from(i16::MIN)), ("min", i128::from(i16::MAX))] {
                let got = run_one(&format!("graph @t(%x: {ty}) -> (y: {kept}) {{\n %0 = reduce_{op} %x axes=[2, 0] : {kept}\n return %0\n}}"), std::slice::from_ref(&x));
                for j in 0..shape[1] {
                    let mut expected = identity;
                    for i in 0..shape[0] { for k in 0..shape[2] {
                        let v = x.get(&[i, j, k]).to_i128();
                        expected = match op { "sum" => expected + v, "prod" => i128::from((expected * v) as i16), "max" => expected.max(v), _ => expected.min(v) };
                    }}
                    prop_assert_eq!(got.get(&[j]).to_i128(), expected, "{}", op);
                }
            }
            let count = |a: usize| {
                let slack = shape[a + 1] as i64 + lo[a] + hi[a] - ((window[a] - 1) * dilation[a] + 1);
                if slack < 0 { 0 } else { (slack / strides[a] + 1) as usize }
            };
            let out = [shape[0], count(0), count(1)];
            for (op, dtype) in [("pool_max", DType::I16), ("pool_sum", DType::I16), ("pool_argmax", DType::I64)] {
                let y = shape_text(dtype, &out);
                let got = run_one(&format!("graph @t(%x: {ty}) -> (y: {y}) {{\n %0 = {op} %x window={window:?} strides={strides:?} lo={lo:?} hi={hi:?} dilation={dilation:?} : {y}\n return %0\n}}"), std::slice::from_ref(&x));
                for i in 0..out[0] { for p in 0..out[1] { for q in 0..out[2] {
                    let (mut sum, mut best) = (0, None);
                    for s in 0..window[0] { for t in 0..window[1] {
                        let u = p as i64 * strides[0] + s * dilation[0] - lo[0];
                        let v = q as i64 * strides[1] + t * dilation[1] - lo[1];
                        if u < 0 || v < 0 || u >= shape[1] as i64 || v >= shape[2] as i64 { continue }
                        let value = x.get(&[i, u as usize, v as usize]).to_i128();
                        sum += value;
                        if best.is_none_or(|(b, _)| value > b) { best = Some((value, i128::from(u) * shape[2] as i128 + i128::from(v))) }
                    }}
                    let expected = match op { "pool_max" => best.map_or(i128::from(i16::MIN), |b| b.0), "pool_sum" => sum, _ => best.map_or(0, |b| b.1) };
                    prop_assert_eq!(got.get(&[i, p, q]).to_i128(), expected, "{}", op);
                }}}
            }
        }
    }

    fn along_row(op: &str, dtype: DType, attrs: &str, x: &[f64]) -> Tensor {
        let n = x.len();
        let text = format!(
            "graph @t(%x: {dtype}[{n}]) -> (y: {dtype}[{n}]) {{\n %0 = {op} %x {attrs} : {dtype}[{n}]\n return %0\n}}"
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
