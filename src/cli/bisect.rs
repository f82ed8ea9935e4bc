//! `tcc bisect`: finds the rewrite with which a pipeline goes wrong.

use serde_json::json;
use tcc_lowering::pass::bisect;

use super::model::read_one;
use super::opt::{Samples, read_pipeline};
use super::{Context, Failure};

const EXAMPLES: &str = "Examples:
  tcc bisect model.tcc --passes canonicalise,fold,cse
  tcc opt model.tcc --passes canonicalise,fold,cse --fuel 41 --dump-each    looks at what was found";

/// Find the first pass application, and the rewrite in it, that changes the numbers.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model, or the text of a graph, a nest or a program; `-` is standard input.
    file: String,
    /// The pipeline, or `@` and a file that holds it.
    #[arg(long)]
    passes: String,
    #[command(flatten)]
    samples: Samples,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let pipeline = read_pipeline(&args.passes, &context.registry)?;
    let ir = read_one(&args.file)?;
    let found = bisect(&ir, &pipeline, args.samples.options()).map_err(Failure::from_run)?;
    let Some(culprit) = found else {
        return Err(Failure::Input(format!(
            "{}: expected `{pipeline}` to change what it computes, but it does not on {} samples",
            args.file,
            args.samples.options().samples
        )));
    };
    let report = if context.output.json {
        let what = json!({
            "pass": culprit.pass, "application": culprit.application, "fuel": culprit.fuel,
            "what": culprit.what, "diff": culprit.diff, "before": culprit.before,
        });
        format!("{what}\n")
    } else {
        format!(
            "pass `{}` (number {} of the pipeline) goes wrong with --fuel {}: {}\n{}",
            culprit.pass,
            culprit.application + 1,
            culprit.fuel,
            culprit.what,
            culprit.diff
        )
    };
    context.output.print(&report);
    Ok(())
}
