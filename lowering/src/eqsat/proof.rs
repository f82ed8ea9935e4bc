//! Why a result is equal to what came in, node by node: the rules on the way from one to the other.
//!
//! Proofs come from the e-graph's own explanations; each line is one rewrite, or rewrites inside of operands. Costs are those of the whole graph while the replaced nodes
//! are exchanged one after the other, outputs first, so that what a rewrite leaves unused goes with it.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use egg::{Id, TreeTerm};
use rustc_hash::FxHashMap;
use tcc_ir::graph::{Attr, Op};

use super::convert::Imported;
use super::extract::{Classes, Extraction};
use super::facts::{Egraph, attrs_of};
use super::language::{ENode, Head};
use super::matching::canonical;
use super::saturate::Origins;

/// One node of the graph that another one replaces.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The name of the node in the user's model.
    pub origin: Option<Arc<str>>,
    /// The node.
    pub before: String,
    /// What is in its place.
    pub after: String,
    /// The rewrites from one to the other, in order.
    pub proof: Vec<Line>,
    /// The cost of the whole graph before and after the exchange.
    pub cost: [f64; 2],
}

/// One rewrite of a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The rule; none where equal operands make equal nodes.
    pub rule: Option<String>,
    /// Whether the rule is read from right to left.
    pub backwards: bool,
    /// The rules by which operands were rewritten here.
    pub inside: Vec<String>,
    /// What stands there then.
    pub term: String,
}

/// Terms are shown so deep.
const SHOWN: usize = 4;

/// The nodes of the graph that were replaced, in the order of exchange. The e-graph must have been made with
/// explanations.
pub(super) fn steps(
    imported: &mut Imported,
    origins_of_nodes: &[Option<Arc<str>>],
    origins: &Origins,
    classes: &Classes,
    extraction: &Extraction,
    roots: &[u32],
) -> Vec<Step> {
    let egraph = &imported.egraph;
    // The node that a rule wrote, before its operands got other names; the first that is now the same.
    let mut written: FxHashMap<ENode, ENode> = FxHashMap::default();
    for node in imported.original.iter().chain(origins.made().map(|(node, _)| node)) {
        written.entry(canonical(egraph, node)).or_insert_with(|| node.clone());
    }
    let exchanges = classes.replay(egraph, &imported.original, extraction, roots);
    let mut steps = Vec::new();
    for exchange in exchanges {
        let class = &classes.all[exchange.class as usize];
        let old = imported.original.iter().position(|n| {
            imported.egraph.lookup(n.clone()).and_then(|id| classes.number(&imported.egraph, id))
                == Some(exchange.class)
        });
        let Some(old) = old else { continue };
        let before = imported.original[old].clone();
        let chosen = class.nodes[extraction.chosen[exchange.class as usize] as usize].node.clone();
        let after = written.get(&chosen).unwrap_or(&chosen).clone();
        let (shown, then) = (shown(&imported.egraph, &before), shown(&imported.egraph, &after));
        let proof = proof(&mut imported.egraph, before, after);
        let origin = origins_of_nodes.get(old).cloned().flatten();
        steps.push(Step { origin, before: shown, after: then, proof, cost: exchange.cost });
    }
    steps
}

fn proof(egraph: &mut Egraph, before: ENode, after: ENode) -> Vec<Line> {
    let (left, right) = (egraph.add_uncanonical(before), egraph.add_uncanonical(after));
    let explanation = egraph.explain_id_equivalence(left, right);
    let mut lines = Vec::new();
    for term in &explanation.explanation_trees {
        let (mut inside, mut seen) = (Vec::new(), HashSet::new());
        term.child_proofs.iter().flatten().for_each(|child| rules_of(child, &mut inside, &mut seen));
        let rule = term.forward_rule.or(term.backward_rule).map(|r| r.as_str().to_owned());
        if rule.is_none() && inside.is_empty() {
            continue;
        }
        let backwards = term.forward_rule.is_none() && term.backward_rule.is_some();
        lines.push(Line { rule, backwards, inside, term: term_text(egraph, term, 0) });
    }
    lines
}

/// The rules of a part of a proof, each once.
fn rules_of(term: &Rc<TreeTerm<ENode>>, rules: &mut Vec<String>, seen: &mut HashSet<*const TreeTerm<ENode>>) {
    if !seen.insert(Rc::as_ptr(term)) {
        return;
    }
    for rule in [term.forward_rule, term.backward_rule].into_iter().flatten() {
        if !rules.iter().any(|known| known == rule.as_str()) {
            rules.push(rule.as_str().to_owned());
        }
    }
    term.child_proofs.iter().flatten().for_each(|child| rules_of(child, rules, seen));
}

fn term_text(egraph: &Egraph, term: &TreeTerm<ENode>, depth: usize) -> String {
    let last = |proof: &Vec<Rc<TreeTerm<ENode>>>| match proof.last() {
        Some(term) => term_text(egraph, term, depth + 1),
        None => "_".to_owned(),
    };
    text(egraph, &term.node, depth, &mut |at| term.child_proofs.get(at).map_or("_".to_owned(), last))
}

/// A node with what its operands are.
fn shown(egraph: &Egraph, node: &ENode) -> String {
    node_text(egraph, node, 0)
}

fn node_text(egraph: &Egraph, node: &ENode, depth: usize) -> String {
    let child = |id: &Id| node_text(egraph, egraph.id_to_node(*id), depth + 1);
    text(egraph, node, depth, &mut |at| child(&node.children[at]))
}

fn text(egraph: &Egraph, node: &ENode, depth: usize, child: &mut dyn FnMut(usize) -> String) -> String {
    match node.head {
        Head::Attr(number) => attr_text(egraph.analysis.attrs.get(number)),
        Head::Param(number) => format!("param{number}"),
        Head::Opaque(number) => format!("opaque{number}"),
        Head::Project(_) => child(0),
        Head::Op(Op::Const) => match attrs_of(egraph, node).first() {
            Some(Attr::Tensor(tensor)) if tensor.len() == 1 => tensor.literal(),
            _ => "const".to_owned(),
        },
        Head::Op(op) if depth >= SHOWN => format!("{}(…)", op.name()),
        Head::Op(op) => {
            let count = node.attr_count();
            let mut all: Vec<String> = (count..node.children.len()).map(&mut *child).collect();
            // Shapes and the like are told from the outermost ops only.
            let told = if depth == 0 { op.def().attrs } else { &[] };
            all.extend(told.iter().enumerate().map(|(i, def)| format!("{}={}", def.name, child(i))));
            format!("{}({})", op.name(), all.join(", "))
        }
    }
}

fn attr_text(attr: &Attr) -> String {
    match attr {
        Attr::Bool(v) => v.to_string(),
        Attr::Int(v) => v.to_string(),
        Attr::Float(v) => format!("{v:?}"),
        Attr::Text(v) => v.to_string(),
        Attr::Ints(v) => format!("{:?}", v.as_slice()),
        Attr::Dim(v) => v.to_string(),
        Attr::Dims(v) => v.to_string(),
        Attr::DType(v) => v.to_string(),
        Attr::Types(_) | Attr::Tensor(_) => "…".to_owned(),
    }
}
