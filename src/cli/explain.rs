//! `tcc explain`: which rewrites the graph of a model went through, what they saved, what they do to numbers.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tcc_ir::graph::Op;
use tcc_lowering::eqsat::{Optimizer, Report, Rule, builtin_rules, read_rules};
use tcc_lowering::pass::{Ir, Pipeline, RunOptions, run as run_pipeline};

use super::model::{CompileArgs, load_graph};
use super::{Context, Failure};

/// Show which rewrites a model's graph goes through, with costs before and after.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A model: ONNX, graph.json, or the text of a graph.
    model: PathBuf,
    #[command(flatten)]
    compile: CompileArgs,
    /// Show what every rule did to the e-graph, also those that the result owes nothing to.
    #[arg(long)]
    growth: bool,
}

/// The passes before rewriting, as when compiling.
const BEFORE: &str = "fold,simplify-shapes,canonicalise,cse,dce";

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let name = args.model.display().to_string();
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{name}: {e}"));
    let compiler = args.compile.any_target()?;
    let model = load_graph(&args.model)?;
    let graph = compiler.specialise(&model).map_err(|e| fail(&e))?;
    let imported = graph.node_count();
    let pipeline = Pipeline::parse(BEFORE, &context.registry).map_err(|e| fail(&e))?;
    let ran = run_pipeline(Ir::Graph(graph), &pipeline, &RunOptions::default(), &mut |_| {});
    let Ir::Graph(graph) = ran.map_err(Failure::from_run)? else { return Err(fail(&"expected a graph")) };
    let mut rules = builtin_rules().clone();
    if let Some(path) = args.compile.rules() {
        rules.extend(read_rules(path).map_err(Failure::Input)?);
    }
    let optimizer = Optimizer::new(rules.within(args.compile.strictness().numerics()));
    let start = Instant::now();
    let (next, report) = optimizer.run(&graph, &mut || true);
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    // What layouts chose beyond the rules.
    let laid_out = compiler.optimised(&model).map_err(|e| fail(&e))?;
    let in_tiles = laid_out.nodes().filter(|(_, n)| n.op == Op::WinogradOut).count();
    let nodes = [imported, graph.node_count(), next.as_ref().unwrap_or(&graph).node_count()];
    let text = |rule: &str| rules.find(rule).map_or("", |r: &Rule| r.text.as_str()).to_owned();
    if context.output.json {
        let used: Vec<_> = report
            .used
            .iter()
            .map(|u| {
                let (class, text) = (u.numerics.to_string(), text(&u.rule));
                json!({ "rule": u.rule, "numerics": class, "count": u.count, "text": text })
            })
            .collect();
        let growth: Vec<_> = report
            .saturation
            .rules
            .iter()
            .map(|g| {
                let (applied, united) = (g.applied, g.united);
                json!({ "rule": g.rule, "applied": applied, "united": united, "nodes": g.nodes, "cut": g.cut })
            })
            .collect();
        let report = json!({
            "nodes": nodes, "cost_before": report.before, "cost_after": report.after, "ms": elapsed,
            "iterations": report.saturation.iterations, "e_nodes": report.saturation.nodes,
            "saturated": report.saturation.saturated, "used": used, "growth": growth, "kept": report.kept,
            "winograd": in_tiles,
        });
        context.output.print(&format!("{report}\n"));
        return Ok(());
    }
    context.output.print(&shown(&report, nodes, elapsed, in_tiles, &text));
    if args.growth {
        context.output.print(&grown(&report));
    }
    Ok(())
}

fn shown(
    report: &Report,
    nodes: [usize; 3],
    elapsed: f64,
    in_tiles: usize,
    text: &dyn Fn(&str) -> String,
) -> String {
    let saturation = &report.saturation;
    let state = if saturation.saturated { "nothing new came" } else { "a budget was spent" };
    let mut out = format!(
        "nodes: {} imported, {} before rewriting, {} after\ncost:  {:.1} us before, {:.1} us after\n\
         e-graph: {} nodes after {} rounds ({state}), {elapsed:.0} ms\n",
        nodes[0],
        nodes[1],
        nodes[2],
        report.before / 1e3,
        report.after / 1e3,
        saturation.nodes,
        saturation.iterations,
    );
    if let Some(reason) = report.kept {
        out += &format!("the graph was kept as it is: {reason}\n");
    }
    out += "\nrules that the result owes something to:\n";
    for used in &report.used {
        out += &format!("{:5} x {}\n        {}\n", used.count, used.rule, text(&used.rule));
    }
    out += "\nnumerics ledger:\n";
    let tiles = (in_tiles > 0).then(|| Op::WinogradOut.def().numerics);
    let mut classes: Vec<_> = report.used.iter().map(|u| u.numerics).chain(tiles).collect();
    classes.sort_unstable();
    classes.dedup();
    for class in classes {
        let rules = report.used.iter().filter(|u| u.numerics == class);
        let mut names: Vec<String> = rules.map(|u| u.rule.clone()).collect();
        if tiles == Some(class) {
            names.push(format!("{in_tiles} convolutions in Winograd's tiles"));
        }
        out += &format!("  {class}: {}\n", names.join(", "));
    }
    out
}

fn grown(report: &Report) -> String {
    let mut rules: Vec<_> = report.saturation.rules.iter().filter(|g| g.applied > 0).collect();
    rules.sort_by_key(|g| std::cmp::Reverse((g.nodes, g.united)));
    let mut out = "\ngrowth of the e-graph:\n   applied   united    nodes  rule\n".to_owned();
    for growth in rules {
        let cut = if growth.cut { " (cut)" } else { "" };
        out +=
            &format!("{:10} {:8} {:8}  {}{cut}\n", growth.applied, growth.united, growth.nodes, growth.rule);
    }
    out
}
