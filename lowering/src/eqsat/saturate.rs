//! Applying rules until nothing new comes or a budget is spent.
//!
//! Budgets are counts, never seconds, and all orders are those of the rules and of the classes, so the same
//! graph gives the same e-graph.

use egg::{Id, Searcher, Subst};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::facts::Egraph;
use super::language::ENode;
use super::matching::{Search, canonical};
use super::merging::Merger;
use super::rule::{Rule, RuleSet, Term};

/// How far a saturation may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// E-nodes beyond those of the graph itself, per node of the graph.
    pub growth: usize,
    /// Rounds of searching and applying.
    pub iterations: usize,
    /// Matches of one rule in one round.
    pub matches: usize,
    /// How often places that share operands are merged, each time when nothing else comes.
    pub merges: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { growth: 16, iterations: 12, matches: 4096, merges: 2 }
    }
}

/// What one rule did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// The rule.
    pub rule: String,
    /// Places where it was found and holds.
    pub applied: usize,
    /// Classes it united.
    pub united: usize,
    /// Nodes it made.
    pub nodes: usize,
    /// Whether matches were left aside.
    pub cut: bool,
}

/// What a saturation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saturation {
    /// What each rule did, in the order of the set.
    pub rules: Vec<Growth>,
    /// Rounds made.
    pub iterations: usize,
    /// E-nodes at the end, attributes among them.
    pub nodes: usize,
    /// Whether it ended because nothing new came.
    pub saturated: bool,
}

/// Which rule something comes from.
#[derive(Default)]
pub(super) struct Origins {
    made: Vec<(ENode, usize)>,
    /// Classes that a rule with nothing but a variable as template united.
    joined: Vec<(Id, usize)>,
    /// Nodes that are worth choosing only together.
    pub(super) groups: Vec<Vec<ENode>>,
}

impl Origins {
    /// Notes that a rule made a node.
    pub(super) fn note(&mut self, node: &ENode, rule: usize) {
        self.made.push((node.clone(), rule));
    }

    /// The nodes that rules made, with the rules, in order.
    pub(super) fn made(&self) -> impl Iterator<Item = (&ENode, usize)> {
        self.made.iter().map(|(node, rule)| (node, *rule))
    }

    /// The rule that first made each node.
    pub(super) fn of_nodes(&self, egraph: &Egraph) -> FxHashMap<ENode, usize> {
        let mut rules = FxHashMap::default();
        for (node, rule) in &self.made {
            rules.entry(canonical(egraph, node)).or_insert(*rule);
        }
        rules
    }

    /// The rules that joined classes without a new node.
    pub(super) fn joins<'a>(&'a self, egraph: &'a Egraph) -> impl Iterator<Item = (Id, usize)> + 'a {
        self.joined.iter().map(|(id, rule)| (egraph.find(*id), *rule))
    }
}

/// Makes the class of a match and that of what a rule puts there one. If it must be explained, what the rule
/// matched is written down as the rule has it, so that each step of a proof is one rewrite.
pub(super) fn unite(
    egraph: &mut Egraph,
    root: Id,
    new: Id,
    search: &Search,
    subst: &Subst,
    rule: &Rule,
) -> bool {
    if egraph.are_explanations_enabled() {
        let matched = search.written(egraph, subst);
        egraph.union_trusted(matched, new, rule.name.as_str())
    } else {
        egraph.union(root, new)
    }
}

type Seen = FxHashSet<(usize, Id, SmallVec<[Id; 8]>)>;

/// Applies rules. `allow` is asked before each application and may end it all.
pub(super) fn saturate(
    egraph: &mut Egraph,
    set: &RuleSet,
    searches: &[Search],
    budget: Budget,
    origins: &mut Origins,
    allow: &mut dyn FnMut() -> bool,
) -> Saturation {
    let named = |rule: &super::Rule| Growth { rule: rule.name.clone(), ..Growth::default() };
    let mut report = Saturation { rules: set.rules.iter().map(named).collect(), ..Saturation::default() };
    let limit = egraph.total_size() * budget.growth.max(1) + 256;
    let mut seen = Seen::default();
    let mut merger = Merger::default();
    let mut merges = 0;
    while report.iterations < budget.iterations {
        report.iterations += 1;
        let mut found = Vec::new();
        for search in searches.iter().filter(|s| set.rules[s.rule].merging.is_none()) {
            let matches = search.pattern.search_with_limit(egraph, budget.matches);
            let count: usize = matches.iter().map(|m| m.substs.len()).sum();
            report.rules[search.rule].cut |= count >= budget.matches;
            found.extend(matches.into_iter().map(|m| (search, m.eclass, m.substs)));
        }
        let mut changed = false;
        let mut stopped = false;
        'all: for (search, root, substs) in found {
            let rule = &set.rules[search.rule];
            for subst in &substs {
                let vars = search.bound(rule, subst);
                // Classes that were united meanwhile have one name only after the rebuilding.
                let vars: SmallVec<[Id; 8]> = vars.iter().map(|id| egraph.find(*id)).collect();
                let root = egraph.find(root);
                let Some(instance) = search.instance(egraph, rule, root, subst, &vars) else { continue };
                if !seen.insert((search.rule, root, vars)) {
                    continue;
                }
                if egraph.total_size() > limit || !allow() {
                    stopped = true;
                    break 'all;
                }
                let mut nodes = 0;
                let made = &mut origins.made;
                let new = instance.add(egraph, &mut |node| {
                    nodes += 1;
                    made.push((node.clone(), search.rule));
                });
                let united = unite(egraph, root, new, search, subst, rule);
                if united && matches!(rule.template, Term::Var(_)) {
                    origins.joined.push((root, search.rule));
                }
                let growth = &mut report.rules[search.rule];
                growth.applied += 1;
                growth.united += usize::from(united);
                growth.nodes += nodes;
                changed |= united || nodes > 0;
            }
        }
        egraph.rebuild();
        if stopped {
            break;
        }
        let last = report.iterations == budget.iterations;
        if (!changed || last) && merges < budget.merges {
            merges += 1;
            changed |= merger.merge(egraph, set, searches, origins, &mut report.rules, allow);
            egraph.rebuild();
        }
        if !changed {
            report.saturated = true;
            break;
        }
    }
    report.nodes = egraph.total_size();
    report
}
