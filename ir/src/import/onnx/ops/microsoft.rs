//! Operators of the domain `com.microsoft` that exporters and optimisers write.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::attention::{Heads, Rotation, rotate};
use super::contraction::{convolution, general_product};
use super::elementwise::{activate, sigmoid_gate};
use super::normalization::{normalized, rms_normalized};
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Attr, Op, Value};
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
    ("EmbedLayerNormalization", 1, embed_layer_norm),
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
    if cx.flag("transBatchA", false) {
        x = batch_first(cx, x)?;
    }
    if cx.flag("transBatchB", false) {
        y = batch_first(cx, y)?;
    }
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

/// `[M, B…, K]` as `[B…, M, K]`.
fn batch_first(cx: &mut Cx<'_, '_>, x: Value) -> Step {
    let rank = cx.rank(x);
    ensure!(rank >= 3, "expected a rank of at least 3, got {rank}");
    let perm: Vec<usize> = (1..rank - 1).chain([0, rank - 1]).collect();
    cx.transpose(x, &perm)
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

/// Operands: ids, kinds, their embeddings with those of positions between them, gamma, beta, mask, positions. The
/// results are the normalised sum of embeddings, how many tokens of each row the mask has, and the sum.
fn embed_layer_norm(cx: &mut Cx<'_, '_>) -> Results {
    let (ids, words, places) = (cx.v(0)?, cx.v(2)?, cx.v(3)?);
    let (gamma, beta) = (cx.v(5)?, cx.v(6)?);
    ensure!(cx.rank(ids) == 2, "expected ids of rank 2, got {}", cx.ty(ids));
    let mut sum = cx.gather(words, ids, 0)?;
    let at = match cx.opt(8)? {
        Some(given) => given,
        None => {
            let steps = cx.extent(ids, 1);
            let places = cx.range(&steps, DType::I64)?;
            cx.unsqueeze(places, &[0])?
        }
    };
    let place = cx.gather(places, at, 0)?;
    sum = cx.add(sum, place)?;
    if let (Some(kinds), Some(table)) = (cx.opt(1)?, cx.opt(4)?) {
        let kind = cx.gather(table, kinds, 0)?;
        sum = cx.add(sum, kind)?;
    }
    let y = normalized(cx, sum, Some(gamma), Some(beta), 2, cx.float("epsilon", 1e-12))?;
    let count = match cx.opt(7)? {
        Some(mask) => {
            let mask = cx.cast(mask, DType::I32)?;
            cx.sum(mask, &[1], false)?
        }
        None => {
            let none = cx.number(DType::I32, 0.0)?;
            let rows = cx.extent(ids, 0);
            cx.broadcast(none, &[rows])?
        }
    };
    cx.many(&[y, count, sum])
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

/// One product for queries, keys and values, then attention. What came before, `[2, B, H, P, D]`, stands in front
/// of keys and values.
fn attention(cx: &mut Cx<'_, '_>) -> Results {
    let (x, w) = (cx.v(0)?, cx.v(1)?);
    let dtype = cx.dtype(x);
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
    let mut before = Dim::ZERO;
    if let Some(past) = cx.opt(4)? {
        ensure!(cx.rank(past) == 5, "expected a `past` of rank 5, got {}", cx.ty(past));
        before = cx.extent(past, 3);
        for (i, part) in parts[1..].iter_mut().enumerate() {
            let old = cx.pick(past, 0, &Dim::from(i))?;
            *part = cx.concat(&[old, *part], 2)?;
        }
    }
    let columns = cx.extent(parts[1], 2);
    let mask = match cx.opt(3)? {
        Some(mask) => Some(integer_mask(cx, mask, &columns)?),
        None => None,
    };
    let bias = cx.opt(5)?;
    let mask = masked_bias(cx, mask, bias, dtype)?;
    let causal = cx.flag("unidirectional", false).then_some(before);
    let scale = scale_or_default(cx, parts[0])?;
    let y = cx.attend(&Heads { q: parts[0], k: parts[1], v: parts[2], mask, scale, softcap: 0.0, causal })?;
    let y = cx.join_heads(y)?;
    if !cx.wants(1) {
        return cx.one(y);
    }
    let (k, v) = (cx.unsqueeze(parts[1], &[0])?, cx.unsqueeze(parts[2], &[0])?);
    let present = cx.concat(&[k, v], 0)?;
    cx.many(&[y, present])
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

/// Rows of keys or values of which each sequence has its own number.
struct Cache {
    /// How many rows each sequence had before, `[B, 1]`.
    start: Value,
    /// How many rows there was room for.
    before: Dim,
    /// How many come behind them.
    steps: Dim,
    /// How many there is room for then.
    present: Dim,
}

impl Cache {
    /// Of rows `[B, G, before + steps, D]`, old ones and new ones, `[B, G, present, D]` where the new ones of each
    /// sequence directly follow its old ones; the rest is zero.
    fn appended(&self, cx: &mut Cx<'_, '_>, rows: Value) -> Step {
        let places = cx.range(&self.present, DType::I64)?;
        let news = cx.sub(places, self.start)?;
        let last = cx.dim_value(&(&self.steps - &Dim::ONE), DType::I64)?;
        let within = cx.bin(S::Min, news, last)?;
        let before = cx.dim_value(&self.before, DType::I64)?;
        let behind = cx.add(within, before)?;
        let is_new = cx.is(S::Ge, news, 0.0)?;
        let from = cx.select(is_new, behind, places)?;
        let filled = cx.bin(S::Le, news, last)?;
        let mut shape = cx.shape(rows).to_vec();
        shape[2] = self.present.clone();
        let from = cx.unsqueeze(from, &[1, 3])?;
        let from = cx.broadcast(from, &shape)?;
        let moved = cx.node(Op::GatherElements, &[rows, from], [Attr::Int(2)])?;
        let filled = cx.unsqueeze(filled, &[1, 3])?;
        let nothing = cx.like_zero(moved)?;
        cx.select(filled, moved, nothing)
    }
}

/// Operands: query, key, value, past_key, past_value, seqlens_k, total_sequence_length, cos_cache, sin_cache.
/// `seqlens_k` holds the last index of each sequence: its new rows end there, and keys behind it are not looked at.
/// Caches are taken to be full: those of sequences that stand at different lengths are not moved together.
fn group_query_attention(cx: &mut Cx<'_, '_>) -> Results {
    let (heads, shared) = (cx.int("num_heads", 0), cx.int("kv_num_heads", 0));
    ensure!(heads > 0 && shared > 0 && heads % shared == 0, "expected `kv_num_heads` to divide `num_heads`");
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
    // `[B, 1]`; a prompt that is shorter than the rows given for it starts at the first of them.
    let lengths = cx.v(5)?;
    let last = cx.cast(lengths, DType::I64)?;
    let last = cx.reshape(last, &[cx.shape(last).elements(), Dim::ONE])?;
    let rest = cx.dim_value(&(&steps - &Dim::ONE), DType::I64)?;
    let start = cx.sub(last, rest)?;
    let start = cx.with(S::Max, start, 0.0)?;
    let rows = cx.range(&steps, DType::I64)?;
    let at = cx.add(start, rows)?;
    if cx.flag("do_rotary", false) {
        let (cos, sin) = (cx.v(7)?, cx.v(8)?);
        let (cos, sin) = (cx.gather(cos, at, 0)?, cx.gather(sin, at, 0)?);
        let interleaved = cx.flag("rotary_interleaved", false);
        q = rotate(cx, q, cos, sin, &Rotation { heads, rotated: 0, interleaved })?;
        k = rotate(cx, k, cos, sin, &Rotation { heads: shared, rotated: 0, interleaved })?;
    }
    let q = cx.split_heads(q, heads)?;
    let (mut k, mut v) = (cx.split_heads(k, shared)?, cx.split_heads(v, shared)?);
    if let (Some(past_k), Some(past_v)) = (cx.opt(3)?, cx.opt(4)?) {
        let total = cx.dims(6, Range::EXTENT)?;
        let total = total.first().cloned().unwrap_or(Dim::ZERO);
        let before = cx.extent(past_k, 2);
        let full = cx.g().ranges.equal(&total, &(&before + &steps));
        (k, v) = (cx.concat(&[past_k, k], 2)?, cx.concat(&[past_v, v], 2)?);
        if !full || !cx.extent(k, 0).is(1) {
            let present = if full { total } else { total.maximum(&before) };
            let cache = Cache { start, before, steps: steps.clone(), present };
            (k, v) = (cache.appended(cx, k)?, cache.appended(cx, v)?);
        }
    }
    let columns = cx.extent(k, 2);
    let places = cx.range(&columns, DType::I64)?;
    let at = cx.unsqueeze(at, &[1, 3])?;
    let last = cx.unsqueeze(last, &[2, 3])?;
    let reach = cx.bin(S::Min, at, last)?;
    let mut mask = cx.bin(S::Le, places, reach)?;
    let window = cx.int("local_window_size", -1);
    if window > 0 {
        // A row sees so many keys, its own among them.
        let before = cx.with(S::Sub, at, window as f64)?;
        let near = cx.bin(S::Gt, places, before)?;
        mask = cx.bin(S::And, mask, near)?;
    }
    let scale = scale_or_default(cx, q)?;
    let softcap = cx.float("softcap", 0.0);
    let y = cx.attend(&Heads { q, k, v, mask: Some(mask), scale, softcap, causal: None })?;
    let y = cx.join_heads(y)?;
    cx.many(&[y, k, v])
}
