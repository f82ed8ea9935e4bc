//! Constants, counters, named extents and random bits.

use super::number::{room, store_floats, store_integers};
use super::{Call, EvalError};
use crate::shape::Extents;
use crate::tensor::Tensor;

pub(crate) fn constant(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    Ok(vec![call.typing.tensor("value").clone()])
}

pub(crate) fn iota(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let shape = call.extents(call.typing.dims("shape"))?;
    let axis = call.typing.int("axis") as usize;
    let dtype = call.typing.dtype("dtype");
    let extent = shape[axis];
    let counter = if dtype.is_float() {
        store_floats(dtype, &[extent], (0..extent).map(|i| i as f64))?
    } else {
        store_integers(dtype, &[extent], (0..extent).map(|i| i as i64))?
    };
    let along: Extents = (0..shape.len()).map(|a| if a == axis { extent } else { 1 }).collect();
    Ok(vec![counter.reshape(&along)?.broadcast_to(&shape)?])
}

pub(crate) fn dims(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let values: Vec<i64> =
        call.typing.dims("values").iter().map(|d| call.dim(d)).collect::<Result<_, _>>()?;
    Ok(vec![Tensor::from_slice(&[values.len()], &values)?])
}

/// The frame of the interpreter does the naming.
pub(crate) fn bind_dims(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let symbols = call.typing.dims("symbols");
    if call.input(0).shape() != [symbols.rank()] {
        return Err(EvalError::value(format!(
            "expected {} sizes, got {:?}",
            symbols.rank(),
            call.input(0).shape()
        )));
    }
    Ok(vec![call.input(0).clone()])
}

pub(crate) fn random_bits(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let shape = call.extents(call.typing.dims("shape"))?;
    let key = call.input(0).get_flat(0).to_i128() as u64;
    let dtype = call.results[0].dtype;
    let mut words: Vec<u32> = room(dtype, &shape)?;
    let count: usize = shape.iter().product();
    for counter in 0..count.div_ceil(4) {
        let left = count - words.len();
        words.extend(philox(counter as u128, key).into_iter().take(left));
    }
    Ok(vec![Tensor::from_slice(&shape, &words)?])
}

/// Philox-4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
fn philox(counter: u128, key: u64) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
    const KEY_STEPS: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
    let product = |a: u32, b: u32| {
        let wide = u64::from(a) * u64::from(b);
        ((wide >> 32) as u32, wide as u32)
    };
    let mut words: [u32; 4] = std::array::from_fn(|i| (counter >> (32 * i)) as u32);
    let mut key = [key as u32, (key >> 32) as u32];
    for _ in 0..10 {
        let (high, low) = product(MULTIPLIERS[0], words[0]);
        let (other_high, other_low) = product(MULTIPLIERS[1], words[2]);
        words = [other_high ^ words[1] ^ key[0], other_low, high ^ words[3] ^ key[1], low];
        key = std::array::from_fn(|i| key[i].wrapping_add(KEY_STEPS[i]));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::eval::testing::{floats, ints, run, run_error, run_one};

    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox(u128::MAX, u64::MAX), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        // Digits of pi, as the reference implementation has them.
        let counter = 0x0370_7344_1319_8a2e_85a3_08d3_243f_6a88;
        assert_eq!(
            philox(counter, 0x299f_31d0_a409_3822),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn random_bits_continue_from_counter_to_counter() {
        let text = "graph @t(%k: u64[]) -> (y: u32[2, 3]) {
            %0 = random_bits %k shape=[2, 3] : u32[2, 3]
            return %0\n}";
        let got = run_one(text, &[Tensor::from_slice(&[], &[7u64]).unwrap()]);
        let expected: Vec<u32> = philox(0, 7).into_iter().chain(philox(1, 7)).take(6).collect();
        assert_eq!(got.as_slice::<u32>().unwrap(), expected);
    }

    #[test]
    fn iota_counts_along_its_axis_and_wraps() {
        let text = "graph @t() -> (a: f16[2, 3], b: i4[9]) {
            %0 = iota shape=[2, 3] axis=1 dtype=f16 : f16[2, 3]
            %1 = iota shape=[9] axis=0 dtype=i4 : i4[9]
            return %0, %1\n}";
        let got = run(text, &[]);
        assert_eq!(floats(&got[0]), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
        assert_eq!(ints(&got[1]), [0, 1, 2, 3, 4, 5, 6, 7, -8]);
    }

    #[test]
    fn extents_become_values_and_values_extents() {
        let text = "graph @t(%x: f32[N, M]) -> (y: f32[A, B]) {
            %0 = dims values=[M, N] : i64[2]
            %1 = bind_dims %0 symbols=[A, B] : i64[2]
            %2 = reshape %x shape=[A, B] : f32[A, B]
            return %2\n}";
        let x = Tensor::random(crate::dtype::DType::F32, &[2, 3], 0).unwrap();
        assert_eq!(run_one(text, std::slice::from_ref(&x)), x.reshape(&[3, 2]).unwrap());
        let text = "graph @t(%s: i64[1]) -> (y: i64[A]) {
            %0 = bind_dims %s symbols=[A] : i64[1]
            %1 = iota shape=[A] axis=0 dtype=i64 : i64[A]
            return %1\n}";
        let error = run_error(text, &[Tensor::from_slice(&[1], &[-1i64]).unwrap()]);
        assert!(error.contains("got -1"), "{error}");
    }
}
