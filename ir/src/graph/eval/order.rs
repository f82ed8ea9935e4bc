//! Sorting, selecting and suppressing.

use std::cmp::Ordering;

use super::indexed::{select, vector};
use super::number::{Number, room, with_number};
use super::place::{last_back, offsets, row_major, with_last};
use super::{Call, EvalError};
use crate::dtype::DType;
use crate::shape::Extents;
use crate::tensor::Tensor;

pub(crate) fn sort(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let extent = call.input(0).shape()[call.axis("axis")];
    let descending = call.typing.flag("descending");
    with_number!(call.input(0).dtype(), N => first_in_order::<N>(call, extent, descending))
}

pub(crate) fn top_k(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let extent = call.input(0).shape()[call.axis("axis")];
    let k = call.dim(call.typing.dim("k"))?;
    let k = usize::try_from(k)
        .ok()
        .filter(|k| *k <= extent)
        .ok_or_else(|| EvalError::value(format!("expected `k` in 0..={extent}, got {k}")))?;
    with_number!(call.input(0).dtype(), N => first_in_order::<N>(call, k, call.typing.flag("largest")))
}

/// The first `count` elements along an axis in order, and where each stood; of equals the first come first.
fn first_in_order<N: Number>(
    call: &Call<'_>,
    count: usize,
    descending: bool,
) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let axis = call.axis("axis");
    let moved = with_last(x, &[axis])?;
    let elements = N::load(&moved)?;
    let mut shape: Extents = moved.shape().into();
    let extent = std::mem::replace(&mut shape[x.rank() - 1], count);
    let (mut values, mut places) = (Vec::new(), Vec::new());
    let mut order: Vec<usize> = Vec::new();
    for row in elements.chunks_exact(extent.max(1)) {
        order.clear();
        order.extend(0..extent);
        // Stable, so that equals keep their order in both directions.
        order.sort_by(|a, b| if descending { row[*b].order(row[*a]) } else { row[*a].order(row[*b]) });
        values.extend(order[..count].iter().map(|at| row[*at]));
        places.extend(order[..count].iter().map(|at| *at as i64));
    }
    let values = N::store(x.dtype(), &shape, &values)?;
    let places = i64::store(DType::I64, &shape, &places)?;
    Ok(vec![last_back(&values, axis)?, last_back(&places, axis)?])
}

pub(crate) fn nonzero(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let flat = row_major(x.shape());
    let found: Vec<usize> = offsets(x.shape(), &flat)
        .zip(x.iter_scalars())
        .filter(|(_, value)| value.is_truthy())
        .map(|(at, _)| at)
        .collect();
    let coordinates = (0..x.rank()).flat_map(|axis| {
        let (stride, extent) = (flat[axis], x.shape()[axis]);
        found.iter().map(move |at| (at / stride % extent) as i64)
    });
    let coordinates: Vec<i64> = coordinates.collect();
    Ok(vec![i64::store(DType::I64, &[x.rank(), found.len()], &coordinates)?])
}

pub(crate) fn unique(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let axis = call.axis("axis");
    let slices = x.transpose(&{
        let mut perm: Extents = (0..x.rank()).filter(|a| *a != axis).collect();
        perm.insert(0, axis);
        perm
    })?;
    let groups = with_number!(x.dtype(), N => equal_slices(&N::load(&slices)?, x.shape()[axis])?);
    let mut order: Vec<&Vec<usize>> = groups.iter().collect();
    if !call.typing.flag("sorted") {
        order.sort_by_key(|group| group[0]);
    }
    let firsts: Vec<usize> = order.iter().map(|group| group[0]).collect();
    let mut group_of = vec![0; x.shape()[axis]];
    for (i, group) in order.iter().enumerate() {
        group.iter().for_each(|slice| group_of[*slice] = i);
    }
    let counts = order.iter().map(|group| group.len());
    Ok(vec![
        select(x, axis, &firsts)?,
        vector(firsts.iter().copied())?,
        vector(group_of.into_iter())?,
        vector(counts)?,
    ])
}

/// The positions of equal slices in increasing order, the groups in lexicographic order of their slices.
fn equal_slices<N: Number>(elements: &[N], count: usize) -> Result<Vec<Vec<usize>>, EvalError> {
    let length = elements.len().checked_div(count).unwrap_or(0);
    let slice = |at: usize| &elements[at * length..][..length];
    let compare = |a: usize, b: usize| {
        let different = slice(a).iter().zip(slice(b)).map(|(a, b)| a.order(*b)).find(|o| o.is_ne());
        different.unwrap_or(Ordering::Equal)
    };
    // Slices of no elements can be many without taking any memory.
    let mut order: Vec<usize> = room(DType::I64, &[count])?;
    order.extend(0..count);
    order.sort_by(|a, b| compare(*a, *b));
    Ok(order.chunk_by(|a, b| compare(*a, *b).is_eq()).map(<[usize]>::to_vec).collect())
}

pub(crate) fn nms(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (boxes, scores) = (call.input(0), call.input(1));
    let (samples, classes, count) = (scores.shape()[0], scores.shape()[1], scores.shape()[2]);
    if boxes.shape() != [samples, count, 4] {
        return Err(EvalError::value(format!(
            "expected boxes [B, N, 4] and scores [B, C, N], got {:?} and {:?}",
            boxes.shape(),
            scores.shape()
        )));
    }
    let limit = usize::try_from(call.input(2).get_flat(0).to_i128()).unwrap_or(0);
    let max_overlap = call.input(3).get_flat(0).to_f64();
    let min_score = call.input(4).get_flat(0).to_f64();
    let centered = call.typing.flag("centered");
    let boxes: Vec<Rectangle> =
        f64::load(boxes)?.chunks_exact(4).map(|b| Rectangle::of(b, centered)).collect();
    let scores = f64::load(scores)?;
    let mut rows: Vec<i64> = Vec::new();
    for (i, scores) in scores.chunks_exact(count.max(1)).enumerate() {
        let (sample, class) = (i / classes, i % classes);
        let boxes = &boxes[sample * count..][..count];
        let mut candidates: Vec<usize> = (0..count).filter(|b| scores[*b] > min_score).collect();
        candidates.sort_by(|a, b| scores[*b].order(scores[*a]));
        let mut kept: Vec<usize> = Vec::new();
        for candidate in candidates {
            if kept.len() >= limit {
                break;
            }
            if !kept.iter().any(|k| boxes[*k].overlap(&boxes[candidate]) > max_overlap) {
                kept.push(candidate);
                rows.extend([sample as i64, class as i64, candidate as i64]);
            }
        }
    }
    Ok(vec![i64::store(DType::I64, &[rows.len() / 3, 3], &rows)?])
}

/// A box by its least and greatest coordinates.
struct Rectangle {
    lo: [f64; 2],
    hi: [f64; 2],
}

impl Rectangle {
    fn of(numbers: &[f64], centered: bool) -> Rectangle {
        let (first, second) = ([numbers[0], numbers[1]], [numbers[2], numbers[3]]);
        if centered {
            let at = |side: f64| std::array::from_fn(|i| first[i] + side * second[i] / 2.0);
            return Rectangle { lo: at(-1.0), hi: at(1.0) };
        }
        Rectangle {
            lo: std::array::from_fn(|i| first[i].min(second[i])),
            hi: std::array::from_fn(|i| first[i].max(second[i])),
        }
    }

    /// The common area as a part of the joint one; zero for boxes without area.
    fn overlap(&self, other: &Rectangle) -> f64 {
        let area = |lo: [f64; 2], hi: [f64; 2]| (hi[0] - lo[0]).max(0.0) * (hi[1] - lo[1]).max(0.0);
        let (first, second) = (area(self.lo, self.hi), area(other.lo, other.hi));
        let lo = std::array::from_fn(|i| self.lo[i].max(other.lo[i]));
        let hi = std::array::from_fn(|i| self.hi[i].min(other.hi[i]));
        let common = area(lo, hi);
        if common > 0.0 && first > 0.0 && second > 0.0 { common / (first + second - common) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::eval::testing::{floats, ints, run, run_error, run_one};

    fn tensor(dtype: DType, shape: &[usize], values: &[f64]) -> Tensor {
        Tensor::from_f64_iter(dtype, shape, values.iter().copied()).unwrap()
    }

    #[test]
    fn sort_keeps_equals_in_order_and_puts_nan_above() {
        let x = tensor(DType::F32, &[5], &[2.0, f64::NAN, 1.0, 2.0, f64::INFINITY]);
        let text = "graph @t(%x: f32[5]) -> (y: f32[5], i: i64[5]) {
            %0, %1 = sort %x axis=0 descending=false : f32[5], i64[5]\n return %0, %1\n}";
        let got = run(text, std::slice::from_ref(&x));
        assert_eq!(floats(&got[0])[..4], [1.0, 2.0, 2.0, f64::INFINITY]);
        assert_eq!(ints(&got[1]), [2, 0, 3, 4, 1]);
        assert_eq!(ints(&run(&text.replace("false", "true"), &[x])[1]), [1, 4, 0, 3, 2]);
        let text = "graph @t(%x: u64[2, 2]) -> (y: u64[2, 2], i: i64[2, 2]) {
            %0, %1 = sort %x axis=0 descending=false : u64[2, 2], i64[2, 2]\n return %0, %1\n}";
        let got = run(text, &[Tensor::from_slice(&[2, 2], &[u64::MAX, 1, 5, 0]).unwrap()]);
        assert_eq!(ints(&got[0]), [5, 0, u64::MAX.into(), 1]);
    }

    #[test]
    fn top_k_gives_the_first_of_equals() {
        let text = "graph @t(%x: i32[2, N]) -> (y: i32[2, 2], i: i64[2, 2]) {
            %0, %1 = top_k %x k=2 axis=1 largest=true : i32[2, 2], i64[2, 2]\n return %0, %1\n}";
        let got = run(text, &[tensor(DType::I32, &[2, 3], &[7.0, 9.0, 7.0, 1.0, 1.0, 1.0])]);
        assert_eq!((ints(&got[0]), ints(&got[1])), (vec![9, 7, 1, 1], vec![1, 0, 0, 1]));
        assert!(run_error(text, &[tensor(DType::I32, &[2, 1], &[0.0; 2])]).contains("`k` in 0..=1, got 2"));
    }

    #[test]
    fn nonzero_names_its_count() {
        let text = "graph @t(%x: f32[2, 2]) -> (y: i64[2, K]) {
            %0 = nonzero %x count=K : i64[2, K]
            return %0\n}";
        let got = run_one(text, &[tensor(DType::F32, &[2, 2], &[0.0, f64::NAN, -1.0, -0.0])]);
        assert_eq!((got.shape(), ints(&got)), (&[2, 2][..], vec![0, 1, 1, 0]));
        let text =
            "graph @t(%x: bool[]) -> (y: i64[0, K]) {\n %0 = nonzero %x count=K : i64[0, K]\n return %0\n}";
        assert_eq!(run_one(text, &[Tensor::scalar(DType::Bool, true.into())]).shape(), [0, 1]);
    }

    #[test]
    fn unique_compares_slices() {
        let text = "graph @t(%x: i32[4, 2]) -> (y: i32[K, 2], f: i64[K], i: i64[4], c: i64[K]) {
            %0, %1, %2, %3 = unique %x axis=0 sorted=true count=K : i32[K, 2], i64[K], i64[4], i64[K]
            return %0, %1, %2, %3\n}";
        let x = tensor(DType::I32, &[4, 2], &[3.0, 0.0, 1.0, 5.0, 3.0, 0.0, 1.0, 4.0]);
        let all = |got: Vec<Tensor>| got.iter().map(ints).collect::<Vec<_>>();
        let sorted = [vec![1, 4, 1, 5, 3, 0], vec![3, 1, 0], vec![2, 1, 2, 0], vec![1, 1, 2]];
        assert_eq!(all(run(text, std::slice::from_ref(&x))), sorted);
        let first = [vec![3, 0, 1, 5, 1, 4], vec![0, 1, 3], vec![0, 1, 0, 2], vec![2, 1, 1]];
        assert_eq!(all(run(&text.replace("true", "false"), &[x])), first);
    }

    #[test]
    fn nms_keeps_the_best_of_what_overlaps() {
        let text = "graph @t(
                %b: f32[1, 4, 4], %s: f32[1, 1, 4], %n: i64[], %o: f32[], %m: f32[]
            ) -> (y: i64[K, 3]) {
            %0 = nms %b, %s, %n, %o, %m centered=false count=K : i64[K, 3]\n return %0\n}";
        // The second box is the first, a bit off and given by its other corners; the last two tie.
        let boxes = [0.0, 0.0, 1.0, 1.0, 1.0, 1.1, 0.0, 0.1, 5.0, 5.0, 6.0, 6.0, 9.0, 9.0, 10.0, 10.0];
        let kept = |limit: i64, overlap: f64, min: f64| {
            let inputs = [
                tensor(DType::F32, &[1, 4, 4], &boxes),
                tensor(DType::F32, &[1, 1, 4], &[0.8, 0.9, 0.5, 0.5]),
                Tensor::scalar(DType::I64, limit.into()),
                tensor(DType::F32, &[], &[overlap]),
                tensor(DType::F32, &[], &[min]),
            ];
            ints(&run_one(text, &inputs)).chunks(3).map(|r| r[2]).collect::<Vec<_>>()
        };
        assert_eq!(kept(9, 0.5, 0.0), [1, 2, 3]);
        assert_eq!(kept(9, 0.95, 0.0), [1, 0, 2, 3]);
        assert_eq!(kept(9, 0.5, 0.5), [1]);
        assert_eq!(kept(2, 0.5, 0.0), [1, 2]);
        assert_eq!(kept(0, 0.5, 0.0), [0i128; 0]);
    }
}
