//! Comparison of results with tolerances in ulps and in relative and absolute error.

use std::fmt;

use super::Tensor;
use crate::dtype::{DType, Scalar};

/// How far two elements may be apart and still count as equal.
///
/// Elements agree if any of the given criteria accepts them; equal values always agree, with both
/// zeros equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Accepts values at most so many representable values apart; for integers, the difference.
    pub ulps: u64,
    /// With `atol`: accepts `|actual - expected| <= atol + rtol * |expected|`.
    pub rtol: f64,
    /// See `rtol`.
    pub atol: f64,
    /// Whether NaN agrees with NaN.
    pub nan_equal: bool,
}

/// How close two tensors that agree are.
#[derive(Clone, Debug, PartialEq)]
pub struct Closeness {
    /// The greatest distance in ulps.
    pub max_ulps: u64,
    /// The greatest absolute difference.
    pub max_abs: f64,
    /// The greatest difference relative to the expected value, where that is not 0.
    pub max_rel: f64,
    /// The elements compared.
    pub compared: usize,
}

/// The element furthest beyond the tolerance.
#[derive(Clone, Debug, PartialEq)]
pub struct WorstElement {
    /// Its index.
    pub index: Vec<usize>,
    /// The value found.
    pub actual: Scalar,
    /// The value expected.
    pub expected: Scalar,
    /// Their distance in ulps, `None` when one is NaN.
    pub ulps: Option<u64>,
}

/// Why two tensors do not agree.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Mismatch {
    /// The element types differ.
    DType {
        /// The type expected.
        expected: DType,
        /// The type found.
        found: DType,
    },
    /// The shapes differ.
    Shape {
        /// The shape expected.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// Elements differ by more than the tolerance.
    Values {
        /// The element type.
        dtype: DType,
        /// How many do.
        count: usize,
        /// Of how many.
        total: usize,
        /// The one that does most.
        worst: Box<WorstElement>,
        /// What was allowed.
        tolerance: Tolerance,
    },
}

impl Tolerance {
    /// Accepts equal values only, with NaN equal to NaN.
    pub const EXACT: Tolerance = Tolerance { ulps: 0, rtol: 0.0, atol: 0.0, nan_equal: true };

    /// At most so many representable values apart.
    pub const fn ulps(ulps: u64) -> Tolerance {
        Tolerance { ulps, ..Tolerance::EXACT }
    }

    /// At most `atol + rtol * |expected|` apart.
    pub const fn relative(rtol: f64, atol: f64) -> Tolerance {
        Tolerance { rtol, atol, ..Tolerance::EXACT }
    }

    /// What a few roundings in a different order may do to a result of this type: exact for integers
    /// and `bool`, one ulp for floats of at most 8 bits, 4 epsilons for those of 16, 64 for others.
    pub fn for_dtype(dtype: DType) -> Tolerance {
        let epsilons = match (dtype.epsilon(), dtype.bits()) {
            (None, _) => return Tolerance::EXACT,
            (Some(_), ..=8) => return Tolerance::ulps(1),
            (Some(epsilon), ..=16) => 4.0 * epsilon,
            (Some(epsilon), _) => 64.0 * epsilon,
        };
        Tolerance::relative(epsilons, epsilons)
    }

    /// The error as a multiple of what is allowed, by the most lenient criterion: at most 1 agrees.
    fn excess(&self, difference: &Difference, expected: f64) -> f64 {
        let Difference::Distance { ulps, abs } = *difference else {
            return if matches!(difference, Difference::BothNan) && self.nan_equal {
                0.0
            } else {
                f64::INFINITY
            };
        };
        if ulps == 0 || abs == 0.0 {
            return 0.0;
        }
        let ratio = |error: f64, allowed: f64| if allowed > 0.0 { error / allowed } else { f64::INFINITY };
        let by_ulps = ratio(ulps as f64, self.ulps as f64);
        // An infinity is beyond every relative error, and `inf / inf` is no ratio.
        let by_value =
            if abs.is_finite() { ratio(abs, self.atol + self.rtol * expected.abs()) } else { f64::INFINITY };
        by_ulps.min(by_value)
    }
}

enum Difference {
    BothNan,
    OneNan,
    Distance { ulps: u64, abs: f64 },
}

impl Tensor {
    /// Compares with the tensor that was expected, element by element.
    pub fn compare(&self, expected: &Tensor, tolerance: Tolerance) -> Result<Closeness, Mismatch> {
        if self.dtype() != expected.dtype() {
            return Err(Mismatch::DType { expected: expected.dtype(), found: self.dtype() });
        }
        if self.shape() != expected.shape() {
            return Err(Mismatch::Shape {
                expected: expected.shape().to_vec(),
                found: self.shape().to_vec(),
            });
        }
        let dtype = self.dtype();
        let mut closeness = Closeness { max_ulps: 0, max_abs: 0.0, max_rel: 0.0, compared: self.len() };
        let mut count = 0;
        let mut worst: Option<(f64, usize)> = None;
        for (position, (left, right)) in self.iter_bits().zip(expected.iter_bits()).enumerate() {
            if left == right && !dtype.decode_bits(left).is_nan() {
                continue;
            }
            let difference = difference(dtype, left, right);
            let wanted = dtype.decode_bits(right).to_f64();
            if let Difference::Distance { ulps, abs } = difference {
                closeness.max_ulps = closeness.max_ulps.max(ulps);
                closeness.max_abs = closeness.max_abs.max(abs);
                if wanted != 0.0 {
                    closeness.max_rel = closeness.max_rel.max(abs / wanted.abs());
                }
            }
            let excess = tolerance.excess(&difference, wanted);
            if excess > 1.0 {
                count += 1;
                if worst.is_none_or(|(greatest, _)| excess > greatest) {
                    worst = Some((excess, position));
                }
            }
        }
        let Some((_, position)) = worst else { return Ok(closeness) };
        let worst = Box::new(self.worst_element(expected, position));
        Err(Mismatch::Values { dtype, count, total: self.len(), worst, tolerance })
    }

    fn worst_element(&self, expected: &Tensor, position: usize) -> WorstElement {
        let (actual, wanted) = (self.get_flat(position), expected.get_flat(position));
        let dtype = self.dtype();
        let ulps = match difference(dtype, dtype.encode_bits(actual), dtype.encode_bits(wanted)) {
            Difference::Distance { ulps, .. } => Some(ulps),
            _ => None,
        };
        WorstElement { index: unflatten(position, self.shape()), actual, expected: wanted, ulps }
    }
}

fn difference(dtype: DType, left: u64, right: u64) -> Difference {
    let (a, b) = (dtype.decode_bits(left), dtype.decode_bits(right));
    match (a, b) {
        _ if a.is_nan() && b.is_nan() => Difference::BothNan,
        _ if a.is_nan() || b.is_nan() => Difference::OneNan,
        (Scalar::Int(a), Scalar::Int(b)) => {
            let distance = a.abs_diff(b);
            Difference::Distance { ulps: distance as u64, abs: distance as f64 }
        }
        _ => {
            let place = |bits| dtype.float_format().map_or(0, |format| format.place(bits));
            let ulps = u64::try_from(place(left).abs_diff(place(right))).unwrap_or(u64::MAX);
            Difference::Distance { ulps, abs: (a.to_f64() - b.to_f64()).abs() }
        }
    }
}

/// The index of a position in row-major order.
fn unflatten(mut position: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (slot, &extent) in index.iter_mut().zip(shape).rev() {
        *slot = position % extent;
        position /= extent;
    }
    index
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::DType { expected, found } => {
                write!(f, "expected a tensor of {expected}, found {found}")
            }
            Mismatch::Shape { expected, found } => write!(f, "expected shape {expected:?}, found {found:?}"),
            Mismatch::Values { dtype, count, total, worst, tolerance } => {
                let WorstElement { index, actual, expected, ulps } = &**worst;
                let (actual, expected) = (actual.text(*dtype), expected.text(*dtype));
                write!(
                    f,
                    "{count} of {total} elements differ; worst at {index:?}: expected {expected}, found {actual}"
                )?;
                if let Some(ulps) = ulps {
                    write!(f, ", {ulps} ulps apart")?;
                }
                let Tolerance { ulps, rtol, atol, .. } = tolerance;
                write!(f, " (allowed: {ulps} ulps, or {atol:e} + {rtol:e} relative)")
            }
        }
    }
}

impl std::error::Error for Mismatch {}
