//! Building a graph from another one: the frame of every graph pass.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::{Attrs, Def, Graph, Node, NodeId, Op, Value, Violation};
use crate::dim::Dim;

/// Copies a graph node by node into a new one, remembering where each value went.
pub struct Rewriter<'a> {
    /// The graph that is read.
    pub from: &'a Graph,
    /// The graph that is built.
    pub to: Graph,
    map: Vec<Option<Value>>,
}

impl<'a> Rewriter<'a> {
    /// Starts with the parameters copied.
    pub fn new(from: &'a Graph) -> Self {
        let mut to = Graph { name: from.name.clone(), ranges: from.ranges.clone(), ..Graph::default() };
        to.scope = from.outer.clone();
        to.outer = from.outer.clone();
        let mut map = vec![None; from.value_count()];
        for (name, value) in from.params() {
            map[value.index()] = Some(to.add_param(name, from.ty(*value).clone()));
        }
        Rewriter { from, to, map }
    }

    /// Where a value of the old graph went.
    ///
    /// # Panics
    ///
    /// If it was neither copied nor replaced yet: a pass visits nodes in order.
    pub fn get(&self, value: Value) -> Value {
        self.map[value.index()].unwrap_or_else(|| panic!("expected %{} to be copied before its use", value.0))
    }

    /// Lets `new`, a value of the new graph, stand for `old`.
    pub fn replace(&mut self, old: Value, new: Value) {
        self.map[old.index()] = Some(new);
    }

    /// Copies a node.
    ///
    /// # Panics
    ///
    /// If the node does not type-check in the new graph: operands were replaced by values of other types.
    pub fn copy(&mut self, id: NodeId) -> NodeId {
        let node = self.from.node(id);
        let regions = node.regions.to_vec();
        self.copy_with(id, node.attrs.clone(), regions)
    }

    /// Copies a node with other attributes and regions.
    ///
    /// # Panics
    ///
    /// As [`Rewriter::copy`].
    pub fn copy_with(&mut self, id: NodeId, attrs: Attrs, regions: Vec<Graph>) -> NodeId {
        let node = self.from.node(id);
        let operands: SmallVec<[Value; 4]> = node.operands.iter().map(|v| self.get(*v)).collect();
        match self.to.push_from(node.op, &operands, attrs, regions, node.origin.clone()) {
            Ok(copy) => {
                self.replace_results(node, copy);
                copy
            }
            Err(violation) => panic!("copy of `{}` is not well typed: {violation}", node.op.name()),
        }
    }

    /// Lets the results of a new node stand for those of an old one.
    pub fn replace_results(&mut self, old: &Node, new: NodeId) {
        let results: SmallVec<[Value; 4]> = self.to.node(new).results().collect();
        for (from, to) in old.results().zip(results) {
            self.replace(from, to);
        }
    }

    /// Adds a node that stands for the first result of an old one, with its origin.
    pub fn push_for(
        &mut self,
        old: &Node,
        op: Op,
        operands: &[Value],
        attrs: Attrs,
    ) -> Result<Value, Violation> {
        let id = self.to.push_from(op, operands, attrs, Vec::new(), old.origin.clone())?;
        let value = self.to.node(id).result();
        self.replace(old.result(), value);
        Ok(value)
    }

    /// Copies the outputs and gives the new graph.
    pub fn finish(mut self) -> Graph {
        for (name, value) in self.from.outputs() {
            let value = self.get(*value);
            self.to.add_output(name, value);
        }
        self.to
    }
}

impl Graph {
    /// The nodes that are needed for the outputs, among them those that bind symbols needed.
    pub fn live_nodes(&self) -> Vec<bool> {
        let mut binder: FxHashMap<crate::dim::Symbol, NodeId> = FxHashMap::default();
        for (id, node) in self.nodes() {
            if node.op.def().binds {
                let mut bind = |s: &crate::dim::Symbol| {
                    binder.entry(s.clone()).or_insert(id);
                };
                node.attrs.iter().for_each(|a| a.each_symbol(&mut bind));
                node.results().for_each(|r| self.ty(r).shape.iter().for_each(|d| d.each_symbol(&mut bind)));
            }
        }
        for ty in self.param_types() {
            ty.shape.iter().for_each(|d| {
                d.each_symbol(&mut |s| {
                    binder.remove(s);
                })
            });
        }
        let mut live = vec![false; self.node_count()];
        let mut todo: Vec<NodeId> = Vec::new();
        let need = |value: Value, todo: &mut Vec<NodeId>| {
            if let Def::Result(id, _) = self.def(value) {
                todo.push(id);
            }
        };
        self.outputs().iter().for_each(|(_, v)| need(*v, &mut todo));
        while let Some(id) = todo.pop() {
            if std::mem::replace(&mut live[id.index()], true) {
                continue;
            }
            let node = self.node(id);
            node.operands.iter().for_each(|v| need(*v, &mut todo));
            if binder.is_empty() {
                continue;
            }
            let mut visit = |s: &crate::dim::Symbol| todo.extend(binder.get(s));
            node.attrs.iter().for_each(|a| a.each_symbol(&mut visit));
            node.results().for_each(|r| self.ty(r).shape.iter().for_each(|d| d.each_symbol(&mut visit)));
            node.regions.iter().for_each(|r| r.each_symbol(&mut visit));
        }
        live
    }

    /// Calls `visit` for every symbol of every type and attribute, also in regions.
    pub fn each_symbol(&self, visit: &mut dyn FnMut(&crate::dim::Symbol)) {
        self.values().for_each(|v| self.ty(v).shape.iter().for_each(|d| d.each_symbol(visit)));
        for (_, node) in self.nodes() {
            node.attrs.iter().for_each(|a| a.each_symbol(visit));
            node.regions.iter().for_each(|r| r.each_symbol(visit));
        }
    }

    /// The graph with symbols replaced by expressions: the way `--bind N=8` is carried out.
    ///
    /// Types are inferred anew, so a binding that contradicts a constraint is an error that names the node.
    pub fn substitute(&self, with: &dyn Fn(&crate::dim::Symbol) -> Option<Dim>) -> Result<Graph, Violation> {
        let mut outer = self.outer.clone();
        for symbol in &self.outer {
            if let Some(dim) = with(symbol) {
                outer.extend(dim.symbols());
            }
        }
        let name = self.name.clone();
        let mut to = Graph { name, scope: outer.clone(), outer, ..Graph::default() };
        for (symbol, range) in self.ranges.iter() {
            if with(symbol).is_none() {
                to.ranges.set(symbol.clone(), range);
            }
        }
        let mut map: Vec<Value> = Vec::with_capacity(self.value_count());
        for (name, value) in self.params() {
            let ty = self.ty(*value);
            map.push(to.add_param(name, crate::shape::TensorType::new(ty.dtype, ty.shape.substitute(with))));
        }
        for (_, node) in self.nodes() {
            let operands: SmallVec<[Value; 4]> = node.operands.iter().map(|v| map[v.index()]).collect();
            let attrs: Attrs = node.attrs.iter().map(|a| a.substitute(with)).collect();
            let regions = node.regions.iter().map(|r| r.substitute(with)).collect::<Result<Vec<_>, _>>()?;
            let id = to
                .push_from(node.op, &operands, attrs, regions, node.origin.clone())
                .map_err(|v| v.within(&node.describe()))?;
            map.extend(to.node(id).results());
        }
        for (name, value) in self.outputs() {
            to.add_output(name, map[value.index()]);
        }
        Ok(to)
    }
}

impl Node {
    /// The op with the name of the thing in the user's model, for messages.
    pub fn describe(&self) -> String {
        match &self.origin {
            Some(origin) => format!("{} \"{origin}\"", self.op.name()),
            None => self.op.name().to_owned(),
        }
    }
}
