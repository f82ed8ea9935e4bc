//! `tcc run`: compiles a model if need be and runs it once.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tcc_ir::graph::eval::evaluate;
use tcc_ir::tensor::Tensor;
use tcc_ir::weights::npz;

use super::model::{Model, RunArgs, compiled_inputs, graph_inputs, load};
use super::{Context, Failure, gpu, write_file};

const EXAMPLES: &str = "Examples:
  tcc run examples/mlp.json                    random inputs, a summary of the outputs
  tcc run model.onnx --bind batch=4 --random 7
  tcc run model.onnx --inputs in.npz --output out.npz --threads 2
  tcc run model.onnx --interpret               the reference, slow and obvious";

/// Run a model or an artifact once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Write the outputs, by name, to a .npz file.
    #[arg(long, value_name = "FILE.npz")]
    output: Option<PathBuf>,
    /// Run through the interpreter of graphs instead of machine code.
    #[arg(long)]
    interpret: bool,
    /// Run a model for GPUs in the emulator, which needs no GPU and checks every access.
    #[arg(long, conflicts_with = "interpret")]
    emulate: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", args.run.model.display()));
    let start = Instant::now();
    let (names, outputs, how, prepared, ran) = if args.interpret {
        let Model::Graph(graph) = load(&args.run.model)? else {
            return Err(Failure::Usage("--interpret: expected a model, got an artifact".to_owned()));
        };
        let bindings = args.run.compile.bindings()?;
        let graph = if bindings.is_empty() {
            graph
        } else {
            args.run.compile.any_target()?.specialise(&graph).map_err(|e| fail(&e))?
        };
        let inputs = args.run.tensors(&graph_inputs(&graph), context)?;
        let (prepared, start) = (start.elapsed(), Instant::now());
        let outputs = evaluate(&graph, &inputs).map_err(|e| fail(&e))?;
        let names: Vec<String> = graph.outputs().iter().map(|(n, _)| n.to_string()).collect();
        (names, outputs, "interpreter".to_owned(), prepared, start.elapsed())
    } else if let Some((model, target)) = gpu::wanted(&args.run)? {
        let inputs = args.run.tensors(&gpu::inputs(&model)?, context)?;
        for reason in &model.report().interpreted {
            context.output.detail(&format!("on the host: {reason}\n"));
        }
        let (prepared, start) = (start.elapsed(), Instant::now());
        let (run, how) = if args.emulate {
            let run = model.emulate(target, &inputs, false).map_err(|e| fail(&e))?;
            let how = format!("emulator, {} launches, {} ops on the host", run.launches, run.host_ops);
            (run, how)
        } else {
            gpu::run(&args.run.model, &model, &inputs)?
        };
        let names = model.manifest().outputs.iter().map(|p| p.name.clone()).collect();
        (names, run.outputs, how, prepared, start.elapsed())
    } else if args.emulate {
        return Err(Failure::Usage("--emulate: expected a GPU, such as --target sm_80".to_owned()));
    } else {
        let compiled = args.run.compiled()?;
        let (threads, pool) = args.run.threads()?;
        let inputs = args.run.tensors(&compiled_inputs(&compiled)?, context)?;
        for reason in &compiled.report().interpreted {
            context.output.detail(&format!("interpreted: {reason}\n"));
        }
        let (prepared, start) = (start.elapsed(), Instant::now());
        let outputs = compiled.run(&inputs, &*pool).map_err(|e| fail(&e))?.outputs;
        let ran = start.elapsed();
        let names = compiled.model().outputs.iter().map(|p| p.name.clone()).collect();
        let how = format!("{} on {threads} threads", compiled.backend());
        (names, outputs, how, prepared, ran)
    };
    if let Some(path) = &args.output {
        let mut bytes = Vec::new();
        let all: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&outputs).collect();
        npz::write_to(&mut bytes, &all, &path.display().to_string())
            .map_err(|e| Failure::Input(e.to_string()))?;
        write_file(path, &bytes).map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    }
    if context.output.json {
        let one = |(name, t): (&String, &Tensor)| json!({ "name": name, "dtype": t.dtype().name(), "shape": t.shape() });
        let outputs: Vec<_> = names.iter().zip(&outputs).map(one).collect();
        let report = json!({
            "how": how, "prepare_ms": prepared.as_secs_f64() * 1e3, "run_ms": ran.as_secs_f64() * 1e3,
            "outputs": outputs,
        });
        context.output.print(&format!("{report}\n"));
        return Ok(());
    }
    for (name, tensor) in names.iter().zip(&outputs) {
        context.output.print(&format!(
            "{name}: {}{:?} {}\n",
            tensor.dtype(),
            tensor.shape(),
            summary(tensor)
        ));
    }
    let milliseconds = |d: std::time::Duration| format!("{:.3} ms", d.as_secs_f64() * 1e3);
    context.output.say(&format!(
        "{how}: ready after {}, ran in {}\n",
        milliseconds(prepared),
        milliseconds(ran)
    ));
    Ok(())
}

/// The range and mean of a tensor, or all of a small one.
fn summary(tensor: &Tensor) -> String {
    if tensor.len() <= 8 {
        return tensor.literal();
    }
    let values: Vec<f64> = tensor.iter_scalars().map(|s| s.to_f64()).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let (least, largest) =
        values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    let nans = values.iter().filter(|v| v.is_nan()).count();
    let odd = if nans > 0 { format!(", {nans} NaN") } else { String::new() };
    format!("from {least:.6} to {largest:.6}, mean {mean:.6}{odd}")
}
