//! Ops with regions, which are evaluated like graphs under the symbols bound around them.

use super::movement::join;
use super::{Call, EvalError, evaluate_in};
use crate::shape::Extents;
use crate::tensor::Tensor;

pub(crate) fn branch(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let region = if is_true(call.input(0)) { 0 } else { 1 };
    evaluate_in(&call.typing.regions[region], &call.inputs[1..], call.bindings)
}

fn is_true(condition: &Tensor) -> bool {
    condition.get_flat(0).is_truthy()
}

pub(crate) fn repeat(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let body = &call.typing.regions[0];
    let trip = call.input(0).get_flat(0).to_i128() as i64;
    let (mut carried, captured) = {
        let (carried, captured) = call.inputs[2..].split_at(call.typing.int("carried") as usize);
        (carried.to_vec(), captured)
    };
    let stacks = call.results.len() - carried.len();
    let mut stacked: Vec<Vec<Tensor>> = vec![Vec::new(); stacks];
    let mut goes_on = is_true(call.input(1));
    let mut iteration = 0;
    while goes_on && iteration < trip {
        let counter = Tensor::scalar(crate::dtype::DType::I64, iteration.into());
        let inputs: Vec<Tensor> =
            std::iter::once(counter).chain(carried.iter().cloned()).chain(captured.iter().cloned()).collect();
        let mut outputs = evaluate_in(body, &inputs, call.bindings)?.into_iter();
        goes_on = outputs.next().is_some_and(|condition| is_true(&condition));
        carried = outputs.by_ref().take(carried.len()).collect();
        for (stack, element) in stacked.iter_mut().zip(outputs) {
            let row: Extents = std::iter::once(1).chain(element.shape().iter().copied()).collect();
            stack.push(element.reshape(&row)?);
        }
        iteration += 1;
    }
    let types = &call.results[carried.len()..];
    for (stack, ty) in stacked.into_iter().zip(types) {
        carried.push(if stack.is_empty() {
            // Without a first element the type says what there would be, as far as its symbols are bound.
            let inner = ty.shape.iter().skip(1).map(|d| d.eval(call.bindings).unwrap_or(0).max(0) as usize);
            Tensor::zeros(ty.dtype, &std::iter::once(0).chain(inner).collect::<Extents>())?
        } else {
            join(&stack, 0)?
        });
    }
    Ok(carried)
}

pub(crate) fn kernel(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    evaluate_in(&call.typing.regions[0], call.inputs, call.bindings)
}

pub(crate) fn custom_call(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let target = call.typing.text("target");
    Err(EvalError::value(format!("expected a function that the interpreter has, got `{target}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::graph::eval::testing::{ints, run, run_error, run_one};

    #[test]
    fn if_takes_one_branch() {
        let text = "graph @t(%c: bool[], %x: i32[N]) -> (y: i32[M]) {
            %0 = if %c, %x types=(i32[M]) : i32[M]
            region @then_branch(%x: i32[N]) -> (y: i32[N]) {
                %0 = add %x, %x : i32[N]
                return %0
            }
            region @else_branch(%x: i32[N]) -> (y: i32[2 * N]) {
                %0 = concat %x, %x axis=0 : i32[2*N]
                return %0
            }
            return %0\n}";
        let take = |c: bool| {
            let x = Tensor::from_slice(&[2], &[1i32, 2]).unwrap();
            ints(&run_one(text, &[Tensor::scalar(DType::Bool, c.into()), x]))
        };
        assert_eq!((take(true), take(false)), (vec![2, 4], vec![1, 2, 1, 2]));
    }

    const LOOP: &str =
        "graph @t(%n: i64[], %c: bool[], %x: i64[N], %step: i64[N]) -> (y: i64[N], s: i64[K, N]) {
        %0, %1 = loop %n, %c, %x, %step carried=1 types=(i64[N], i64[K, N]) : i64[N], i64[K, N]
        region @body(%i: i64[], %x: i64[N], %step: i64[N]) -> (c: bool[], x: i64[N], e: i64[N]) {
            %0 = add %x, %step : i64[N]
            %1 = const value=i64[] 2 : i64[]
            %2 = lt %i, %1 : bool[]
            return %2, %0, %x
        }
        return %0, %1\n}";

    fn looped(trip: i64, condition: bool) -> Vec<Tensor> {
        let vector = |v: [i64; 2]| Tensor::from_slice(&[2], &v).unwrap();
        let (trip, condition) =
            (Tensor::scalar(DType::I64, trip.into()), Tensor::scalar(DType::Bool, condition.into()));
        run(LOOP, &[trip, condition, vector([1, 10]), vector([1, 2])])
    }

    #[test]
    fn loops_end_by_count_or_condition() {
        let got = looped(2, true);
        assert_eq!((ints(&got[0]), ints(&got[1])), (vec![3, 14], vec![1, 10, 2, 12]));
        // The condition given by iteration 2 ends the loop after it.
        assert_eq!(ints(&looped(i64::MAX, true)[0]), [4, 16]);
        for (trip, condition) in [(0, true), (-1, true), (5, false)] {
            let got = looped(trip, condition);
            assert_eq!((ints(&got[0]), got[1].shape()), (vec![1, 10], &[0, 2][..]));
        }
    }

    #[test]
    fn kernels_mean_their_bodies_and_custom_calls_nothing() {
        let text = "graph @t(%x: i32[N]) -> (y: i32[N]) {
            %0 = kernel %x : i32[N]
            region @body(%x: i32[N]) -> (y: i32[N]) {
                %0 = neg %x : i32[N]
                return %0
            }
            return %0\n}";
        assert_eq!(ints(&run_one(text, &[Tensor::from_slice(&[1], &[3i32]).unwrap()])), [-3]);
        let text = "graph @t() -> (y: i32[1]) {
            %0 = custom_call target=\"f\" types=(i32[1]) : i32[1]
            return %0\n}";
        assert!(run_error(text, &[]).contains("got `f`"));
    }
}
