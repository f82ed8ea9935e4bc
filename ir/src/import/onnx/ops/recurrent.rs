//! Recurrent layers, as loops over time. What does not depend on the state is computed before the loop.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::elementwise::activate;
use super::movement::reverse_within;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::Value;
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("RNN", 1, |c| layer(c, Kind::Rnn)),
    ("GRU", 1, |c| layer(c, Kind::Gru)),
    ("LSTM", 1, |c| layer(c, Kind::Lstm)),
];

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Rnn,
    Gru,
    Lstm,
}

impl Kind {
    fn gates(self) -> i64 {
        match self {
            Kind::Rnn => 1,
            Kind::Gru => 3,
            Kind::Lstm => 4,
        }
    }

    fn activations(self) -> &'static [&'static str] {
        match self {
            Kind::Rnn => &["Tanh"],
            Kind::Gru => &["Sigmoid", "Tanh"],
            Kind::Lstm => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

type Activation = (String, Option<f64>, Option<f64>);

/// One direction's weights: `w: [G·H, I]`, `r: [G·H, H]`, biases `[G·H]`, peepholes `[3·H]`.
struct Direction {
    w: Value,
    r: Value,
    bias: Option<(Value, Value)>,
    peepholes: Option<Value>,
    h: Value,
    c: Option<Value>,
    activations: Vec<Activation>,
}

fn layer(cx: &mut Cx<'_, '_>, kind: Kind) -> Results {
    let (mut x, w, r) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    ensure!(cx.rank(x) == 3 && cx.rank(w) == 3 && cx.rank(r) == 3, "expected operands of rank 3");
    let batch_first = cx.int("layout", 0) != 0;
    if batch_first {
        x = cx.transpose(x, &[1, 0, 2])?;
    }
    let hidden = cx.fixed(r, 2)? as i64;
    let directions = match cx.text("direction", "forward").as_str() {
        "forward" => vec![false],
        "reverse" => vec![true],
        "bidirectional" => vec![false, true],
        other => {
            return Err(Refusal::new(format!(
                "expected `direction` forward, reverse or bidirectional, got `{other}`"
            )));
        }
    };
    let (bias, lengths) = (cx.opt(3)?, cx.opt(4)?);
    let names = activations(cx, kind, directions.len())?;
    let (mut ys, mut hs, mut cs) = (Vec::new(), Vec::new(), Vec::new());
    for (d, backwards) in directions.iter().enumerate() {
        let at = Dim::from(d);
        let start = |cx: &mut Cx<'_, '_>, index: usize| -> Step {
            match cx.opt(index)? {
                Some(v) => cx.pick(v, usize::from(batch_first), &at),
                None => {
                    let zero = cx.like(x, 0.0)?;
                    let batch = cx.extent(x, 1);
                    cx.broadcast(zero, &[batch, Dim::from(hidden)])
                }
            }
        };
        let h = start(cx, 5)?;
        let c = if kind == Kind::Lstm { Some(start(cx, 6)?) } else { None };
        let rows = Dim::from(kind.gates() * hidden);
        let bias = match bias {
            Some(b) => {
                let b = cx.pick(b, 0, &at)?;
                Some((cx.slice(b, 0, &Dim::ZERO, &rows)?, cx.slice(b, 0, &rows, &rows)?))
            }
            None => None,
        };
        let peepholes = if kind == Kind::Lstm { cx.opt(7)? } else { None };
        let peepholes = peepholes.map(|p| cx.pick(p, 0, &at)).transpose()?;
        let (w, r) = (cx.pick(w, 0, &at)?, cx.pick(r, 0, &at)?);
        let direction = Direction { w, r, bias, peepholes, h, c, activations: names[d].clone() };
        let input = if *backwards { turned(cx, x, lengths)? } else { x };
        let (y, h, c) = run(cx, kind, input, &direction, lengths, hidden)?;
        let y = if *backwards { turned(cx, y, lengths)? } else { y };
        ys.push(cx.unsqueeze(y, &[1])?);
        hs.push(cx.unsqueeze(h, &[0])?);
        if let Some(c) = c {
            cs.push(cx.unsqueeze(c, &[0])?);
        }
    }
    let mut results = vec![cx.concat(&ys, 1)?, cx.concat(&hs, 0)?];
    if !cs.is_empty() {
        results.push(cx.concat(&cs, 0)?);
    }
    if batch_first {
        results[0] = cx.transpose(results[0], &[2, 0, 1, 3])?;
        for state in results.iter_mut().skip(1) {
            *state = cx.transpose(*state, &[1, 0, 2])?;
        }
    }
    cx.many(&results)
}

/// Time reversed, within each sequence's length if there are lengths.
fn turned(cx: &mut Cx<'_, '_>, x: Value, lengths: Option<Value>) -> Step {
    match lengths {
        Some(lengths) => reverse_within(cx, x, lengths, 0, 1),
        None => cx.reverse(x, &[0]),
    }
}

/// The activations of each direction, with parameters dealt out to those that take some.
fn activations(cx: &Cx<'_, '_>, kind: Kind, directions: usize) -> Step<Vec<Vec<Activation>>> {
    let defaults = kind.activations();
    let names = cx.texts("activations").unwrap_or_else(|| {
        defaults.iter().cycle().take(defaults.len() * directions).map(|s| (*s).to_owned()).collect()
    });
    ensure!(
        names.len() == defaults.len() * directions,
        "expected {} activations, got {}",
        defaults.len() * directions,
        names.len()
    );
    let mut alphas = cx.floats("activation_alpha").unwrap_or_default().iter();
    let mut betas = cx.floats("activation_beta").unwrap_or_default().iter();
    let canonical = [
        "Relu",
        "Tanh",
        "Sigmoid",
        "Affine",
        "LeakyRelu",
        "ThresholdedRelu",
        "ScaledTanh",
        "HardSigmoid",
        "Elu",
        "Softsign",
        "Softplus",
    ];
    let dealt: Vec<Activation> = names
        .iter()
        .map(|name| {
            let name = canonical.iter().find(|c| c.eq_ignore_ascii_case(name)).map_or(name.as_str(), |c| *c);
            let takes_alpha = matches!(
                name,
                "Affine" | "LeakyRelu" | "ThresholdedRelu" | "ScaledTanh" | "HardSigmoid" | "Elu"
            );
            let takes_beta = matches!(name, "Affine" | "ScaledTanh" | "HardSigmoid");
            let alpha = if takes_alpha { alphas.next().map(|v| f64::from(*v)) } else { None };
            let beta = if takes_beta { betas.next().map(|v| f64::from(*v)) } else { None };
            (name.to_owned(), alpha, beta)
        })
        .collect();
    Ok(dealt.chunks(defaults.len()).map(<[Activation]>::to_vec).collect())
}

/// One direction over time: all outputs, the last state and the last cell.
fn run(
    cx: &mut Cx<'_, '_>,
    kind: Kind,
    x: Value,
    weights: &Direction,
    lengths: Option<Value>,
    hidden: i64,
) -> Step<(Value, Value, Option<Value>)> {
    let dtype = cx.dtype(x);
    let steps = cx.extent(x, 0);
    let reset_later = kind == Kind::Gru && cx.int("linear_before_reset", 0) != 0;
    let clip = cx.attr("clip").map(|a| f64::from(a.f)).filter(|c| *c > 0.0);
    let coupled = cx.int("input_forget", 0) != 0;
    // [T, B, G·H]
    let mut projected = cx.dot((x, weights.w), (&[], &[]), (&[2], &[1]), dtype)?;
    let mut late_bias = None;
    if let Some((wb, rb)) = weights.bias {
        projected = cx.add(projected, wb)?;
        if kind == Kind::Gru && reset_later {
            late_bias = Some(rb);
        } else {
            projected = cx.add(projected, rb)?;
        }
    }
    let mut carried = vec![weights.h];
    carried.extend(weights.c);
    let states = carried.len();
    // The recurrent weights do not change: they are carried along as they are.
    carried.push(weights.r);
    carried.extend(late_bias);
    carried.extend(weights.peepholes);
    let mut tensors = vec![projected];
    if let Some(lengths) = lengths {
        let places = cx.range(&steps, DType::I64)?;
        let places = cx.along(places, 0, 2)?;
        let lengths = cx.cast(lengths, DType::I64)?;
        let lengths = cx.along(lengths, 0, 1)?;
        let inside = cx.bin(S::Lt, places, lengths)?;
        tensors.push(cx.unsqueeze(inside, &[2])?);
    }
    let act = |cx: &mut Cx<'_, '_>, which: usize, x: Value| {
        let x = match clip {
            Some(limit) => cx.clamp(x, -limit, limit)?,
            None => x,
        };
        let (name, alpha, beta) = &weights.activations[which];
        activate(cx, name, x, *alpha, *beta)
    };
    let size = Dim::from(hidden);
    let gate = |cx: &mut Cx<'_, '_>, x: Value, i: i64| cx.slice(x, 1, &Dim::from(i * hidden), &size);
    let part = |cx: &mut Cx<'_, '_>, x: Value, i: i64| cx.slice(x, 0, &Dim::from(i * hidden), &size);
    let (last, outputs) = cx.over_time(&steps, &carried, &tensors, |cx, carried, now| {
        let (h, r) = (carried[0], carried[states]);
        let recur = |cx: &mut Cx<'_, '_>, h: Value, r: Value| cx.dot((h, r), (&[], &[]), (&[1], &[1]), dtype);
        let (mut next, mut cell) = match kind {
            Kind::Rnn => {
                let from_h = recur(cx, h, r)?;
                let sum = cx.add(now[0], from_h)?;
                (act(cx, 0, sum)?, None)
            }
            Kind::Gru => {
                let two = Dim::from(2 * hidden);
                let (early, late) = (cx.slice(r, 0, &Dim::ZERO, &two)?, part(cx, r, 2)?);
                let mut from_h = recur(cx, h, early)?;
                if reset_later && late_bias.is_some() {
                    let bias = cx.slice(carried[states + 1], 0, &Dim::ZERO, &two)?;
                    from_h = cx.add(from_h, bias)?;
                }
                let outer = cx.slice(now[0], 1, &Dim::ZERO, &two)?;
                let sums = cx.add(outer, from_h)?;
                let (z, reset) = (gate(cx, sums, 0)?, gate(cx, sums, 1)?);
                let (z, reset) = (act(cx, 0, z)?, act(cx, 0, reset)?);
                let inner = if reset_later {
                    let mut inner = recur(cx, h, late)?;
                    if late_bias.is_some() {
                        let bias = part(cx, carried[states + 1], 2)?;
                        inner = cx.add(inner, bias)?;
                    }
                    cx.mul(reset, inner)?
                } else {
                    let kept = cx.mul(reset, h)?;
                    recur(cx, kept, late)?
                };
                let outer = gate(cx, now[0], 2)?;
                let sum = cx.add(outer, inner)?;
                let fresh = act(cx, 1, sum)?;
                let one = cx.like(z, 1.0)?;
                let rest = cx.sub(one, z)?;
                let (a, b) = (cx.mul(rest, fresh)?, cx.mul(z, h)?);
                (cx.add(a, b)?, None)
            }
            Kind::Lstm => {
                let c = carried[1];
                let from_h = recur(cx, h, r)?;
                let sums = cx.add(now[0], from_h)?;
                // Peepholes look at the cell: the input and forget gates at the old one, the output at the new.
                let peep = |cx: &mut Cx<'_, '_>, x: Value, c: Value, i: i64| match weights.peepholes {
                    Some(_) => {
                        let p = part(cx, carried[states + 1], i)?;
                        let look = cx.mul(p, c)?;
                        cx.add(x, look)
                    }
                    None => Ok(x),
                };
                let i = gate(cx, sums, 0)?;
                let i = peep(cx, i, c, 0)?;
                let i = act(cx, 0, i)?;
                let f = if coupled {
                    let one = cx.like(i, 1.0)?;
                    cx.sub(one, i)?
                } else {
                    let f = gate(cx, sums, 2)?;
                    let f = peep(cx, f, c, 2)?;
                    act(cx, 0, f)?
                };
                let g = gate(cx, sums, 3)?;
                let g = act(cx, 1, g)?;
                let (kept, added) = (cx.mul(f, c)?, cx.mul(i, g)?);
                let cell = cx.add(kept, added)?;
                let o = gate(cx, sums, 1)?;
                let o = peep(cx, o, cell, 1)?;
                let o = act(cx, 0, o)?;
                let shown = act_unclipped(cx, &weights.activations[2], cell)?;
                (cx.mul(o, shown)?, Some(cell))
            }
        };
        let mut output = next;
        if let Some(inside) = now.get(1) {
            let zero = cx.like(next, 0.0)?;
            output = cx.select(*inside, next, zero)?;
            next = cx.select(*inside, next, h)?;
            cell = cell.map(|c| cx.select(*inside, c, carried[1])).transpose()?;
        }
        let mut all = vec![next];
        all.extend(cell);
        all.extend(&carried[states..]);
        Ok((all, vec![output]))
    })?;
    let cell = weights.c.map(|_| last[1]);
    Ok((outputs[0], last[0], cell))
}

fn act_unclipped(cx: &mut Cx<'_, '_>, (name, alpha, beta): &Activation, x: Value) -> Step {
    activate(cx, name, x, *alpha, *beta)
}
