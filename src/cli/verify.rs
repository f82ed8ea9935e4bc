//! `tcc verify`: runs a compiled model and compares each kernel with what it was made from.

use serde_json::json;

use super::model::RunArgs;
use super::{Context, Failure, gpu};

const EXAMPLES: &str = "Examples:
  tcc verify folder --emulate
  tcc verify model.onnx --target sm_80 --bind batch=1 --emulate";

/// Check a model for GPUs: every kernel against the nest it computes, every access against races and bounds.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Run the kernels in the emulator.
    #[arg(long)]
    emulate: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", args.run.model.display()));
    let Some((model, target)) = gpu::wanted(&args.run)? else {
        return Err(Failure::Usage("MODEL: expected a model for GPUs, or --target sm_80".to_owned()));
    };
    if !args.emulate {
        return Err(gpu::no_driver(&args.run.model));
    }
    let inputs = args.run.tensors(&gpu::inputs(&model)?, context)?;
    let run = model.emulate(target, &inputs, true).map_err(|e| fail(&e))?;
    if context.output.json {
        let report = json!({ "launches": run.launches, "host_ops": run.host_ops });
        context.output.print(&format!("{report}\n"));
    } else {
        let (launches, host) = (run.launches, run.host_ops);
        context
            .output
            .print(&format!("{launches} launches agree with their nests, {host} ops ran on the host\n"));
    }
    Ok(())
}
