//! Tests of tensors: views against index arithmetic, copies on write, and refusals.

use proptest::prelude::*;

use super::*;

fn counting(shape: &[usize]) -> Tensor {
    let elements: Vec<i32> = (0..shape.iter().product::<usize>() as i32).collect();
    Tensor::from_slice(shape, &elements).expect("small")
}

#[test]
fn constructors_agree() {
    let tensor = Tensor::from_slice(&[2, 2], &[1.0f32, 2.0, 3.0, 4.0]).expect("small");
    assert_eq!(tensor.to_string(), "[[1.0, 2.0], [3.0, 4.0]]");
    let from_f64 = Tensor::from_f64_iter(DType::F32, &[2, 2], [1.0, 2.0, 3.0, 4.0]).expect("small");
    let bytes = tensor.to_bytes().expect("small").into_owned();
    assert_eq!(tensor, from_f64);
    assert_eq!(tensor, Tensor::from_bytes(DType::F32, &[2, 2], bytes).expect("small"));
    assert_eq!(tensor.as_slice::<f32>(), Some(&[1.0, 2.0, 3.0, 4.0][..]));
    assert_eq!(tensor.as_slice::<i32>(), None);
    assert_eq!(Tensor::scalar(DType::Bool, Scalar::Int(7)).to_string(), "true");
    assert_eq!(Tensor::full(DType::I4, &[3], Scalar::Int(-3)).expect("small").to_string(), "[-3, -3, -3]");
    assert_eq!(Tensor::zeros(DType::F32, &[2, 0, 3]).expect("empty").to_string(), "[[]]");
    assert!(Tensor::from_f64_iter(DType::F32, &[2], [1.0]).is_err());
    assert!(Tensor::from_f64_iter(DType::F32, &[2], [1.0; 3]).is_err());
}

#[test]
fn impossible_sizes_are_refused() {
    for shape in [&[1usize << 60][..], &[1 << 40, 1 << 40], &[0, usize::MAX, 2], &[1 << 56]] {
        let result = Tensor::zeros(DType::F64, shape);
        assert!(matches!(result, Err(TensorError::TooLarge { .. })), "{shape:?}");
    }
    let one = Tensor::scalar(DType::F32, Scalar::Int(1));
    assert!(matches!(one.broadcast_to(&[1 << 60]), Err(TensorError::TooLarge { .. })));
    let huge = one.broadcast_to(&[1 << 50]).expect("a view takes no memory");
    assert!(huge.contiguous().is_err() && huge.to_vec_f64().is_err());
    assert!(huge.clone().set(&[0], Scalar::Int(2)).is_err());
}

#[test]
fn narrow_types_are_packed_low_bits_first() {
    let values: Vec<Scalar> = [1, -2, 7].map(Scalar::Int).to_vec();
    let tensor = Tensor::from_scalars(DType::I4, &[3], &values).expect("small");
    assert_eq!(&*tensor.to_bytes().expect("small"), &[0xe1, 0x07]);
    let tail = tensor.slice(&[1], &[2], &[1]).expect("within");
    assert_eq!(&*tail.to_bytes().expect("small"), &[0x7e]);
    assert_eq!(tail.to_string(), "[-2, 7]");
    // The unused bits of the last byte do not count.
    let dirty = Tensor::from_bytes(DType::I4, &[3], vec![0xe1, 0xf7]).expect("small");
    assert_eq!(dirty, tensor);
    assert_eq!(dirty.content_hash(), tensor.content_hash());
}

#[test]
fn writing_copies_what_others_see() {
    let original = counting(&[2, 3]);
    let mut changed = original.clone();
    changed.set(&[1, 2], Scalar::Int(40)).expect("within");
    assert_eq!(original.get(&[1, 2]), Scalar::Int(5));
    assert_eq!(changed.get(&[1, 2]), Scalar::Int(40));
    let mut row = Tensor::scalar(DType::I32, Scalar::Int(1)).broadcast_to(&[3]).expect("broadcasts");
    row.set(&[1], Scalar::Int(9)).expect("within");
    assert_eq!(row.to_string(), "[1, 9, 1]");
    let mut turned = counting(&[2, 2]).transpose(&[1, 0]).expect("permutation");
    turned.as_mut_slice::<i32>().expect("i32")[1] = 50;
    assert_eq!(turned.to_string(), "[[0, 50], [1, 3]]");
    assert!(changed.set(&[2, 0], Scalar::Int(0)).is_err());
}

#[test]
fn shared_bytes_are_read_in_place_though_misaligned() {
    let mut bytes = vec![0xff; 3];
    bytes.extend([1.5f32, -2.0].iter().flat_map(|v| v.to_le_bytes()));
    let owner: SharedBytes = std::sync::Arc::new(bytes);
    let tensor = Tensor::from_shared(DType::F32, &[2], owner.clone(), 3).expect("inside");
    assert_eq!(tensor.to_vec_f64().expect("small"), [1.5, -2.0]);
    assert!(matches!(tensor.to_bytes().expect("small"), Cow::Borrowed(_)));
    let copy = Tensor::from_slice(&[2], &[1.5f32, -2.0]).expect("small");
    assert_eq!((tensor.content_hash(), &tensor), (copy.content_hash(), &copy));
    assert_eq!(tensor.content_hash(), copy.content_hash());
    assert!(Tensor::from_shared(DType::F32, &[3], owner.clone(), 3).is_err());
    assert!(Tensor::from_shared(DType::F32, &[1], owner, usize::MAX).is_err());
}

#[test]
fn bulk_conversions_agree_with_scalars() {
    for dtype in DType::ALL {
        for elements in [5, 300] {
            let tensor = Tensor::random(dtype, &[elements, 3], 7).expect("small");
            let one_by_one: Vec<f64> = tensor.iter_scalars().map(Scalar::to_f64).collect();
            assert_eq!(tensor.to_vec_f64().expect("small"), one_by_one, "{dtype}");
            let turned = tensor.transpose(&[1, 0]).expect("permutation");
            let by_index: Vec<f64> = (0..3)
                .flat_map(|j| (0..elements).map(move |i| (i, j)))
                .map(|(i, j)| tensor.get(&[i, j]).to_f64())
                .collect();
            assert_eq!(turned.to_vec_f64().expect("small"), by_index, "{dtype}");
            assert_eq!(turned.contiguous().expect("small"), turned, "{dtype}");
            assert_eq!(turned.contiguous().expect("small").content_hash(), turned.content_hash(), "{dtype}");
            for to in DType::ALL {
                let cast = tensor.cast(to, false).expect("small");
                let expected = tensor.iter_scalars().map(|value| value.cast(dtype, to, false));
                assert!(cast.iter_scalars().eq(expected), "{dtype} -> {to}");
            }
        }
    }
}

#[test]
fn random_tensors_are_roughly_normal_and_repeatable() {
    let tensor = Tensor::random(DType::F32, &[100, 100], 3).expect("small");
    assert_eq!(tensor, Tensor::random(DType::F32, &[100, 100], 3).expect("small"));
    assert_ne!(tensor, Tensor::random(DType::F32, &[100, 100], 4).expect("small"));
    let values = tensor.to_vec_f64().expect("small");
    let mean = values.iter().sum::<f64>() / 1e4;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e4;
    assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    let ints = Tensor::random(DType::I2, &[1000], 1).expect("small").to_vec_f64().expect("small");
    for value in [-2.0, -1.0, 0.0, 1.0] {
        assert!(ints.contains(&value));
    }
}

#[test]
fn comparison_reports_the_worst_element() {
    let expected = Tensor::from_slice(&[2, 2], &[1.0f32, 2.0, f32::NAN, 0.0]).expect("small");
    let close = Tensor::from_slice(&[2, 2], &[1.000_000_1f32, 2.0, f32::NAN, -0.0]).expect("small");
    let closeness = close.compare(&expected, Tolerance::ulps(1)).expect("one ulp");
    assert_eq!((closeness.max_ulps, closeness.compared), (1, 4));
    assert!(close.compare(&expected, Tolerance { nan_equal: false, ..Tolerance::ulps(1) }).is_err());
    let far = Tensor::from_slice(&[2, 2], &[1.1f32, 4.0, f32::NAN, 0.0]).expect("small");
    let mismatch = far.compare(&expected, Tolerance::for_dtype(DType::F32)).expect_err("far");
    let text = mismatch.to_string();
    assert!(text.starts_with("2 of 4 elements differ; worst at [0, 1]: expected 2.0, found 4.0, "), "{text}");
    let infinite = Tensor::from_slice(&[2, 2], &[f32::INFINITY, 2.0, f32::NAN, 0.0]).expect("small");
    assert!(infinite.compare(&expected, Tolerance::relative(1.0, 1e30)).is_err());
    assert!(infinite.compare(&infinite, Tolerance::EXACT).is_ok());
    assert!(far.compare(&far.cast(DType::F64, false).expect("small"), Tolerance::EXACT).is_err());
}

#[test]
fn big_tensors_print_a_summary() {
    let text = counting(&[20, 20]).to_string();
    assert_eq!(text, "i32[20, 20] {min: 0.0, max: 399.0, mean: 199.5, first: [0, 1, 2, 3, 4, 5, 6, 7, ...]}");
}

/// One random view step; indices into the original are tracked beside it.
#[derive(Clone, Debug)]
enum Step {
    Reverse,
    EveryOther,
    Merge,
    Split,
    Repeat,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn views_agree_with_packed_copies(
        shape in prop::collection::vec(1usize..5, 1..4),
        narrow in any::<bool>(),
        steps in prop::collection::vec(
            prop_oneof![Just(Step::Reverse), Just(Step::EveryOther), Just(Step::Merge), Just(Step::Split), Just(Step::Repeat)], 0..6),
    ) {
        let dtype = if narrow { DType::U4 } else { DType::I32 };
        let mut view = counting(&shape).cast(dtype, false).expect("small");
        // The same steps with everything packed in between.
        let mut packed = view.clone();
        for step in steps {
            let apply = |tensor: &Tensor| -> Tensor {
                let shape = tensor.shape().to_vec();
                let rank = shape.len();
                match step {
                    Step::Reverse => {
                        let perm: Vec<usize> = (0..rank).rev().collect();
                        tensor.transpose(&perm).expect("permutation")
                    }
                    Step::EveryOther => {
                        let starts: Vec<usize> = shape.iter().map(|extent| extent - 1).collect();
                        let sizes: Vec<usize> = shape.iter().map(|extent| extent.div_ceil(2)).collect();
                        tensor.slice(&starts, &sizes, &vec![-2; rank]).expect("within")
                    }
                    Step::Merge => tensor.reshape(&[tensor.len()]).expect("same elements"),
                    Step::Split => {
                        let least = (2..=tensor.len()).find(|d| tensor.len().is_multiple_of(*d)).unwrap_or(1);
                        tensor.reshape(&[least, tensor.len() / least, 1]).expect("same elements")
                    }
                    Step::Repeat => {
                        if tensor.len() > 100 { return tensor.clone(); }
                        let mut wider = vec![2];
                        wider.extend(&shape);
                        tensor.broadcast_to(&wider).expect("broadcasts")
                    }
                }
            };
            let bytes = packed.to_bytes().expect("small").into_owned();
            packed = apply(&Tensor::from_bytes(dtype, packed.shape(), bytes).expect("small"));
            view = apply(&view);
        }
        prop_assert_eq!(&view, &packed);
        for position in 0..view.len() {
            prop_assert_eq!(view.get_flat(position), packed.get_flat(position));
        }
    }
}

#[test]
fn a_tensor_in_parts_is_the_same_tensor() {
    let values: Vec<f32> = (0..37 * 53).map(|i| i as f32).collect();
    let tensor = Tensor::from_slice(&[37, 53], &values).expect("as many as the shape says");
    let turned = tensor.transpose(&[1, 0]).expect("a permutation").contiguous().expect("there is memory");
    for (i, j) in [(0, 0), (52, 36), (17, 5), (31, 36)] {
        assert_eq!(turned.get(&[i, j]), tensor.get(&[j, i]));
    }
    assert_eq!(turned.len(), values.len());
}
