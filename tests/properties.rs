//! Properties of random graphs: print and parse are inverse, what builders build verifies, every pass is
//! honest and keeps what is computed.
//!
//! 500 graphs in the ordinary run, 10,000 with `TCC_LONG=1`. The seed of a failure is in its message;
//! `TCC_SEED` starts there.

use std::collections::BTreeMap;

use tcc::ir::graph::{Graph, Op, parse_graph};
use tcc::lowering::pass::{
    Applied, CheckOptions, Ir, Level, Pipeline, Registry, RunOptions, run as run_pipeline,
};

use crate::support::generate;

pub(crate) fn seeds() -> std::ops::Range<u64> {
    let count = if std::env::var_os("TCC_LONG").is_some() { 10_000 } else { 500 };
    let start = std::env::var("TCC_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0);
    start..start + count
}

#[test]
fn graphs_verify_and_round_trip() {
    for seed in seeds() {
        let graph = generate::graph(seed);
        graph.verify().unwrap_or_else(|d| panic!("seed {seed}: {d}\n{graph}"));
        let text = graph.to_string();
        let again = parse_graph(&text).unwrap_or_else(|d| panic!("seed {seed}: {}", d.render("text", &text)));
        assert_eq!(again.to_string(), text, "seed {seed}");
        assert!(again == graph, "seed {seed}: {graph}");
    }
}

#[test]
fn random_graphs_have_all_ops() {
    fn count(graph: &Graph, counts: &mut BTreeMap<Op, usize>) {
        for (_, node) in graph.nodes() {
            *counts.entry(node.op).or_default() += 1;
            node.regions.iter().for_each(|r| count(r, counts));
        }
    }
    let mut counts = BTreeMap::new();
    (0..2000).for_each(|seed| count(&generate::graph(seed), &mut counts));
    let missing: Vec<&str> = Op::all().filter(|op| !counts.contains_key(op)).map(Op::name).collect();
    assert!(missing.is_empty(), "no random graph has {missing:?}");
}

#[test]
fn every_graph_pass_keeps_what_is_computed() {
    let registry = Registry::builtin();
    let graph_passes: Vec<&str> =
        registry.passes().iter().filter(|p| p.level() == Level::Graph).map(|p| p.name).collect();
    let all = graph_passes.join(",");
    let pipelines: Vec<Pipeline> = graph_passes
        .iter()
        .map(|name| (*name).to_owned())
        .chain([all, "simplify-shapes,fold,canonicalise,cse,dce,canonicalise,dce".to_owned()])
        .map(|text| Pipeline::parse(&text, &registry).unwrap())
        .collect();
    let check = Some(CheckOptions { samples: 2, seed: 0 });
    let options = RunOptions { diff: true, check, ..RunOptions::default() };
    let (mut compared, mut changed) = (0, 0);
    for seed in seeds() {
        let graph = generate::graph(seed);
        for pipeline in &pipelines {
            let mut report = |applied: &Applied| {
                compared += applied.checked.as_ref().map_or(0, |c| c.compared);
                changed += usize::from(applied.changed);
            };
            let after = run_pipeline(Ir::Graph(graph.clone()), pipeline, &options, &mut report)
                .unwrap_or_else(|e| panic!("seed {seed}: `{pipeline}`: {e}\n{graph}"));
            let text = after.to_string();
            let again = Ir::parse(&text)
                .unwrap_or_else(|d| panic!("seed {seed}: `{pipeline}`: {}", d.render("after", &text)));
            // Text knows one NaN, whatever bits arithmetic left in it.
            assert!(
                again == after || (text.contains("nan") && again.to_string() == text),
                "seed {seed}: `{pipeline}` left a graph that reads back as another\n{text}"
            );
        }
    }
    // Samples on which a graph has no value say nothing, so most must have one.
    assert!(compared > changed, "only {compared} of {changed} changes were compared on a sample");
}

#[test]
fn passes_reach_a_fixed_point_under_fuel() {
    let registry = Registry::builtin();
    let pipeline = Pipeline::parse("canonicalise,fold,cse,dce", &registry).unwrap();
    for seed in 0..50 {
        let graph = Ir::Graph(generate::graph(seed));
        let whole = run_pipeline(graph.clone(), &pipeline, &RunOptions::default(), &mut |_| {}).unwrap();
        let mut spent = 0;
        let _ = run_pipeline(graph.clone(), &pipeline, &RunOptions::default(), &mut |a| spent = a.spent);
        for fuel in 0..=spent {
            let check = Some(CheckOptions { samples: 1, seed: 0 });
            let options = RunOptions { fuel: Some(fuel), diff: true, check, ..RunOptions::default() };
            let part = run_pipeline(graph.clone(), &pipeline, &options, &mut |_| {})
                .unwrap_or_else(|e| panic!("seed {seed}, fuel {fuel}: {e}"));
            assert!(fuel < spent || part == whole, "seed {seed}: all fuel gives something else");
        }
    }
}
