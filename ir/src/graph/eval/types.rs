//! Conversions between element types.

use super::number::{Number, room, store_integers};
use super::{Call, EvalError};
use crate::dtype::DType;
use crate::shape::Extents;
use crate::tensor::Tensor;

pub(crate) fn cast(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Ok(vec![call.input(0).cast(call.typing.dtype("dtype"), call.typing.flag("saturate"))?])
}

pub(crate) fn bitcast(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    Ok(vec![Tensor::from_byte_slice(call.typing.dtype("dtype"), x.shape(), &x.to_bytes()?)?])
}

pub(crate) fn quantize(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let dtype = call.typing.dtype("dtype");
    let [scale, zero] = spread_parameters(call)?;
    // Quotients of narrow types are those of f32, so that ties are where hardware has them.
    let is_narrow = x.dtype().bits() <= 32 && scale.dtype().bits() <= 32;
    let (values, scales) = (f64::load(x)?, f64::load(&scale)?);
    let quotients = values.iter().zip(&scales).map(|(value, scale)| {
        let quotient = value / scale;
        if is_narrow { f64::from(quotient as f32) } else { quotient }
    });
    let (Some(least), Some(greatest)) = (dtype.int_min(), dtype.int_max()) else {
        let zeros = f64::load(&zero)?;
        let shifted = quotients.zip(&zeros).map(|(quotient, zero)| quotient + zero);
        return Ok(vec![Tensor::from_f64_iter(dtype, x.shape(), shifted)?]);
    };
    let mut out: Vec<i64> = room(dtype, x.shape())?;
    out.extend(quotients.zip(zero.iter_scalars()).map(|(quotient, zero)| {
        // What is no number converts to zero, as in `cast`.
        if quotient.is_nan() {
            return 0i128.clamp(least, greatest) as i64;
        }
        let rounded = quotient.round_ties_even() as i128;
        rounded.saturating_add(zero.to_i128()).clamp(least, greatest) as i64
    }));
    Ok(vec![store_integers(dtype, x.shape(), out.into_iter())?])
}

pub(crate) fn dequantize(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let dtype = call.typing.dtype("dtype");
    let [scale, zero] = spread_parameters(call)?;
    let mut out = if x.dtype().is_float() {
        let mut values = f64::load(x)?;
        values.iter_mut().zip(f64::load(&zero)?).for_each(|(value, zero)| *value -= zero);
        values
    } else {
        let mut values: Vec<f64> = room(DType::F64, x.shape())?;
        let differences = x.iter_scalars().zip(zero.iter_scalars());
        values.extend(differences.map(|(value, zero)| (value.to_i128() - zero.to_i128()) as f64));
        values
    };
    out.iter_mut().zip(f64::load(&scale)?).for_each(|(value, scale)| *value *= scale);
    Ok(vec![f64::store(dtype, x.shape(), &out)?])
}

/// Scale and zero as tensors with an element for each of `x` in row-major order, each value repeated over its
/// part of every axis.
fn spread_parameters(call: &Call<'_>) -> Result<[Tensor; 2], EvalError> {
    let (x, scale, zero) = (call.input(0), call.input(1), call.input(2));
    let divides = scale.shape() == zero.shape()
        && scale.rank() == x.rank()
        && scale.shape().iter().zip(x.shape()).all(|(p, w)| *w == 0 || (*p > 0 && w % p == 0));
    if !divides {
        return Err(EvalError::value(format!(
            "expected extents of scale and zero to divide those of {:?}, got {:?} and {:?}",
            x.shape(),
            scale.shape(),
            zero.shape()
        )));
    }
    let spread = |parameter: &Tensor| -> Result<Tensor, EvalError> {
        if x.is_empty() {
            return Ok(Tensor::zeros(parameter.dtype(), x.shape())?);
        }
        let parts = parameter.shape().iter().zip(x.shape());
        let split: Extents = parameter.shape().iter().flat_map(|p| [*p, 1]).collect();
        let repeated: Extents = parts.flat_map(|(p, w)| [*p, w / p]).collect();
        Ok(parameter.reshape(&split)?.broadcast_to(&repeated)?)
    };
    Ok([spread(scale)?, spread(zero)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Scalar;
    use crate::graph::eval::testing::{floats, ints, run_error, run_one};

    fn f32s(shape: &[usize], values: &[f64]) -> Tensor {
        Tensor::from_f64_iter(DType::F32, shape, values.iter().copied()).unwrap()
    }

    #[test]
    fn quantize_rounds_to_even_and_saturates() {
        let text = "graph @t(%x: f32[6], %s: f32[1], %z: u8[1]) -> (y: u8[6]) {
            %0 = quantize %x, %s, %z dtype=u8 : u8[6]\n return %0\n}";
        let x = f32s(&[6], &[1.0, 3.0, 1e9, -1e9, f64::NAN, 5.0]);
        let z = Tensor::from_slice(&[1], &[10u8]).unwrap();
        assert_eq!(ints(&run_one(text, &[x, f32s(&[1], &[2.0]), z])), [10, 12, 255, 0, 0, 12]);
    }

    #[test]
    fn scales_stand_for_tensors_axes_and_groups() {
        let text = "graph @t(%x: f32[2, 4], %s: f32[2, 2], %z: i4[2, 2]) -> (y: f32[2, 4]) {
            %0 = quantize %x, %s, %z dtype=i4 : i4[2, 4]
            %1 = dequantize %0, %s, %z dtype=f32 : f32[2, 4]
            return %1\n}";
        let x = f32s(&[2, 4], &[1.0, 2.0, 3.0, 100.0, 0.5, -0.5, 7.0, -70.0]);
        let s = f32s(&[2, 2], &[1.0, 2.0, 0.5, 10.0]);
        let z = Tensor::from_f64_iter(DType::I4, &[2, 2], [0.0, 1.0, -1.0, 0.0]).unwrap();
        assert_eq!(floats(&run_one(text, &[x, s, z])), [1.0, 2.0, 4.0, 12.0, 0.5, -0.5, 10.0, -70.0]);
    }

    #[test]
    fn float_targets_keep_fractions_and_saturate() {
        let text = "graph @t(%x: f32[3], %s: f32[1], %z: f8e4m3[1]) -> (y: f8e4m3[3]) {
            %0 = quantize %x, %s, %z dtype=f8e4m3 : f8e4m3[3]\n return %0\n}";
        let z = Tensor::scalar(DType::F8E4M3, Scalar::Float(0.0)).reshape(&[1]).unwrap();
        let got = run_one(text, &[f32s(&[3], &[1.0, 1e9, -3.0]), f32s(&[1], &[2.0]), z]);
        assert_eq!(floats(&got), [0.5, 448.0, -1.5]);
    }

    #[test]
    fn bitcast_keeps_bits() {
        let text =
            "graph @t(%x: f32[2]) -> (y: i32[2]) {\n %0 = bitcast %x dtype=i32 : i32[2]\n return %0\n}";
        assert_eq!(ints(&run_one(text, &[f32s(&[2], &[1.0, -0.0])])), [0x3f80_0000, i128::from(i32::MIN)]);
        assert!(run_error(text, &[f32s(&[3], &[0.0; 3])]).contains("expected f32[2]"));
    }

    #[test]
    fn casts_saturate_if_told_to() {
        let text = "graph @t(%x: f32[3]) -> (y: f8e5m2[3]) {
            %0 = cast %x dtype=f8e5m2 saturate=false : f8e5m2[3]
            return %0\n}";
        let x = f32s(&[3], &[1e9, 1.1, -0.0]);
        assert_eq!(floats(&run_one(text, std::slice::from_ref(&x))), [f64::INFINITY, 1.0, 0.0]);
        let text = text.replace("false", "true");
        assert_eq!(floats(&run_one(&text, &[x]))[0], 57344.0);
    }
}
