//! `eqsat`: rewrites a graph by rules into the cheapest equal one that is found.
//!
//! ```tcc
//! graph @f(%x: f32[2, 3], %w: f32[4, 3]) -> (y: f32[2, 4]) {
//!   %0 = transpose %w perm=[1, 0] : f32[3, 4]
//!   %1 = dot %x, %0 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[2, 4]
//!   %2 = sigmoid %1 : f32[2, 4]
//!   %3 = mul %1, %2 : f32[2, 4]
//!   return %3
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: f32[2, 3], %w: f32[4, 3]) -> (y: f32[2, 4]) {
//!   %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[1] dtype=f32 : f32[2, 4]
//!   %1 = silu %0 : f32[2, 4]
//!   return %1
//! }
//! ```
//!
//! All rewritten forms are kept side by side in an e-graph, so the order of rules does not matter; one form
//! of everything is then chosen by the cost of the whole graph. The rules are the text files of `rules/`;
//! which of them apply depends on the class of numerics asked for. The result is never dearer than what came
//! in, and if anything about it cannot be built or typed, what came in is kept.

mod constants;
mod convert;
mod cost;
mod examples;
mod extract;
mod facts;
mod functions;
mod language;
mod matching;
mod merging;
mod parse;
mod proof;
mod reference;
mod rule;
mod saturate;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use rustc_hash::{FxHashMap, FxHashSet};
use tcc_ir::graph::{Graph, NodeId};
use tcc_ir::numerics::Numerics;

pub use cost::CostModel;
pub(crate) use cost::Costs;
pub use examples::{Instance, instances};
pub use functions::{FUNCTIONS, Function};
pub use proof::{Line, Step};
pub use reference::markdown;
pub use rule::{Example, Rule, RuleSet};
pub use saturate::{Budget, Growth, Saturation};

use crate::pass::{OptionDef, OptionKind, Outcome, Owed, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "eqsat",
    summary: "rewrites a graph by rules into the cheapest equal one that is found",
    source: include_str!("mod.rs"),
    options: &[
        OptionDef {
            name: "nodes",
            kind: OptionKind::Count,
            default: "16",
            doc: "how many times larger the e-graph may become than the graph",
        },
        OptionDef {
            name: "iterations",
            kind: OptionKind::Count,
            default: "12",
            doc: "how often all rules are searched",
        },
        OptionDef {
            name: "matches",
            kind: OptionKind::Count,
            default: "4096",
            doc: "how many matches of a rule are taken each time",
        },
        OptionDef {
            name: "merges",
            kind: OptionKind::Count,
            default: "2",
            doc: "how often places that share operands are merged",
        },
        OptionDef {
            name: "numerics",
            kind: OptionKind::Word,
            default: "reassociates",
            doc: "the loosest rules applied: `exact`, `rounding`, `reassociates` or `approximate`",
        },
        OptionDef {
            name: "rules",
            kind: OptionKind::Word,
            default: "all",
            doc: "the themes or names of the rules applied, joined by `+`",
        },
        OptionDef { name: "file", kind: OptionKind::Word, default: "", doc: "a file with more rules" },
    ],
    numerics: Numerics::Reassociates,
    run: PassFn::Graph(run),
};

macro_rules! themes {
    ($($theme:literal),*) => {
        &[$(($theme, include_str!(concat!("../../rules/", $theme, ".rules")))),*]
    };
}

/// The rules files that are built in, with their texts.
pub static THEMES: &[(&str, &str)] =
    themes!["algebra", "movement", "contraction", "convolution", "reduction", "cast", "composite"];

/// The rules that are built in.
pub fn builtin_rules() -> &'static RuleSet {
    static RULES: LazyLock<RuleSet> = LazyLock::new(|| {
        let mut all = RuleSet::default();
        for (theme, text) in THEMES {
            match RuleSet::parse(text, theme) {
                Ok(rules) => all.extend(rules),
                Err(diags) => unreachable!("built-in rules parse: {}", diags.render(theme, text)),
            }
        }
        all
    });
    &RULES
}

/// Rules made ready for searching, with everything else a run depends on.
pub struct Optimizer {
    rules: RuleSet,
    searches: Vec<matching::Search>,
    /// How far a saturation may go.
    pub budget: Budget,
    /// What nodes cost.
    pub cost: CostModel,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The growth of the e-graph.
    pub saturation: Saturation,
    /// The cost of the graph that came in.
    pub before: f64,
    /// The cost of the result.
    pub after: f64,
    /// The rules that the result owes something to, with how many nodes each.
    pub used: Vec<Used>,
    /// Why the graph that came in was kept, if the result could not be used.
    pub kept: Option<&'static str>,
}

/// A rule in a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// The rule.
    pub rule: String,
    /// Its class.
    pub numerics: Numerics,
    /// How many nodes of the result it made, or classes it joined.
    pub count: usize,
}

impl Optimizer {
    /// An optimizer with these rules.
    pub fn new(rules: RuleSet) -> Optimizer {
        let searches = matching::searches(&rules);
        Optimizer { rules, searches, budget: Budget::default(), cost: CostModel::cpu() }
    }

    /// The built-in rules up to a class of numerics; made once for each.
    pub fn builtin(most: Numerics) -> Arc<Optimizer> {
        static EXACT: LazyLock<Arc<Optimizer>> = LazyLock::new(|| made(Numerics::Exact));
        static DEFAULT: LazyLock<Arc<Optimizer>> = LazyLock::new(|| made(Numerics::Reassociates));
        static FAST: LazyLock<Arc<Optimizer>> =
            LazyLock::new(|| made(Numerics::Approximate { bound: u32::MAX }));
        let made = match most {
            Numerics::Exact => &EXACT,
            Numerics::Reassociates => &DEFAULT,
            Numerics::Approximate { bound: u32::MAX } => &FAST,
            other => return self::made(other),
        };
        Arc::clone(made)
    }

    /// The rewritten graph, if it is another one, and what was done. `allow` is asked before each rewrite.
    pub fn run(&self, graph: &Graph, allow: &mut dyn FnMut() -> bool) -> (Option<Graph>, Report) {
        self.run_with(graph, None, allow)
    }

    /// The same with a proof of each node that was replaced; takes longer.
    pub fn explain(&self, graph: &Graph) -> (Option<Graph>, Report, Vec<Step>) {
        let mut steps = Vec::new();
        let (next, report) = self.run_with(graph, Some(&mut steps), &mut || true);
        (next, report, steps)
    }

    fn run_with(
        &self,
        graph: &Graph,
        steps: Option<&mut Vec<Step>>,
        allow: &mut dyn FnMut() -> bool,
    ) -> (Option<Graph>, Report) {
        let mut regions: FxHashMap<NodeId, Vec<Graph>> = FxHashMap::default();
        for (id, node) in graph.nodes().filter(|(_, node)| !node.regions.is_empty()) {
            let optimised = |r: &Graph| self.run(r, &mut *allow).0.unwrap_or_else(|| r.clone());
            let all: Vec<Graph> = node.regions.iter().map(optimised).collect();
            regions.insert(id, all);
        }
        let mut imported = convert::Imported::with(graph, steps.is_some());
        let mut origins = saturate::Origins::default();
        let budget = self.budget;
        let saturation = saturate::saturate(
            &mut imported.egraph,
            &self.rules,
            &self.searches,
            budget,
            &mut origins,
            allow,
        );
        let mut report = Report { saturation, ..Report::default() };
        let (egraph, kept) = (&imported.egraph, &mut report.kept);
        if egraph.analysis.conflicts > 0 {
            *kept = Some("types disagreed within a class");
            return (None, report);
        }
        let classes = extract::Classes::new(egraph, &self.cost);
        let roots = graph.outputs().iter().map(|(_, v)| classes.number(egraph, imported.class(*v)?));
        let Some(roots) = roots.collect::<Option<Vec<u32>>>() else {
            *kept = Some("an output has no class");
            return (None, report);
        };
        let Some((before, extraction)) = classes.extract(egraph, &imported.original, &origins.groups, &roots)
        else {
            *kept = Some("an output has no finite cost");
            return (None, report);
        };
        (report.before, report.after) = (before, extraction.cost);
        let exporter = convert::Exporter::new(graph, &imported, &classes, &extraction, &regions);
        let needed = exporter.needed(&roots);
        report.used = self.used(egraph, &classes, &extraction, &needed, &origins);
        let exported = exporter.export(&roots);
        if let (Some(steps), true) = (steps, exported.is_some()) {
            let names = convert::origins_of(graph);
            *steps = proof::steps(&mut imported, &names, &origins, &classes, &extraction, &roots);
        }
        match exported {
            Some((next, touched)) => (touched.then_some(next), report),
            None => {
                report.kept = Some("the result could not be built");
                (None, report)
            }
        }
    }

    /// Which rules made what was chosen.
    fn used(
        &self,
        egraph: &facts::Egraph,
        classes: &extract::Classes,
        extraction: &extract::Extraction,
        needed: &[bool],
        origins: &saturate::Origins,
    ) -> Vec<Used> {
        let mut counts = vec![0; self.rules.rules.len()];
        let made = origins.of_nodes(egraph);
        let chosen =
            needed.iter().zip(&classes.all).zip(&extraction.chosen).filter(|((needed, _), _)| **needed);
        for ((_, class), chosen) in chosen {
            if let Some(rule) = made.get(&class.nodes[*chosen as usize].node) {
                counts[*rule] += 1;
            }
        }
        let joined: FxHashSet<(egg::Id, usize)> = origins.joins(egraph).collect();
        for (class, rule) in joined {
            let number = classes.number(egraph, class);
            counts[rule] += usize::from(number.is_some_and(|n| needed[n as usize]));
        }
        let used = self.rules.rules.iter().zip(counts).filter(|(_, count)| *count > 0);
        used.map(|(r, count)| Used { rule: r.name.clone(), numerics: r.numerics, count }).collect()
    }
}

fn made(most: Numerics) -> Arc<Optimizer> {
    Arc::new(Optimizer::new(builtin_rules().within(most)))
}

/// The class of numerics of a word.
pub fn numerics_class(word: &str) -> Option<Numerics> {
    Some(match word {
        "exact" => Numerics::Exact,
        "rounding" => Numerics::Rounding { ulps: u32::MAX },
        "reassociates" => Numerics::Reassociates,
        "approximate" => Numerics::Approximate { bound: u32::MAX },
        _ => return None,
    })
}

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let refused = |message: String| PassError::Refused(message);
    let word = cx.options.word("numerics");
    let most = numerics_class(word).ok_or_else(|| {
        refused(format!("expected `exact`, `rounding`, `reassociates` or `approximate`, got `{word}`"))
    })?;
    let (chosen, file) = (cx.options.word("rules"), cx.options.word("file"));
    let count = |name| usize::try_from(cx.options.count(name)).unwrap_or(usize::MAX);
    let budget = Budget {
        growth: count("nodes"),
        iterations: count("iterations"),
        matches: count("matches"),
        merges: count("merges"),
    };
    let run = |optimizer: &Optimizer, cx: &mut PassCx<'_>| {
        let (next, report) = optimizer.run(graph, &mut || cx.rewrite());
        // What was chosen may be what was there, reached by another way.
        let next = next.filter(|next| next != graph);
        for used in report.used.into_iter().filter(|_| next.is_some()) {
            cx.owe(Owed { rewrite: used.rule, numerics: used.numerics, count: used.count });
        }
        next.map_or(Outcome::Unchanged, Outcome::Changed)
    };
    if chosen == "all" && file.is_empty() && budget == Budget::default() {
        return Ok(run(&Optimizer::builtin(most), cx));
    }
    let mut rules = builtin_rules().clone();
    if chosen != "all" {
        let wanted: Vec<&str> = chosen.split('+').collect();
        let known = |w: &&str| rules.rules.iter().any(|r| r.theme == **w || r.name == **w);
        if let Some(unknown) = wanted.iter().find(|w| !known(w)) {
            return Err(refused(format!("expected a theme or the name of a rule, got `{unknown}`")));
        }
        rules.rules.retain(|r| wanted.contains(&r.theme.as_str()) || wanted.contains(&r.name.as_str()));
    }
    if !file.is_empty() {
        rules.extend(read_rules(file).map_err(refused)?);
    }
    let optimizer = Optimizer { budget, ..Optimizer::new(rules.within(most)) };
    Ok(run(&optimizer, cx))
}

/// The rules of a file; the error shows the place.
pub fn read_rules(path: &str) -> Result<RuleSet, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let theme = std::path::Path::new(path).file_stem().map_or("rules".into(), |s| s.to_string_lossy());
    RuleSet::parse(&text, &theme).map_err(|diags| diags.render(path, &text))
}
