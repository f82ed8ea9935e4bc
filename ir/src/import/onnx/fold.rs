//! Nodes that need not reach the graph: those of small constants are evaluated, and shape arithmetic is done on
//! symbolic elements.

use super::Importer;
use super::context::{Cx, Rule};
use super::proto::NodeProto;
use super::values::{Held, Item, MOST_ELEMENTS};
use crate::dim::{Dim, Ranges};
use crate::dtype::DType;
use crate::graph::eval;
use crate::tensor::Tensor;

/// Random operators give other values each time, and those with graphs are not worth it.
const NEVER: [&str; 10] = [
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "If",
    "Loop",
    "Scan",
    "SequenceMap",
];

/// No more elements than this are computed at import time for one node.
const MOST_WORK: i64 = 1 << 14;

/// The results of a node whose operands are small constants.
pub(crate) fn evaluate<'m>(
    importer: &mut Importer<'m>,
    node: &'m NodeProto,
    inputs: &[Option<Item>],
    opset: i64,
    rule: Rule,
) -> Option<Vec<Item>> {
    let small = |item: &Option<Item>| match item {
        None => true,
        Some(Item::Tensor(held)) => held.as_constant().is_some_and(|t| t.len() <= MOST_ELEMENTS),
        _ => false,
    };
    let given = inputs.iter().any(Option::is_some);
    if !given || !inputs.iter().all(small) || NEVER.contains(&node.op_type.as_str()) {
        return None;
    }
    let scratch = importer.graph.region_of();
    let outer = std::mem::replace(&mut importer.graph, scratch);
    importer.frames += 1;
    let frame = std::mem::replace(&mut importer.frame, importer.frames);
    let fresh = importer.fresh;
    let results = compute(importer, node, inputs, opset, rule);
    importer.graph = outer;
    importer.frame = frame;
    if results.is_none() {
        importer.fresh = fresh;
    }
    results
}

fn compute<'m>(
    importer: &mut Importer<'m>,
    node: &'m NodeProto,
    inputs: &[Option<Item>],
    opset: i64,
    rule: Rule,
) -> Option<Vec<Item>> {
    let mut cx = Cx { importer, node, inputs: inputs.to_vec(), opset };
    let results = rule(&mut cx).ok()?;
    for (i, item) in results.iter().enumerate() {
        let Item::Tensor(held) = item else { return None };
        let value = cx.place(held).ok()?;
        cx.g().add_output(&format!("out{i}"), value);
    }
    let graph = &cx.importer.graph;
    let mut work = 0i64;
    for value in graph.values() {
        work = work.saturating_add(graph.ty(value).shape.elements().as_const().unwrap_or(MOST_WORK));
    }
    if work > MOST_WORK {
        return None;
    }
    let tensors = eval::evaluate(graph, &[]).ok()?;
    Some(tensors.into_iter().map(|t| Item::Tensor(Held::constant(t))).collect())
}

/// The results of shape arithmetic: elements known as expressions go in, and come out.
pub(crate) fn symbolic(cx: &Cx<'_, '_>) -> Option<Vec<Item>> {
    if !matches!(cx.node.domain.as_str(), "" | "ai.onnx") || !cx.inputs.iter().any(is_small_integer) {
        return None;
    }
    let held = match cx.node.op_type.as_str() {
        "Identity" => return Some(vec![cx.inputs.first()?.clone()?]),
        "Cast" => cast(cx),
        "Add" => binary(cx, |_, a, b| Some(a + b)),
        "Sub" => binary(cx, |_, a, b| Some(a - b)),
        "Mul" => binary(cx, |_, a, b| Some(a * b)),
        "Div" => binary(cx, quotient),
        "Mod" => binary(cx, |r, a, b| (r.bounds(b).lo > 0 && !cx.flag("fmod", false)).then(|| a.modulo(b))),
        "Min" => binary(cx, |_, a, b| Some(a.minimum(b))),
        "Max" => binary(cx, |_, a, b| Some(a.maximum(b))),
        "Equal" => test(cx, |r, a, b| decide(r.equal(a, b), r.differ(a, b))),
        "Less" => test(cx, |r, a, b| decide(r.less(a, b), r.at_most(b, a))),
        "LessOrEqual" => test(cx, |r, a, b| decide(r.at_most(a, b), r.less(b, a))),
        "Greater" => test(cx, |r, a, b| decide(r.less(b, a), r.at_most(a, b))),
        "GreaterOrEqual" => test(cx, |r, a, b| decide(r.at_most(b, a), r.less(a, b))),
        "Where" => choose(cx),
        "Neg" => unary(cx, |a| &Dim::ZERO - a),
        "ReduceProd" => reduce(cx, Dim::ONE, |a, b| a * b),
        "ReduceSum" => reduce(cx, Dim::ZERO, |a, b| a + b),
        "Concat" => concat(cx),
        "Gather" => gather(cx),
        "Slice" => slice(cx),
        "Squeeze" | "Unsqueeze" | "Reshape" | "Flatten" => reshaped(cx),
        "Expand" => expand(cx),
        _ => None,
    }?;
    Some(vec![Item::Tensor(held)])
}

fn is_small_integer(item: &Option<Item>) -> bool {
    matches!(item, Some(Item::Tensor(held)) if !held.ty.dtype.is_float()
        && matches!(held.form, super::values::Form::Elements(_)))
}

fn shape(held: &Held) -> Option<Vec<usize>> {
    held.ty.shape.as_fixed().map(|s| s.to_vec())
}

fn whole(held: &Held, elements: Vec<Dim>) -> Option<Held> {
    Some(Held::elements_of(held.ty.dtype, &shape(held)?, elements))
}

fn unary(cx: &Cx<'_, '_>, f: impl Fn(&Dim) -> Dim) -> Option<Held> {
    let x = cx.held(0).ok()?;
    whole(x, x.elements()?.iter().map(f).collect())
}

/// Conversions among the integer types that hold extents, and to bool.
fn cast(cx: &Cx<'_, '_>) -> Option<Held> {
    let x = cx.held(0).ok()?;
    let to = cx.dtype_attr("to").ok()??;
    let fits = matches!(to, DType::I64 | DType::I32 | DType::U64 | DType::U32);
    fits.then(|| Some(Held::elements_of(to, &shape(x)?, x.elements()?.to_vec())))?
}

/// Integer division truncates; of operands that are not negative that is the floor.
fn quotient(ranges: &Ranges, a: &Dim, b: &Dim) -> Option<Dim> {
    (ranges.bounds(a).lo >= 0 && ranges.bounds(b).lo > 0).then(|| ranges.simplify(&a.floor_div(b)))
}

/// A shape and the pair of elements that meet at each of its places.
type Pairs = (Vec<usize>, Vec<(Dim, Dim)>);

fn paired(cx: &Cx<'_, '_>, first: usize) -> Option<Pairs> {
    if cx.inputs.len() != first + 2 {
        return None;
    }
    let (x, y) = (cx.held(first).ok()?, cx.held(first + 1).ok()?);
    let (a, b) = (x.elements()?, y.elements()?);
    let (from, to) = (shape(x)?, shape(y)?);
    let out = broadcast(&from, &to)?;
    let (i, j) = (positions(&from, &out), positions(&to, &out));
    Some((out, i.into_iter().zip(j).map(|(i, j)| (a[i].clone(), b[j].clone())).collect()))
}

fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y || y == 1 => Some(x),
            (1, y) => Some(y),
            _ => None,
        })
        .collect()
}

/// For each element of the shape `out` the position of its source in a tensor that is broadcast to it.
fn positions(from: &[usize], out: &[usize]) -> Vec<usize> {
    let count: usize = out.iter().product();
    let lead = out.len() - from.len();
    (0..count)
        .map(|flat| {
            let (mut rest, mut stride, mut at) = (flat, 1, 0);
            for axis in (0..out.len()).rev() {
                let coordinate = rest % out[axis];
                rest /= out[axis];
                if axis >= lead {
                    let extent = from[axis - lead];
                    at += if extent == 1 { 0 } else { coordinate * stride };
                    stride *= extent;
                }
            }
            at
        })
        .collect()
}

fn binary(cx: &Cx<'_, '_>, f: impl Fn(&Ranges, &Dim, &Dim) -> Option<Dim>) -> Option<Held> {
    let ranges = &cx.importer.graph.ranges;
    let (out, pairs) = paired(cx, 0)?;
    let elements = pairs.iter().map(|(a, b)| f(ranges, a, b)).collect::<Option<Vec<Dim>>>()?;
    Some(Held::elements_of(cx.held(0).ok()?.ty.dtype, &out, elements))
}

fn decide(yes: bool, no: bool) -> Option<bool> {
    (yes != no).then_some(yes)
}

fn test(cx: &Cx<'_, '_>, f: impl Fn(&Ranges, &Dim, &Dim) -> Option<bool>) -> Option<Held> {
    let ranges = &cx.importer.graph.ranges;
    let (out, pairs) = paired(cx, 0)?;
    let truths = pairs.iter().map(|(a, b)| f(ranges, a, b)).collect::<Option<Vec<bool>>>()?;
    Some(Held::constant(Tensor::from_slice(&out, &truths).ok()?))
}

fn choose(cx: &Cx<'_, '_>) -> Option<Held> {
    let condition = cx.held(0).ok()?;
    let truths = condition.as_constant()?;
    let (out, pairs) = paired(cx, 1)?;
    let all = broadcast(truths.shape(), &out)?;
    let at = positions(truths.shape(), &all);
    let source = positions(&out, &all);
    let pick = |(i, j): (usize, usize)| {
        let (a, b) = &pairs[j];
        if truths.get_flat(i).is_truthy() { a.clone() } else { b.clone() }
    };
    let elements = at.into_iter().zip(source).map(pick).collect();
    Some(Held::elements_of(cx.held(1).ok()?.ty.dtype, &all, elements))
}

/// Over all elements only, which is what computes the number of elements of a shape.
fn reduce(cx: &Cx<'_, '_>, start: Dim, f: impl Fn(&Dim, &Dim) -> Dim) -> Option<Held> {
    let x = cx.held(0).ok()?;
    let extents = shape(x)?;
    let axes = cx.axes_attr_or_input(1).ok()?;
    let everything = axes.is_none_or(|a| {
        a.len() == extents.len() || (a.is_empty() && !cx.flag("noop_with_empty_axes", false))
    });
    if !everything {
        return None;
    }
    let result = x.elements()?.iter().fold(start, |a, b| f(&a, b));
    let kept = if cx.flag("keepdims", true) { vec![1; extents.len()] } else { Vec::new() };
    Some(Held::elements_of(x.ty.dtype, &kept, vec![result]))
}

fn concat(cx: &Cx<'_, '_>) -> Option<Held> {
    let mut elements = Vec::new();
    for i in 0..cx.inputs.len() {
        let x = cx.held(i).ok()?;
        if x.ty.shape.rank() != 1 {
            return None;
        }
        elements.extend(x.elements()?.iter().cloned());
    }
    let dtype = cx.held(0).ok()?.ty.dtype;
    let count = elements.len();
    (count <= MOST_ELEMENTS).then(|| Held::elements_of(dtype, &[count], elements))
}

fn gather(cx: &Cx<'_, '_>) -> Option<Held> {
    let (x, indices) = (cx.held(0).ok()?, cx.held(1).ok()?);
    if x.ty.shape.rank() != 1 {
        return None;
    }
    let elements = x.elements()?;
    let count = elements.len() as i64;
    let pick = |d: &Dim| {
        let i = d.as_const()?;
        elements.get(usize::try_from(if i < 0 { i + count } else { i }).ok()?).cloned()
    };
    let picked = indices.elements()?.iter().map(pick).collect::<Option<Vec<Dim>>>()?;
    Some(Held::elements_of(x.ty.dtype, &shape(indices)?, picked))
}

fn slice(cx: &Cx<'_, '_>) -> Option<Held> {
    let x = cx.held(0).ok()?;
    if x.ty.shape.rank() != 1 {
        return None;
    }
    let elements = x.elements()?;
    let number = |index: usize, name: &str, default: i64| -> Option<i64> {
        if cx.opset < 10 {
            return cx.ints(name).map_or(Some(default), |l| l.first().copied());
        }
        if cx.has(index) { cx.const_ints(index, name).ok()?.first().copied() } else { Some(default) }
    };
    let (start, end) = (number(1, "starts", 0)?, number(2, "ends", i64::MAX)?);
    let step = if cx.opset < 10 { 1 } else { number(4, "steps", 1)? };
    let (start, size) = super::ops::slicing::clamped(start, end, step, elements.len() as i64)?;
    let picked: Vec<Dim> = (0..size).map(|i| elements[(start + i * step) as usize].clone()).collect();
    Some(Held::elements_of(x.ty.dtype, &[picked.len()], picked))
}

/// Only vectors and scalars, which is what shapes are made of.
fn reshaped(cx: &Cx<'_, '_>) -> Option<Held> {
    let x = cx.held(0).ok()?;
    let elements = x.elements()?;
    let rank = match cx.node.op_type.as_str() {
        "Squeeze" if elements.len() == 1 && x.ty.shape.rank() == 1 => 0,
        "Unsqueeze" if x.ty.shape.rank() == 0 && cx.axes_attr_or_input(1).ok()??.len() == 1 => 1,
        "Reshape" => {
            let target = cx.held(1).ok()?.elements()?;
            let known = target.len() == 1 || (target.is_empty() && elements.len() == 1);
            known.then_some(target.len())?
        }
        _ => return None,
    };
    let extents = if rank == 0 { vec![] } else { vec![elements.len()] };
    Some(Held::elements_of(x.ty.dtype, &extents, elements.to_vec()))
}

fn expand(cx: &Cx<'_, '_>) -> Option<Held> {
    let x = cx.held(0).ok()?;
    let target: Vec<usize> = cx.const_ints(1, "shape").ok()?.iter().map(|v| *v as usize).collect();
    let from = shape(x)?;
    let out = broadcast(&from, &target)?;
    if out.iter().product::<usize>() > MOST_ELEMENTS {
        return None;
    }
    let elements = x.elements()?;
    Some(Held::elements_of(
        x.ty.dtype,
        &out,
        positions(&from, &out).into_iter().map(|i| elements[i].clone()).collect(),
    ))
}
