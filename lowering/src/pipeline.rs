//! The passes that every graph goes through on its way to code, as text.

use tcc_ir::graph::Graph;
use tcc_ir::numerics::Numerics;

use crate::layout::{channels_last, lay_out_attention, pack_contractions, split_phases};
use crate::pass::{Ir, OptionValue, Pipeline, Registry, RunError, RunOptions, run};
use crate::schedule::Machine;

/// What rewrites may do to numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Nothing: results are those of the graph, bit for bit.
    Strict,
    /// Terms of sums and products may be reordered.
    #[default]
    Default,
    /// Approximations within stated bounds, too.
    Fast,
}

/// What the passes depend on besides the graph and the machine.
#[derive(Clone, Debug, Default)]
pub struct GraphOptions {
    /// What rewrites may do to numbers.
    pub strictness: Strictness,
    /// A file with rewrite rules beyond those that are built in.
    pub rules: Option<String>,
}

impl Strictness {
    /// The loosest class of rewrites.
    pub fn numerics(self) -> Numerics {
        match self {
            Strictness::Strict => Numerics::Exact,
            Strictness::Default => Numerics::Reassociates,
            Strictness::Fast => Numerics::Approximate { bound: u32::MAX },
        }
    }

    fn word(self) -> &'static str {
        match self {
            Strictness::Strict => "exact",
            Strictness::Default => "reassociates",
            Strictness::Fast => "approximate",
        }
    }
}

/// The passes before layouts are chosen.
pub const BEFORE_LAYOUT: &str = "fold,simplify-shapes,canonicalise,cse,eqsat,fold,canonicalise,cse,dce";

/// The passes after.
pub const AFTER_LAYOUT: &str = "dce";

/// The graph in the form that lowering does best with. An error is a mistake of a pass, or of a rules file.
pub fn optimise(graph: &Graph, machine: &Machine, options: &GraphOptions) -> Result<Graph, RunError> {
    let phases = split_phases(&rewrite(graph, options)?);
    let laid_out = channels_last(&phases, machine, options.strictness.numerics());
    let laid_out = apply(laid_out, AFTER_LAYOUT, options)?;
    let packed = lay_out_attention(&pack_contractions(&laid_out, machine), machine);
    apply(packed, AFTER_LAYOUT, options)
}

/// The graph before layouts are chosen: for targets that lay out nothing. An error is as for [`optimise`].
pub fn rewrite(graph: &Graph, options: &GraphOptions) -> Result<Graph, RunError> {
    apply(graph.clone(), BEFORE_LAYOUT, options)
}

fn apply(graph: Graph, passes: &str, options: &GraphOptions) -> Result<Graph, RunError> {
    let mut pipeline = Pipeline::parse(passes, &Registry::builtin())
        .unwrap_or_else(|diags| unreachable!("the built-in pipeline names passes that there are: {diags}"));
    for step in pipeline.steps.iter_mut().filter(|step| step.pass.name == crate::eqsat::PASS.name) {
        let given =
            [("numerics", Some(options.strictness.word().to_owned())), ("file", options.rules.clone())];
        for (name, value) in given {
            let def = step.pass.options.iter().find(|def| def.name == name);
            if let (Some(def), Some(value)) = (def, value) {
                step.options.give(def, OptionValue::Word(value));
            }
        }
    }
    let around = RunOptions { verify: cfg!(debug_assertions), ..RunOptions::default() };
    match run(Ir::Graph(graph), &pipeline, &around, &mut |_| {})? {
        Ir::Graph(graph) => Ok(graph),
        other => unreachable!("graph passes give graphs, got a {}", other.level()),
    }
}
