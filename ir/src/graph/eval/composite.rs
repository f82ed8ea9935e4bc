//! Softmax, normalisations, attention and determinants, computed in `f64` from their definitions.

use super::number::{Number, filled, room};
use super::place::{last_back, with_last};
use super::{Call, EvalError};
use crate::dtype::DType;
use crate::shape::Extents;
use crate::tensor::Tensor;

pub(crate) fn softmax(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    along_axis(call, |row| {
        let most = largest(row);
        row.iter_mut().for_each(|x| *x = (*x - most).exp());
        let total: f64 = row.iter().sum();
        row.iter_mut().for_each(|x| *x /= total);
    })
}

pub(crate) fn log_softmax(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    along_axis(call, |row| {
        let most = largest(row);
        let total: f64 = row.iter().map(|x| (x - most).exp()).sum();
        row.iter_mut().for_each(|x| *x = *x - most - total.ln());
    })
}

fn largest(row: &[f64]) -> f64 {
    row.iter().fold(f64::NEG_INFINITY, |a, b| a.larger(*b))
}

fn along_axis(call: &Call<'_>, transform: impl Fn(&mut [f64])) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let axis = call.axis("axis");
    let moved = with_last(x, &[axis])?;
    let mut elements = f64::load(&moved)?;
    elements.chunks_exact_mut(x.shape()[axis].max(1)).for_each(transform);
    Ok(vec![last_back(&f64::store(x.dtype(), moved.shape(), &elements)?, axis)?])
}

pub(crate) fn layer_norm(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let eps = call.typing.float("eps");
    let [scale, bias] = [1, 2].map(|i| factors(call, i, &call.input(0).shape()[call.axis("axis")..]));
    let (scale, bias) = (scale?, bias?);
    in_rows(call, scale.len(), |_, row| {
        standardise(row, eps);
        row.iter_mut().zip(&scale).zip(&bias).for_each(|((x, s), b)| *x = *x * s + b);
    })
}

pub(crate) fn rms_norm(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let eps = call.typing.float("eps");
    let scale = factors(call, 1, &call.input(0).shape()[call.axis("axis")..])?;
    in_rows(call, scale.len(), |_, row| {
        let mean_square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let divisor = (mean_square + eps).sqrt();
        row.iter_mut().zip(&scale).for_each(|(x, s)| *x = *x / divisor * s);
    })
}

pub(crate) fn group_norm(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let eps = call.typing.float("eps");
    let channels = x.shape()[1];
    let groups = usize::try_from(call.typing.int("groups")).unwrap_or(usize::MAX);
    if !channels.is_multiple_of(groups) {
        return Err(EvalError::value(format!("expected {groups} groups of {channels} channels")));
    }
    let (scale, bias) = (factors(call, 1, &[channels])?, factors(call, 2, &[channels])?);
    let plane: usize = x.shape()[2..].iter().product();
    let of_group = channels / groups;
    in_rows(call, of_group * plane, |index, row| {
        standardise(row, eps);
        for (i, x) in row.iter_mut().enumerate() {
            let channel = index % groups * of_group + i / plane;
            *x = *x * scale[channel] + bias[channel];
        }
    })
}

/// The elements of an operand that must have this shape.
fn factors(call: &Call<'_>, operand: usize, shape: &[usize]) -> Result<Vec<f64>, EvalError> {
    let factor = call.input(operand);
    if factor.shape() != shape {
        return Err(EvalError::value(format!("expected a shape of {shape:?}, got {:?}", factor.shape())));
    }
    f64::load(factor)
}

/// Transforms rows of `x` of some length, given with their position.
fn in_rows(
    call: &Call<'_>,
    length: usize,
    transform: impl Fn(usize, &mut [f64]),
) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let mut elements = f64::load(x)?;
    for (index, row) in elements.chunks_exact_mut(length.max(1)).enumerate() {
        transform(index, row);
    }
    Ok(vec![f64::store(x.dtype(), x.shape(), &elements)?])
}

/// Brings a row to mean 0 and variance 1. The variance is taken about the mean in a second pass, which large
/// means do not spoil.
fn standardise(row: &mut [f64], eps: f64) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
    let divisor = (variance + eps).sqrt();
    row.iter_mut().for_each(|x| *x = (*x - mean) / divisor);
}

pub(crate) fn attention(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let (q, k, v) = (call.input(0), call.input(1), call.input(2));
    let [batches, heads, queries, width] = extents_of(q);
    let [_, shared, keys, _] = extents_of(k);
    let values = v.shape()[3];
    let paired = k.shape() == [batches, shared, keys, width] && v.shape()[..3] == k.shape()[..3];
    let divides = if shared == 0 { heads == 0 } else { heads.is_multiple_of(shared) };
    if !paired || !divides {
        return Err(EvalError::value(format!(
            "expected [B, H, S, D], [B, G, T, D] and [B, G, T, E] with G dividing H, got {:?}, {:?} and {:?}",
            q.shape(),
            k.shape(),
            v.shape()
        )));
    }
    let scores_shape = [batches, heads, queries, keys];
    let mask = call.inputs.get(3).map(|mask| mask.broadcast_to(&scores_shape)).transpose()?;
    let (scale, softcap) = (call.typing.float("scale"), call.typing.float("softcap"));
    let causal = call.typing.flag("causal");
    let cap = |score: f64| if softcap == 0.0 { score } else { softcap * (score / softcap).tanh() };

    let shape = [batches, heads, queries, values];
    let mut out = filled(q.dtype(), &shape, 0.0)?;
    let mut scores: Vec<f64> = room(DType::F64, &[keys])?;
    let head_count = if out.is_empty() { 0 } else { batches * heads };
    for head in 0..head_count {
        let (batch, h) = (head / heads, head % heads);
        let of_head = |x: &Tensor, h: usize| -> Result<Tensor, EvalError> {
            let [_, _, rows, columns] = extents_of(x);
            Ok(x.slice(&[batch, h, 0, 0], &[1, 1, rows, columns], &[1; 4])?.reshape(&[rows, columns])?)
        };
        let serving = h / (heads / shared);
        let q = f64::load(&of_head(q, h)?)?;
        // Keys stand in columns, so that the inner loops run over neighbours.
        let k = f64::load(&of_head(k, serving)?.transpose(&[1, 0])?)?;
        let v = f64::load(&of_head(v, serving)?)?;
        let mask = mask.as_ref().map(|mask| Mask::of(&of_head(mask, h)?)).transpose()?;
        for row in 0..queries {
            scores.clear();
            scores.resize(keys, 0.0);
            for d in 0..width {
                let factor = q[row * width + d];
                scores.iter_mut().zip(&k[d * keys..]).for_each(|(score, k)| *score += factor * k);
            }
            scores.iter_mut().for_each(|score| *score = cap(*score * scale));
            if let Some(mask) = &mask {
                mask.apply(row, &mut scores);
            }
            if causal {
                let visible = (row + 1 + keys).saturating_sub(queries).min(keys);
                scores[visible..].fill(f64::NEG_INFINITY);
            }
            let start = (head * queries + row) * values;
            mix(&scores, &v, &mut out[start..start + values]);
        }
    }
    Ok(vec![f64::store(q.dtype(), &shape, &out)?])
}

/// The extents of a tensor of rank 4, which inference has checked.
fn extents_of(x: &Tensor) -> [usize; 4] {
    std::array::from_fn(|axis| x.shape()[axis])
}

/// Sets `out` to the sum of the rows of `values`, weighted with the softmax of the scores. Those of minus
/// infinity take no part, whatever their values are; without any others the sum is zero.
fn mix(scores: &[f64], values: &[f64], out: &mut [f64]) {
    let most = largest(scores);
    if most == f64::NEG_INFINITY {
        return;
    }
    let mut total = 0.0;
    for (score, value) in scores.iter().zip(values.chunks_exact(out.len())) {
        if *score == f64::NEG_INFINITY {
            continue;
        }
        let weight = (score - most).exp();
        total += weight;
        out.iter_mut().zip(value).for_each(|(sum, v)| *sum += weight * v);
    }
    out.iter_mut().for_each(|sum| *sum /= total);
}

/// What a mask does to the scores of one head.
struct Mask {
    elements: Vec<f64>,
    excludes: bool,
}

impl Mask {
    fn of(mask: &Tensor) -> Result<Mask, EvalError> {
        Ok(Mask { elements: f64::load(mask)?, excludes: mask.dtype().is_bool() })
    }

    fn apply(&self, row: usize, scores: &mut [f64]) {
        let elements = &self.elements[row * scores.len()..];
        for (score, mask) in scores.iter_mut().zip(elements) {
            match self.excludes {
                true if *mask == 0.0 => *score = f64::NEG_INFINITY,
                true => {}
                false => *score += mask,
            }
        }
    }
}

pub(crate) fn det(call: &Call<'_>) -> Result<Vec<Tensor>, EvalError> {
    let x = call.input(0);
    let (shape, matrix) = x.shape().split_at(x.rank() - 2);
    if matrix[0] != matrix[1] {
        return Err(EvalError::value(format!("expected square matrices, got {:?}", x.shape())));
    }
    let size = matrix[0];
    let mut elements = f64::load(x)?;
    let shape: Extents = shape.into();
    let mut out = filled(x.dtype(), &shape, 1.0)?;
    for (det, matrix) in out.iter_mut().zip(elements.chunks_exact_mut((size * size).max(1))) {
        *det = determinant(matrix, size);
    }
    Ok(vec![f64::store(x.dtype(), &shape, &out)?])
}

/// By elimination with partial pivoting; NaN counts as the largest pivot, so that it is not lost.
fn determinant(matrix: &mut [f64], size: usize) -> f64 {
    let mut product = 1.0;
    for column in 0..size {
        let magnitude = |row: &usize| matrix[row * size + column].abs();
        let by_magnitude = |a: &usize, b: &usize| magnitude(a).total_cmp(&magnitude(b));
        let best = (column..size).max_by(by_magnitude).unwrap_or(column);
        if best != column {
            (0..size).for_each(|i| matrix.swap(best * size + i, column * size + i));
            product = -product;
        }
        let pivot = matrix[column * size + column];
        product *= pivot;
        if pivot == 0.0 {
            return product;
        }
        for row in column + 1..size {
            let factor = matrix[row * size + column] / pivot;
            for i in column..size {
                matrix[row * size + i] -= factor * matrix[column * size + i];
            }
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::eval::testing::{floats, run_error, run_one, shape_text};

    fn tensor(shape: &[usize], values: &[f64]) -> Tensor {
        Tensor::from_f64_iter(DType::F32, shape, values.iter().copied()).unwrap()
    }

    fn close(got: &Tensor, expected: &[f64]) {
        let got = floats(got);
        assert_eq!(got.len(), expected.len());
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-6 * (1.0 + b.abs());
        assert!(got.iter().zip(expected).all(near), "{got:?} {expected:?}");
    }

    #[test]
    fn softmax_is_stable_along_any_axis() {
        let text =
            "graph @t(%x: f32[2, 2]) -> (y: f32[2, 2]) {\n %0 = softmax %x axis=0 : f32[2, 2]\n return %0\n}";
        let x = tensor(&[2, 2], &[1000.0, 0.0, 1000.0, 3f64.ln()]);
        close(&run_one(text, std::slice::from_ref(&x)), &[0.5, 0.25, 0.5, 0.75]);
        let text = text.replace("softmax", "log_softmax");
        close(&run_one(&text, &[x]), &[0.5f64.ln(), 0.25f64.ln(), 0.5f64.ln(), 0.75f64.ln()]);
    }

    #[test]
    fn normalisations_scale_to_unit_deviation() {
        let x = tensor(&[1, 2, 2], &[1.0, 3.0, 10.0, 20.0]);
        let (s, b) = (tensor(&[2], &[1.0, 2.0]), tensor(&[2], &[0.0, 1.0]));
        let text = "graph @t(%x: f32[1, 2, 2], %s: f32[2], %b: f32[2]) -> (y: f32[1, 2, 2]) {
            %0 = layer_norm %x, %s, %b axis=2 eps=0.0 : f32[1, 2, 2]\n return %0\n}";
        close(&run_one(text, &[x.clone(), s.clone(), b.clone()]), &[-1.0, 3.0, -1.0, 3.0]);
        let text = text.replace("layer_norm", "group_norm").replace("axis=2", "groups=2");
        close(&run_one(&text, &[x.clone(), s.clone(), b.clone()]), &[-1.0, 1.0, -1.0, 3.0]);
        let text = text.replace("groups=2", "groups=1");
        let sd = (((7.5f64).powi(2) + 5.5f64.powi(2) + 1.5f64.powi(2) + 11.5f64.powi(2)) / 4.0).sqrt();
        close(
            &run_one(&text, &[x.clone(), s.clone(), b]),
            &[-7.5 / sd, -5.5 / sd, 3.0 / sd + 1.0, 23.0 / sd + 1.0],
        );
        let text = "graph @t(%x: f32[1, 2, 2], %s: f32[2]) -> (y: f32[1, 2, 2]) {
            %0 = rms_norm %x, %s axis=2 eps=4.0 : f32[1, 2, 2]\n return %0\n}";
        let (a, b) = (3.0, 254f64.sqrt());
        close(&run_one(text, &[x, s]), &[1.0 / a, 6.0 / a, 10.0 / b, 40.0 / b]);
    }

    fn attend(mask: Option<&Tensor>, shapes: [&[usize]; 3], attrs: &str) -> Tensor {
        let inputs: Vec<Tensor> = (0u64..)
            .zip(shapes)
            .map(|(seed, s)| Tensor::random(DType::F32, s, seed).unwrap())
            .chain(mask.cloned())
            .collect();
        let params: Vec<String> = inputs
            .iter()
            .enumerate()
            .map(|(i, x)| format!("%x{i}: {}", shape_text(x.dtype(), x.shape())))
            .collect();
        let names: Vec<String> = (0..inputs.len()).map(|i| format!("%x{i}")).collect();
        let out = shape_text(DType::F32, &[shapes[0][0], shapes[0][1], shapes[0][2], shapes[2][3]]);
        let text = format!(
            "graph @t({}) -> (y: {out}) {{\n %0 = attention {} {attrs} : {out}\n return %0\n}}",
            params.join(", "),
            names.join(", ")
        );
        run_one(&text, &inputs)
    }

    /// The definition, row by row; `bias` is what is added to a score.
    fn naive(shapes: [&[usize]; 3], scale: f64, cap: f64, bias: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        let x: Vec<Tensor> =
            (0u64..).zip(shapes).map(|(seed, s)| Tensor::random(DType::F32, s, seed).unwrap()).collect();
        let ([b, h, s, d], [_, g, t, _]) = (extents_of(&x[0]), extents_of(&x[1]));
        let mut out = Vec::new();
        for (i, j) in (0..b * h).map(|i| (i / h, i % h)) {
            for row in 0..s {
                let score = |key: usize| {
                    let at = |n: usize| {
                        x[0].get(&[i, j, row, n]).to_f64() * x[1].get(&[i, j * g / h, key, n]).to_f64()
                    };
                    let score = (0..d).map(at).sum::<f64>() * scale;
                    (if cap == 0.0 { score } else { cap * (score / cap).tanh() }) + bias(row, key)
                };
                let weights: Vec<f64> = (0..t).map(|key| score(key).exp()).collect();
                let total: f64 = weights.iter().sum();
                for e in 0..shapes[2][3] {
                    let sum: f64 =
                        (0..t).map(|key| weights[key] * x[2].get(&[i, j * g / h, key, e]).to_f64()).sum();
                    out.push(if total == 0.0 { 0.0 } else { sum / total });
                }
            }
        }
        out
    }

    const SHAPES: [&[usize]; 3] = [&[2, 4, 3, 5], &[2, 2, 4, 5], &[2, 2, 4, 3]];

    #[test]
    fn attention_follows_its_definition() {
        close(
            &attend(None, SHAPES, "scale=0.5 causal=false softcap=0.0"),
            &naive(SHAPES, 0.5, 0.0, |_, _| 0.0),
        );
        close(
            &attend(None, SHAPES, "scale=0.5 causal=false softcap=0.7"),
            &naive(SHAPES, 0.5, 0.7, |_, _| 0.0),
        );
        // Row s sees keys up to s + T - S.
        let hidden = |s: usize, t: usize| if t > s + 1 { f64::NEG_INFINITY } else { 0.0 };
        close(&attend(None, SHAPES, "scale=0.5 causal=true softcap=0.0"), &naive(SHAPES, 0.5, 0.0, hidden));
        // With more rows than keys the first rows see nothing.
        let tall: [&[usize]; 3] = [&[1, 1, 4, 2], &[1, 1, 2, 2], &[1, 1, 2, 2]];
        let hidden = |s: usize, t: usize| if t + 2 > s { f64::NEG_INFINITY } else { 0.0 };
        let got = attend(None, tall, "scale=1.0 causal=true softcap=0.0");
        close(&got, &naive(tall, 1.0, 0.0, hidden));
        assert_eq!(floats(&got)[..4], [0.0; 4]);
    }

    #[test]
    fn attention_masks_add_or_exclude() {
        let added = tensor(&[3, 1], &[0.0, 2.0, f64::NEG_INFINITY]);
        let got = attend(Some(&added), SHAPES, "scale=1.0 causal=false softcap=0.0");
        close(&got, &naive(SHAPES, 1.0, 0.0, |s, _| [0.0, 2.0, f64::NEG_INFINITY][s]));
        let kept = Tensor::from_slice(&[4], &[true, false, true, false]).unwrap();
        let got = attend(Some(&kept), SHAPES, "scale=1.0 causal=false softcap=0.0");
        close(&got, &naive(SHAPES, 1.0, 0.0, |_, t| if t % 2 == 0 { 0.0 } else { f64::NEG_INFINITY }));
    }

    #[test]
    fn determinants_swap_rows_for_pivots() {
        let text = "graph @t(%x: f32[2, 2, 2]) -> (y: f32[2]) {\n %0 = det %x : f32[2]\n return %0\n}";
        close(&run_one(text, &[tensor(&[2, 2, 2], &[0.0, 2.0, 3.0, 4.0, 1.0, 2.0, 2.0, 4.0])]), &[-6.0, 0.0]);
        let text = "graph @t(%x: f32[1, 0, 0]) -> (y: f32[1]) {\n %0 = det %x : f32[1]\n return %0\n}";
        close(&run_one(text, &[tensor(&[1, 0, 0], &[])]), &[1.0]);
        let text = "graph @t(%x: f32[N, M]) -> (y: f32[]) {\n %0 = det %x : f32[]\n return %0\n}";
        assert!(run_error(text, &[tensor(&[1, 2], &[0.0; 2])]).contains("square"));
    }
}
