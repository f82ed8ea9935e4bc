//! From a graph to an e-graph, and from the chosen nodes back to a graph.

use egg::Id;
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;
use tcc_ir::dim::Symbol;
use tcc_ir::graph::Attr;
use tcc_ir::graph::infer::Types;
use tcc_ir::graph::{Attrs, Graph, NodeId, Op, Rewriter, Value};

use super::constants::Constants;
use super::extract::{Classes, Extraction};
use super::facts::{Egraph, Kind, Knowledge, attrs_of, bytes};
use super::language::{AttrTable, Children, ENode, Head};
use super::matching::{add_attr, canonical};

/// A graph as an e-graph.
pub(super) struct Imported {
    pub(super) egraph: Egraph,
    /// The class of each value.
    values: Vec<Option<Id>>,
    /// The nodes in the order of the graph, projections among them.
    pub(super) original: Vec<ENode>,
    /// The nodes of the graph that are opaque, in order.
    opaque: Vec<NodeId>,
}

/// A constant that is larger than what it is made of by more than this stays as it is written, in bytes.
const MAX_GROWN: u64 = 1024;

/// Whether rules can look into a node.
fn is_open(op: Op) -> bool {
    let def = op.def();
    def.regions.is_empty() && !def.binds
}

impl Imported {
    /// The e-graph of a graph, with one class for each distinct value.
    pub(super) fn new(graph: &Graph) -> Imported {
        Imported::with(graph, false)
    }

    /// The same, able to explain itself if asked to.
    pub(super) fn with(graph: &Graph, explains: bool) -> Imported {
        let knowledge = Knowledge {
            ranges: graph.ranges.clone(),
            attrs: AttrTable::default(),
            params: graph.param_types().cloned().collect(),
            opaque: Vec::new(),
            conflicts: 0,
        };
        let egraph = Egraph::new(knowledge);
        let egraph = if explains { egraph.with_explanations_enabled() } else { egraph };
        let values = vec![None; graph.value_count()];
        let mut imported = Imported { egraph, values, original: Vec::new(), opaque: Vec::new() };
        for (i, (_, value)) in graph.params().iter().enumerate() {
            imported.values[value.index()] = Some(imported.egraph.add(ENode::leaf(Head::Param(i as u32))));
        }
        for (id, _) in graph.nodes() {
            imported.add(graph, id);
        }
        imported.egraph.rebuild();
        imported
    }

    fn add(&mut self, graph: &Graph, id: NodeId) {
        let node = graph.node(id);
        let mut children = Children::new();
        let head = if is_open(node.op) {
            children.extend(node.attrs.iter().map(|attr| add_attr(&mut self.egraph, attr)));
            Head::Op(node.op)
        } else {
            let types: Types = node.results().map(|v| graph.ty(v).clone()).collect();
            self.egraph.analysis.opaque.push(types);
            self.opaque.push(id);
            Head::Opaque(self.opaque.len() as u32 - 1)
        };
        // Operands precede their uses, so each has its class.
        children.extend(node.operands.iter().filter_map(|v| self.values[v.index()]));
        let enode = ENode { head, children };
        self.original.push(enode.clone());
        let class = self.egraph.add(enode);
        if node.results().len() == 1 {
            self.values[node.result().index()] = Some(class);
            return;
        }
        for (i, value) in node.results().enumerate() {
            let project = ENode { head: Head::Project(i as u32), children: SmallVec::from_iter([class]) };
            self.original.push(project.clone());
            self.values[value.index()] = Some(self.egraph.add(project));
        }
    }

    /// The class of a value.
    pub(super) fn class(&self, value: Value) -> Option<Id> {
        self.values[value.index()].map(|id| self.egraph.find(id))
    }
}

/// The names in the user's model of the nodes that importing gives, in their order.
pub(super) fn origins_of(graph: &Graph) -> Vec<Option<std::sync::Arc<str>>> {
    let each = |node: &tcc_ir::graph::Node| {
        let projections = if node.results().len() == 1 { 0 } else { node.results().len() };
        std::iter::repeat_n(node.origin.clone(), 1 + projections)
    };
    graph.nodes().flat_map(|(_, node)| each(node)).collect()
}

/// What a class became.
#[derive(Clone, Copy)]
enum Made {
    Value(Value),
    Node(NodeId),
}

/// Builds the graph of an extraction.
pub(super) struct Exporter<'a> {
    imported: &'a Imported,
    graph: &'a Graph,
    /// The regions of opaque nodes, which may have been rewritten too.
    regions: &'a FxHashMap<NodeId, Vec<Graph>>,
    rewriter: Rewriter<'a>,
    constants: Constants<'a>,
    made: Vec<Option<Made>>,
    binders: FxHashMap<Symbol, u32>,
}

impl<'a> Exporter<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        imported: &'a Imported,
        classes: &'a Classes,
        extraction: &'a Extraction,
        regions: &'a FxHashMap<NodeId, Vec<Graph>>,
    ) -> Exporter<'a> {
        let egraph = &imported.egraph;
        let mut binders = FxHashMap::default();
        for (number, id) in imported.opaque.iter().enumerate() {
            let node = graph.node(*id);
            let class = imported.original.iter().find(|n| n.head == Head::Opaque(number as u32));
            let class =
                class.and_then(|n| egraph.lookup(n.clone())).and_then(|id| classes.number(egraph, id));
            let mut bind = |s: &Symbol| {
                if let Some(class) = class {
                    binders.entry(s.clone()).or_insert(class);
                }
            };
            node.attrs.iter().for_each(|a| a.each_symbol(&mut bind));
            node.results().for_each(|v| graph.ty(v).shape.iter().for_each(|d| d.each_symbol(&mut bind)));
        }
        for ty in graph.param_types() {
            ty.shape.iter().for_each(|d| {
                d.each_symbol(&mut |s| {
                    binders.remove(s);
                })
            });
        }
        let constants = Constants { egraph, classes, extraction, known: FxHashMap::default() };
        let made = vec![None; classes.all.len()];
        Exporter { imported, graph, regions, rewriter: Rewriter::new(graph), constants, made, binders }
    }

    /// The graph, and whether it is another one; nothing if it cannot be built, which leaves the old one.
    pub(super) fn export(mut self, roots: &[u32]) -> Option<(Graph, bool)> {
        let egraph = &self.imported.egraph;
        let classes = self.constants.classes;
        for (i, (_, value)) in self.graph.params().iter().enumerate() {
            let class = egraph.lookup(ENode::leaf(Head::Param(i as u32)))?;
            let class = classes.number(egraph, class)?;
            self.made[class as usize].get_or_insert(Made::Value(self.rewriter.get(*value)));
        }
        let needed = self.needed(roots);
        let known: FxHashSet<ENode> = self.imported.original.iter().map(|n| canonical(egraph, n)).collect();
        let mut nodes = self.graph.nodes().map(|(_, node)| node);
        let mut origin = None;
        for enode in &self.imported.original {
            if !matches!(enode.head, Head::Project(_)) {
                origin = nodes.next().and_then(|n| n.origin.clone());
            }
            let class = classes.number(egraph, egraph.lookup(enode.clone())?)?;
            if needed[class as usize] {
                self.emit(class, &origin)?;
            }
        }
        for root in roots {
            self.emit(*root, &None)?;
        }
        for ((_, value), root) in self.graph.outputs().iter().zip(roots) {
            let Some(Made::Value(new)) = self.made[*root as usize] else { return None };
            let (old, ty) = (self.graph.ty(*value), self.rewriter.to.ty(new));
            if old.dtype != ty.dtype || !old.shape.equal(&ty.shape, &self.graph.ranges) {
                return None;
            }
            self.rewriter.replace(*value, new);
        }
        let kept = |class: usize| {
            let known_node = known.contains(&self.chosen(class as u32).node);
            known_node
                && !(self.is_computed(class as u32)
                    && self.chosen(class as u32).node.head != Head::Op(Op::Const))
        };
        let mut touched = self.rewriter.to.node_count() != self.graph.node_count();
        touched |= (0..needed.len()).any(|class| {
            needed[class] && !matches!(self.chosen(class as u32).node.head, Head::Param(_)) && !kept(class)
        });
        let rewritten =
            |(id, regions): (&NodeId, &Vec<Graph>)| self.graph.node(*id).regions[..] != regions[..];
        touched |= self.regions.iter().any(rewritten);
        Some((self.rewriter.finish(), touched))
    }

    fn chosen(&self, class: u32) -> &'a super::extract::Choice {
        let constants = &self.constants;
        &constants.classes.all[class as usize].nodes[constants.extraction.chosen[class as usize] as usize]
    }

    /// Whether a class becomes a constant: not where little would be made much.
    fn is_computed(&self, class: u32) -> bool {
        let known = &self.constants.classes.all[class as usize];
        let Kind::Value(ty) = &self.imported.egraph[known.id].data.kind else { return false };
        let of = |o: &u32| match &self.imported.egraph[self.constants.classes.all[*o as usize].id].data.kind {
            Kind::Value(ty) => bytes(ty).unwrap_or(0),
            _ => 0,
        };
        let given: u64 = self.chosen(class).operands.iter().map(of).sum();
        let made = bytes(ty).unwrap_or(u64::MAX);
        let spreads = matches!(self.chosen(class).node.head, Head::Op(Op::Broadcast));
        known.constant && (made <= given || (made <= MAX_GROWN && !spreads) || given == 0)
    }

    /// Which classes the roots need.
    pub(super) fn needed(&self, roots: &[u32]) -> Vec<bool> {
        let mut needed = vec![false; self.made.len()];
        let mut todo = roots.to_vec();
        while let Some(class) = todo.pop() {
            if !std::mem::replace(&mut needed[class as usize], true) {
                todo.extend(self.dependencies(class));
            }
        }
        needed
    }

    /// What must be there before a class: operands, and what binds the symbols it names.
    fn dependencies(&self, class: u32) -> SmallVec<[u32; 4]> {
        if self.is_computed(class) {
            return SmallVec::new();
        }
        let choice = self.chosen(class);
        let mut all = choice.operands.clone();
        if self.binders.is_empty() || matches!(choice.node.head, Head::Param(_)) {
            return all;
        }
        let mut need = |s: &Symbol| all.extend(self.binders.get(s).copied().filter(|b| *b != class));
        let egraph = &self.imported.egraph;
        attrs_of(egraph, &choice.node).iter().for_each(|a| a.each_symbol(&mut need));
        match &egraph[self.constants.classes.all[class as usize].id].data.kind {
            Kind::Value(ty) => ty.shape.iter().for_each(|d| d.each_symbol(&mut need)),
            Kind::Tuple(types) => {
                types.iter().flat_map(|t| t.shape.iter()).for_each(|d| d.each_symbol(&mut need))
            }
            Kind::Attr(_) => {}
        }
        if let Head::Opaque(number) = choice.node.head {
            let node = self.graph.node(self.imported.opaque[number as usize]);
            node.regions.iter().for_each(|r| r.each_symbol(&mut need));
        }
        all
    }

    fn emit(&mut self, class: u32, origin: &Option<std::sync::Arc<str>>) -> Option<()> {
        let mut todo = vec![(class, false)];
        let mut open: FxHashSet<u32> = FxHashSet::default();
        while let Some((class, ready)) = todo.pop() {
            if self.made[class as usize].is_some() {
                continue;
            }
            if ready {
                open.remove(&class);
                let made = self.build(class, origin)?;
                self.made[class as usize] = Some(made);
                continue;
            }
            // A cycle can only come through symbols; the old graph has none.
            if !open.insert(class) {
                return None;
            }
            todo.push((class, true));
            let waiting = self.dependencies(class);
            todo.extend(
                waiting.into_iter().rev().filter(|c| self.made[*c as usize].is_none()).map(|c| (c, false)),
            );
        }
        Some(())
    }

    fn build(&mut self, class: u32, origin: &Option<std::sync::Arc<str>>) -> Option<Made> {
        if self.is_computed(class)
            && let Some(tensor) = self.constants.value(class)
        {
            let attrs = Attrs::from_iter([Attr::Tensor(tensor)]);
            let node = self.rewriter.to.push_from(Op::Const, &[], attrs, Vec::new(), origin.clone()).ok()?;
            return Some(Made::Value(self.rewriter.to.node(node).result()));
        }
        let choice = self.chosen(class);
        let mut operands: SmallVec<[Value; 4]> = SmallVec::new();
        for operand in &choice.operands {
            if self.made[*operand as usize].is_none() {
                self.emit(*operand, origin)?;
            }
            match self.made[*operand as usize]? {
                Made::Value(value) => operands.push(value),
                Made::Node(node) => match choice.node.head {
                    Head::Project(i) => {
                        let value = self.rewriter.to.node(node).results().nth(i as usize)?;
                        return Some(Made::Value(value));
                    }
                    _ => return None,
                },
            }
        }
        let node = match choice.node.head {
            Head::Op(op) => {
                let attrs = attrs_of(&self.imported.egraph, &choice.node);
                self.rewriter.to.push_from(op, &operands, attrs, Vec::new(), origin.clone()).ok()?
            }
            Head::Opaque(number) => {
                let id = self.imported.opaque[number as usize];
                let old = self.graph.node(id);
                let regions = self.regions.get(&id).cloned().unwrap_or_else(|| old.regions.to_vec());
                self.rewriter
                    .to
                    .push_from(old.op, &operands, old.attrs.clone(), regions, old.origin.clone())
                    .ok()?
            }
            Head::Attr(_) | Head::Param(_) | Head::Project(_) => return None,
        };
        let results = self.rewriter.to.node(node).results();
        Some(if results.len() == 1 {
            Made::Value(self.rewriter.to.node(node).result())
        } else {
            Made::Node(node)
        })
    }
}
