//! Elements in the types that the interpreter computes in: floats of every width in `f64`, `u64` in itself,
//! other integers and truth values in `i64`.
//!
//! Each holds the values of its element types exactly, so that a result is rounded or wrapped once, when it is
//! stored.

use std::cmp::Ordering;

use super::EvalError;
use crate::dtype::{DType, Scalar};
use crate::tensor::{Element, Tensor, TensorError, checked_size};

/// A type that elements are computed in.
pub(super) trait Number: Copy + PartialEq + 'static {
    const ZERO: Self;
    const ONE: Self;

    /// The elements in row-major order. Integers too wide for the type keep their low bits.
    fn load(tensor: &Tensor) -> Result<Vec<Self>, EvalError>;

    /// A tensor of row-major elements, floats rounded and integers wrapped to the type.
    fn store(dtype: DType, shape: &[usize], values: &[Self]) -> Result<Tensor, EvalError>;

    fn plus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;

    /// The order of sorting: NaN equals itself and is above everything else, zeros are equal.
    fn order(self, other: Self) -> Ordering;

    /// The larger; NaN if either is, and 0.0 is above -0.0.
    fn larger(self, other: Self) -> Self;
    /// The smaller; NaN if either is, and -0.0 is below 0.0.
    fn smaller(self, other: Self) -> Self;

    /// What is not above any value of the type.
    fn least(dtype: DType) -> Self;
    /// What is not below any value of the type.
    fn greatest(dtype: DType) -> Self;
}

/// Runs a body with `$number` as the type that elements of a type are computed in.
macro_rules! with_number {
    ($dtype:expr, $number:ident => $body:expr) => {
        match $dtype {
            dtype if dtype.is_float() => {
                type $number = f64;
                $body
            }
            $crate::dtype::DType::U64 => {
                type $number = u64;
                $body
            }
            _ => {
                type $number = i64;
                $body
            }
        }
    };
}
pub(super) use with_number;

impl Number for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;

    fn load(tensor: &Tensor) -> Result<Vec<f64>, EvalError> {
        Ok(tensor.to_vec_f64()?)
    }

    fn store(dtype: DType, shape: &[usize], values: &[f64]) -> Result<Tensor, EvalError> {
        store_floats(dtype, shape, values.iter().copied())
    }

    #[inline(always)]
    fn plus(self, other: f64) -> f64 {
        self + other
    }

    #[inline(always)]
    fn times(self, other: f64) -> f64 {
        self * other
    }

    fn order(self, other: f64) -> Ordering {
        self.partial_cmp(&other).unwrap_or_else(|| self.is_nan().cmp(&other.is_nan()))
    }

    fn larger(self, other: f64) -> f64 {
        let keeps = self.is_nan() || self > other || (self == other && self.is_sign_positive());
        if keeps { self } else { other }
    }

    fn smaller(self, other: f64) -> f64 {
        let keeps = self.is_nan() || self < other || (self == other && self.is_sign_negative());
        if keeps { self } else { other }
    }

    fn least(_: DType) -> f64 {
        f64::NEG_INFINITY
    }

    fn greatest(_: DType) -> f64 {
        f64::INFINITY
    }
}

macro_rules! integer {
    ($native:ident, $load:path) => {
        impl Number for $native {
            const ZERO: $native = 0;
            const ONE: $native = 1;

            fn load(tensor: &Tensor) -> Result<Vec<$native>, EvalError> {
                $load(tensor)
            }

            fn store(dtype: DType, shape: &[usize], values: &[$native]) -> Result<Tensor, EvalError> {
                // Only the low bits are stored, which signedness does not change.
                store_integers(dtype, shape, values.iter().map(|v| *v as i64))
            }

            #[inline(always)]
            fn plus(self, other: $native) -> $native {
                self.wrapping_add(other)
            }

            #[inline(always)]
            fn times(self, other: $native) -> $native {
                self.wrapping_mul(other)
            }

            fn order(self, other: $native) -> Ordering {
                self.cmp(&other)
            }

            fn larger(self, other: $native) -> $native {
                self.max(other)
            }

            fn smaller(self, other: $native) -> $native {
                self.min(other)
            }

            fn least(dtype: DType) -> $native {
                dtype.int_min().and_then(|v| v.try_into().ok()).unwrap_or($native::MIN)
            }

            fn greatest(dtype: DType) -> $native {
                dtype.int_max().and_then(|v| v.try_into().ok()).unwrap_or($native::MAX)
            }
        }
    };
}

integer!(i64, load_signed);
integer!(u64, load_unsigned);

fn load_signed(tensor: &Tensor) -> Result<Vec<i64>, EvalError> {
    match tensor.dtype() {
        DType::I64 => load_as::<i64, i64>(tensor),
        DType::I32 => load_as::<i32, i64>(tensor),
        DType::I16 => load_as::<i16, i64>(tensor),
        DType::I8 => load_as::<i8, i64>(tensor),
        DType::U32 => load_as::<u32, i64>(tensor),
        DType::U16 => load_as::<u16, i64>(tensor),
        DType::U8 | DType::Bool => load_as::<u8, i64>(tensor),
        _ => load_each(tensor, |v| v as i64),
    }
}

fn load_unsigned(tensor: &Tensor) -> Result<Vec<u64>, EvalError> {
    match tensor.dtype() {
        DType::U64 => load_as::<u64, u64>(tensor),
        _ => load_each(tensor, |v| v as u64),
    }
}

fn load_as<E: Element + Into<N>, N: TryFrom<i128> + Number>(tensor: &Tensor) -> Result<Vec<N>, EvalError> {
    let packed = tensor.contiguous()?;
    match packed.as_slice::<E>() {
        Some(elements) => {
            let mut values = room(tensor.dtype(), tensor.shape())?;
            values.extend(elements.iter().map(|v| (*v).into()));
            Ok(values)
        }
        // Bytes of somebody else need not be aligned.
        None => load_each(&packed, |v| N::try_from(v).unwrap_or(N::ZERO)),
    }
}

fn load_each<N>(tensor: &Tensor, convert: impl Fn(i128) -> N) -> Result<Vec<N>, EvalError> {
    let mut values = room(tensor.dtype(), tensor.shape())?;
    values.extend(tensor.iter_scalars().map(|s| convert(s.to_i128())));
    Ok(values)
}

/// A tensor of a float type, or of truth values, from as many row-major values as the shape needs.
pub(super) fn store_floats(
    dtype: DType,
    shape: &[usize],
    values: impl Iterator<Item = f64>,
) -> Result<Tensor, EvalError> {
    if dtype.is_float() && dtype.bits() <= 8 {
        // An infinity stays one where the type has it, unlike in a saturating cast.
        return store_bits(dtype, shape, values.map(|v| dtype.encode_bits(Scalar::Float(v))));
    }
    Ok(Tensor::from_f64_iter(dtype, shape, values)?)
}

/// A tensor of an integer type, or of truth values, from the low bits of row-major values.
pub(super) fn store_integers(
    dtype: DType,
    shape: &[usize],
    values: impl Iterator<Item = i64>,
) -> Result<Tensor, EvalError> {
    if dtype.is_bool() {
        return store_bits(dtype, shape, values.map(|v| u64::from(v != 0)));
    }
    store_bits(dtype, shape, values.map(|v| v as u64))
}

fn store_bits(dtype: DType, shape: &[usize], values: impl Iterator<Item = u64>) -> Result<Tensor, EvalError> {
    let (count, size) = checked_size(dtype, shape)?;
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| too_large(dtype, shape))?;
    let values = values.take(count);
    match dtype.bits() {
        8 => values.for_each(|v| bytes.push(v as u8)),
        16 => values.for_each(|v| bytes.extend((v as u16).to_le_bytes())),
        32 => values.for_each(|v| bytes.extend((v as u32).to_le_bytes())),
        64 => values.for_each(|v| bytes.extend(v.to_le_bytes())),
        width => {
            bytes.resize(size, 0);
            let mask = (1u64 << width) - 1;
            for (bit, value) in (0..).step_by(width as usize).zip(values) {
                bytes[bit / 8] |= ((value & mask) << (bit % 8)) as u8;
            }
        }
    }
    Ok(Tensor::from_bytes(dtype, shape, bytes)?)
}

/// An empty list with room for an element of each place of a tensor of this type and shape.
pub(super) fn room<T>(dtype: DType, shape: &[usize]) -> Result<Vec<T>, EvalError> {
    let (count, _) = checked_size(dtype, shape)?;
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| too_large(dtype, shape))?;
    Ok(list)
}

/// A list with one value for each place of a tensor of this type and shape.
pub(super) fn filled<T: Copy>(dtype: DType, shape: &[usize], value: T) -> Result<Vec<T>, EvalError> {
    let mut list = room(dtype, shape)?;
    list.resize(shape.iter().product(), value);
    Ok(list)
}

pub(super) fn too_large(dtype: DType, shape: &[usize]) -> EvalError {
    EvalError::Tensor(TensorError::TooLarge { dtype, shape: shape.to_vec() })
}
