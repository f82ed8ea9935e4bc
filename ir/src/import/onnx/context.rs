//! What an operator's rule sees of its node: operands, attributes with their defaults, version, and the graph
//! under construction.

use std::rc::Rc;
use std::sync::Arc;

use super::Importer;
use super::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use super::values::{Form, Held, Item};
use crate::dim::{Dim, Range, Symbol};
use crate::dtype::DType;
use crate::graph::{Attr, Graph, Op, Value, Violation};
use crate::shape::{Shape, TensorType};
use crate::tensor::{Tensor, TensorError};

/// Why a node cannot be imported.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal {
    pub(crate) constraint: String,
    pub(crate) message: String,
    pub(crate) nearest: Option<String>,
}

impl Refusal {
    /// A form that is not supported.
    pub(crate) fn new(message: impl Into<String>) -> Refusal {
        Refusal { constraint: "unsupported".into(), message: message.into(), nearest: None }
    }

    /// An operand that decides about the graph but is known only at run time.
    pub(crate) fn not_constant(what: &str) -> Refusal {
        Refusal {
            constraint: "constant".into(),
            ..Refusal::new(format!("expected `{what}` to be constant, got a value known only at run time"))
                .nearest(&format!("a constant `{what}`"))
        }
    }

    /// With the nearest form that is supported.
    pub(crate) fn nearest(self, nearest: &str) -> Refusal {
        Refusal { nearest: Some(nearest.to_owned()), ..self }
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Refusal {
        Refusal { constraint: violation.label.into(), message: violation.message, nearest: None }
    }
}

impl From<TensorError> for Refusal {
    fn from(error: TensorError) -> Refusal {
        Refusal { constraint: "data".into(), message: error.to_string(), nearest: None }
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Refusal {
        Refusal { constraint: "data".into(), message, nearest: None }
    }
}

/// What a step of a rule gives.
pub(crate) type Step<T = Value> = Result<T, Refusal>;
/// What a rule gives: the results in order; fewer than the node names are refused if the others are used.
pub(crate) type Results = Result<Vec<Item>, Refusal>;
/// A rule.
pub(crate) type Rule = fn(&mut Cx<'_, '_>) -> Results;

/// Refuses unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)*) => {
        if !$condition {
            return Err($crate::import::onnx::context::Refusal::new(format!($($message)*)));
        }
    };
}
pub(crate) use ensure;

/// One node about to be imported.
pub(crate) struct Cx<'a, 'm> {
    pub(crate) importer: &'a mut Importer<'m>,
    pub(crate) node: &'m NodeProto,
    pub(crate) inputs: Vec<Option<Item>>,
    /// The version of the node's domain.
    pub(crate) opset: i64,
}

impl<'m> Cx<'_, 'm> {
    /// The graph under construction.
    pub(crate) fn g(&mut self) -> &mut Graph {
        &mut self.importer.graph
    }

    // ── operands ─────────────────────────────────────────────────────────────────────────────────────────────

    /// Whether an operand is given.
    pub(crate) fn has(&self, index: usize) -> bool {
        self.inputs.get(index).is_some_and(Option::is_some)
    }

    /// Whether the node names a result.
    pub(crate) fn wants(&self, result: usize) -> bool {
        self.node.output.get(result).is_some_and(|name| !name.is_empty())
    }

    /// An operand that must be given.
    pub(crate) fn item(&self, index: usize) -> Step<&Item> {
        self.inputs
            .get(index)
            .and_then(Option::as_ref)
            .ok_or_else(|| Refusal::new(format!("expected operand {index}, got none")))
    }

    /// An operand that must be a tensor.
    pub(crate) fn held(&self, index: usize) -> Step<&Held> {
        match self.item(index)? {
            Item::Tensor(held) => Ok(held),
            Item::Optional(Some(inner)) => match &**inner {
                Item::Tensor(held) => Ok(held),
                _ => Err(Refusal::new(format!("expected operand {index} to be a tensor"))),
            },
            _ => Err(Refusal::new(format!("expected operand {index} to be a tensor"))),
        }
    }

    /// A tensor operand as a value of the graph.
    pub(crate) fn v(&mut self, index: usize) -> Step {
        let held = self.held(index)?.clone();
        self.place(&held)
    }

    /// A tensor operand that may be left out.
    pub(crate) fn opt(&mut self, index: usize) -> Step<Option<Value>> {
        if self.has(index) { self.v(index).map(Some) } else { Ok(None) }
    }

    /// Every tensor operand.
    pub(crate) fn all(&mut self) -> Step<Vec<Value>> {
        (0..self.inputs.len()).map(|i| self.v(i)).collect()
    }

    /// Puts a tensor into the graph unless it is there.
    pub(crate) fn place(&mut self, held: &Held) -> Step {
        self.importer.place(held)
    }

    /// The constant operand, if it is one.
    pub(crate) fn constant(&self, index: usize) -> Option<Tensor> {
        self.held(index).ok()?.as_constant().cloned()
    }

    /// The numbers of a constant operand of integers, or why there are none.
    pub(crate) fn const_ints(&self, index: usize, what: &str) -> Step<Vec<i64>> {
        let elements = self.held(index)?.elements();
        let numbers = elements.and_then(|e| e.iter().map(Dim::as_const).collect::<Option<Vec<i64>>>());
        numbers.ok_or_else(|| Refusal::not_constant(what))
    }

    /// The numbers of a constant operand.
    pub(crate) fn const_floats(&self, index: usize, what: &str) -> Step<Vec<f64>> {
        match self.held(index)?.as_constant() {
            Some(tensor) => Ok(tensor.to_vec_f64()?),
            None => Err(Refusal::not_constant(what)),
        }
    }

    /// The elements of an integer operand as expressions; those of a vector of known length that only running
    /// shows get names of the given range.
    pub(crate) fn dims(&mut self, index: usize, range: Range) -> Step<Vec<Dim>> {
        let held = self.held(index)?.clone();
        if let Some(elements) = held.elements() {
            return Ok(elements.to_vec());
        }
        let value = self.place(&held)?;
        self.bind(value, range)
    }

    /// Names for the elements of an integer tensor of known length.
    pub(crate) fn bind(&mut self, value: Value, range: Range) -> Step<Vec<Dim>> {
        let ty = self.ty(value);
        let count = ty.shape.as_fixed().map(|s| s.iter().product::<usize>());
        let count = count
            .filter(|c| *c <= crate::shape::MAX_RANK * 2 && !ty.dtype.is_float())
            .ok_or_else(|| Refusal::new(format!("expected an integer vector of known length, got {ty}")))?;
        let flat = self.g().reshape(value, &Shape::fixed(&[count]))?;
        let flat = self.g().cast(flat, DType::I64)?;
        let symbols: Vec<Dim> = (0..count).map(|_| self.fresh(range)).collect();
        let attrs = [Attr::Dims(symbols.iter().cloned().collect())].into_iter().collect();
        self.g().op(Op::BindDims, &[flat], attrs)?;
        Ok(symbols)
    }

    /// A new name with a range.
    pub(crate) fn fresh(&mut self, range: Range) -> Dim {
        self.importer.fresh(range)
    }

    // ── types ────────────────────────────────────────────────────────────────────────────────────────────────

    /// The type of a value.
    pub(crate) fn ty(&self, value: Value) -> TensorType {
        self.importer.graph.ty(value).clone()
    }

    /// The shape of a value.
    pub(crate) fn shape(&self, value: Value) -> Shape {
        self.importer.graph.ty(value).shape.clone()
    }

    /// The number of axes of a value.
    pub(crate) fn rank(&self, value: Value) -> usize {
        self.importer.graph.ty(value).shape.rank()
    }

    /// The element type of a value.
    pub(crate) fn dtype(&self, value: Value) -> DType {
        self.importer.graph.ty(value).dtype
    }

    /// An extent of a value; of an axis it does not have, one: what is then built with that axis is refused.
    pub(crate) fn extent(&self, value: Value, axis: usize) -> Dim {
        self.importer.graph.ty(value).shape.get(axis).cloned().unwrap_or(Dim::ONE)
    }

    /// An extent that must be a number.
    pub(crate) fn fixed(&self, value: Value, axis: usize) -> Step<usize> {
        ensure!(axis < self.rank(value), "expected an axis {axis}, got {}", self.ty(value));
        let dim = self.extent(value, axis);
        dim.as_const().and_then(|c| usize::try_from(c).ok()).ok_or_else(|| {
            Refusal::new(format!("expected a number as extent of axis {axis}, got {dim}"))
                .nearest("this extent bound to a number")
        })
    }

    /// An axis counted from either end.
    pub(crate) fn axis_of(&self, axis: i64, rank: usize) -> Step<usize> {
        let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|a| *a < rank)
            .ok_or_else(|| Refusal::new(format!("expected an axis in -{rank}..{rank}, got {axis}")))
    }

    /// Several distinct axes counted from either end.
    pub(crate) fn axes_of(&self, axes: &[i64], rank: usize) -> Step<Vec<usize>> {
        let mut found = Vec::new();
        for axis in axes {
            let axis = self.axis_of(*axis, rank)?;
            ensure!(!found.contains(&axis), "expected distinct axes, got {axes:?}");
            found.push(axis);
        }
        Ok(found)
    }

    // ── attributes ───────────────────────────────────────────────────────────────────────────────────────────

    /// An attribute, by way of the function around the node if it refers to one of that function's.
    pub(crate) fn attr(&self, name: &str) -> Option<&'m AttributeProto> {
        let attr = self.node.attribute.iter().find(|a| a.name == name)?;
        if attr.ref_attr_name.is_empty() {
            return Some(attr);
        }
        self.importer.function_attrs.get(attr.ref_attr_name.as_str()).copied()
    }

    /// An integer attribute.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attr(name).map_or(default, |a| a.i)
    }

    /// A choice attribute.
    pub(crate) fn flag(&self, name: &str, default: bool) -> bool {
        self.int(name, i64::from(default)) != 0
    }

    /// A number attribute.
    pub(crate) fn float(&self, name: &str, default: f64) -> f64 {
        self.attr(name).map_or(default, |a| f64::from(a.f))
    }

    /// A list attribute.
    pub(crate) fn ints(&self, name: &str) -> Option<&'m [i64]> {
        self.attr(name).map(|a| a.ints.as_slice())
    }

    /// A list of numbers.
    pub(crate) fn floats(&self, name: &str) -> Option<&'m [f32]> {
        self.attr(name).map(|a| a.floats.as_slice())
    }

    /// A text attribute.
    pub(crate) fn text(&self, name: &str, default: &str) -> String {
        self.attr(name).map_or_else(|| default.to_owned(), |a| String::from_utf8_lossy(&a.s).into_owned())
    }

    /// A list of texts.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<String>> {
        self.attr(name).map(|a| a.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect())
    }

    /// A graph attribute.
    pub(crate) fn graph_attr(&self, name: &str) -> Step<&'m GraphProto> {
        self.attr(name)
            .and_then(|a| a.g.as_ref())
            .ok_or_else(|| Refusal::new(format!("expected a graph `{name}`, got none")))
    }

    /// A tensor attribute.
    pub(crate) fn tensor_attr(&mut self, name: &str) -> Step<Option<Tensor>> {
        let proto: Option<&'m TensorProto> = self.attr(name).and_then(|a| a.t.as_ref());
        Ok(proto.map(|p| self.importer.decode(p)).transpose()?)
    }

    /// An element type attribute.
    pub(crate) fn dtype_attr(&self, name: &str) -> Step<Option<DType>> {
        let code = self.attr(name).map(|a| a.i as i32);
        Ok(code.filter(|c| *c != 0).map(super::tensor::dtype_of).transpose()?)
    }

    /// An axis attribute.
    pub(crate) fn axis(&self, name: &str, default: i64, rank: usize) -> Step<usize> {
        self.axis_of(self.int(name, default), rank)
    }

    /// Axes that were an attribute up to some version and an operand since; `None` if not given.
    pub(crate) fn axes_attr_or_input(&self, input: usize) -> Step<Option<Vec<i64>>> {
        if self.has(input) {
            return self.const_ints(input, "axes").map(Some);
        }
        Ok(self.ints("axes").map(<[i64]>::to_vec))
    }

    // ── results ──────────────────────────────────────────────────────────────────────────────────────────────

    /// A value of the graph as a result.
    pub(crate) fn out(&self, value: Value) -> Item {
        let graph = &self.importer.graph;
        let ty = graph.ty(value).clone();
        // A lone constant stays known.
        if let Some(node) = graph.def_node(value)
            && node.op == Op::Const
            && let Attr::Tensor(tensor) = node.attr("value")
        {
            return Item::Tensor(Held::constant(tensor.clone()));
        }
        Item::Tensor(Held::node(value, ty))
    }

    /// One value as all results.
    pub(crate) fn one(&self, value: Value) -> Results {
        Ok(vec![self.out(value)])
    }

    /// Several values as results.
    pub(crate) fn many(&self, values: &[Value]) -> Results {
        Ok(values.iter().map(|v| self.out(*v)).collect())
    }
}

impl Importer<'_> {
    /// Puts a tensor into the graph unless it is there.
    pub(crate) fn place(&mut self, held: &Held) -> Step {
        if let Form::Node(value) = held.form {
            return Ok(value);
        }
        if let Some((frame, value)) = held.placed.get()
            && frame == self.frame
        {
            return Ok(value);
        }
        let value = match &held.form {
            Form::Node(value) => *value,
            Form::Constant(tensor) => self.graph.constant(tensor.clone())?,
            Form::Elements(elements) => {
                let attrs = [Attr::Dims(elements.iter().cloned().collect())].into_iter().collect();
                let flat = self.graph.op(Op::Dims, &[], attrs)?;
                let shaped = self.graph.reshape(flat, &held.ty.shape)?;
                self.graph.cast(shaped, held.ty.dtype)?
            }
        };
        held.placed.set(Some((self.frame, value)));
        Ok(value)
    }

    /// A new name with a range.
    pub(crate) fn fresh(&mut self, range: Range) -> Dim {
        loop {
            let symbol = Symbol::new(&format!("u{}", self.fresh));
            self.fresh += 1;
            if !self.graph.in_scope(&symbol) {
                self.graph.set_range(symbol.clone(), range);
                return Dim::sym(symbol);
            }
        }
    }

    /// The name that nodes added from now on come from.
    pub(crate) fn set_origin(&mut self, name: &str) {
        self.graph.set_origin(Some(Arc::from(name)));
    }
}

/// A sequence as a result.
pub(crate) fn sequence(items: Vec<Item>) -> Results {
    Ok(vec![Item::Sequence(Rc::new(items))])
}
