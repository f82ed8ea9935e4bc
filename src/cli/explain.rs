//! `tcc explain`: which rewrites the graph of a model went through and why they hold, what they saved, what they
//! do to numbers, and which nodes became one kernel.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tcc_lowering::eqsat::{Optimizer, Report, Rule, Step, builtin_rules, read_rules};
use tcc_lowering::graph_to_loops::lower_graph;
use tcc_lowering::pass::{Ir, Pipeline, RunOptions, run as run_pipeline};

use super::model::{CompileArgs, load_graph};
use super::picture::Picture;
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
    /// Show the proof of every node that was replaced.
    #[arg(long)]
    proofs: bool,
    /// Show the proofs of the nodes whose name, before or after contains this.
    #[arg(long, value_name = "X")]
    node: Option<String>,
    /// Write the kernels and what they hold as a page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the kernels and what they hold as a graph for Graphviz.
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
}

/// The passes before rewriting, as when compiling.
const BEFORE: &str = "fold,simplify-shapes,canonicalise,cse,dce";

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let name = args.model.display().to_string();
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{name}: {e}"));
    let compiler = args.compile.any_target()?;
    let graph = compiler.specialise(&load_graph(&args.model)?).map_err(|e| fail(&e))?;
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
    let wanted = |step: &Step| {
        let Some(part) = &args.node else { return true };
        let named = step.origin.as_ref().is_some_and(|o| o.contains(part.as_str()));
        named || step.before.contains(part.as_str()) || step.after.contains(part.as_str())
    };
    let steps = if args.proofs || args.node.is_some() { optimizer.explain(&graph).2 } else { Vec::new() };
    let steps: Vec<Step> = steps.into_iter().filter(wanted).collect();
    if args.html.is_some() || args.dot.is_some() {
        let lowered = compiler.optimised(&graph).map_err(|e| fail(&e))?;
        let picture = Picture::new(&lowered, &lower_graph(&lowered));
        for (path, text) in [(&args.html, picture.html(&name)), (&args.dot, picture.dot())] {
            if let Some(path) = path {
                std::fs::write(path, text).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
            }
        }
    }
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
            "steps": steps.iter().map(step_json).collect::<Vec<_>>(),
        });
        context.output.print(&format!("{report}\n"));
        return Ok(());
    }
    context.output.print(&shown(&report, nodes, elapsed, &text));
    if args.growth {
        context.output.print(&grown(&report));
    }
    if args.proofs || args.node.is_some() {
        context.output.print(&proven(&steps));
    }
    Ok(())
}

fn step_json(step: &Step) -> serde_json::Value {
    let line = |l: &tcc_lowering::eqsat::Line| json!({ "rule": l.rule, "backwards": l.backwards, "inside": l.inside, "term": l.term });
    json!({
        "origin": step.origin.as_deref(), "before": step.before, "after": step.after,
        "cost_before": step.cost[0], "cost_after": step.cost[1],
        "proof": step.proof.iter().map(line).collect::<Vec<_>>(),
    })
}

fn proven(steps: &[Step]) -> String {
    let mut out = format!("\nnodes that were replaced: {}\n", steps.len());
    for step in steps {
        let [before, after] = step.cost.map(|ns| ns / 1e3);
        let origin = step.origin.as_deref().unwrap_or("a node without a name");
        out += &format!("\n{origin}: {before:.1} us before, {after:.1} us after\n    {}\n", step.before);
        for line in &step.proof {
            let way = if line.backwards { " backwards" } else { "" };
            let rule = line.rule.as_deref().unwrap_or("equal operands");
            let inside = if line.inside.is_empty() {
                String::new()
            } else {
                format!(", in the operands: {}", line.inside.join(", "))
            };
            out += &format!("  = by {rule}{way}{inside}\n    {}\n", line.term);
        }
        out += &format!("  is written as\n    {}\n", step.after);
    }
    out
}

fn shown(report: &Report, nodes: [usize; 3], elapsed: f64, text: &dyn Fn(&str) -> String) -> String {
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
    let mut classes: Vec<_> = report.used.iter().map(|u| u.numerics).collect();
    classes.sort_unstable();
    classes.dedup();
    for class in classes {
        let rules = report.used.iter().filter(|u| u.numerics == class);
        let names: Vec<&str> = rules.map(|u| u.rule.as_str()).collect();
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
