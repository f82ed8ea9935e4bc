//! `tcc compile`: from a model to an artifact, to an object for C programs, or to the text of a stage.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use tcc_ir::graph::Graph;

use super::model::{CompileArgs, load_graph};
use super::{Context, Failure, write_file};
use crate::codegen::ptx::GpuTarget;
use crate::compile::gpu::Ptxas;
use crate::compile::linked::shared_object;
use crate::compile::{Compiler, Stage, Translated};
use crate::runtime::artifact::Artifact;

const EXAMPLES: &str = "Examples:
  tcc compile model.onnx -o model.tcc
  tcc compile model.onnx --target x86-64-v3,aarch64-neon -o model.tcc
  tcc compile model.onnx --target sm_80,sm_90a -o folder
  tcc compile model.onnx --emit obj,header -o model        model.o and model.h, for C programs
  tcc compile model.onnx --emit so -o libmodel.so
  tcc compile model.onnx --bind batch=1 --emit program -o model.txt";

/// Compile a model to an artifact, or show a stage of its compilation.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model: ONNX, graph.json, or the text of a graph.
    model: PathBuf,
    #[command(flatten)]
    compile: CompileArgs,
    /// Where the result goes. Of several results each gets its own extension.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// What the result is; obj, so and header may be combined.
    #[arg(long, value_enum, default_value = "artifact", value_delimiter = ',')]
    emit: Vec<Emit>,
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
    /// An object with the kernels, the weights and a function that runs the model, for C programs.
    Obj,
    /// The same as a shared object; needs a C compiler to link it.
    So,
    /// The C header of these.
    Header,
    /// The kernels for the first GPU, as text.
    Ptx,
}

/// What is asked for.
enum Wanted {
    Text(Stage),
    Artifact,
    /// What links into C programs.
    Linked(Vec<Emit>),
}

impl Args {
    /// What is asked for of processors.
    fn wanted(&self) -> Result<Wanted, Failure> {
        if let [one] = self.emit.as_slice() {
            match one {
                Emit::Artifact | Emit::Ptx => return Ok(Wanted::Artifact),
                Emit::Graph => return Ok(Wanted::Text(Stage::Graph)),
                Emit::Nest => return Ok(Wanted::Text(Stage::Nest)),
                Emit::Schedule => return Ok(Wanted::Text(Stage::Schedule)),
                Emit::Program => return Ok(Wanted::Text(Stage::Program)),
                Emit::Obj | Emit::So | Emit::Header => {}
            }
        }
        if self.emit.iter().all(|e| matches!(e, Emit::Obj | Emit::So | Emit::Header)) {
            return Ok(Wanted::Linked(self.emit.clone()));
        }
        Err(Failure::Usage("--emit: expected one kind, or several of obj, so and header".to_owned()))
    }

    fn fail(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Input(format!("{}: {error}", self.model.display()))
    }

    fn destination(&self) -> Result<&Path, Failure> {
        let missing = || Failure::Usage("-o: expected where the result goes".to_owned());
        self.output.as_deref().ok_or_else(missing)
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let wanted = args.wanted()?;
    let graph = load_graph(&args.model)?;
    let (compilers, gpus) = (args.compile.compilers()?, args.compile.gpus()?);
    if (args.cubin || args.emit.contains(&Emit::Ptx)) && gpus.is_empty() {
        return Err(Failure::Usage("--target: expected a GPU, such as sm_80, got none".to_owned()));
    }
    let several = match wanted {
        Wanted::Artifact => !compilers.is_empty() && !gpus.is_empty(),
        _ => compilers.len() + usize::from(!gpus.is_empty()) > 1,
    };
    let path = |target: &str| {
        args.output.as_ref().map(|path| if several { with_target(path, target) } else { path.clone() })
    };
    match &wanted {
        Wanted::Artifact if !compilers.is_empty() => {
            let path = if several { path("cpu") } else { path("") };
            artifact(args, &compilers, &graph, path.as_deref(), context)?;
        }
        Wanted::Artifact => {}
        Wanted::Text(stage) => {
            for (target, compiler) in &compilers {
                let text = compiler.emit(&graph, *stage).map_err(|e| args.fail(&e))?;
                show(path(target).as_deref(), &text, context)?;
            }
        }
        Wanted::Linked(kinds) => {
            for (target, compiler) in &compilers {
                args.destination()?;
                linked(args, compiler, &graph, kinds, path(target).as_deref(), context)?;
            }
        }
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

/// Writes the text of a stage.
fn show(path: Option<&Path>, text: &str, context: &Context) -> Result<(), Failure> {
    match path {
        Some(path) => {
            write_file(path, text.as_bytes()).map_err(|e| Failure::io(&path.display().to_string(), &e))
        }
        None => {
            context.output.print(text);
            Ok(())
        }
    }
}

/// One artifact for all processors.
fn artifact(
    args: &Args,
    compilers: &[(String, Compiler)],
    graph: &Graph,
    path: Option<&Path>,
    context: &Context,
) -> Result<(), Failure> {
    let path = path.ok_or_else(|| Failure::Usage("-o: expected where the result goes".to_owned()))?;
    let start = Instant::now();
    let (translated, hash) = std::thread::scope(|scope| {
        let hash = scope.spawn(|| sha256(&args.model));
        let translate =
            |(name, compiler): &(String, Compiler)| compiler.clone().target_name(name).translate(graph);
        let translated = compilers.iter().map(translate).collect::<Result<Vec<_>, _>>();
        (translated, hash.join().unwrap_or_default())
    });
    let translated = translated.map_err(|e| args.fail(&e))?;
    let mut provenance = match compilers.first() {
        Some((_, compiler)) => compiler.provenance(&graph.name),
        None => return Ok(()),
    };
    provenance.model_sha256 = hash;
    let artifact = Artifact { provenance, variants: translated.iter().map(Translated::variant).collect() };
    let bytes = in_place(path, |out| artifact.write(out).map_err(|e| args.fail(&e)))?;
    translated.iter().for_each(|t| report(t, start, bytes, context));
    Ok(())
}

/// Writes a file beside its place and moves it there when it is whole, to its size.
fn in_place(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let io = |e: std::io::Error| Failure::io(&path.display().to_string(), &e);
    let temporary = path.with_extension(format!("{}.part", std::process::id()));
    let done = (|| {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&temporary).map_err(io)?);
        write(&mut out)?;
        let file = out.into_inner().map_err(|e| io(e.into_error()))?;
        let bytes = file.metadata().map_err(io)?.len();
        std::fs::rename(&temporary, path).map_err(io)?;
        Ok(bytes)
    })();
    if done.is_err() {
        // What could not be written is of no use; there may be nothing to remove.
        let _ = std::fs::remove_file(&temporary);
    }
    done
}

/// The SHA-256 of a file, if it can be read.
fn sha256(path: &Path) -> Option<String> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path).ok()?, &mut hash).ok()?;
    Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Says what became of the model.
fn report(translated: &Translated, start: Instant, bytes: u64, context: &Context) {
    let report = translated.report();
    for reason in &report.interpreted {
        context.output.detail(&format!("interpreted: {reason}\n"));
    }
    let elapsed = start.elapsed().as_secs_f64() * 1e3;
    if context.output.json {
        let report = json!({
            "compile_ms": elapsed, "kernels": report.kernels, "calls": report.calls,
            "interpreted": report.interpreted, "arena_bytes": report.arena_bytes,
            "arena_lower_bound": report.arena_lower_bound, "bytes": bytes,
        });
        context.output.print(&format!("{report}\n"));
    } else {
        let (kernels, calls) = (report.kernels, report.calls);
        context.output.say(&format!("{kernels} kernels, {calls} calls, {elapsed:.0} ms\n"));
    }
}

/// An object, a shared object and a header, or some of them.
fn linked(
    args: &Args,
    compiler: &Compiler,
    graph: &Graph,
    kinds: &[Emit],
    path: Option<&Path>,
    context: &Context,
) -> Result<(), Failure> {
    let start = Instant::now();
    let path = path.ok_or_else(|| Failure::Usage("-o: expected where the result goes".to_owned()))?;
    let translated = compiler.translate(graph).map_err(|e| args.fail(&e))?;
    let linked = translated.link(&identifier(path)).map_err(|e| args.fail(&e))?;
    let mut bytes = 0;
    for kind in kinds {
        let extension = match kind {
            Emit::So => "so",
            Emit::Header => "h",
            _ => "o",
        };
        let path = if kinds.len() == 1 { path.to_path_buf() } else { path.with_extension(extension) };
        bytes += match kind {
            Emit::Header => in_place(&path, |out| {
                let io = |e: std::io::Error| Failure::io(&path.display().to_string(), &e);
                out.write_all(linked.header().as_bytes()).map_err(io)
            })?,
            Emit::So => shared_object(&linked, &path).map_err(|e| args.fail(&e))?,
            _ => in_place(&path, |out| linked.write(out).map_err(|e| args.fail(&e)))?,
        };
    }
    report(&translated, start, bytes, context);
    Ok(())
}

/// The name of a file as the beginning of C functions' names: `libmodel.so` as `model`.
fn identifier(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let stem = stem.strip_prefix("lib").filter(|rest| !rest.is_empty()).unwrap_or(&stem);
    let mut name: String = stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
        name.insert_str(0, "model_");
    }
    name
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
    let fail = |e: &dyn std::fmt::Display| args.fail(e);
    let text = match args.emit.as_slice() {
        [Emit::Artifact] => None,
        [Emit::Program] => Some(compiler.emit_gpu_programs(graph, gpus).map_err(|e| fail(&e))?),
        [Emit::Ptx] => {
            let model = compiler.compile_gpu(graph, gpus).map_err(|e| fail(&e))?;
            model.ptx().first().map(|(_, text)| text.clone())
        }
        _ => {
            let message = "--emit: expected artifact, program or ptx for GPUs".to_owned();
            return Err(Failure::Usage(message));
        }
    };
    if let Some(text) = text {
        return show(output, &text, context);
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
