//! `tcc opt`: runs passes over the text of any level.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tcc_lowering::pass::{
    Applied, CheckOptions, Ir, PassDef, Pipeline, Registry, RunOptions, run as run_pipeline,
};

use super::model::read_ir;
use super::source::Text;
use super::{Context, Failure, write_file};
use crate::reference;

const EXAMPLES: &str = "Examples:
  tcc opt model.tcc                                    reads, verifies and prints
  tcc opt model.tcc --passes fold,cse,dce --check      compares with the interpreter after each pass
  tcc opt nest.tcc --passes 'unroll-small{limit=8}'    a pass with an option
  tcc compile m.onnx --emit nest | tcc opt -           all kernels of a model
  tcc opt model.tcc --passes @pipeline.txt --time      a pipeline from a file
  tcc opt --list                                       the passes there are";

/// Run passes over a model or the text of any level and print what becomes of it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model (ONNX, graph.json), or texts of graphs, nests with schedules for them, or programs; `-` is standard
    /// input.
    #[arg(required_unless_present = "list")]
    file: Option<String>,
    /// The pipeline, or `@` and a file that holds it.
    #[arg(long, default_value = "", hide_default_value = true)]
    passes: String,
    /// Interpret before and after each pass on random inputs and compare.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    samples: Samples,
    /// Show what each pass changed, on standard error.
    #[arg(long)]
    dump_each: bool,
    /// Show how long each pass took, on standard error.
    #[arg(long)]
    time: bool,
    /// Stop after so many pass applications and rewrites.
    #[arg(long)]
    fuel: Option<u64>,
    /// List the passes.
    #[arg(long)]
    list: bool,
    /// The form of the list.
    #[arg(long, value_enum, default_value = "text", requires = "list")]
    format: ListFormat,
    /// Write to a file instead of standard output.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ListFormat {
    Text,
    Md,
}

/// How a check is made.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Samples {
    /// How many random inputs a check tries.
    #[arg(long, default_value_t = 4)]
    samples: usize,
    /// What the random inputs depend on.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Samples {
    pub(super) fn options(self) -> CheckOptions {
        CheckOptions { samples: self.samples, seed: self.seed }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    if args.list {
        return list(args.format, context);
    }
    // The parser requires a file where there is no list.
    let all = read_ir(args.file.as_deref().unwrap_or("-"))?;
    let pipeline = read_pipeline(&args.passes, &context.registry)?;
    let options = RunOptions {
        verify: true,
        diff: args.dump_each,
        check: args.check.then(|| args.samples.options()),
        fuel: args.fuel,
    };
    let mut log: Vec<Applied> = Vec::new();
    let mut progress = context.output.progress();
    let steps = pipeline.steps.len() * all.len();
    let mut report = |applied: &Applied| {
        progress.at(&format!("{} done ({} of {steps})", applied.step, log.len() + 1));
        if args.dump_each && !context.output.json {
            context.output.error(&dump(applied));
        }
        if let Some(reason) =
            applied.checked.as_ref().filter(|c| c.compared == 0).and_then(|c| c.skipped.as_ref())
        {
            context.output.say(&format!("note: `{}` could not be checked: {reason}\n", applied.step));
        }
        log.push(applied.clone());
    };
    let one = |ir| run_pipeline(ir, &pipeline, &options, &mut report);
    let done: Result<Vec<Ir>, _> = all.into_iter().map(one).collect();
    drop(progress);
    let done = done.map_err(Failure::from_run)?;
    if args.time && !context.output.json {
        context.output.error(&times(&log));
    }
    deliver(args, context, &done, &log)
}

fn deliver(args: &Args, context: &Context, all: &[Ir], log: &[Applied]) -> Result<(), Failure> {
    let texts: Vec<String> = all.iter().map(Ir::to_string).collect();
    let text = texts.join("\n");
    if let Some(path) = &args.output {
        write_file(path, text.as_bytes()).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    }
    if context.output.json {
        let passes: Vec<_> = log.iter().map(applied_json).collect();
        let text = args.output.is_none().then_some(text);
        context.output.print(&format!("{}\n", json!({ "passes": passes, "text": text })));
    } else if args.output.is_none() {
        context.output.print(&text);
    }
    Ok(())
}

/// The pipeline of an argument, which may name a file.
pub(super) fn read_pipeline(argument: &str, registry: &Registry) -> Result<Pipeline, Failure> {
    let text = match argument.strip_prefix('@') {
        Some(path) => Text::read(path)?,
        None => Text { name: "--passes".into(), text: argument.into() },
    };
    Pipeline::parse(&text.text, registry).map_err(|diags| text.failure(diags))
}

fn dump(applied: &Applied) -> String {
    let state = if applied.changed { "" } else { " (unchanged)" };
    format!("--- {}{state}\n{}", applied.step, applied.diff.as_deref().unwrap_or_default())
}

fn times(log: &[Applied]) -> String {
    let width = log.iter().map(|a| a.step.len()).max().unwrap_or(0).max("total".len());
    let row = |name: &str, time: Duration| format!("{name:width$}  {:9.3} ms\n", time.as_secs_f64() * 1e3);
    let total: Duration = log.iter().map(|a| a.time).sum();
    log.iter().map(|a| row(&a.step, a.time)).chain([row("total", total)]).collect()
}

fn applied_json(applied: &Applied) -> serde_json::Value {
    json!({
        "pass": applied.step,
        "changed": applied.changed,
        "ns": u64::try_from(applied.time.as_nanos()).unwrap_or(u64::MAX),
        "fuel": applied.spent,
        "diff": applied.diff,
        "compared": applied.checked.as_ref().map(|c| c.compared),
    })
}

fn list(format: ListFormat, context: &Context) -> Result<(), Failure> {
    let passes = context.registry.passes();
    let text = match format {
        ListFormat::Md => reference::passes_markdown(&context.registry),
        ListFormat::Text if context.output.json => {
            format!("{}\n", json!(passes.iter().map(pass_json).collect::<Vec<_>>()))
        }
        ListFormat::Text => passes.iter().map(pass_text).collect(),
    };
    context.output.print(&text);
    Ok(())
}

fn pass_text(pass: &PassDef) -> String {
    let mut text = format!("{:18} {:6} {}\n", pass.name, pass.level().keyword(), pass.summary);
    for option in pass.options {
        text += &format!("{:25} {}={}: {}\n", "", option.name, option.default, option.doc);
    }
    text
}

fn pass_json(pass: &PassDef) -> serde_json::Value {
    let options: Vec<_> = pass
        .options
        .iter()
        .map(|o| json!({ "name": o.name, "kind": o.kind.to_string(), "default": o.default, "doc": o.doc }))
        .collect();
    json!({
        "name": pass.name, "level": pass.level().keyword(), "summary": pass.summary,
        "numerics": pass.numerics.to_string(), "options": options,
    })
}
