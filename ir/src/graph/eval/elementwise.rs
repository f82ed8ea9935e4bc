//! Elementwise ops: the scalar operation on the elements of tensors of one shape.

use super::number::{Number, store_floats, store_integers};
use super::{Call, EvalError};
use crate::dtype::{DType, Scalar};
use crate::graph::Op;
use crate::scalar::ScalarOp;
use crate::tensor::Tensor;

pub(crate) fn scalar(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let Op::Scalar(op) = call.typing.op else {
        unreachable!("the table pairs this meaning with scalar operations only")
    };
    let first = call.input(0);
    if let Some(other) = call.inputs.iter().find(|x| x.shape() != first.shape()) {
        return Err(EvalError::value(format!(
            "expected operands of one shape, got {:?} and {:?}",
            first.shape(),
            other.shape()
        )));
    }
    let dtype = call.inputs[call.inputs.len() - 1].dtype();
    let result = call.results[0].dtype;
    let out = match dtype {
        dtype if dtype.is_float() => of_floats(op, call.inputs, dtype, result)?,
        DType::U64 => of_integers::<u64>(op, call.inputs, dtype, result)?,
        _ => of_integers::<i64>(op, call.inputs, dtype, result)?,
    };
    Ok(vec![out])
}

fn of_floats(op: ScalarOp, inputs: &[Tensor], dtype: DType, result: DType) -> Result<Tensor, EvalError> {
    let operands: Vec<Vec<f64>> = inputs.iter().map(f64::load).collect::<Result<_, _>>()?;
    let shape = inputs[0].shape();
    match operands.as_slice() {
        [x] => store_floats(result, shape, x.iter().map(|x| op.eval_f64([*x, 0.0, 0.0], dtype))),
        [x, y] => {
            store_floats(result, shape, x.iter().zip(y).map(|(x, y)| op.eval_f64([*x, *y, 0.0], dtype)))
        }
        _ => {
            let at = |i: usize| op.eval_f64(std::array::from_fn(|n| operands[n][i]), dtype);
            store_floats(result, shape, (0..operands[0].len()).map(at))
        }
    }
}

fn of_integers<N: Number + Into<i128>>(
    op: ScalarOp,
    inputs: &[Tensor],
    dtype: DType,
    result: DType,
) -> Result<Tensor, EvalError> {
    let operands: Vec<Vec<N>> = inputs.iter().map(N::load).collect::<Result<_, _>>()?;
    let mut arguments = [Scalar::Int(0); 3];
    let at = |i: usize| {
        for (argument, operand) in arguments.iter_mut().zip(&operands) {
            *argument = Scalar::Int(operand[i].into());
        }
        op.eval(&arguments[..operands.len()], dtype).to_i128() as i64
    };
    store_integers(result, inputs[0].shape(), (0..operands[0].len()).map(at))
}

#[cfg(test)]
mod tests {
    use crate::dtype::{DType, Scalar};
    use crate::graph::eval::testing::{ints, run_one};
    use crate::scalar::ScalarOp;
    use crate::tensor::Tensor;

    #[test]
    fn every_operation_is_that_of_its_scalars_for_every_type() {
        for &op in ScalarOp::ALL {
            for dtype in DType::ALL {
                let mut dtypes = vec![dtype; op.arity()];
                if op == ScalarOp::Select {
                    dtypes[0] = DType::Bool;
                }
                let Ok(result) = op.result(&dtypes) else { continue };
                let inputs: Vec<Tensor> = (0u64..)
                    .zip(&dtypes)
                    .map(|(seed, d)| Tensor::random(*d, &[2, 5], seed).unwrap())
                    .collect();
                let params: Vec<String> =
                    dtypes.iter().enumerate().map(|(i, d)| format!("%x{i}: {d}[2, 5]")).collect();
                let names: Vec<String> = (0..dtypes.len()).map(|i| format!("%x{i}")).collect();
                let text = format!(
                    "graph @t({}) -> (y: {result}[2, 5]) {{\n %0 = {} {} : {result}[2, 5]\n return %0\n}}",
                    params.join(", "),
                    op.name(),
                    names.join(", ")
                );
                let got = run_one(&text, &inputs);
                for i in 0..10 {
                    let operands: Vec<Scalar> = inputs.iter().map(|x| x.get_flat(i)).collect();
                    assert_eq!(got.get_flat(i), op.eval(&operands, dtype), "{op:?} {dtype} {operands:?}");
                }
            }
        }
    }

    #[test]
    fn wide_integers_are_exact() {
        let text =
            "graph @t(%x: u64[2], %y: u64[2]) -> (z: u64[2]) {\n %0 = max %x, %y : u64[2]\n return %0\n}";
        let x = Tensor::from_slice(&[2], &[u64::MAX, 3]).unwrap();
        let y = Tensor::from_slice(&[2], &[1u64, 1 << 63]).unwrap();
        assert_eq!(run_one(text, &[x, y]).as_slice::<u64>().unwrap(), [u64::MAX, 1 << 63]);
        let text = "graph @t(%x: i64[1]) -> (z: i64[1]) {\n %0 = add %x, %x : i64[1]\n return %0\n}";
        assert_eq!(ints(&run_one(text, &[Tensor::from_slice(&[1], &[i64::MAX]).unwrap()])), [-2]);
    }
}
