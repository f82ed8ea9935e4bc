//! Choosing one node of every class, so that all that the outputs need together costs least.
//!
//! Costs are those of the whole graph: what is shared counts once. Two choices are improved, that of the
//! graph as it was and the one that is best class by class; a change of one class is kept if the whole
//! becomes cheaper. The first never gets worse than the graph that came in, so neither does the result. Both
//! are free of cycles from the start, and no change that would close one is made.

use egg::Id;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use tcc_ir::graph::Op;
use tcc_ir::shape::TensorType;

use super::cost::{CostModel, Costs};
use super::facts::{Egraph, Kind, attrs_of};
use super::language::{ENode, Head};

/// The classes of an e-graph that are tensors, numbered without gaps, with the cost of every node.
pub(super) struct Classes {
    pub(super) all: Vec<Class>,
    numbers: FxHashMap<Id, u32>,
}

/// A class that is a tensor or several.
pub(super) struct Class {
    pub(super) id: Id,
    pub(super) nodes: Vec<Choice>,
    /// It is computed at compile time, so it costs nothing and needs nothing.
    pub(super) constant: bool,
}

/// A node that may be chosen.
pub(super) struct Choice {
    pub(super) node: ENode,
    pub(super) operands: SmallVec<[u32; 4]>,
    cost: f64,
}

/// The chosen node of each class.
#[derive(Clone)]
pub(super) struct Extraction {
    pub(super) chosen: Vec<u32>,
    pub(super) cost: f64,
}

/// One class that gets another node, with the cost of the whole before and after.
pub(super) struct Exchange {
    pub(super) class: u32,
    pub(super) cost: [f64; 2],
}

/// What a node costs that is computed at compile time: enough to prefer few of them.
const COMPUTED: f64 = 0.01;

/// Nothing was chosen yet.
const NONE: u32 = u32::MAX;

/// Rounds of improvement; each looks at every class.
const ROUNDS: usize = 8;

impl Classes {
    pub(super) fn new(egraph: &Egraph, model: &CostModel) -> Classes {
        let costs = Costs::new(model, &egraph.analysis.ranges);
        let mut ids: Vec<Id> = egraph.classes().map(|c| c.id).collect();
        ids.sort_unstable();
        ids.retain(|id| !matches!(egraph[*id].data.kind, Kind::Attr(_)));
        let numbers: FxHashMap<Id, u32> = ids.iter().enumerate().map(|(i, id)| (*id, i as u32)).collect();
        let class = |id: &Id| {
            let facts = &egraph[*id].data;
            let choice = |node: &ENode| {
                let operands =
                    node.operands().iter().filter_map(|id| numbers.get(&egraph.find(*id)).copied());
                let cost = if facts.constant { COMPUTED } else { cost_of(egraph, &costs, node, &facts.kind) };
                Choice { node: node.clone(), operands: operands.collect(), cost }
            };
            let of_constants = |node: &&ENode| {
                !facts.constant
                    || matches!(node.head, Head::Op(_))
                        && node.operands().iter().all(|id| egraph[*id].data.constant)
            };
            let mut nodes: Vec<Choice> = egraph[*id].nodes.iter().filter(of_constants).map(choice).collect();
            nodes.sort_by(|a, b| a.node.cmp(&b.node));
            Class { id: *id, nodes, constant: facts.constant }
        };
        let all = ids.iter().map(class).collect();
        Classes { all, numbers }
    }

    /// The number of a class.
    pub(super) fn number(&self, egraph: &Egraph, id: Id) -> Option<u32> {
        self.numbers.get(&egraph.find(id)).copied()
    }

    fn choice(&self, class: u32, node: u32) -> &Choice {
        &self.all[class as usize].nodes[node as usize]
    }

    /// The best for each class alone, as if nothing were shared.
    fn greedy(&self) -> Vec<u32> {
        let mut best = vec![(f64::INFINITY, NONE); self.all.len()];
        let mut changed = true;
        while changed {
            changed = false;
            for (i, class) in self.all.iter().enumerate() {
                for (n, choice) in class.nodes.iter().enumerate() {
                    let below: f64 = choice.operands.iter().map(|o| best[*o as usize].0).sum();
                    let total = choice.cost + below;
                    if total < best[i].0 {
                        best[i] = (total, n as u32);
                        changed = true;
                    }
                }
            }
        }
        best.into_iter().map(|(_, n)| n).collect()
    }

    /// The cheapest choice found for the roots. `original` has the nodes of the graph that came
    /// in, in its order.
    pub(super) fn extract(
        &self,
        egraph: &Egraph,
        original: &[ENode],
        groups: &[Vec<ENode>],
        roots: &[u32],
    ) -> Option<(f64, Extraction)> {
        let greedy = self.greedy();
        if roots.iter().any(|r| greedy[*r as usize] == NONE) {
            return None;
        }
        let as_it_was = self.as_it_was(egraph, original, &greedy);
        let before = Improver::new(self, as_it_was, roots);
        let start = before.cost;
        let groups: Vec<Vec<(u32, u32)>> = groups.iter().map(|g| self.places(egraph, g)).collect();
        let improved = [before.improve(&groups), Improver::new(self, greedy, roots).improve(&groups)];
        let best = improved.into_iter().min_by(|a, b| a.cost.total_cmp(&b.cost))?;
        Some((start, best))
    }
}

impl Classes {
    /// The nodes that the graph had, and the given ones where it had none.
    fn as_it_was(&self, egraph: &Egraph, original: &[ENode], otherwise: &[u32]) -> Vec<u32> {
        let mut chosen = otherwise.to_vec();
        let mut known = vec![false; self.all.len()];
        for node in original {
            let Some(class) = egraph.lookup(node.clone()).and_then(|id| self.number(egraph, id)) else {
                continue;
            };
            let node = super::matching::canonical(egraph, node);
            let at = self.all[class as usize].nodes.iter().position(|c| c.node == node);
            if let (Some(at), false) = (at, known[class as usize]) {
                chosen[class as usize] = at as u32;
                known[class as usize] = true;
            }
        }
        chosen
    }

    /// The way from the graph as it was to an extraction, class by class, outputs first.
    pub(super) fn replay(
        &self,
        egraph: &Egraph,
        original: &[ENode],
        extraction: &Extraction,
        roots: &[u32],
    ) -> Vec<Exchange> {
        let chosen = self.as_it_was(egraph, original, &self.greedy());
        let mut improver = Improver::new(self, chosen, roots);
        let mut exchanges = Vec::new();
        let classes: Vec<u32> = original
            .iter()
            .rev()
            .filter_map(|node| self.number(egraph, egraph.lookup(node.clone())?))
            .collect();
        for class in classes {
            let (old, new) = (improver.chosen[class as usize], extraction.chosen[class as usize]);
            let known = &self.all[class as usize];
            let operands = &known.nodes[new as usize].operands;
            let idle = improver.uses[class as usize] == 0 || known.constant || old == new;
            if idle || improver.reaches(operands, class) {
                continue;
            }
            let before = improver.cost;
            improver.switch(class, new);
            exchanges.push(Exchange { class, cost: [before, improver.cost] });
        }
        exchanges
    }

    /// The classes of nodes, each with the place of the node among its choices.
    pub(super) fn places(&self, egraph: &Egraph, nodes: &[ENode]) -> Vec<(u32, u32)> {
        let place = |node: &ENode| {
            let class = self.number(egraph, egraph.lookup(node.clone())?)?;
            let node = super::matching::canonical(egraph, node);
            let at = self.all[class as usize].nodes.iter().position(|c| c.node == node)?;
            Some((class, at as u32))
        };
        nodes.iter().filter_map(place).collect()
    }

    /// The graph as it was but for these choices.
    pub(super) fn choosing(&self, egraph: &Egraph, original: &[ENode], choices: &[(u32, u32)]) -> Extraction {
        let mut chosen = self.as_it_was(egraph, original, &self.greedy());
        choices.iter().for_each(|(class, node)| chosen[*class as usize] = *node);
        Extraction { chosen, cost: 0.0 }
    }

    /// The graph as it was but for one class, which is another node than the given one.
    pub(super) fn avoiding(
        &self,
        egraph: &Egraph,
        original: &[ENode],
        class: u32,
        node: &ENode,
    ) -> Option<Extraction> {
        let chosen = self.as_it_was(egraph, original, &self.greedy());
        let mut improver = Improver::new(self, chosen, &[class]);
        let nodes = &self.all[class as usize].nodes;
        let other = (0..nodes.len() as u32).find(|n| {
            let choice = &nodes[*n as usize];
            choice.node != *node && !improver.reaches(&choice.operands, class)
        })?;
        improver.chosen[class as usize] = other;
        Some(Extraction { chosen: improver.chosen, cost: improver.cost })
    }
}

fn cost_of(egraph: &Egraph, costs: &Costs<'_>, node: &ENode, kind: &Kind) -> f64 {
    let Head::Op(op) = node.head else { return 0.1 };
    let tensor = |id: &Id| match &egraph[*id].data.kind {
        Kind::Value(ty) => Some(ty),
        _ => None,
    };
    let operands: SmallVec<[&TensorType; 4]> = node.operands().iter().filter_map(tensor).collect();
    let results: SmallVec<[&TensorType; 2]> = match kind {
        Kind::Value(ty) => SmallVec::from_iter([ty]),
        Kind::Tuple(types) => types.iter().collect(),
        Kind::Attr(_) => SmallVec::new(),
    };
    let attrs = if op == Op::Const { Default::default() } else { attrs_of(egraph, node) };
    costs.of(op, &attrs, &operands, &results)
}

/// A choice with the uses of every class that the roots need.
struct Improver<'c> {
    classes: &'c Classes,
    chosen: Vec<u32>,
    uses: Vec<u32>,
    cost: f64,
    seen: Vec<u32>,
    stamp: u32,
}

impl<'c> Improver<'c> {
    fn new(classes: &'c Classes, chosen: Vec<u32>, roots: &[u32]) -> Improver<'c> {
        let count = classes.all.len();
        let mut improver =
            Improver { classes, chosen, uses: vec![0; count], cost: 0.0, seen: vec![0; count], stamp: 0 };
        improver.acquire(roots);
        improver
    }

    fn operands(&self, class: u32) -> &'c [u32] {
        if self.classes.all[class as usize].constant {
            return &[];
        }
        &self.classes.choice(class, self.chosen[class as usize]).operands
    }

    fn own_cost(&self, class: u32) -> f64 {
        if self.classes.all[class as usize].constant {
            return 0.0;
        }
        self.classes.choice(class, self.chosen[class as usize]).cost
    }

    fn acquire(&mut self, wanted: &[u32]) {
        let mut todo: Vec<u32> = wanted.to_vec();
        while let Some(class) = todo.pop() {
            self.uses[class as usize] += 1;
            if self.uses[class as usize] == 1 {
                self.cost += self.own_cost(class);
                todo.extend_from_slice(self.operands(class));
            }
        }
    }

    fn release(&mut self, unwanted: &[u32]) {
        let mut todo: Vec<u32> = unwanted.to_vec();
        while let Some(class) = todo.pop() {
            self.uses[class as usize] -= 1;
            if self.uses[class as usize] == 0 {
                self.cost -= self.own_cost(class);
                todo.extend_from_slice(self.operands(class));
            }
        }
    }

    /// Whether a class is needed for what others need, itself included.
    fn reaches(&mut self, from: &[u32], class: u32) -> bool {
        self.stamp += 1;
        let mut todo: Vec<u32> = from.to_vec();
        while let Some(at) = todo.pop() {
            if at == class {
                return true;
            }
            if std::mem::replace(&mut self.seen[at as usize], self.stamp) != self.stamp {
                todo.extend_from_slice(self.operands(at));
            }
        }
        false
    }

    /// Chooses another node of a class that is in use.
    fn switch(&mut self, class: u32, node: u32) {
        let old = self.operands(class);
        self.cost -= self.own_cost(class);
        self.chosen[class as usize] = node;
        self.cost += self.own_cost(class);
        // What both need is kept alive by the new one.
        self.acquire(self.operands(class));
        self.release(old);
    }

    /// Chooses all nodes of a group whose classes are in use, if that makes the whole cheaper.
    fn switch_together(&mut self, group: &[(u32, u32)]) {
        let cost = self.cost;
        let mut undo = Vec::new();
        for (class, node) in group {
            let old = self.chosen[*class as usize];
            let operands = &self.classes.choice(*class, *node).operands;
            if self.uses[*class as usize] == 0 || old == *node || self.reaches(operands, *class) {
                continue;
            }
            undo.push((*class, old));
            self.switch(*class, *node);
        }
        if self.cost >= cost - 1e-6 {
            for (class, old) in undo.into_iter().rev() {
                self.switch(class, old);
            }
            self.cost = cost;
        }
    }

    fn improve(mut self, groups: &[Vec<(u32, u32)>]) -> Extraction {
        for _ in 0..ROUNDS {
            let before = self.cost;
            // Later groups reach further behind what they merge.
            for group in groups.iter().rev() {
                self.switch_together(group);
            }
            for class in (0..self.classes.all.len() as u32).rev() {
                let known = &self.classes.all[class as usize];
                if self.uses[class as usize] == 0 || known.constant || known.nodes.len() < 2 {
                    continue;
                }
                for node in 0..known.nodes.len() as u32 {
                    let (old, cost) = (self.chosen[class as usize], self.cost);
                    if node == old || self.reaches(&known.nodes[node as usize].operands, class) {
                        continue;
                    }
                    self.switch(class, node);
                    if self.cost >= cost - 1e-6 {
                        self.switch(class, old);
                        self.cost = cost;
                    }
                }
            }
            if self.cost >= before {
                break;
            }
        }
        Extraction { chosen: self.chosen, cost: self.cost }
    }
}
