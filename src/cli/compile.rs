//! `tcc compile`: from a model to an artifact.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tcc_ir::graph::Graph;

use super::model::{CompileArgs, load_graph};
use super::{Context, Failure, write_file};
use crate::codegen::ptx::GpuTarget;
use crate::compile::gpu::Ptxas;
use crate::compile::{Compiler, Stage};

const EXAMPLES: &str = "Examples:
  tcc compile model.onnx -o model.tcc
  tcc compile model.onnx --target x86-64-v3,aarch64-neon -o model.tcc
  tcc compile model.onnx --target sm_80,sm_90a -o folder
  tcc compile model.onnx --bind batch=1 --emit program -o model.txt";

/// Compile a model to an artifact, or show a stage of its compilation.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model: ONNX, graph.json, or the text of a graph.
    model: PathBuf,
    #[command(flatten)]
    compile: CompileArgs,
    /// Where the result goes.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// What the result is.
    #[arg(long, value_enum, default_value = "artifact")]
    emit: Emit,
    /// Assemble kernels for GPUs too, with the ptxas that TCC_PTXAS names or the search path has.
    #[arg(long)]
    cubin: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Emit {
    /// A file that `tcc run` and the runtime read.
    Artifact,
    /// The graph after all graph passes, as text.
    Graph,
    /// The loop nests before they are scheduled, as text.
    Nest,
    /// The schedules of the loop nests, as lists of steps.
    Schedule,
    /// The programs that backends get, as text.
    Program,
    /// Relocatable machine code.
    Obj,
    /// The kernels for the first GPU, as text.
    Ptx,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let graph = load_graph(&args.model)?;
    let (compilers, gpus) = (args.compile.compilers()?, args.compile.gpus()?);
    if (args.cubin || args.emit == Emit::Ptx) && gpus.is_empty() {
        return Err(Failure::Usage("--target: expected a GPU, such as sm_80, got none".to_owned()));
    }
    let several = compilers.len() + usize::from(!gpus.is_empty()) > 1;
    let path = |target: &str| {
        args.output.as_ref().map(|path| if several { with_target(path, target) } else { path.clone() })
    };
    for (target, compiler) in compilers {
        one(args, &compiler, &graph, path(&target).as_deref(), context)?;
    }
    // One folder holds the kernels for all GPUs.
    if gpus.is_empty() {
        return Ok(());
    }
    for_gpus(args, context, &graph, &gpus, path("gpu").as_deref())
}

/// `model.tcc` as `model.x86-64-v3.tcc`.
fn with_target(path: &Path, target: &str) -> PathBuf {
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}.{target}{extension}"))
}

/// Compiles for one processor.
fn one(
    args: &Args,
    compiler: &Compiler,
    graph: &Graph,
    output: Option<&Path>,
    context: &Context,
) -> Result<(), Failure> {
    let start = Instant::now();
    let name = args.model.display().to_string();
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{name}: {e}"));
    let stage = match args.emit {
        Emit::Graph => Some(Stage::Graph),
        Emit::Nest => Some(Stage::Nest),
        Emit::Schedule => Some(Stage::Schedule),
        Emit::Program => Some(Stage::Program),
        Emit::Artifact | Emit::Obj | Emit::Ptx => None,
    };
    let bytes = match stage {
        Some(stage) => compiler.emit(graph, stage).map_err(|e| fail(&e))?.into_bytes(),
        None => {
            let compiled = compiler.translate(graph).map_err(|e| fail(&e))?;
            let report = compiled.report();
            for reason in &report.interpreted {
                context.output.detail(&format!("interpreted: {reason}\n"));
            }
            let bytes = if args.emit == Emit::Obj {
                compiled.model().object.clone()
            } else {
                let mut bytes = Vec::new();
                compiled.write(&mut bytes).map_err(|e| fail(&e))?;
                bytes
            };
            let elapsed = start.elapsed().as_secs_f64() * 1e3;
            if context.output.json {
                let report = json!({
                    "compile_ms": elapsed, "kernels": report.kernels, "calls": report.calls,
                    "interpreted": report.interpreted, "arena_bytes": report.arena_bytes,
                    "arena_lower_bound": report.arena_lower_bound, "bytes": bytes.len(),
                });
                context.output.print(&format!("{report}\n"));
            } else {
                let (kernels, calls) = (report.kernels, report.calls);
                context.output.say(&format!("{kernels} kernels, {calls} calls, {elapsed:.0} ms\n"));
            }
            bytes
        }
    };
    match (output, stage) {
        (Some(path), _) => write_file(path, &bytes).map_err(|e| Failure::io(&path.display().to_string(), &e)),
        (None, Some(_)) => {
            context.output.print(&String::from_utf8_lossy(&bytes));
            Ok(())
        }
        (None, None) => Err(Failure::Usage("-o: expected where the result goes".to_owned())),
    }
}

/// A folder with kernels for GPUs, or a stage of its compilation.
fn for_gpus(
    args: &Args,
    context: &Context,
    graph: &Graph,
    gpus: &[GpuTarget],
    output: Option<&Path>,
) -> Result<(), Failure> {
    let start = Instant::now();
    let compiler = args.compile.any_target()?;
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", args.model.display()));
    let text = match args.emit {
        Emit::Artifact => None,
        Emit::Program => Some(compiler.emit_gpu_programs(graph, gpus).map_err(|e| fail(&e))?),
        Emit::Ptx => {
            let model = compiler.compile_gpu(graph, gpus).map_err(|e| fail(&e))?;
            model.ptx().first().map(|(_, text)| text.clone())
        }
        _ => {
            let message = "--emit: expected artifact, program or ptx for GPUs".to_owned();
            return Err(Failure::Usage(message));
        }
    };
    if let Some(text) = text {
        let Some(path) = output else {
            context.output.print(&text);
            return Ok(());
        };
        let written = write_file(path, text.as_bytes());
        return written.map_err(|e| Failure::io(&path.display().to_string(), &e));
    }
    let Some(folder) = output else {
        return Err(Failure::Usage("-o: expected the folder where the result goes".to_owned()));
    };
    let mut model = compiler.compile_gpu(graph, gpus).map_err(|e| fail(&e))?;
    let mut warnings = Vec::new();
    if args.cubin {
        let ptxas = Ptxas::find().ok_or_else(|| {
            Failure::Input(
                "--cubin: expected ptxas on the search path or named by TCC_PTXAS, got none".to_owned(),
            )
        })?;
        warnings = model.assemble(&ptxas).map_err(|e| fail(&e))?;
    }
    model.write(folder).map_err(|e| Failure::Input(e.to_string()))?;
    let (report, elapsed) = (model.report(), start.elapsed().as_secs_f64() * 1e3);
    for reason in &report.interpreted {
        context.output.detail(&format!("on the host: {reason}\n"));
    }
    for warning in &warnings {
        context.output.say(&format!("ptxas: {warning}\n"));
    }
    let without_c = model.without_c_source();
    if let Some(reason) = &without_c {
        context.output.detail(&format!("no model.c: {reason}\n"));
    }
    if context.output.json {
        let report = json!({
            "compile_ms": elapsed, "kernels": report.kernels, "calls": report.calls,
            "interpreted": report.interpreted, "without_c": without_c, "warnings": warnings, "targets": model.manifest().targets,
        });
        context.output.print(&format!("{report}\n"));
    } else {
        let (kernels, calls, host) = (report.kernels, report.calls, report.interpreted.len());
        context
            .output
            .say(&format!("{kernels} kernels, {calls} launches, {host} ops on the host, {elapsed:.0} ms\n"));
    }
    Ok(())
}
