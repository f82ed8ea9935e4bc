//! Products of matrices and convolutions.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Attr, Ints, Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("MatMul", 1, matmul),
    ("Gemm", 1, gemm),
    ("Einsum", 12, einsum),
    ("Conv", 1, conv),
    ("ConvTranspose", 1, conv_transpose),
    ("DeformConv", 19, super::image::deform_conv),
    ("CausalConvWithState", 27, causal_conv),
    ("Det", 11, det),
];

fn matmul(cx: &mut Cx<'_, '_>) -> Results {
    let (x, y) = (cx.v(0)?, cx.v(1)?);
    let dtype = cx.dtype(x);
    let z = cx.product(x, y, dtype)?;
    cx.one(z)
}

impl Cx<'_, '_> {
    /// The product as NumPy's `matmul` has it: vectors are rows or columns, batch axes broadcast. A matrix that
    /// serves every batch stays one.
    pub(crate) fn product(&mut self, x: Value, y: Value, dtype: DType) -> Step {
        let (rx, ry) = (self.rank(x), self.rank(y));
        ensure!(rx >= 1 && ry >= 1, "expected operands that are no scalars, got ranks {rx} and {ry}");
        if ry <= 2 {
            let contract = ry.saturating_sub(2) as i64;
            return self.dot((x, y), (&[], &[]), (&[rx as i64 - 1], &[contract]), dtype);
        }
        let row = rx == 1;
        let x = if row { self.unsqueeze(x, &[0])? } else { x };
        let rx = rx.max(2);
        let rank = rx.max(ry) - 2;
        let (sx, sy) = (self.shape(x), self.shape(y));
        let mut batch = vec![Dim::ONE; rank];
        for shape in [&sx, &sy] {
            let lead = rank + 2 - shape.rank();
            for i in 0..shape.rank() - 2 {
                let (slot, extent) = (&batch[lead + i], &shape[i]);
                if extent.is(1) || self.importer.graph.ranges.equal(slot, extent) {
                    continue;
                }
                batch[lead + i] = match (slot.as_const(), extent.as_const()) {
                    (Some(1), _) => extent.clone(),
                    (Some(_), None) => slot.clone(),
                    (None, Some(_)) => extent.clone(),
                    (None, None) => slot.maximum(extent),
                    (Some(a), Some(b)) => {
                        return Err(Refusal::new(format!(
                            "expected batch extents that are equal or 1, got {a} and {b}"
                        )));
                    }
                };
            }
        }
        let target = |shape: &crate::shape::Shape| {
            let mut all = batch.clone();
            all.extend(shape[shape.rank() - 2..].iter().cloned());
            all
        };
        let (tx, ty) = (target(&sx), target(&sy));
        let (x, y) = (self.broadcast(x, &tx)?, self.broadcast(y, &ty)?);
        let z = self.g().matmul(x, y, dtype)?;
        if row { self.squeeze(z, &[rank]) } else { Ok(z) }
    }
}

fn gemm(cx: &mut Cx<'_, '_>) -> Results {
    let y = general_product(cx)?;
    cx.one(y)
}

/// `alpha · a' · b' + beta · c` with operands transposed as asked.
pub(crate) fn general_product(cx: &mut Cx<'_, '_>) -> Step {
    let (a, b) = (cx.v(0)?, cx.v(1)?);
    ensure!(cx.rank(a) == 2 && cx.rank(b) == 2, "expected two matrices");
    let (ca, cb) = (i64::from(!cx.flag("transA", false)), i64::from(cx.flag("transB", false)));
    let dtype = cx.dtype(a);
    let mut y = cx.dot((a, b), (&[], &[]), (&[ca], &[cb]), dtype)?;
    let (alpha, beta) = (cx.float("alpha", 1.0), cx.float("beta", 1.0));
    if alpha != 1.0 {
        y = cx.with(S::Mul, y, alpha)?;
    }
    if let Some(c) = cx.opt(2)? {
        let c = if beta == 1.0 { c } else { cx.with(S::Mul, c, beta)? };
        let shape = cx.shape(y);
        let c = cx.broadcast(c, &shape)?;
        y = cx.add(y, c)?;
    }
    Ok(y)
}

/// Operands are multiplied one after the other; letters that neither the result nor a later operand has are
/// summed as soon as they can be.
fn einsum(cx: &mut Cx<'_, '_>) -> Results {
    let equation: String = cx.text("equation", "").chars().filter(|c| !c.is_whitespace()).collect();
    let operands = cx.all()?;
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    ensure!(terms.len() == operands.len(), "expected {} terms, got `{equation}`", operands.len());
    let mut labelled = Vec::new();
    let mut dots = 0;
    for (term, value) in terms.iter().zip(&operands) {
        let labels = labels_of(term, cx.rank(*value))?;
        dots = dots.max(labels.iter().filter(|l| l.is_ascii_digit() || (**l as u32) >= 0xE000).count());
        labelled.push((labels, *value));
    }
    let mut all: Vec<char> = labelled.iter().flat_map(|(l, _)| l.clone()).collect();
    let output: Vec<char> = match right {
        Some(right) => labels_of(
            right,
            right.replace("...", "").chars().count() + if right.contains("...") { dots } else { 0 },
        )?,
        None => {
            let mut once: Vec<char> = all
                .iter()
                .copied()
                .filter(|c| is_dot(*c) || all.iter().filter(|d| *d == c).count() == 1)
                .collect();
            once.sort_by_key(|c| (!is_dot(*c), *c));
            once.dedup();
            once
        }
    };
    all.clear();
    let mut current: Option<(Vec<char>, Value)> = None;
    for i in 0..labelled.len() {
        let (labels, value) = labelled[i].clone();
        let (mut labels, mut value) = diagonal(cx, labels, value)?;
        let later = |c: char| output.contains(&c) || labelled[i + 1..].iter().any(|(l, _)| l.contains(&c));
        if let Some((have, so_far)) = current.take() {
            let keep = |c: char| later(c);
            (labels, value) = multiply(cx, (have, so_far), (labels, value), &keep)?;
        }
        let gone: Vec<usize> = (0..labels.len()).filter(|j| !later(labels[*j])).collect();
        if !gone.is_empty() {
            value = cx.sum(value, &gone, false)?;
            labels.retain(|c| later(*c));
        }
        current = Some((labels, value));
    }
    let (labels, value) = current.ok_or_else(|| Refusal::new("expected at least one operand"))?;
    let perm: Option<Vec<usize>> = output.iter().map(|c| labels.iter().position(|l| l == c)).collect();
    let perm = perm.filter(|p| p.len() == labels.len());
    let perm = perm.ok_or_else(|| {
        Refusal::new(format!("expected result letters that operands have, once each, got `{equation}`"))
    })?;
    let y = cx.transpose(value, &perm)?;
    cx.one(y)
}

fn is_dot(label: char) -> bool {
    (label as u32) >= 0xE000
}

/// The letter of each axis; axes behind an ellipsis get private ones, counted from the last.
fn labels_of(term: &str, rank: usize) -> Step<Vec<char>> {
    let letters = term.replace("...", ".");
    ensure!(
        letters.chars().all(|c| c.is_ascii_alphabetic() || c == '.'),
        "expected letters and an ellipsis, got `{term}`"
    );
    let named = letters.chars().filter(|c| *c != '.').count();
    let hidden = rank
        .checked_sub(named)
        .ok_or_else(|| Refusal::new(format!("expected {rank} letters, got `{term}`")))?;
    ensure!(letters.contains('.') || hidden == 0, "expected {rank} letters, got `{term}`");
    let mut labels = Vec::new();
    for letter in letters.chars() {
        if letter == '.' {
            labels.extend((0..hidden).rev().filter_map(|i| char::from_u32(0xE000 + i as u32)));
        } else {
            labels.push(letter);
        }
    }
    Ok(labels)
}

/// A letter that occurs twice in a term takes the diagonal of its two axes.
fn diagonal(cx: &mut Cx<'_, '_>, mut labels: Vec<char>, mut value: Value) -> Step<(Vec<char>, Value)> {
    loop {
        let repeated =
            (0..labels.len()).find_map(|j| Some((labels[..j].iter().position(|l| *l == labels[j])?, j)));
        let Some((i, j)) = repeated else { return Ok((labels, value)) };
        let shape = cx.shape(value);
        let plane = [shape[i].clone(), shape[j].clone()];
        let (rows, columns) = (cx.iota(&plane, 0, DType::I64)?, cx.iota(&plane, 1, DType::I64)?);
        let on = cx.bin(S::Eq, rows, columns)?;
        let mut laid = vec![Dim::ONE; shape.rank()];
        (laid[i], laid[j]) = (shape[i].clone(), shape[j].clone());
        let on = cx.reshape(on, &laid)?;
        let zero = cx.like_zero(value)?;
        let kept = cx.select(on, value, zero)?;
        value = cx.sum(kept, &[j], false)?;
        labels.remove(j);
    }
}

type Labelled = (Vec<char>, Value);

fn multiply(
    cx: &mut Cx<'_, '_>,
    (la, a): Labelled,
    (lb, b): Labelled,
    keep: &dyn Fn(char) -> bool,
) -> Step<Labelled> {
    let shared: Vec<char> = la.iter().copied().filter(|c| lb.contains(c)).collect();
    let at = |labels: &[char], c: char| labels.iter().position(|l| *l == c).unwrap_or(0);
    // Extents of 1 broadcast, which a contraction does not do.
    let broadcasts = shared.iter().any(|c| {
        let (x, y) = (cx.extent(a, at(&la, *c)), cx.extent(b, at(&lb, *c)));
        x != y && (x.is(1) || y.is(1))
    });
    if broadcasts || cx.dtype(a).is_bool() {
        let mut labels = la.clone();
        labels.extend(lb.iter().filter(|c| !la.contains(c)));
        let spread = |cx: &mut Cx<'_, '_>, own: &[char], value: Value| {
            let shape = cx.shape(value);
            let perm: Vec<usize> = labels.iter().filter_map(|c| own.iter().position(|l| l == c)).collect();
            let laid: Vec<Dim> = labels
                .iter()
                .map(|c| own.iter().position(|l| l == c).map_or(Dim::ONE, |i| shape[i].clone()))
                .collect();
            let value = cx.transpose(value, &perm)?;
            cx.reshape(value, &laid)
        };
        let (x, y) = (spread(cx, &la, a)?, spread(cx, &lb, b)?);
        let product = cx.mul(x, y)?;
        return Ok((labels, product));
    }
    let axes =
        |labels: &[char], list: &[char]| list.iter().map(|c| at(labels, *c) as i64).collect::<Vec<i64>>();
    let (batch, contract): (Vec<char>, Vec<char>) = shared.iter().partition(|c| keep(**c));
    let free =
        |labels: &[char]| labels.iter().copied().filter(|c| !shared.contains(c)).collect::<Vec<char>>();
    let labels = [batch.clone(), free(&la), free(&lb)].concat();
    let (ba, bb) = (axes(&la, &batch), axes(&lb, &batch));
    let (ka, kb) = (axes(&la, &contract), axes(&lb, &contract));
    let dtype = cx.dtype(a);
    let value = cx.dot((a, b), (&ba, &bb), (&ka, &kb), dtype)?;
    Ok((labels, value))
}

/// The window attributes that convolutions and poolings share.
pub(crate) struct Window {
    pub(crate) size: Vec<i64>,
    pub(crate) strides: Vec<i64>,
    pub(crate) dilations: Vec<i64>,
    pub(crate) lo: Vec<i64>,
    pub(crate) hi: Vec<i64>,
}

impl Cx<'_, '_> {
    /// A list attribute with one positive entry for each of `n` axes.
    pub(crate) fn positive(&self, name: &str, n: usize) -> Step<Vec<i64>> {
        let list = self.ints(name).filter(|l| !l.is_empty()).map_or_else(|| vec![1; n], <[i64]>::to_vec);
        ensure!(list.len() == n, "expected {n} entries of `{name}`, got {list:?}");
        ensure!(list.iter().all(|v| *v > 0 && *v < 1 << 31), "expected positive `{name}`, got {list:?}");
        Ok(list)
    }

    /// The window over the last axes of `x`, with automatic padding worked out.
    pub(crate) fn window(&self, x: Value, size: Vec<i64>) -> Step<Window> {
        let n = size.len();
        let strides = self.positive("strides", n)?;
        let dilations = self.positive("dilations", n)?;
        let (mut lo, mut hi) = (vec![0; n], vec![0; n]);
        let auto = self.text("auto_pad", "NOTSET");
        match auto.as_str() {
            "NOTSET" | "" => {
                if let Some(pads) = self.ints("pads").filter(|p| !p.is_empty()) {
                    ensure!(pads.len() == 2 * n, "expected {} `pads`, got {pads:?}", 2 * n);
                    ensure!(pads.iter().all(|p| p.abs() < 1 << 31), "expected smaller `pads`, got {pads:?}");
                    lo.copy_from_slice(&pads[..n]);
                    hi.copy_from_slice(&pads[n..]);
                }
            }
            "VALID" => {}
            "SAME_UPPER" | "SAME_LOWER" => {
                let rank = self.rank(x);
                for i in 0..n {
                    let reach = (size[i] - 1) * dilations[i] + 1;
                    // With stride 1 the padding does not depend on the extent.
                    let total = if strides[i] == 1 {
                        reach - 1
                    } else {
                        let extent = self.fixed(x, rank - n + i)? as i64;
                        let count = (extent + strides[i] - 1) / strides[i];
                        ((count - 1) * strides[i] + reach - extent).max(0)
                    };
                    let less = total / 2;
                    (lo[i], hi[i]) =
                        if auto == "SAME_UPPER" { (less, total - less) } else { (total - less, less) };
                }
            }
            other => return Err(Refusal::new(format!("expected a known `auto_pad`, got `{other}`"))),
        }
        Ok(Window { size, strides, dilations, lo, hi })
    }

    /// The extents of the axes from `first` on, which must be numbers.
    pub(crate) fn window_of(&self, w: Value, first: usize) -> Step<Vec<i64>> {
        (first..self.rank(w)).map(|i| Ok(self.fixed(w, i)? as i64)).collect()
    }

    /// A convolution of a window.
    pub(crate) fn convolve(
        &mut self,
        x: Value,
        w: Value,
        window: &Window,
        groups: i64,
        dtype: DType,
    ) -> Step {
        let list = |v: &[i64]| Attr::Ints(v.iter().copied().collect::<Ints>());
        let base = vec![1; window.size.len()];
        let attrs = [
            list(&window.strides),
            list(&window.lo),
            list(&window.hi),
            list(&window.dilations),
            list(&base),
            Attr::Int(groups),
            dtype.into(),
        ];
        self.node(Op::Conv, &[x, w], attrs)
    }

    /// A vector of the channels added to a tensor whose axis 1 they are.
    pub(crate) fn add_channels(&mut self, x: Value, bias: Value) -> Step {
        let bias = self.along(bias, 1, self.rank(x))?;
        self.add(x, bias)
    }
}

fn conv(cx: &mut Cx<'_, '_>) -> Results {
    let y = convolution(cx)?;
    cx.one(y)
}

/// The convolution that the first two operands, a bias and the attributes describe.
pub(crate) fn convolution(cx: &mut Cx<'_, '_>) -> Step {
    let (x, w) = (cx.v(0)?, cx.v(1)?);
    ensure!(
        cx.rank(x) == cx.rank(w) && cx.rank(x) >= 3,
        "expected one rank of at least 3, got {} and {}",
        cx.ty(x),
        cx.ty(w)
    );
    let size = cx.window_of(w, 2)?;
    let window = cx.window(x, size)?;
    let dtype = cx.dtype(x);
    let y = cx.convolve(x, w, &window, cx.int("group", 1), dtype)?;
    match cx.opt(2)? {
        Some(bias) => cx.add_channels(y, bias),
        None => Ok(y),
    }
}

/// A convolution of the spread input with the reversed window, whose channels change places within each group.
fn conv_transpose(cx: &mut Cx<'_, '_>) -> Results {
    let (x, w) = (cx.v(0)?, cx.v(1)?);
    let rank = cx.rank(x);
    ensure!(rank >= 3 && cx.rank(w) == rank, "expected one rank of at least 3");
    let n = rank - 2;
    let size = cx.window_of(w, 2)?;
    let (strides, dilations) = (cx.positive("strides", n)?, cx.positive("dilations", n)?);
    let groups = cx.int("group", 1);
    ensure!(groups > 0, "expected a positive `group`, got {groups}");
    let zeros = vec![0; n];
    let extra = cx.ints("output_padding").map_or(zeros.clone(), <[i64]>::to_vec);
    ensure!(extra.len() == n, "expected {n} entries of `output_padding`, got {extra:?}");
    let pads = cx.ints("pads").filter(|p| p.len() == 2 * n).map_or(vec![0; 2 * n], <[i64]>::to_vec);
    let auto = cx.text("auto_pad", "NOTSET");
    let wanted = cx.ints("output_shape").filter(|s| !s.is_empty());
    let (mut lo, mut hi) = (Vec::new(), Vec::new());
    for i in 0..n {
        let reach = (size[i] - 1) * dilations[i];
        let (mut before, mut after) = (pads[i], pads[n + i]);
        let same = auto.starts_with("SAME");
        if wanted.is_some() || same {
            let total = match wanted {
                Some(shape) => {
                    let shape = &shape[shape.len().saturating_sub(n)..];
                    let target = shape
                        .get(i)
                        .copied()
                        .ok_or_else(|| Refusal::new("expected an extent for each axis of `output_shape`"))?;
                    let extent = cx.fixed(x, 2 + i)? as i64;
                    strides[i] * (extent - 1) + extra[i] + reach + 1 - target
                }
                None => reach + 1 + extra[i] - strides[i],
            };
            // An extent beyond what the windows reach is filled with zeros at the end.
            let less = total.max(0) / 2;
            (before, after) = if total < 0 {
                (0, total)
            } else if auto == "SAME_UPPER" {
                (less, total - less)
            } else {
                (total - less, less)
            };
        }
        lo.push(reach - before);
        hi.push(reach - after + extra[i]);
    }
    let spatial: Vec<usize> = (2..rank).collect();
    let w = cx.reverse(w, &spatial)?;
    let shape = cx.shape(w);
    let group = Dim::from(groups);
    let inner = shape[0].floor_div(&group);
    let mut split = vec![group.clone(), inner.clone(), shape[1].clone()];
    split.extend(shape[2..].iter().cloned());
    let w = cx.reshape(w, &split)?;
    let mut perm: Vec<usize> = (0..rank + 1).collect();
    perm.swap(1, 2);
    let w = cx.transpose(w, &perm)?;
    let mut joined = vec![&group * &shape[1], inner];
    joined.extend(shape[2..].iter().cloned());
    let w = cx.reshape(w, &joined)?;
    let list = |v: &[i64]| Attr::Ints(v.iter().copied().collect::<Ints>());
    let ones = vec![1; n];
    let dtype = cx.dtype(x);
    let attrs = [
        list(&ones),
        list(&lo),
        list(&hi),
        list(&dilations),
        list(&strides),
        Attr::Int(groups),
        dtype.into(),
    ];
    let mut y = cx.node(Op::Conv, &[x, w], attrs)?;
    if let Some(bias) = cx.opt(2)? {
        y = cx.add_channels(y, bias)?;
    }
    cx.one(y)
}

/// A depthwise convolution over the past and the present; the last positions are carried to the next call.
fn causal_conv(cx: &mut Cx<'_, '_>) -> Results {
    let (x, w) = (cx.v(0)?, cx.v(1)?);
    let k = cx.fixed(w, 2)? as i64;
    let channels = cx.fixed(w, 0)? as i64;
    let past = match cx.opt(3)? {
        Some(past) => past,
        None => {
            let shape = [cx.extent(x, 0), cx.extent(x, 1), Dim::from(k - 1)];
            let zero = cx.like_zero(x)?;
            cx.broadcast(zero, &shape)?
        }
    };
    let all = cx.concat(&[past, x], 2)?;
    let window = Window { size: vec![k], strides: vec![1], dilations: vec![1], lo: vec![0], hi: vec![0] };
    let dtype = cx.dtype(x);
    let mut y = cx.convolve(all, w, &window, channels, dtype)?;
    if let Some(bias) = cx.opt(2)? {
        y = cx.add_channels(y, bias)?;
    }
    y = match cx.text("activation", "none").as_str() {
        "none" => y,
        "silu" | "swish" => cx.un(S::Silu, y)?,
        other => return Err(Refusal::new(format!("expected `activation` none or silu, got `{other}`"))),
    };
    let kept = Dim::from(k - 1);
    let start = &cx.extent(all, 2) - &kept;
    let present = cx.slice(all, 2, &start, &kept)?;
    cx.many(&[y, present])
}

fn det(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let y = cx.node(Op::Det, &[x], [])?;
    cx.one(y)
}
