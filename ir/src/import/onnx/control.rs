//! Graphs within graphs: branches and loops become regions, whose captured values become operands.

use rustc_hash::{FxHashMap, FxHashSet};

use super::context::{Cx, Refusal, Results, Step, ensure, sequence};
use super::proto::GraphProto;
use super::structure::Structure;
use super::values::{Form, Held, Item};
use super::{DEEPEST, Importer, REPORTED};
use crate::dim::{Dim, Range};
use crate::dtype::{DType, Scalar};
use crate::graph::{Attr, Graph, Op, Value};
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, super::context::Rule)] =
    &[("If", 1, branch), ("Loop", 1, repeat), ("Scan", 8, scan), ("SequenceMap", 17, sequence_map)];

pub(crate) type Names<'m> = FxHashMap<&'m str, Item>;

/// What was set aside while a region is built.
pub(crate) struct Outer<'m> {
    graph: Graph,
    frame: u32,
    scopes: Vec<Names<'m>>,
}

impl<'m> Importer<'m> {
    /// Starts a region that sees these names only.
    pub(crate) fn open_region(&mut self, names: Names<'m>) -> Outer<'m> {
        let region = self.graph.region_of();
        self.frames += 1;
        self.depth += 1;
        let frame = std::mem::replace(&mut self.frame, self.frames);
        let graph = std::mem::replace(&mut self.graph, region);
        Outer { graph, frame, scopes: std::mem::replace(&mut self.scopes, vec![names]) }
    }

    /// Ends a region and gives it.
    pub(crate) fn close_region(&mut self, outer: Outer<'m>) -> Graph {
        self.scopes = outer.scopes;
        self.frame = outer.frame;
        self.depth -= 1;
        std::mem::replace(&mut self.graph, outer.graph)
    }

    /// Imports the nodes of a graph in the names of the one around it and gives its outputs.
    pub(crate) fn inline(&mut self, body: &'m GraphProto, names: Names<'m>) -> Step<Vec<Item>> {
        if self.depth >= DEEPEST {
            return Err(Refusal::new(format!("expected graphs nested at most {DEEPEST} deep")));
        }
        let before = self.problems.len();
        self.depth += 1;
        self.scopes.push(names);
        self.initializers(body);
        self.import_nodes(&body.node);
        let outputs = body.output.iter().map(|o| self.lookup(&o.name).cloned()).collect::<Option<Vec<_>>>();
        self.scopes.pop();
        self.depth -= 1;
        if self.problems.len() > before {
            return Err(Refusal { constraint: REPORTED.into(), ..Refusal::default() });
        }
        outputs.ok_or_else(|| Refusal::new("expected outputs that the graph computes"))
    }

    /// The values of the surrounding graph that a graph uses.
    fn captured(&self, body: &'m GraphProto) -> Vec<(&'m str, Item)> {
        let mut names = Vec::new();
        free_names(body, &mut FxHashSet::default(), &mut names, &mut FxHashSet::default());
        names.into_iter().filter_map(|name| Some((name, self.lookup(name)?.clone()))).collect()
    }

    /// Lets a region see a value: a tensor of the graph becomes a parameter, for an operand.
    fn capture(&self, region: &mut Graph, name: &str, item: &Item, operands: &mut Vec<Value>) -> Item {
        match item {
            Item::Tensor(held) => match held.form {
                Form::Node(value) => {
                    let inner = region.add_param(name, held.ty.clone());
                    operands.push(value);
                    Item::Tensor(Held::node(inner, held.ty.clone()))
                }
                _ => Item::Tensor(Held { placed: std::rc::Rc::default(), ..held.clone() }),
            },
            Item::Sequence(items) => {
                let inner = items.iter().enumerate();
                let inner = inner.map(|(i, x)| self.capture(region, &format!("{name}.{i}"), x, operands));
                Item::Sequence(std::rc::Rc::new(inner.collect()))
            }
            Item::Optional(inner) => {
                Item::Optional(inner.as_ref().map(|x| Box::new(self.capture(region, name, x, operands))))
            }
            Item::Poison => Item::Poison,
        }
    }
}

/// The names a graph uses without defining them, in order of first use.
fn free_names<'m>(
    graph: &'m GraphProto,
    bound: &mut FxHashSet<&'m str>,
    found: &mut Vec<&'m str>,
    seen: &mut FxHashSet<&'m str>,
) {
    let mut added = Vec::new();
    let own = graph.input.iter().map(|i| i.name.as_str());
    let own = own.chain(graph.initializer.iter().map(|t| t.name.as_str()));
    let own = own.chain(graph.node.iter().flat_map(|n| n.output.iter().map(String::as_str)));
    added.extend(own.filter(|name| bound.insert(name)));
    let mut use_name = |name: &'m str, bound: &FxHashSet<&'m str>| {
        if !name.is_empty() && !bound.contains(name) && seen.insert(name) {
            found.push(name);
        }
    };
    for node in &graph.node {
        node.input.iter().for_each(|name| use_name(name, bound));
    }
    graph.output.iter().for_each(|o| use_name(&o.name, bound));
    for body in graph.node.iter().flat_map(|n| &n.attribute).filter_map(|a| a.g.as_ref()) {
        free_names(body, bound, found, seen);
    }
    for name in added {
        bound.remove(name);
    }
}

fn tensors(items: &[Item]) -> Step<Vec<Held>> {
    items
        .iter()
        .map(|item| match item {
            Item::Tensor(held) => Ok(held.clone()),
            Item::Poison => Err(Refusal { constraint: REPORTED.into(), ..Refusal::default() }),
            _ => Err(Refusal::new("expected tensors, got a sequence or an optional value")
                .nearest("branches and loops that give tensors")),
        })
        .collect()
}

/// `If`: a condition known at import time chooses a branch for good.
fn branch(cx: &mut Cx<'_, '_>) -> Results {
    let bodies = [cx.graph_attr("then_branch")?, cx.graph_attr("else_branch")?];
    if let Some(condition) = cx.constant(0)
        && condition.len() == 1
    {
        let taken = if condition.get_flat(0).is_truthy() { 0 } else { 1 };
        return cx.importer.inline(bodies[taken], Names::default());
    }
    let condition = cx.v(0)?;
    let condition = cx.g().reshape(condition, &Shape::scalar())?;
    let mut captured = cx.importer.captured(bodies[0]);
    for (name, item) in cx.importer.captured(bodies[1]) {
        if !captured.iter().any(|(n, _)| *n == name) {
            captured.push((name, item));
        }
    }
    let mut operands = vec![condition];
    let mut regions = Vec::new();
    let mut structures = Vec::new();
    for body in bodies {
        let outer = cx.importer.open_region(Names::default());
        operands.truncate(1);
        let mut names = Names::default();
        let mut region = std::mem::take(&mut cx.importer.graph);
        for (name, item) in &captured {
            names.insert(name, cx.importer.capture(&mut region, name, item, &mut operands));
        }
        cx.importer.graph = region;
        cx.importer.scopes = vec![names];
        let outputs = cx.importer.inline(body, Names::default());
        let structure = outputs.and_then(|items| {
            let mut held = Vec::new();
            let parts =
                items.iter().map(|i| Structure::of(i, &mut held)).collect::<Step<Vec<Structure>>>()?;
            add_outputs(cx.importer, &held)?;
            Ok(parts)
        });
        let region = cx.importer.close_region(outer);
        structures.push(structure?);
        regions.push(region);
    }
    let same = structures[0] == structures[1];
    ensure!(same, "expected branches that give tensors or sequences alike, got different ones");
    let mut types = Vec::new();
    for (a, b) in regions[0].output_types().zip(regions[1].output_types()) {
        let fits = a.dtype == b.dtype && a.shape.rank() == b.shape.rank();
        ensure!(fits, "expected branches that give one element type and rank, got {a} and {b}");
        types.push((a.clone(), b.shape.clone()));
    }
    let types: Vec<TensorType> = types
        .into_iter()
        .map(|(a, other)| TensorType::new(a.dtype, common_extents(cx, &a.shape, &other)))
        .collect();
    let mut results = finish(cx, Op::If, &operands, vec![Attr::from(types)], regions)?.into_iter();
    let filled = structures[0].iter().map(|s| s.fill(&mut results)).collect::<Option<Vec<Item>>>();
    filled.ok_or_else(|| Refusal::new("expected as many results as the branches give"))
}

fn add_outputs(importer: &mut Importer<'_>, outputs: &[Held]) -> Step<()> {
    for (i, held) in outputs.iter().enumerate() {
        let value = importer.place(held)?;
        importer.graph.add_output(&format!("out{i}"), value);
    }
    Ok(())
}

/// Extents that differ, or that only the inside of a region can name, get names of their own.
fn common_extents(cx: &mut Cx<'_, '_>, a: &Shape, b: &Shape) -> Shape {
    let pairs: Vec<(Dim, Dim)> = a.iter().cloned().zip(b.iter().cloned()).collect();
    let known = |cx: &Cx<'_, '_>, d: &Dim| d.symbols().iter().all(|s| cx.importer.graph.in_scope(s));
    pairs
        .into_iter()
        .map(|(a, b)| if a == b && known(cx, &a) { a } else { cx.fresh(Range::EXTENT) })
        .collect()
}

fn finish(cx: &mut Cx<'_, '_>, op: Op, operands: &[Value], attrs: Vec<Attr>, regions: Vec<Graph>) -> Results {
    let id = cx.g().push(op, operands, attrs.into_iter().collect(), regions)?;
    let results: Vec<Value> = cx.g().node(id).results().collect();
    cx.many(&results)
}

/// What a loop's body takes, from iteration, carried values and extra ones.
type Bind<'m, 'b> = dyn Fn(&mut Importer<'m>, Value, &[Value], &[Value]) -> Step<Vec<Item>> + 'b;

/// A loop under construction: what it carries, what it sees besides, and how many values it stacks.
struct LoopParts<'m, 'b> {
    trip: Value,
    condition: Value,
    carried: Vec<Value>,
    /// Values of the surrounding graph that `slices` needs, parameters behind the carried ones.
    extra: Vec<(Value, TensorType)>,
    body: &'m GraphProto,
    /// What the body's inputs are, from iteration, carried values and extra ones.
    bind: &'b Bind<'m, 'b>,
    /// Whether the body's first output is the condition.
    conditional: bool,
    /// The number of iterations, if nothing can end the loop early.
    count: Option<Dim>,
}

/// Builds a loop; carried extents that change from iteration to iteration get names.
fn build_loop<'m>(cx: &mut Cx<'_, 'm>, parts: &LoopParts<'m, '_>) -> Results {
    let captured = cx.importer.captured(parts.body);
    let mut types: Vec<TensorType> = parts.carried.iter().map(|v| cx.ty(*v)).collect();
    for _ in 0..3 {
        let outer = cx.importer.open_region(Names::default());
        let built = loop_region(cx.importer, parts, &types, &captured);
        let region = cx.importer.close_region(outer);
        let (operands, endless) = built?;
        let outputs: Vec<TensorType> = region.output_types().cloned().collect();
        ensure!(
            outputs.len() > types.len(),
            "expected {} carried outputs, got {}",
            types.len(),
            outputs.len()
        );
        let mut stable = true;
        for (ty, out) in types.iter_mut().zip(&outputs[1..]) {
            let fits = ty.dtype == out.dtype && ty.shape.rank() == out.shape.rank();
            ensure!(fits, "expected a carried value to stay {ty}, got {out}");
            if !ty.shape.equal(&out.shape, &region.ranges) {
                let changed = ty.shape.iter().zip(out.shape.iter()).map(|(a, b)| {
                    let named = a.as_symbol().is_some_and(|s| !cx.importer.graph.in_scope(s));
                    if a == b || named { a.clone() } else { cx.importer.fresh(Range::EXTENT) }
                });
                let changed: Shape = changed.collect();
                stable &= changed == ty.shape;
                ty.shape = changed;
            }
        }
        if !stable {
            continue;
        }
        let mut results = Vec::new();
        for ty in &types {
            results.push(TensorType::new(ty.dtype, common_extents(cx, &ty.shape, &ty.shape)));
        }
        for out in &outputs[1 + types.len()..] {
            let count = match &parts.count {
                Some(count) if endless => count.clone(),
                _ => cx.fresh(Range::EXTENT),
            };
            let inner = common_extents(cx, &out.shape, &out.shape);
            results
                .push(TensorType::new(out.dtype, [count].into_iter().chain(inner.iter().cloned()).collect()));
        }
        let mut all = vec![parts.trip, parts.condition];
        all.extend(parts.carried.iter().chain(parts.extra.iter().map(|(v, _)| v)).chain(&operands));
        let attrs = vec![Attr::Int(types.len() as i64), Attr::from(results)];
        return finish(cx, Op::Loop, &all, attrs, vec![region]);
    }
    Err(Refusal::new("expected carried values whose shapes settle"))
}

/// Fills the region of a loop; gives the operands captured and whether its condition is always true.
fn loop_region<'m>(
    importer: &mut Importer<'m>,
    parts: &LoopParts<'m, '_>,
    types: &[TensorType],
    captured: &[(&'m str, Item)],
) -> Step<(Vec<Value>, bool)> {
    let iteration = importer.graph.add_param("iteration", TensorType::scalar(DType::I64));
    let carried: Vec<Value> = types
        .iter()
        .enumerate()
        .map(|(i, ty)| importer.graph.add_param(&format!("carried{i}"), ty.clone()))
        .collect();
    let mut extra = Vec::new();
    for (i, (_, ty)) in parts.extra.iter().enumerate() {
        extra.push(importer.graph.add_param(&format!("extra{i}"), ty.clone()));
    }
    let mut operands = Vec::new();
    let mut names = Names::default();
    let mut region = std::mem::take(&mut importer.graph);
    for (name, item) in captured {
        names.insert(name, importer.capture(&mut region, name, item, &mut operands));
    }
    importer.graph = region;
    let inputs = (parts.bind)(importer, iteration, &carried, &extra)?;
    ensure!(
        inputs.len() == parts.body.input.len(),
        "expected a body of {} inputs, got {}",
        inputs.len(),
        parts.body.input.len()
    );
    names.extend(parts.body.input.iter().map(|i| i.name.as_str()).zip(inputs));
    importer.scopes = vec![names];
    let mut outputs = tensors(&importer.inline(parts.body, Names::default())?)?;
    let going_on = Held::constant(Tensor::scalar(DType::Bool, Scalar::Int(1)));
    if !parts.conditional {
        outputs.insert(0, going_on.clone());
    }
    ensure!(!outputs.is_empty(), "expected a body with a condition among its outputs");
    let endless = outputs[0].as_constant().is_some_and(|c| c.len() == 1 && c.get_flat(0).is_truthy());
    if outputs[0].ty.shape.rank() > 0 {
        let flat = importer.place(&outputs[0])?;
        let flat = importer.graph.reshape(flat, &Shape::scalar())?;
        outputs[0] = Held::node(flat, importer.graph.ty(flat).clone());
    }
    add_outputs(importer, &outputs)?;
    Ok((operands, endless))
}

/// A loop that carries sequences exists at import time only: its iterations are inlined one after the other.
fn unrolled<'m>(cx: &mut Cx<'_, 'm>, body: &'m GraphProto) -> Results {
    const MOST_ITERATIONS: i64 = 4096;
    let trip = if cx.has(0) { cx.const_ints(0, "M")?.first().copied().unwrap_or(0) } else { i64::MAX };
    let mut going_on = if cx.has(1) { cx.const_ints(1, "cond")?.first() == Some(&1) } else { true };
    let mut carried: Vec<Item> =
        (2..cx.inputs.len()).map(|i| cx.item(i).cloned()).collect::<Step<Vec<Item>>>()?;
    let states = carried.len();
    let mut stacks: Vec<Vec<Value>> = vec![Vec::new(); body.output.len().saturating_sub(1 + states)];
    let mut iteration = 0;
    while going_on && iteration < trip {
        ensure!(
            iteration < MOST_ITERATIONS,
            "expected at most {MOST_ITERATIONS} iterations that carry sequences"
        );
        let number = Item::Tensor(Held::elements_of(DType::I64, &[], vec![Dim::from(iteration)]));
        let yes = Item::Tensor(Held::constant(Tensor::scalar(DType::Bool, Scalar::Int(1))));
        let given = [number, yes].into_iter().chain(carried);
        let names: Names<'m> = body.input.iter().map(|i| i.name.as_str()).zip(given).collect();
        let mut outputs = cx.importer.inline(body, names)?.into_iter();
        let condition = outputs.next();
        let known = match &condition {
            Some(Item::Tensor(held)) => held.as_constant().filter(|c| c.len() == 1),
            _ => None,
        };
        going_on = known.ok_or_else(|| Refusal::not_constant("cond"))?.get_flat(0).is_truthy();
        carried = outputs.by_ref().take(states).collect();
        ensure!(carried.len() == states, "expected {states} carried outputs, got {}", carried.len());
        for (stack, item) in stacks.iter_mut().zip(tensors(&outputs.collect::<Vec<Item>>())?) {
            let value = cx.place(&item)?;
            stack.push(cx.unsqueeze(value, &[0])?);
        }
        iteration += 1;
    }
    let mut results = carried;
    for stack in stacks {
        ensure!(!stack.is_empty(), "expected at least one iteration");
        let stacked = cx.concat(&stack, 0)?;
        results.push(cx.out(stacked));
    }
    Ok(results)
}

fn repeat(cx: &mut Cx<'_, '_>) -> Results {
    let body = cx.graph_attr("body")?;
    let carries_others = cx.inputs.iter().skip(2).flatten().any(|item| !matches!(item, Item::Tensor(_)));
    if carries_others {
        return unrolled(cx, body);
    }
    let one = cx.g().constant(Tensor::scalar(DType::Bool, Scalar::Int(1)))?;
    let forever = Tensor::scalar(DType::I64, Scalar::Int(i128::from(i64::MAX)));
    let trip = match cx.opt(0)? {
        Some(trip) => trip,
        None => cx.g().constant(forever)?,
    };
    let trip = cx.g().reshape(trip, &Shape::scalar())?;
    let starts = cx.has(1).then(|| cx.constant(1)).flatten();
    let always = !cx.has(1) || starts.is_some_and(|c| c.len() == 1 && c.get_flat(0).is_truthy());
    let condition = match cx.opt(1)? {
        Some(condition) => cx.g().reshape(condition, &Shape::scalar())?,
        None => one,
    };
    let count = cx.has(0).then(|| cx.held(0).ok()?.elements()?.first().cloned()).flatten();
    let count = count.filter(|c| always && cx.g().ranges.bounds(c).lo >= 0);
    let carried = (2..cx.inputs.len()).map(|i| cx.v(i)).collect::<Step<Vec<Value>>>()?;
    let bind = |importer: &mut Importer<'_>, iteration: Value, carried: &[Value], _: &[Value]| {
        let held = |v: Value| Item::Tensor(Held::node(v, importer.graph.ty(v).clone()));
        let going_on = Item::Tensor(Held::constant(Tensor::scalar(DType::Bool, Scalar::Int(1))));
        Ok([held(iteration), going_on].into_iter().chain(carried.iter().map(|v| held(*v))).collect())
    };
    let parts = LoopParts {
        trip,
        condition,
        carried,
        extra: Vec::new(),
        body,
        bind: &bind,
        conditional: true,
        count,
    };
    build_loop(cx, &parts)
}

/// `Scan` is a loop that takes slices of its last operands.
fn scan(cx: &mut Cx<'_, '_>) -> Results {
    let body = cx.graph_attr("body")?;
    let scans = usize::try_from(cx.int("num_scan_inputs", 0)).unwrap_or(0);
    let batched = cx.opset < 9;
    let first = usize::from(batched);
    ensure!(!batched || !cx.has(0), "expected no `sequence_lens`");
    let values = (first..cx.inputs.len()).map(|i| cx.v(i)).collect::<Step<Vec<Value>>>()?;
    ensure!(scans >= 1 && scans <= values.len(), "expected 1..={} scan inputs, got {scans}", values.len());
    let (states, inputs) = values.split_at(values.len() - scans);
    let list = |cx: &Cx<'_, '_>, name: &str, n: usize| match cx.ints(name) {
        Some(list) if list.len() == n => Ok(list.to_vec()),
        Some(list) => Err(Refusal::new(format!("expected {n} entries of `{name}`, got {}", list.len()))),
        None => Ok(vec![0; n]),
    };
    let outputs = body.output.len().checked_sub(states.len());
    let outputs = outputs.ok_or_else(|| Refusal::new("expected a body with an output for each state"))?;
    let (in_dirs, out_dirs) = if batched {
        (list(cx, "directions", scans)?, vec![0; outputs])
    } else {
        (list(cx, "scan_input_directions", scans)?, list(cx, "scan_output_directions", outputs)?)
    };
    let (in_axes, out_axes) = if batched {
        (vec![0; scans], vec![0; outputs])
    } else {
        (list(cx, "scan_input_axes", scans)?, list(cx, "scan_output_axes", outputs)?)
    };
    let layout = ScanLayout { in_dirs, out_dirs, in_axes, out_axes };
    if !batched {
        return scan_once(cx, body, states, inputs, &layout);
    }
    let batch = cx.fixed(inputs[0], 0)?;
    let mut columns: Vec<Vec<Value>> = vec![Vec::new(); states.len() + outputs];
    for b in 0..batch {
        let mut sample = Vec::new();
        for value in states.iter().chain(inputs) {
            let row = cx.g().slice_axis(*value, 0, &Dim::from(b), &Dim::ONE)?;
            let shape = cx.shape(row).without(&[0]);
            sample.push(cx.g().reshape(row, &shape)?);
        }
        let results = scan_once(cx, body, &sample[..states.len()], &sample[states.len()..], &layout)?;
        for (column, held) in columns.iter_mut().zip(tensors(&results)?) {
            let value = cx.place(&held)?;
            let shape: Shape = [Dim::ONE].into_iter().chain(cx.shape(value).iter().cloned()).collect();
            column.push(cx.g().reshape(value, &shape)?);
        }
    }
    let joined = columns.iter().map(|c| Ok(cx.g().concat(c, 0)?)).collect::<Step<Vec<Value>>>()?;
    cx.many(&joined)
}

struct ScanLayout {
    in_dirs: Vec<i64>,
    out_dirs: Vec<i64>,
    in_axes: Vec<i64>,
    out_axes: Vec<i64>,
}

fn scan_once<'m>(
    cx: &mut Cx<'_, 'm>,
    body: &'m GraphProto,
    states: &[Value],
    inputs: &[Value],
    layout: &ScanLayout,
) -> Results {
    let mut axes = Vec::new();
    for (value, axis) in inputs.iter().zip(&layout.in_axes) {
        axes.push(cx.axis_of(*axis, cx.rank(*value))?);
    }
    let count = cx.extent(inputs[0], axes[0]);
    let trip = cx.place(&Held::elements_of(DType::I64, &[], vec![count.clone()]))?;
    let condition = cx.g().constant(Tensor::scalar(DType::Bool, Scalar::Int(1)))?;
    let last = &count - &Dim::ONE;
    let bind = |importer: &mut Importer<'m>, iteration: Value, carried: &[Value], extra: &[Value]| {
        let mut items: Vec<Item> =
            carried.iter().map(|v| Item::Tensor(Held::node(*v, importer.graph.ty(*v).clone()))).collect();
        for ((value, axis), backwards) in extra.iter().zip(&axes).zip(&layout.in_dirs) {
            let mut at = iteration;
            if *backwards != 0 {
                let last = importer.place(&Held::elements_of(DType::I64, &[], vec![last.clone()]))?;
                at = importer.graph.scalar(crate::scalar::ScalarOp::Sub, &[last, iteration])?;
            }
            let attrs = [Attr::Int(*axis as i64)].into_iter().collect();
            let slice = importer.graph.op(Op::Gather, &[*value, at], attrs)?;
            items.push(Item::Tensor(Held::node(slice, importer.graph.ty(slice).clone())));
        }
        Ok(items)
    };
    let parts = LoopParts {
        trip,
        condition,
        carried: states.to_vec(),
        extra: inputs.iter().map(|v| (*v, cx.ty(*v))).collect(),
        body,
        bind: &bind,
        conditional: false,
        count: Some(count),
    };
    let mut results = tensors(&build_loop(cx, &parts)?)?;
    for (i, held) in results[states.len()..].iter_mut().enumerate() {
        let mut value = cx.place(held)?;
        if layout.out_dirs[i] != 0 {
            value = cx.g().op(Op::Reverse, &[value], [Attr::from([0])].into_iter().collect())?;
        }
        let rank = cx.rank(value);
        let axis = cx.axis_of(layout.out_axes[i], rank)?;
        let mut perm: Vec<usize> = (1..rank).collect();
        perm.insert(axis, 0);
        value = cx.g().transpose(value, &perm)?;
        *held = Held::node(value, cx.ty(value));
    }
    Ok(results.into_iter().map(Item::Tensor).collect())
}

/// Sequences have a length known at import time, so the body is inlined for each element.
fn sequence_map(cx: &mut Cx<'_, '_>) -> Results {
    let body = cx.graph_attr("body")?;
    let Item::Sequence(first) = cx.item(0)?.clone() else {
        return Err(Refusal::new("expected a sequence as first operand"));
    };
    let mut columns: Vec<Vec<Item>> = vec![Vec::new(); body.output.len()];
    for i in 0..first.len() {
        let mut names = Names::default();
        for (j, input) in body.input.iter().enumerate() {
            let item = match cx.item(j)? {
                Item::Sequence(items) => {
                    items.get(i).cloned().ok_or_else(|| Refusal::new("expected sequences of one length"))?
                }
                other => other.clone(),
            };
            names.insert(&input.name, item);
        }
        for (column, item) in columns.iter_mut().zip(cx.importer.inline(body, names)?) {
            column.push(item);
        }
    }
    columns.into_iter().map(|c| Ok(sequence(c)?.remove(0))).collect()
}
