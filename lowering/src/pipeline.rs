//! The passes that every graph goes through on its way to code, as text.

use tcc_ir::graph::Graph;
use tcc_ir::numerics::Numerics;

use crate::layout::{channels_last, lay_out_attention, pack_contractions, split_extremes, split_phases};
use crate::pass::{Applied, Ir, OptionValue, Pipeline, Registry, RunError, RunOptions, run};
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
    /// The float type, if one of fewer bits, that products of f32 are computed in.
    pub precision: Precision,
}

/// What products of f32 are computed in; sums are always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As the graph says.
    #[default]
    Kept,
    /// Operands are rounded to bf16.
    Bf16,
    /// Operands are rounded to f16.
    F16,
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

/// The pass that comes before all others on processors with micro-kernels for bytes.
const PRODUCTS: &str = "integer-products";

/// The passes after.
pub const AFTER_LAYOUT: &str = "dce";

/// The graph in the form that lowering does best with. An error is a mistake of a pass, or of a rules file.
pub fn optimise(graph: &Graph, machine: &Machine, options: &GraphOptions) -> Result<Graph, RunError> {
    optimise_and_report(graph, machine, options, &mut |_| {})
}

/// As [`optimise`]; `report` hears of every pass when it is done.
pub fn optimise_and_report(
    graph: &Graph,
    machine: &Machine,
    options: &GraphOptions,
    report: &mut dyn FnMut(&Applied),
) -> Result<Graph, RunError> {
    let products = match options.strictness {
        Strictness::Strict => format!("{PRODUCTS}{{real=false}}"),
        _ => PRODUCTS.to_owned(),
    };
    let graph = apply(graph.clone(), &products, options, report)?;
    let graph = apply(graph, BEFORE_LAYOUT, options, report)?;
    let graph = match options.precision {
        Precision::Kept => graph,
        Precision::Bf16 => apply(graph, "lower-precision{dtype=bf16},cse,dce", options, report)?,
        Precision::F16 => apply(graph, "lower-precision{dtype=f16},cse,dce", options, report)?,
    };
    let laid_out = channels_last(&split_phases(&graph), machine);
    let laid_out = apply(laid_out, AFTER_LAYOUT, options, report)?;
    let packed = lay_out_attention(&pack_contractions(&split_extremes(&laid_out), machine), machine);
    apply(packed, AFTER_LAYOUT, options, report)
}

/// The graph before layouts are chosen: for targets that lay out nothing. An error is as for [`optimise`].
pub fn rewrite(graph: &Graph, options: &GraphOptions) -> Result<Graph, RunError> {
    apply(graph.clone(), BEFORE_LAYOUT, options, &mut |_| {})
}

fn apply(
    graph: Graph,
    passes: &str,
    options: &GraphOptions,
    report: &mut dyn FnMut(&Applied),
) -> Result<Graph, RunError> {
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
    match run(Ir::Graph(graph), &pipeline, &around, report)? {
        Ir::Graph(graph) => Ok(graph),
        other => unreachable!("graph passes give graphs, got a {}", other.level()),
    }
}
