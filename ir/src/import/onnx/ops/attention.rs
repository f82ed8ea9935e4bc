//! Attention in its forms, and the rotary embeddings that go with it.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::super::control::Names;
use super::super::proto::GraphProto;
use super::super::values::{Held, Item};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("Attention", 23, attention),
    ("RotaryEmbedding", 23, rotary_embedding),
    ("LinearAttention", 27, linear_attention),
];

/// The rules of previews.
pub(crate) const PREVIEW: &[(&str, i64, Rule)] = &[("FlexAttention", 1, flex_attention)];

/// Queries, keys, values and what may be attended to.
pub(crate) struct Heads {
    pub(crate) q: Value,
    pub(crate) k: Value,
    pub(crate) v: Value,
    pub(crate) mask: Option<Value>,
    pub(crate) scale: f64,
    pub(crate) softcap: f64,
    /// How far row 0 may look, if rows may not look ahead: the length of what came before.
    pub(crate) causal: Option<Dim>,
}

impl Cx<'_, '_> {
    /// `[B, S, H·D]` as `[B, H, S, D]`.
    pub(crate) fn split_heads(&mut self, x: Value, heads: i64) -> Step {
        ensure!(
            heads > 0 && self.rank(x) == 3,
            "expected a positive number of heads of [B, S, H·D], got {heads} of {}",
            self.ty(x)
        );
        let shape = self.shape(x);
        let heads = Dim::from(heads);
        let split = [shape[0].clone(), shape[1].clone(), heads.clone(), shape[2].floor_div(&heads)];
        let x = self.reshape(x, &split)?;
        self.transpose(x, &[0, 2, 1, 3])
    }

    /// `[B, H, S, D]` as `[B, S, H·D]`.
    pub(crate) fn join_heads(&mut self, x: Value) -> Step {
        let shape = self.shape(x);
        let x = self.transpose(x, &[0, 2, 1, 3])?;
        self.reshape(x, &[shape[0].clone(), shape[2].clone(), &shape[1] * &shape[3]])
    }

    /// Each key head repeated for the query heads it serves.
    fn repeat_heads(&mut self, x: Value, heads: &Dim) -> Step {
        let shape = self.shape(x);
        if shape[1] == *heads {
            return Ok(x);
        }
        let times = heads.floor_div(&shape[1]);
        let x = self.unsqueeze(x, &[2])?;
        let spread = [shape[0].clone(), shape[1].clone(), times, shape[2].clone(), shape[3].clone()];
        let x = self.broadcast(x, &spread)?;
        self.reshape(x, &[shape[0].clone(), heads.clone(), shape[2].clone(), shape[3].clone()])
    }

    /// Which of two masks' places stay; bools and numbers to add may meet.
    fn both_masks(&mut self, a: Option<Value>, b: Value) -> Step {
        let Some(a) = a else { return Ok(b) };
        if self.dtype(a).is_bool() && self.dtype(b).is_bool() {
            return self.bin(S::And, a, b);
        }
        let (bools, numbers) = if self.dtype(a).is_bool() { (a, b) } else { (b, a) };
        let never = self.like(numbers, f64::NEG_INFINITY)?;
        self.select(bools, numbers, never)
    }

    /// Which keys each row may look at.
    pub(crate) fn causal_mask(&mut self, rows: &Dim, columns: &Dim, past: &Dim) -> Step {
        let plane = [rows.clone(), columns.clone()];
        let (row, column) = (self.iota(&plane, 0, DType::I64)?, self.iota(&plane, 1, DType::I64)?);
        let past = self.dim_value(past, DType::I64)?;
        let reach = self.add(row, past)?;
        self.bin(S::Le, column, reach)
    }

    /// The composite, with a mask of its own where rows do not end where the keys do.
    pub(crate) fn attend(&mut self, heads: &Heads) -> Step {
        let (rows, columns) = (self.extent(heads.q, 2), self.extent(heads.k, 2));
        let mut mask = heads.mask;
        let mut causal = false;
        if let Some(past) = &heads.causal {
            causal = self.importer.graph.ranges.equal(&columns, &(past + &rows));
            if !causal {
                let ahead = self.causal_mask(&rows, &columns, past)?;
                mask = Some(self.both_masks(mask, ahead)?);
            }
        }
        let dtype = self.dtype(heads.q);
        if let Some(given) = mask
            && !self.dtype(given).is_bool()
        {
            mask = Some(self.cast(given, dtype)?);
        }
        let operands: Vec<Value> = [heads.q, heads.k, heads.v].into_iter().chain(mask).collect();
        self.node(
            Op::Attention,
            &operands,
            [Attr::Float(heads.scale), Attr::Bool(causal), Attr::Float(heads.softcap)],
        )
    }
}

fn default_scale(cx: &Cx<'_, '_>, q: Value) -> Step<f64> {
    match cx.attr("scale").map(|a| f64::from(a.f)) {
        Some(scale) => Ok(scale),
        None => Ok(1.0 / (cx.fixed(q, 3)? as f64).sqrt()),
    }
}

fn attention(cx: &mut Cx<'_, '_>) -> Results {
    let (mut q, mut k, mut v) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let flat = cx.rank(q) == 3;
    if flat {
        let (heads, shared) = (cx.int("q_num_heads", 0), cx.int("kv_num_heads", 0));
        q = cx.split_heads(q, heads)?;
        (k, v) = (cx.split_heads(k, shared)?, cx.split_heads(v, shared)?);
    }
    ensure!(cx.rank(q) == 4 && cx.rank(k) == 4 && cx.rank(v) == 4, "expected operands of rank 3 or 4");
    let mut past = Dim::ZERO;
    if let (Some(past_k), Some(past_v)) = (cx.opt(4)?, cx.opt(5)?) {
        past = cx.extent(past_k, 2);
        (k, v) = (cx.concat(&[past_k, k], 2)?, cx.concat(&[past_v, v], 2)?);
    }
    let columns = cx.extent(k, 2);
    let dtype = cx.dtype(q);
    let mut mask = cx.opt(3)?;
    if let Some(given) = mask {
        mask = Some(padded_mask(cx, given, &columns)?);
    }
    if let Some(lengths) = cx.opt(6)? {
        let places = cx.range(&columns, DType::I64)?;
        let lengths = cx.cast(lengths, DType::I64)?;
        let lengths = cx.along(lengths, 0, 4)?;
        let inside = cx.bin(S::Lt, places, lengths)?;
        mask = Some(cx.both_masks(mask, inside)?);
    }
    let causal = cx.flag("is_causal", false).then_some(past);
    let heads =
        Heads { q, k, v, mask, scale: default_scale(cx, q)?, softcap: cx.float("softcap", 0.0), causal };
    let precision = cx.dtype_attr("softmax_precision")?.unwrap_or(dtype);
    let narrow = precision.is_float() && precision.bits() < dtype.bits();
    let value_type = cx.dtype(v);
    let (mut y, scores) = if cx.wants(3) || narrow || value_type != dtype {
        let (y, scores) = decomposed(cx, &heads, precision, cx.int("qk_matmul_output_mode", 0))?;
        (y, Some(scores))
    } else {
        (cx.attend(&heads)?, None)
    };
    if flat {
        y = cx.join_heads(y)?;
    }
    let mut results = vec![y, k, v];
    results.extend(scores);
    cx.many(&results)
}

/// A mask shorter than the keys excludes those it does not speak of.
fn padded_mask(cx: &mut Cx<'_, '_>, mask: Value, columns: &Dim) -> Step {
    let rank = cx.rank(mask);
    ensure!(rank >= 1, "expected a mask with axes");
    let own = cx.extent(mask, rank - 1);
    if own.is(1) || !cx.g().ranges.differ(&own, columns) {
        return Ok(mask);
    }
    let (lo, mut hi) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
    hi[rank - 1] = columns - &own;
    let never =
        if cx.dtype(mask).is_bool() { cx.like_zero(mask)? } else { cx.like(mask, f64::NEG_INFINITY)? };
    cx.pad_with(mask, never, &lo, &hi)
}

/// Attention step by step, for those who want to see the scores: 0 as multiplied, 1 capped, 2 masked, 3 after
/// the softmax.
fn decomposed(cx: &mut Cx<'_, '_>, heads: &Heads, precision: DType, mode: i64) -> Step<(Value, Value)> {
    let dtype = cx.dtype(heads.q);
    let count = cx.extent(heads.q, 1);
    let (k, v) = (cx.repeat_heads(heads.k, &count)?, cx.repeat_heads(heads.v, &count)?);
    let root = heads.scale.sqrt();
    let (q, k) = (cx.with(S::Mul, heads.q, root)?, cx.with(S::Mul, k, root)?);
    let k = cx.swap_last(k)?;
    let mut scores = cx.matmul(q, k)?;
    let mut shown = scores;
    if heads.softcap > 0.0 {
        let inner = cx.with(S::Div, scores, heads.softcap)?;
        let bent = cx.un(S::Tanh, inner)?;
        scores = cx.with(S::Mul, bent, heads.softcap)?;
    }
    if mode == 1 {
        shown = scores;
    }
    let mut mask = heads.mask;
    if let Some(past) = &heads.causal {
        let (rows, columns) = (cx.extent(q, 2), cx.extent(k, 3));
        let ahead = cx.causal_mask(&rows, &columns, past)?;
        mask = Some(cx.both_masks(mask, ahead)?);
    }
    if let Some(mask) = mask {
        scores = if cx.dtype(mask).is_bool() {
            let never = cx.like(scores, f64::NEG_INFINITY)?;
            cx.select(mask, scores, never)?
        } else {
            let mask = cx.cast(mask, dtype)?;
            cx.add(scores, mask)?
        };
    }
    if mode == 2 {
        shown = scores;
    }
    let scores = cx.cast(scores, precision)?;
    let weights = cx.node(Op::Softmax, &[scores], [Attr::Int(3)])?;
    if mode == 3 {
        shown = cx.cast(weights, dtype)?;
    }
    let weights = cx.cast(weights, cx.dtype(v))?;
    let y = cx.matmul(weights, v)?;
    Ok((cx.cast(y, dtype)?, shown))
}

/// Attention whose scores and weights the model's own graphs change.
fn flex_attention(cx: &mut Cx<'_, '_>) -> Results {
    let (q, k, v) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    ensure!(cx.rank(q) == 4 && cx.rank(k) == 4 && cx.rank(v) == 4, "expected operands of rank 4");
    let dtype = cx.dtype(q);
    let precision = cx.dtype_attr("softmax_precision")?;
    let precision = precision.unwrap_or(if dtype == DType::F64 { DType::F64 } else { DType::F32 });
    let scale = default_scale(cx, q)?;
    let count = cx.extent(q, 1);
    let (k, v) = (cx.repeat_heads(k, &count)?, cx.repeat_heads(v, &count)?);
    let (q, k) = (cx.cast(q, precision)?, cx.cast(k, precision)?);
    let k = cx.swap_last(k)?;
    let scores = cx.matmul(q, k)?;
    let mut scores = cx.with(S::Mul, scores, scale)?;
    scores = modified(cx, "score_mod", scores)?;
    let weights = cx.node(Op::Softmax, &[scores], [Attr::Int(3)])?;
    let weights = modified(cx, "prob_mod", weights)?;
    let v = cx.cast(v, precision)?;
    let y = cx.matmul(weights, v)?;
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

fn modified(cx: &mut Cx<'_, '_>, name: &str, x: Value) -> Step {
    let Some(body): Option<&GraphProto> = cx.attr(name).and_then(|a| a.g.as_ref()) else { return Ok(x) };
    let [input] = body.input.as_slice() else {
        return Err(Refusal::new(format!("expected `{name}` with one input, got {}", body.input.len())));
    };
    let mut names = Names::default();
    names.insert(&input.name, Item::Tensor(Held::node(x, cx.ty(x))));
    match cx.importer.inline(body, names)?.as_slice() {
        [Item::Tensor(held)] => cx.place(held),
        _ => Err(Refusal::new(format!("expected `{name}` with one output"))),
    }
}

fn rotary_embedding(cx: &mut Cx<'_, '_>) -> Results {
    let (x, cos, sin) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let positions = cx.opt(3)?;
    let layout = Rotation {
        heads: cx.int("num_heads", 0),
        rotated: cx.int("rotary_embedding_dim", 0),
        interleaved: cx.flag("interleaved", false),
    };
    let gathered = |cx: &mut Cx<'_, '_>, cache: Value| match positions {
        Some(at) => cx.gather(cache, at, 0),
        None => Ok(cache),
    };
    let (cos, sin) = (gathered(cx, cos)?, gathered(cx, sin)?);
    let y = rotate(cx, x, cos, sin, &layout)?;
    cx.one(y)
}

/// How pairs of elements are rotated.
pub(crate) struct Rotation {
    pub(crate) heads: i64,
    /// How many elements of each head are, 0 for all.
    pub(crate) rotated: i64,
    /// Whether pairs are neighbours, or stand half a head apart.
    pub(crate) interleaved: bool,
}

/// Rotates pairs of elements of `[B, S, H·D]` or `[B, H, S, D]` by angles `[B, S, D / 2]`.
pub(crate) fn rotate(cx: &mut Cx<'_, '_>, x: Value, cos: Value, sin: Value, layout: &Rotation) -> Step {
    let shape = cx.shape(x);
    let flat = shape.rank() == 3;
    // [B, S, H, D] in the middle.
    let rows = if flat {
        ensure!(layout.heads > 0, "expected `num_heads` of an operand of rank 3");
        let heads = Dim::from(layout.heads);
        cx.reshape(x, &[shape[0].clone(), shape[1].clone(), heads.clone(), shape[2].floor_div(&heads)])?
    } else {
        cx.transpose(x, &[0, 2, 1, 3])?
    };
    let size = cx.extent(rows, 3);
    let rotated = if layout.rotated == 0 { size.clone() } else { Dim::from(layout.rotated) };
    let head = cx.slice(rows, 3, &Dim::ZERO, &rotated)?;
    let half = rotated.floor_div(&Dim::from(2i64));
    let middle = cx.shape(head);
    let (a, b) = if layout.interleaved {
        let pairs = [middle[0].clone(), middle[1].clone(), middle[2].clone(), half.clone(), Dim::from(2i64)];
        let pairs = cx.reshape(head, &pairs)?;
        (cx.pick(pairs, 4, &Dim::ZERO)?, cx.pick(pairs, 4, &Dim::ONE)?)
    } else {
        (cx.slice(head, 3, &Dim::ZERO, &half)?, cx.slice(head, 3, &half, &half)?)
    };
    let dtype = cx.dtype(x);
    let angle = |cx: &mut Cx<'_, '_>, v: Value| {
        let own = cx.rank(v);
        let last = cx.extent(v, own - 1);
        let v = if last == half { v } else { cx.slice(v, own - 1, &Dim::ZERO, &half)? };
        let v = cx.unsqueeze(v, &[own - 1])?;
        cx.cast(v, dtype)
    };
    let (cos, sin) = (angle(cx, cos)?, angle(cx, sin)?);
    let (ac, bs) = (cx.mul(a, cos)?, cx.mul(b, sin)?);
    let (asin, bcos) = (cx.mul(a, sin)?, cx.mul(b, cos)?);
    let (real, imaginary) = (cx.sub(ac, bs)?, cx.add(asin, bcos)?);
    let turned = if layout.interleaved {
        let (r, i) = (cx.unsqueeze(real, &[4])?, cx.unsqueeze(imaginary, &[4])?);
        let pairs = cx.concat(&[r, i], 4)?;
        cx.reshape(pairs, &middle)?
    } else {
        cx.concat(&[real, imaginary], 3)?
    };
    let all = if rotated == size {
        turned
    } else {
        let rest = cx.slice(rows, 3, &rotated, &(&size - &rotated))?;
        cx.concat(&[turned, rest], 3)?
    };
    if flat { cx.reshape(all, &shape) } else { cx.transpose(all, &[0, 2, 1, 3]) }
}

/// The recurrence over time with a matrix as state, as a loop.
fn linear_attention(cx: &mut Cx<'_, '_>) -> Results {
    let (q, k, v) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let (heads, shared) = (cx.int("q_num_heads", 0), cx.int("kv_num_heads", 0));
    let dtype = cx.dtype(q);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    // Time first, so that steps are gathered: [T, B, H, D].
    let timed = |cx: &mut Cx<'_, '_>, x: Value, heads: i64| {
        let x = cx.split_heads(x, heads)?;
        let x = cx.transpose(x, &[2, 0, 1, 3])?;
        cx.cast(x, wide)
    };
    let (q, k, v) = (timed(cx, q, heads)?, timed(cx, k, shared)?, timed(cx, v, shared)?);
    let (dk, dv) = (cx.extent(k, 3), cx.extent(v, 3));
    let rule = cx.text("update_rule", "gated_delta");
    let (gated, delta) = (rule.starts_with("gated"), rule.ends_with("delta"));
    ensure!(
        gated || delta || rule == "linear",
        "expected `update_rule` linear, gated, delta or gated_delta, got `{rule}`"
    );
    let mut extra = vec![q, k, v];
    let mut gate = |cx: &mut Cx<'_, '_>, index: usize, used: bool| -> Step<Option<usize>> {
        if !used {
            return Ok(None);
        }
        let x = cx.v(index)?;
        // One number may serve all heads.
        let own = if cx.rank(x) == 3 && cx.extent(x, 2).is(1) { 1 } else { shared };
        extra.push(timed(cx, x, own)?);
        Ok(Some(extra.len() - 1))
    };
    let (decay, beta) = (gate(cx, 4, gated)?, gate(cx, 5, delta)?);
    let (steps, batch) = (cx.extent(q, 0), cx.extent(q, 1));
    let state = match cx.opt(3)? {
        Some(past) => cx.cast(past, wide)?,
        None => {
            let zero = cx.number(wide, 0.0)?;
            cx.broadcast(zero, &[batch.clone(), Dim::from(shared), dk.clone(), dv.clone()])?
        }
    };
    let given = cx.float("scale", 0.0);
    let scale = if given != 0.0 { given } else { 1.0 / (cx.fixed(k, 3)? as f64).sqrt() };
    let group = heads / shared.max(1);
    let (results, outputs) = cx.over_time(&steps, &[state], &extra, |cx, carried, now| {
        let mut state = carried[0];
        if let Some(i) = decay {
            let decay = cx.un(S::Exp, now[i])?;
            let decay = cx.unsqueeze(decay, &[3])?;
            state = cx.mul(state, decay)?;
        }
        let (q, k, mut v) = (now[0], now[1], now[2]);
        let row = cx.unsqueeze(k, &[2])?;
        if let Some(i) = beta {
            let known = cx.matmul(row, state)?;
            let known = cx.squeeze(known, &[2])?;
            let news = cx.sub(v, known)?;
            v = cx.mul(now[i], news)?;
        }
        let (column, values) = (cx.unsqueeze(k, &[3])?, cx.unsqueeze(v, &[2])?);
        let product = cx.mul(column, values)?;
        state = cx.add(state, product)?;
        let shape = cx.shape(q);
        let grouped = [shape[0].clone(), Dim::from(shared), Dim::from(group), shape[2].clone()];
        let rows = cx.reshape(q, &grouped)?;
        let y = cx.matmul(rows, state)?;
        let y = cx.with(S::Mul, y, scale)?;
        Ok((vec![state], vec![y]))
    })?;
    // [T, B, G, H / G, E] to [B, T, H·E].
    let y = cx.transpose(outputs[0], &[1, 0, 2, 3, 4])?;
    let y = cx.reshape(y, &[batch, steps, &Dim::from(heads) * &dv])?;
    let y = cx.cast(y, dtype)?;
    let present = cx.cast(results[0], if cx.has(3) { cx.held(3)?.ty.dtype } else { dtype })?;
    cx.many(&[y, present])
}

impl<'m> Cx<'_, 'm> {
    /// A loop over the first axis of some tensors: from the carried values and the tensors' slices of now, `step`
    /// makes the carried values of the next step and what is stacked.
    pub(crate) fn over_time(
        &mut self,
        steps: &Dim,
        carried: &[Value],
        tensors: &[Value],
        step: impl Fn(&mut Cx<'_, 'm>, &[Value], &[Value]) -> Step<(Vec<Value>, Vec<Value>)>,
    ) -> Step<(Vec<Value>, Vec<Value>)> {
        let trip = self.dim_value(steps, DType::I64)?;
        let yes = Tensor::scalar(DType::Bool, Scalar::Int(1));
        let condition = self.g().constant(yes.clone())?;
        let types: Vec<TensorType> = carried.iter().chain(tensors).map(|v| self.ty(*v)).collect();
        let outer = self.importer.open_region(Names::default());
        let built = (|| -> Step<()> {
            let now = self.g().add_param("iteration", TensorType::scalar(DType::I64));
            let params: Vec<Value> = types
                .iter()
                .enumerate()
                .map(|(i, ty)| self.g().add_param(&format!("x{i}"), ty.clone()))
                .collect();
            let (states, sources) = params.split_at(carried.len());
            let slices = sources.iter().map(|s| self.gather(*s, now, 0)).collect::<Step<Vec<Value>>>()?;
            let (next, stacked) = step(self, states, &slices)?;
            let going_on = self.g().constant(yes)?;
            self.g().add_output("continue", going_on);
            for (i, value) in next.iter().chain(&stacked).enumerate() {
                self.g().add_output(&format!("y{i}"), *value);
            }
            Ok(())
        })();
        let region = self.importer.close_region(outer);
        built?;
        let results: Vec<TensorType> = region
            .output_types()
            .skip(1)
            .enumerate()
            .map(|(i, ty)| {
                if i < carried.len() {
                    return types[i].clone();
                }
                let shape: Shape = [steps.clone()].into_iter().chain(ty.shape.iter().cloned()).collect();
                TensorType::new(ty.dtype, shape)
            })
            .collect();
        let operands: Vec<Value> =
            [trip, condition].into_iter().chain(carried.iter().chain(tensors).copied()).collect();
        let attrs = [Attr::Int(carried.len() as i64), Attr::from(results)].into_iter().collect();
        let id = self.g().push(Op::Loop, &operands, attrs, vec![region])?;
        let mut all: Vec<Value> = self.g().node(id).results().collect();
        let stacked = all.split_off(carried.len());
        Ok((all, stacked))
    }
}
