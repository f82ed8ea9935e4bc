//! The graph IR: pure dataflow over tensors in SSA form.
//!
//! Operands precede their uses because [`Graph::push`] is the only way in, so a graph has no cycles and its
//! order is an order of execution. Regions (the branches of an `if`, the body of a loop, a fused kernel) are
//! graphs of their own that see nothing but their parameters and the symbols in scope. Passes do not edit a
//! graph in place; they build the next one.

pub mod attr;
mod build;
pub mod eval;
pub mod infer;
pub mod ops;
mod rewrite;
mod text;
mod verify;

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

pub use attr::{Attr, AttrDef, AttrKind, Attrs, Ints};
pub use build::Built;
pub use infer::{Typing, Violation};
pub use ops::{Op, OpDef};
pub use rewrite::Rewriter;
pub use text::{PrintOptions, parse_graph};
pub(crate) use text::{parse_ranges, parse_type};

use crate::diag::Diags;
use crate::dim::{Range, Ranges, Symbol};
use crate::shape::TensorType;

/// A tensor of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

impl Value {
    /// Position among the values of its graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// Position among the nodes of its graph.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Def {
    /// It is a parameter.
    Param(u32),
    /// It is a result of a node.
    Result(NodeId, u32),
}

#[derive(Clone, Debug, PartialEq)]
struct ValueData {
    def: Def,
    ty: TensorType,
}

/// One application of an op.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// What it computes it from.
    pub operands: SmallVec<[Value; 4]>,
    /// The attributes in the order of the op's declaration.
    pub attrs: Attrs,
    /// The regions in the order of the op's declaration.
    pub regions: Box<[Graph]>,
    /// The name of the thing in the user's model that this came from.
    pub origin: Option<Arc<str>>,
    first_result: Value,
    results: u32,
}

impl Node {
    /// The results.
    pub fn results(&self) -> impl DoubleEndedIterator<Item = Value> + ExactSizeIterator + Clone + use<> {
        let first = self.first_result.0;
        (0..self.results).map(move |i| Value(first + i))
    }

    /// The only or first result.
    pub fn result(&self) -> Value {
        self.first_result
    }

    /// An attribute by name; the op's declaration must have it.
    pub fn attr(&self, name: &str) -> &Attr {
        let at = self.op.def().attrs.iter().position(|a| a.name == name);
        &self.attrs[at.unwrap_or_else(|| panic!("`{}` declares no attribute `{name}`", self.op.name()))]
    }
}

/// A function over tensors.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The name in text.
    pub name: String,
    /// The ranges of symbols, where they are known.
    pub ranges: Ranges,
    params: Vec<(Arc<str>, Value)>,
    values: Vec<ValueData>,
    nodes: Vec<Node>,
    outputs: Vec<(Arc<str>, Value)>,
    /// The symbols bound so far, those of `outer` among them.
    scope: FxHashSet<Symbol>,
    /// The symbols of the graph around a region.
    outer: FxHashSet<Symbol>,
    /// What nodes that are added come from.
    origin: Option<Arc<str>>,
}

/// Scopes follow from the rest and from where a region stands, so they do not count.
impl PartialEq for Graph {
    fn eq(&self, other: &Graph) -> bool {
        self.name == other.name
            && self.ranges == other.ranges
            && self.params == other.params
            && self.values == other.values
            && self.nodes == other.nodes
            && self.outputs == other.outputs
    }
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Graph {
        Graph { name: name.to_owned(), ..Graph::default() }
    }

    /// An empty region in the scope of another graph, whose symbols it may use.
    pub fn region_of(&self) -> Graph {
        let (ranges, scope) = (self.ranges.clone(), self.scope.clone());
        Graph { ranges, outer: scope.clone(), scope, ..Graph::default() }
    }

    /// Adds a parameter; symbols of its type that are new come into scope.
    pub fn add_param(&mut self, name: &str, ty: TensorType) -> Value {
        self.bind_symbols(&ty);
        let value = self.add_value(Def::Param(self.params.len() as u32), ty);
        self.params.push((Arc::from(name), value));
        value
    }

    /// Declares the range of a symbol.
    pub fn set_range(&mut self, symbol: Symbol, range: Range) {
        self.ranges.set(symbol, range);
    }

    /// Sets what nodes added from now on come from, unless [`Graph::push_from`] says otherwise.
    pub fn set_origin(&mut self, origin: Option<Arc<str>>) {
        self.origin = origin;
    }

    fn bind_symbols(&mut self, ty: &TensorType) {
        for dim in ty.shape.iter() {
            dim.each_symbol(&mut |s| {
                self.scope.insert(s.clone());
            });
        }
    }

    fn add_value(&mut self, def: Def, ty: TensorType) -> Value {
        let value = Value(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
        self.values.push(ValueData { def, ty });
        value
    }

    /// Adds a node and gives its results' first value, or the constraint it violates.
    ///
    /// Operands must be values of this graph. Nothing is added on error.
    pub fn push(
        &mut self,
        op: Op,
        operands: &[Value],
        attrs: Attrs,
        regions: Vec<Graph>,
    ) -> Result<NodeId, Violation> {
        self.push_from(op, operands, attrs, regions, self.origin.clone())
    }

    /// As [`Graph::push`], with the name of the thing in the user's model that it comes from.
    pub fn push_from(
        &mut self,
        op: Op,
        operands: &[Value],
        attrs: Attrs,
        regions: Vec<Graph>,
        origin: Option<Arc<str>>,
    ) -> Result<NodeId, Violation> {
        let results = {
            let types: SmallVec<[&TensorType; 4]> = operands.iter().map(|v| self.ty(*v)).collect();
            let ranges = &self.ranges;
            Typing { op, operands: &types, attrs: &attrs, regions: &regions, ranges }.infer()?
        };
        self.check_scope(op, &attrs, &results)?;
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let first_result = Value(self.values.len() as u32);
        let count = results.len() as u32;
        for (i, ty) in results.into_iter().enumerate() {
            if op.def().binds {
                self.bind_symbols(&ty);
            }
            self.add_value(Def::Result(id, i as u32), ty);
        }
        if op.def().binds {
            let scope = &mut self.scope;
            attrs.iter().for_each(|a| {
                a.each_symbol(&mut |s| {
                    scope.insert(s.clone());
                })
            });
        }
        let regions = regions.into_boxed_slice();
        let operands = SmallVec::from_slice(operands);
        self.nodes.push(Node { op, operands, attrs, regions, origin, first_result, results: count });
        Ok(id)
    }

    /// Attributes and results may only name symbols in scope, unless the op binds new ones.
    fn check_scope(&self, op: Op, attrs: &Attrs, results: &[TensorType]) -> Result<(), Violation> {
        if op.def().binds {
            return Ok(());
        }
        let mut unknown = None;
        let mut check = |s: &Symbol| {
            if unknown.is_none() && !self.scope.contains(s) {
                unknown = Some(s.clone());
            }
        };
        attrs.iter().for_each(|a| a.each_symbol(&mut check));
        results.iter().flat_map(|t| t.shape.iter()).for_each(|d| d.each_symbol(&mut check));
        match unknown {
            Some(s) => Err(Violation::new(
                "scope",
                format!("expected a symbol bound by a parameter or an earlier node, got `{s}`"),
            )),
            None => Ok(()),
        }
    }

    /// Adds an output.
    pub fn add_output(&mut self, name: &str, value: Value) {
        self.outputs.push((Arc::from(name), value));
    }

    /// The parameters with their names.
    pub fn params(&self) -> &[(Arc<str>, Value)] {
        &self.params
    }

    /// The outputs with their names.
    pub fn outputs(&self) -> &[(Arc<str>, Value)] {
        &self.outputs
    }

    /// The types of the parameters.
    pub fn param_types(&self) -> impl ExactSizeIterator<Item = &TensorType> {
        self.params.iter().map(|(_, v)| self.ty(*v))
    }

    /// The types of the outputs.
    pub fn output_types(&self) -> impl ExactSizeIterator<Item = &TensorType> {
        self.outputs.iter().map(|(_, v)| self.ty(*v))
    }

    /// The nodes in order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        self.nodes.iter().enumerate().map(|(i, n)| (NodeId(i as u32), n))
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The number of nodes.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The number of values.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// All values in order of definition.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Value> + use<> {
        (0..self.values.len() as u32).map(Value)
    }

    /// Where a value comes from.
    pub fn def(&self, value: Value) -> Def {
        self.values[value.index()].def
    }

    /// The node that makes a value, if it is no parameter.
    pub fn def_node(&self, value: Value) -> Option<&Node> {
        match self.def(value) {
            Def::Result(id, _) => Some(self.node(id)),
            Def::Param(_) => None,
        }
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> &TensorType {
        &self.values[value.index()].ty
    }

    /// The symbols that parameters and nodes have bound.
    pub fn in_scope(&self, symbol: &Symbol) -> bool {
        self.scope.contains(symbol)
    }

    /// The symbols in scope, in order of name.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut all: Vec<Symbol> = self.scope.iter().cloned().collect();
        all.sort();
        all
    }

    /// How often each value is used, by nodes and as an output.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.values.len()];
        for node in &self.nodes {
            for operand in &node.operands {
                counts[operand.index()] += 1;
            }
        }
        for (_, value) in &self.outputs {
            counts[value.index()] += 1;
        }
        counts
    }

    /// Checks everything again: types by inference, order, scopes, outputs; collects all problems.
    pub fn verify(&self) -> Result<(), Diags> {
        verify::verify(self)
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::print_graph(self, f, &PrintOptions::default())
    }
}
