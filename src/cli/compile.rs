//! `tcc compile`: from a model to an artifact.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tcc_ir::graph::Graph;

use super::model::{CompileArgs, load_graph};
use super::{Context, Failure, write_file};
use crate::compile::{Compiler, Stage};

const EXAMPLES: &str = "Examples:
  tcc compile model.onnx -o model.tcc
  tcc compile model.onnx --target x86-64-v3,aarch64-neon -o model.tcc
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
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let graph = load_graph(&args.model)?;
    let compilers = args.compile.compilers()?;
    let several = compilers.len() > 1;
    for (target, compiler) in compilers {
        let path =
            args.output.as_ref().map(|path| if several { with_target(path, &target) } else { path.clone() });
        one(args, &compiler, &graph, path.as_deref(), context)?;
    }
    Ok(())
}

/// `model.tcc` as `model.x86-64-v3.tcc`.
fn with_target(path: &Path, target: &str) -> PathBuf {
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}.{target}{extension}"))
}

/// Compiles for one target.
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
        Emit::Artifact | Emit::Obj => None,
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
