//! Ops that move elements without looking at them: views where the host tensor has them, else copies of bytes.

use super::place::{Bytes, offsets, row_major};
use super::{Call, EvalError};
use crate::shape::{Extents, Shape};
use crate::tensor::Tensor;

pub(crate) fn reshape(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Ok(vec![call.input(0).reshape(&call.extents(call.typing.dims("shape"))?)?])
}

pub(crate) fn transpose(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Ok(vec![call.input(0).transpose(&call.axes("perm"))?])
}

pub(crate) fn broadcast(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Ok(vec![call.input(0).broadcast_to(&call.extents(call.typing.dims("shape"))?)?])
}

pub(crate) fn slice(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let sizes = call.extents(call.typing.dims("sizes"))?;
    let mut starts = Extents::new();
    for ((axis, start), size) in call.typing.dims("starts").iter().enumerate().zip(&sizes) {
        let value = call.dim(start)?;
        // Of no elements the first may be anywhere.
        let start = if *size == 0 { Ok(0) } else { usize::try_from(value) };
        starts.push(start.map_err(|_| {
            EvalError::value(format!("axis {axis}: expected a start in 0..{}, got {value}", x.shape()[axis]))
        })?);
    }
    let steps: Vec<isize> = call.typing.ints("steps").iter().map(|s| *s as isize).collect();
    Ok(vec![x.slice(&starts, &sizes, &steps)?])
}

pub(crate) fn pad(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (x, value) = (call.input(0), call.input(1));
    let (lo, hi) = (paddings(call, "lo")?, paddings(call, "hi")?);
    let inner = call.typing.ints("inner");
    let mut shape = Extents::new();
    for axis in 0..x.rank() {
        let extent = x.shape()[axis] as i128;
        let between = (extent - 1).max(0) * i128::from(inner[axis]);
        let padded = extent + between + lo[axis] as i128 + hi[axis] as i128;
        shape.push(usize::try_from(padded).unwrap_or(usize::MAX));
    }
    let mut out = Bytes::with_room_for(x, &shape)?;
    out.fill(&Bytes::of(value)?, shape.iter().product());
    // Within the result, which now exists; steps along axes of one element are never taken.
    let strides = row_major(&shape);
    let first: usize = if x.is_empty() { 0 } else { lo.iter().zip(&strides).map(|(l, s)| l * s).sum() };
    let step = |axis: usize| if x.shape()[axis] > 1 { strides[axis] * (inner[axis] as usize + 1) } else { 0 };
    let steps: Extents = (0..x.rank()).map(step).collect();
    let from = Bytes::of(x)?;
    for (position, offset) in offsets(x.shape(), &steps).enumerate() {
        out.set(first + offset, &from, position);
    }
    Ok(vec![out.into_tensor(x, &shape)?])
}

fn paddings(call: &Call<'_>, name: &str) -> Result<Extents, EvalError> {
    let given: &Shape = call.typing.dims(name);
    let amount = |(axis, dim)| {
        let value = call.dim(dim)?;
        usize::try_from(value).map_err(|_| {
            EvalError::value(format!("axis {axis}: expected a padding that is not negative, got {value}"))
        })
    };
    given.iter().enumerate().map(amount).collect()
}

pub(crate) fn concat(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Ok(vec![join(call.inputs, call.axis("axis"))?])
}

/// At least one tensor of one type and rank, joined along an axis.
pub(super) fn join(xs: &[Tensor], axis: usize) -> Result<Tensor, EvalError> {
    let first = &xs[0];
    let mut shape: Extents = first.shape().into();
    shape[axis] = 0;
    for x in xs {
        let agrees = (0..x.rank()).all(|a| a == axis || x.shape()[a] == first.shape()[a]);
        if !agrees {
            return Err(EvalError::value(format!(
                "expected equal extents away from axis {axis}, got {:?} and {:?}",
                first.shape(),
                x.shape()
            )));
        }
        shape[axis] = shape[axis].saturating_add(x.shape()[axis]);
    }
    let mut out = Bytes::with_room_for(first, &shape)?;
    let parts: Vec<Bytes<'_>> = xs.iter().map(Bytes::of).collect::<Result<_, _>>()?;
    let runs: Vec<usize> = xs.iter().map(|x| x.shape()[axis..].iter().product()).collect();
    let outer: usize = if shape.contains(&0) { 0 } else { shape[..axis].iter().product() };
    for row in 0..outer {
        for (part, run) in parts.iter().zip(&runs) {
            out.extend(part, row * run, *run);
        }
    }
    out.into_tensor(first, &shape)
}

pub(crate) fn reverse(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let axes = call.axes("axes");
    let reversed = |axis: usize| axes.contains(&axis) && x.shape()[axis] > 0;
    let starts: Extents = (0..x.rank()).map(|a| if reversed(a) { x.shape()[a] - 1 } else { 0 }).collect();
    let steps: Vec<isize> = (0..x.rank()).map(|a| if reversed(a) { -1 } else { 1 }).collect();
    Ok(vec![x.slice(&starts, x.shape(), &steps)?])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dtype::DType;
    use crate::graph::eval::testing::{floats, ints, run_error, run_one, shape_text};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn slices_of_padded_and_turned_tensors_are_where_they_belong(
            shape in proptest::collection::vec(0usize..4, 3), lo in proptest::collection::vec(0usize..3, 3),
            hi in proptest::collection::vec(0usize..3, 3), inner in proptest::collection::vec(0usize..3, 3),
            narrow in any::<bool>(), seed in any::<u64>(),
        ) {
            let dtype = if narrow { DType::I4 } else { DType::F32 };
            let x = Tensor::random(dtype, &shape, seed).unwrap();
            let value = Tensor::random(dtype, &[], seed ^ 1).unwrap();
            let padded: Vec<usize> =
                (0..3).map(|a| lo[a] + hi[a] + shape[a] + shape[a].saturating_sub(1) * inner[a]).collect();
            let turned = [padded[2], padded[0], padded[1]];
            let steps: Vec<i64> = (0..3).map(|a| if (seed >> a) & 1 == 0 { -1 } else { 2 }).collect();
            let sizes: Vec<usize> =
                (0..3).map(|a| if steps[a] < 0 { turned[a] } else { turned[a].div_ceil(2) }).collect();
            let last = |a: usize| turned[a].max(1) - 1;
            let starts: Vec<usize> = (0..3).map(|a| if steps[a] < 0 { last(a) } else { 0 }).collect();
            let text = format!(
                "graph @t(%x: {x}, %v: {dtype}[]) -> (y: {y}) {{
                 %0 = pad %x, %v lo={lo:?} hi={hi:?} inner={inner:?} : {p}
                 %1 = transpose %0 perm=[2, 0, 1] : {t}
                 %2 = slice %1 starts={starts:?} sizes={sizes:?} steps={steps:?} : {y}
                 return %2\n}}",
                x = shape_text(dtype, &shape), p = shape_text(dtype, &padded),
                t = shape_text(dtype, &turned), y = shape_text(dtype, &sizes),
            );
            let got = run_one(&text, &[x.clone(), value.clone()]);
            for i in 0..sizes[0] { for j in 0..sizes[1] { for k in 0..sizes[2] {
                let at = |a: usize, i: usize| (starts[a] as i64 + i as i64 * steps[a]) as usize;
                let place = [at(1, j), at(2, k), at(0, i)];
                let source: Option<Vec<usize>> = (0..3).map(|a| {
                    let at = place[a].checked_sub(lo[a])?;
                    let step = inner[a] + 1;
                    (at % step == 0 && at / step < shape[a]).then_some(at / step)
                }).collect();
                let expected = source.map_or(value.get(&[]), |s| x.get(&s));
                prop_assert_eq!(got.get(&[i, j, k]), expected);
            }}}
        }
    }

    #[test]
    fn concat_joins_and_reverse_turns_around() {
        let text = "graph @t(%x: i4[2, 1], %y: i4[2, 2]) -> (z: i4[2, 3]) {
            %0 = concat %x, %y axis=1 : i4[2, 3]
            %1 = reverse %0 axes=[1] : i4[2, 3]
            return %1\n}";
        let i4 =
            |shape: &[usize], v: &[f64]| Tensor::from_f64_iter(DType::I4, shape, v.iter().copied()).unwrap();
        let got = run_one(text, &[i4(&[2, 1], &[1.0, 2.0]), i4(&[2, 2], &[3.0, 4.0, 5.0, 6.0])]);
        assert_eq!(ints(&got), [4, 3, 1, 6, 5, 2]);
    }

    #[test]
    fn broadcast_repeats() {
        let text = "graph @t(%x: f32[2, 1]) -> (z: f32[2, 2, 2]) {
            %0 = broadcast %x shape=[2, 2, 2] : f32[2, 2, 2]
            return %0\n}";
        let got = run_one(text, &[Tensor::from_slice(&[2, 1], &[1f32, 2.0]).unwrap()]);
        assert_eq!(floats(&got), [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn extents_that_differ_after_all_are_errors() {
        let x = |shape: &[usize]| Tensor::zeros(DType::F32, shape).unwrap();
        let cases = [
            ("%0 = reshape %x shape=[M, 2] : f32[M, 2]", "f32[M, 2]", "as many elements"),
            ("%0 = broadcast %x shape=[M] : f32[M]", "f32[M]", "broadcasts to"),
            ("%0 = slice %x starts=[M] sizes=[2] steps=[1] : f32[2]", "f32[2]", "start 4"),
            ("%0 = slice %x starts=[1 - M] sizes=[2] steps=[1] : f32[2]", "f32[2]", "got -3"),
        ];
        for (line, out, message) in cases {
            let text = format!("graph @t(%x: f32[N], %y: f32[M]) -> (z: {out}) {{\n {line}\n return %0\n}}");
            let error = run_error(&text, &[x(&[5]), x(&[4])]);
            assert!(error.contains(message), "{error}");
        }
        let text = "graph @t(%x: f32[N, 1], %y: f32[M, 1]) -> (z: f32[N, 2]) {
            %0 = concat %x, %y axis=1 : f32[N, 2]\n return %0\n}";
        assert!(run_error(text, &[x(&[2, 1]), x(&[3, 1])]).contains("away from axis 1"));
    }
}
