//! Operators of the domain `com.microsoft` that exporters and optimisers write.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::attention::{Heads, Rotation, rotate};
use super::contraction::{convolution, general_product};
use super::elementwise::{activate, sigmoid_gate};
use super::normalization::{normalized, rms_normalized};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this domain.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("Gelu", 1, |c| gelu(c, S::Gelu, None)),
    ("BiasGelu", 1, |c| gelu(c, S::Gelu, Some(1))),
    ("FastGelu", 1, |c| gelu(c, S::GeluTanh, Some(1))),
    ("QuickGelu", 1, quick_gelu),
    ("FusedMatMul", 1, fused_matmul),
    ("FusedGemm", 1, fused_gemm),
    ("FusedConv", 1, fused_conv),
    ("LayerNormalization", 1, layer_norm),
    ("SimplifiedLayerNormalization", 1, simplified_layer_norm),
    ("SkipLayerNormalization", 1, |c| skip_layer_norm(c, false)),
    ("SkipSimplifiedLayerNormalization", 1, |c| skip_layer_norm(c, true)),
    ("RotaryEmbedding", 1, rotary_embedding),
    ("Attention", 1, attention),
    ("MultiHeadAttention", 1, multi_head_attention),
    ("GroupQueryAttention", 1, group_query_attention),
    ("MatMulNBits", 1, matmul_n_bits),
    ("QLinearAdd", 1, |c| qlinear_binary(c, S::Add)),
    ("QLinearMul", 1, |c| qlinear_binary(c, S::Mul)),
    ("QLinearSigmoid", 1, |c| qlinear_unary(c, "Sigmoid")),
    ("QLinearLeakyRelu", 1, |c| qlinear_unary(c, "LeakyRelu")),
    ("QLinearConcat", 1, qlinear_concat),
];

/// Rules of the default domain that some exporters wrote before the standard had them.
pub(crate) const DEFAULT_DOMAIN: &[(&str, i64, Rule)] =
    &[("SimplifiedLayerNormalization", 1, simplified_layer_norm)];

fn gelu(cx: &mut Cx<'_, '_>, op: S, bias: Option<usize>) -> Results {
    let mut x = cx.v(0)?;
    if let Some(bias) = bias.map(|i| cx.opt(i)).transpose()?.flatten() {
        x = cx.add(x, bias)?;
    }
    let y = cx.un(op, x)?;
    cx.one(y)
}

fn quick_gelu(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let y = sigmoid_gate(cx, x, cx.float("alpha", 1.702))?;
    cx.one(y)
}

fn fused_matmul(cx: &mut Cx<'_, '_>) -> Results {
    let (mut x, mut y) = (cx.v(0)?, cx.v(1)?);
    ensure!(
        !cx.flag("transBatchA", false) && !cx.flag("transBatchB", false),
        "expected `transBatchA` and `transBatchB` to be 0"
    );
    if cx.flag("transA", false) && cx.rank(x) >= 2 {
        x = cx.swap_last(x)?;
    }
    if cx.flag("transB", false) && cx.rank(y) >= 2 {
        y = cx.swap_last(y)?;
    }
    let dtype = cx.dtype(x);
    let mut z = cx.product(x, y, dtype)?;
    let alpha = cx.float("alpha", 1.0);
    if alpha != 1.0 {
        z = cx.with(S::Mul, z, alpha)?;
    }
    cx.one(z)
}

fn activated(cx: &mut Cx<'_, '_>, x: Value) -> Step {
    let name = cx.text("activation", "");
    if name.is_empty() {
        return Ok(x);
    }
    let parameters = cx.floats("activation_params").unwrap_or_default();
    let at = |i: usize| parameters.get(i).map(|v| f64::from(*v));
    if name == "Clip" {
        return cx.clamp(x, at(0).unwrap_or(f64::NEG_INFINITY), at(1).unwrap_or(f64::INFINITY));
    }
    let given = |n: &str| cx.attr(n).map(|a| f64::from(a.f));
    let (alpha, beta) = (at(0).or(given("activation_alpha")), at(1).or(given("activation_beta")));
    activate(cx, &name, x, alpha, beta)
}

fn fused_gemm(cx: &mut Cx<'_, '_>) -> Results {
    let y = general_product(cx)?;
    let y = activated(cx, y)?;
    cx.one(y)
}

fn fused_conv(cx: &mut Cx<'_, '_>) -> Results {
    let mut y = convolution(cx)?;
    if let Some(other) = cx.opt(3)? {
        y = cx.add(y, other)?;
    }
    let y = activated(cx, y)?;
    cx.one(y)
}

fn layer_norm(cx: &mut Cx<'_, '_>) -> Results {
    let (x, scale, bias) = (cx.v(0)?, cx.v(1)?, cx.opt(2)?);
    ensure!(!cx.wants(1) && !cx.wants(2), "expected only the normalised result to be used");
    let axis = cx.axis("axis", -1, cx.rank(x))?;
    let y = normalized(cx, x, Some(scale), bias, axis, cx.float("epsilon", 1e-5))?;
    cx.one(y)
}

fn simplified_layer_norm(cx: &mut Cx<'_, '_>) -> Results {
    let (x, scale) = (cx.v(0)?, cx.v(1)?);
    ensure!(!cx.wants(1), "expected only the normalised result to be used");
    let axis = cx.axis("axis", -1, cx.rank(x))?;
    let y = rms_normalized(cx, x, scale, axis, cx.float("epsilon", 1e-5))?;
    cx.one(y)
}

/// Operands: input, skip, gamma, then beta unless simplified, then bias. The fourth result is the sum.
fn skip_layer_norm(cx: &mut Cx<'_, '_>, simplified: bool) -> Results {
    let (x, skip, gamma) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    ensure!(!cx.wants(1) && !cx.wants(2), "expected mean and deviation to be unused");
    let (beta, bias) = if simplified { (None, cx.opt(3)?) } else { (cx.opt(3)?, cx.opt(4)?) };
    let mut sum = cx.add(x, skip)?;
    if let Some(bias) = bias {
        sum = cx.add(sum, bias)?;
    }
    let axis = cx.axis_of(-1, cx.rank(sum))?;
    let eps = cx.float("epsilon", 1e-12);
    let y = if simplified {
        rms_normalized(cx, sum, gamma, axis, eps)?
    } else {
        normalized(cx, sum, Some(gamma), beta, axis, eps)?
    };
    // Results 1 and 2 are unused, as checked above; the input stands in for them.
    cx.many(&[y, x, x, sum])
}

/// Positions `[B, S]`, or `[1]` from which on they count.
fn positions(cx: &mut Cx<'_, '_>, given: Value, steps: &Dim) -> Step {
    let given = cx.cast(given, DType::I64)?;
    if cx.rank(given) == 2 {
        return Ok(given);
    }
    let start = cx.reshape(given, &[Dim::ONE, Dim::ONE])?;
    let places = cx.range(steps, DType::I64)?;
    let places = cx.unsqueeze(places, &[0])?;
    cx.add(places, start)
}

fn rotary_embedding(cx: &mut Cx<'_, '_>) -> Results {
    let (x, given, cos, sin) = (cx.v(0)?, cx.v(1)?, cx.v(2)?, cx.v(3)?);
    let four = cx.rank(x) == 4;
    let steps = cx.extent(x, if four { 2 } else { 1 });
    let at = positions(cx, given, &steps)?;
    let (cos, sin) = (cx.gather(cos, at, 0)?, cx.gather(sin, at, 0)?);
    let mut heads = cx.int("num_heads", 0);
    let rotated = cx.int("rotary_embedding_dim", 0);
    if heads == 0 && !four {
        let half = cx.extent(cos, 2).as_const().unwrap_or(0);
        let hidden = cx.fixed(x, 2)? as i64;
        ensure!(half > 0 && hidden % (2 * half) == 0, "expected `num_heads`");
        heads = hidden / (2 * half);
    }
    let layout = Rotation { heads, rotated, interleaved: cx.flag("interleaved", false) };
    let y = rotate(cx, x, cos, sin, &layout)?;
    cx.one(y)
}

fn scale_or_default(cx: &Cx<'_, '_>, q: Value) -> Step<f64> {
    match cx.attr("scale").map(|a| f64::from(a.f)).filter(|s| *s != 0.0) {
        Some(scale) => Ok(scale),
        None => Ok(1.0 / (cx.fixed(q, 3)? as f64).sqrt()),
    }
}

/// A mask of integers in which zeros exclude: `[B, T]`, `[B, S, T]` or `[B, 1, S, T]`, or lengths `[B]`.
fn integer_mask(cx: &mut Cx<'_, '_>, mask: Value, columns: &Dim) -> Step {
    let rank = cx.rank(mask);
    let mask = match rank {
        1 => {
            let places = cx.range(columns, DType::I64)?;
            let lengths = cx.cast(mask, DType::I64)?;
            let lengths = cx.along(lengths, 0, 4)?;
            return cx.bin(S::Lt, places, lengths);
        }
        2 => cx.unsqueeze(mask, &[1, 2])?,
        3 => cx.unsqueeze(mask, &[1])?,
        4 => mask,
        other => return Err(Refusal::new(format!("expected a mask of rank 1 to 4, got {other}"))),
    };
    cx.is(S::Ne, mask, 0.0)
}

fn masked_bias(
    cx: &mut Cx<'_, '_>,
    mask: Option<Value>,
    bias: Option<Value>,
    dtype: DType,
) -> Step<Option<Value>> {
    let (Some(m), Some(b)) = (mask, bias) else { return Ok(mask.or(bias)) };
    let never = cx.number(dtype, f64::NEG_INFINITY)?;
    cx.select(m, b, never).map(Some)
}

/// One product for queries, keys and values, then attention.
fn attention(cx: &mut Cx<'_, '_>) -> Results {
    let (x, w) = (cx.v(0)?, cx.v(1)?);
    let dtype = cx.dtype(x);
    ensure!(!cx.has(4) && !cx.wants(1), "expected no `past` and `present`");
    let heads = cx.int("num_heads", 0);
    let mut all = cx.product(x, w, dtype)?;
    if let Some(bias) = cx.opt(2)? {
        all = cx.add(all, bias)?;
    }
    let width = cx.extent(all, 2);
    let sizes: Vec<Dim> = match cx.ints("qkv_hidden_sizes") {
        Some(sizes) if sizes.len() == 3 => sizes.iter().map(|s| Dim::from(*s)).collect(),
        _ => vec![width.floor_div(&Dim::from(3i64)); 3],
    };
    let mut parts = Vec::new();
    let mut start = Dim::ZERO;
    for size in &sizes {
        let part = cx.slice(all, 2, &start, size)?;
        parts.push(cx.split_heads(part, heads)?);
        start = &start + size;
    }
    let columns = cx.extent(x, 1);
    let mask = match cx.opt(3)? {
        Some(mask) => Some(integer_mask(cx, mask, &columns)?),
        None => None,
    };
    let bias = cx.opt(5)?;
    let mask = masked_bias(cx, mask, bias, dtype)?;
    let causal = cx.flag("unidirectional", false).then_some(Dim::ZERO);
    let scale = scale_or_default(cx, parts[0])?;
    let y = cx.attend(&Heads { q: parts[0], k: parts[1], v: parts[2], mask, scale, softcap: 0.0, causal })?;
    let y = cx.join_heads(y)?;
    cx.one(y)
}

/// Operands: query, key, value, bias, key_padding_mask, attention_bias, past_key, past_value.
fn multi_head_attention(cx: &mut Cx<'_, '_>) -> Results {
    let heads = cx.int("num_heads", 0);
    if !cx.has(1) || !cx.has(2) {
        return Err(Refusal::new("expected separate keys and values, got packed ones")
            .nearest("query, key and value of rank 3"));
    }
    let (mut q, mut k, mut v) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let dtype = cx.dtype(q);
    ensure!(cx.rank(q) == 3, "expected a query of rank 3, got {}", cx.ty(q));
    if let Some(bias) = cx.opt(3)? {
        let mut start = Dim::ZERO;
        for part in [&mut q, &mut k, &mut v] {
            if cx.rank(*part) == 3 {
                let size = cx.extent(*part, 2);
                let own = cx.slice(bias, 0, &start, &size)?;
                *part = cx.add(*part, own)?;
                start = &start + &size;
            }
        }
    }
    q = cx.split_heads(q, heads)?;
    if cx.rank(k) == 3 {
        (k, v) = (cx.split_heads(k, heads)?, cx.split_heads(v, heads)?);
    }
    let mut past = Dim::ZERO;
    if let (Some(past_k), Some(past_v)) = (cx.opt(6)?, cx.opt(7)?) {
        past = cx.extent(past_k, 2);
        (k, v) = (cx.concat(&[past_k, k], 2)?, cx.concat(&[past_v, v], 2)?);
    }
    let columns = cx.extent(k, 2);
    let mask = match cx.opt(4)? {
        Some(mask) => Some(integer_mask(cx, mask, &columns)?),
        None => None,
    };
    let bias = cx.opt(5)?;
    let mask = masked_bias(cx, mask, bias, dtype)?;
    let causal = cx.flag("unidirectional", false).then_some(past);
    let scale = scale_or_default(cx, q)?;
    let y = cx.attend(&Heads { q, k, v, mask, scale, softcap: 0.0, causal })?;
    let y = cx.join_heads(y)?;
    cx.many(&[y, k, v])
}

/// Operands: query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos_cache, sin_cache.
/// `seqlens_k` holds the last index of each sequence; keys behind it are excluded.
fn group_query_attention(cx: &mut Cx<'_, '_>) -> Results {
    let (heads, shared) = (cx.int("num_heads", 0), cx.int("kv_num_heads", 0));
    ensure!(heads > 0 && shared > 0 && heads % shared == 0, "expected `kv_num_heads` to divide `num_heads`");
    ensure!(cx.int("local_window_size", -1) <= 0, "expected no `local_window_size`");
    let packed = cx.v(0)?;
    let steps = cx.extent(packed, 1);
    let (mut q, mut k, v) = if cx.has(1) {
        (packed, cx.v(1)?, cx.v(2)?)
    } else {
        let each = cx.extent(packed, 2).floor_div(&Dim::from(heads + 2 * shared));
        let (wide, narrow) = (&each * &Dim::from(heads), &each * &Dim::from(shared));
        (
            cx.slice(packed, 2, &Dim::ZERO, &wide)?,
            cx.slice(packed, 2, &wide, &narrow)?,
            cx.slice(packed, 2, &(&wide + &narrow), &narrow)?,
        )
    };
    let lengths = cx.opt(5)?;
    if cx.flag("do_rotary", false) {
        let (cos, sin) = (cx.v(7)?, cx.v(8)?);
        // A sequence's new rows end where its keys do.
        let lengths = lengths.ok_or_else(|| Refusal::new("expected `seqlens_k`"))?;
        let last = cx.cast(lengths, DType::I64)?;
        let last = cx.reshape(last, &[cx.shape(last).elements(), Dim::ONE])?;
        let places = cx.range(&steps, DType::I64)?;
        let back = cx.dim_value(&(&steps - &Dim::ONE), DType::I64)?;
        let places = cx.sub(places, back)?;
        let at = cx.add(last, places)?;
        let at = cx.with(S::Max, at, 0.0)?;
        let (cos, sin) = (cx.gather(cos, at, 0)?, cx.gather(sin, at, 0)?);
        let interleaved = cx.flag("rotary_interleaved", false);
        q = rotate(cx, q, cos, sin, &Rotation { heads, rotated: 0, interleaved })?;
        k = rotate(cx, k, cos, sin, &Rotation { heads: shared, rotated: 0, interleaved })?;
    }
    let q = cx.split_heads(q, heads)?;
    let (mut k, mut v) = (cx.split_heads(k, shared)?, cx.split_heads(v, shared)?);
    let mut past = Dim::ZERO;
    if let (Some(past_k), Some(past_v)) = (cx.opt(3)?, cx.opt(4)?) {
        past = cx.extent(past_k, 2);
        (k, v) = (cx.concat(&[past_k, k], 2)?, cx.concat(&[past_v, v], 2)?);
    }
    let mut mask = None;
    if let Some(lengths) = lengths {
        let columns = cx.extent(k, 2);
        let places = cx.range(&columns, DType::I64)?;
        let last = cx.cast(lengths, DType::I64)?;
        let last = cx.reshape(last, &[cx.shape(last).elements(), Dim::ONE, Dim::ONE, Dim::ONE])?;
        mask = Some(cx.bin(S::Le, places, last)?);
    }
    let scale = scale_or_default(cx, q)?;
    let softcap = cx.float("softcap", 0.0);
    let y = cx.attend(&Heads { q, k, v, mask, scale, softcap, causal: Some(past) })?;
    let y = cx.join_heads(y)?;
    cx.many(&[y, k, v])
}

/// A product with a matrix of few bits, in blocks along its columns with a scale each.
fn matmul_n_bits(cx: &mut Cx<'_, '_>) -> Results {
    let (x, packed, scales) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    ensure!(!cx.has(4), "expected no `g_idx`");
    let (k, n) = (cx.int("K", 0), cx.int("N", 0));
    let (bits, block) = (cx.int("bits", 4), cx.int("block_size", 0));
    ensure!(k > 0 && n > 0 && block > 0, "expected positive `K`, `N` and `block_size`");
    ensure!(bits == 4 || bits == 8, "expected 4 or 8 bits, got {bits}");
    let blocks = (k + block - 1) / block;
    let dtype = cx.dtype(x);
    // Bytes hold two elements, the first in the low half.
    let unpack = |cx: &mut Cx<'_, '_>, bytes: Value, rows: i64, columns: i64| -> Step {
        if bits == 8 {
            return cx.reshape(bytes, &[Dim::from(rows), Dim::from(columns)]);
        }
        let count = (columns + 1) / 2;
        let bytes = cx.reshape(bytes, &[Dim::from(rows), Dim::from(count)])?;
        let (low, high) = (cx.with(S::And, bytes, 15.0)?, cx.with(S::Shr, bytes, 4.0)?);
        let (low, high) = (cx.unsqueeze(low, &[2])?, cx.unsqueeze(high, &[2])?);
        let pairs = cx.concat(&[low, high], 2)?;
        let all = cx.reshape(pairs, &[Dim::from(rows), Dim::from(2 * count)])?;
        cx.slice(all, 1, &Dim::ZERO, &Dim::from(columns))
    };
    let weights = unpack(cx, packed, n * blocks, block)?;
    let zero = match cx.opt(3)? {
        Some(zero) if cx.dtype(zero) == DType::U8 => {
            let zero = unpack(cx, zero, n, blocks)?;
            cx.cast(zero, dtype)?
        }
        Some(zero) => cx.cast(zero, dtype)?,
        None => cx.number(dtype, (1i64 << (bits - 1)) as f64)?,
    };
    let laid = [Dim::from(n * blocks), Dim::ONE];
    let zero = if cx.rank(zero) == 0 { zero } else { cx.reshape(zero, &laid)? };
    let scales = cx.reshape(scales, &laid)?;
    let scales = cx.cast(scales, dtype)?;
    let weights = cx.cast(weights, dtype)?;
    let weights = cx.sub(weights, zero)?;
    let weights = cx.mul(weights, scales)?;
    let weights = cx.reshape(weights, &[Dim::from(n), Dim::from(blocks * block)])?;
    let weights = cx.slice(weights, 1, &Dim::ZERO, &Dim::from(k))?;
    let rank = cx.rank(x) as i64;
    let mut y = cx.dot((x, weights), (&[], &[]), (&[rank - 1], &[1]), dtype)?;
    if let Some(bias) = cx.opt(5)? {
        y = cx.add(y, bias)?;
    }
    cx.one(y)
}

/// The real value of a quantised operand, its scale and zero point.
fn real(cx: &mut Cx<'_, '_>, x: usize, scale: usize, zero: usize) -> Step {
    let (x, scale) = (cx.v(x)?, cx.v(scale)?);
    let source = cx.dtype(x);
    let zero = cx.zero_point(zero, source, scale)?;
    let (scale, zero) = (cx.laid_out(scale, x, 1, 0)?, cx.laid_out(zero, x, 1, 0)?);
    cx.node(Op::Dequantize, &[x, scale, zero], [DType::F32.into()])
}

fn quantized(cx: &mut Cx<'_, '_>, x: Value, scale: usize, zero: usize, dtype: DType) -> Results {
    let scale = cx.v(scale)?;
    let zero = cx.zero_point(zero, dtype, scale)?;
    let (scale, zero) = (cx.laid_out(scale, x, 1, 0)?, cx.laid_out(zero, x, 1, 0)?);
    let y = cx.node(Op::Quantize, &[x, scale, zero], [dtype.into()])?;
    cx.one(y)
}

fn qlinear_binary(cx: &mut Cx<'_, '_>, op: S) -> Results {
    let dtype = cx.held(0)?.ty.dtype;
    let (a, b) = (real(cx, 0, 1, 2)?, real(cx, 3, 4, 5)?);
    let y = cx.bin(op, a, b)?;
    quantized(cx, y, 6, 7, dtype)
}

fn qlinear_unary(cx: &mut Cx<'_, '_>, name: &str) -> Results {
    let dtype = cx.held(0)?.ty.dtype;
    let x = real(cx, 0, 1, 2)?;
    let alpha = cx.attr("alpha").map(|a| f64::from(a.f));
    let y = activate(cx, name, x, alpha, None)?;
    quantized(cx, y, 3, 4, dtype)
}

/// Operands: the scale and zero point of the result, then three for each part.
fn qlinear_concat(cx: &mut Cx<'_, '_>) -> Results {
    let dtype = cx.held(1)?.ty.dtype;
    let count = cx.inputs.len().saturating_sub(2) / 3;
    let parts =
        (0..count).map(|i| real(cx, 2 + 3 * i, 3 + 3 * i, 4 + 3 * i)).collect::<Step<Vec<Value>>>()?;
    let first = *parts.first().ok_or_else(|| Refusal::new("expected at least one part"))?;
    let axis = cx.axis("axis", 1, cx.rank(first))?;
    let y = cx.concat(&parts, axis)?;
    quantized(cx, y, 0, 1, dtype)
}
