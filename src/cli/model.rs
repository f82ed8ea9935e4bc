//! Models and their inputs, as the commands that run them take both.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tcc_ir::dim::{Bindings, Symbol};
use tcc_ir::graph::Graph;
use tcc_ir::import::json::from_json;
use tcc_ir::import::onnx::import_bytes;
use tcc_ir::tensor::Tensor;
use tcc_ir::weights::{npy, npz};
use tcc_lowering::pass::{Ir, Level};
use tcc_lowering::pipeline::{self, Strictness};
use tcc_runtime::threads::{Inline, Parallel, Pool, PoolConfig};

use super::gpu;
use super::source::{Format, Source};
use super::{Context, Failure};
use crate::codegen::ptx::GpuTarget;
use crate::codegen::{BACKENDS, Backend, CpuTarget, NamedTarget};
use crate::compile::gpu::GpuModel;
use crate::compile::{Compiled, Compiler, named};

/// How a model is compiled and run.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RunArgs {
    /// A model (ONNX, graph.json, the text of a graph) or an artifact.
    pub(super) model: PathBuf,
    #[command(flatten)]
    pub(super) compile: CompileArgs,
    /// How many threads run kernels; as many as there are cores unless said.
    #[arg(long)]
    threads: Option<usize>,
    /// An input from a .npy file; may be repeated.
    #[arg(long = "input", value_name = "NAME=FILE", conflicts_with_all = ["inputs", "random"])]
    input: Vec<String>,
    /// All inputs by name from a .npz file.
    #[arg(long, value_name = "FILE.npz", conflicts_with = "random")]
    inputs: Option<PathBuf>,
    /// Random inputs from this seed (the default, with seed 0).
    #[arg(long, value_name = "SEED")]
    random: Option<u64>,
}

/// How a model is compiled.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct CompileArgs {
    /// What makes the machine code.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// The processor or GPU to make it for, or several for code for each; `tcc targets` lists them.
    #[arg(long, value_name = "TARGET", default_value = "native", value_delimiter = ',')]
    target: Vec<String>,
    /// The value of a symbolic extent; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    bind: Vec<String>,
    /// What rewrites of the graph may do to numbers.
    #[arg(long, value_enum, default_value = "default")]
    numerics: Numerics,
    /// What products of f32 are computed in; sums stay f32.
    #[arg(long, value_enum, default_value = "kept")]
    precision: Precision,
    /// A file with rewrite rules beyond those that are built in.
    #[arg(long, value_name = "FILE")]
    rules: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Numerics {
    /// Nothing: bit for bit.
    Strict,
    /// Reorder sums and products.
    Default,
    /// Approximate within stated bounds.
    Fast,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Precision {
    /// What the model says.
    Kept,
    /// Operands rounded to bf16.
    Bf16,
    /// Operands rounded to f16.
    F16,
}

impl CompileArgs {
    /// The name of the backend that will be used.
    pub(super) fn backend(&self) -> Result<&'static dyn Backend, Failure> {
        let Some(name) = &self.backend else { return Ok(BACKENDS[0]) };
        BACKENDS.iter().copied().find(|b| b.name() == name).ok_or_else(|| {
            let known: Vec<&str> = BACKENDS.iter().map(|b| b.name()).collect();
            Failure::Usage(format!("--backend: expected one of {}, got {name:?}", known.join(", ")))
        })
    }

    pub(super) fn bindings(&self) -> Result<Vec<(String, i64)>, Failure> {
        let parse = |text: &String| {
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        let bad = |text: &String| {
            Failure::Usage(format!("--bind: expected NAME=VALUE with an integer, got {text:?}"))
        };
        self.bind.iter().map(|text| parse(text).ok_or_else(|| bad(text))).collect()
    }

    /// How many targets are named.
    pub(super) fn count(&self) -> usize {
        self.target.len()
    }

    /// What `--target` names, in order.
    fn targets(&self) -> Result<Vec<Wanted>, Failure> {
        let one = |name: &String| {
            let cpu = named(name).map(|target| Wanted::Cpu(name.clone(), target));
            cpu.or_else(|| name.parse().ok().map(Wanted::Gpu)).ok_or_else(|| {
                let cpus = NamedTarget::all().map(|t| t.name.to_owned());
                let known: Vec<String> = cpus.chain(GpuTarget::all().iter().map(|t| t.to_string())).collect();
                let known = known.join(", ");
                Failure::Usage(format!("--target: expected native or one of {known}, got {name:?}"))
            })
        };
        self.target.iter().map(one).collect()
    }

    /// The GPUs among the targets.
    pub(super) fn gpus(&self) -> Result<Vec<GpuTarget>, Failure> {
        let gpu = |target| match target {
            Wanted::Gpu(gpu) => Some(gpu),
            Wanted::Cpu(..) => None,
        };
        Ok(self.targets()?.into_iter().filter_map(gpu).collect())
    }

    pub(super) fn strictness(&self) -> Strictness {
        match self.numerics {
            Numerics::Strict => Strictness::Strict,
            Numerics::Default => Strictness::Default,
            Numerics::Fast => Strictness::Fast,
        }
    }

    fn precision(&self) -> pipeline::Precision {
        match self.precision {
            Precision::Kept => pipeline::Precision::Kept,
            Precision::Bf16 => pipeline::Precision::Bf16,
            Precision::F16 => pipeline::Precision::F16,
        }
    }

    /// The file with more rules.
    pub(super) fn rules(&self) -> Option<&str> {
        self.rules.as_deref()
    }

    /// The one compiler for a processor that is asked for.
    pub(super) fn compiler(&self) -> Result<Compiler, Failure> {
        let mut all = self.compilers()?;
        match (all.pop(), all.is_empty(), self.gpus()?.is_empty()) {
            (Some((_, compiler)), true, true) => Ok(compiler),
            (None, ..) => Err(Failure::Usage("--target: expected a processor, got GPUs".to_owned())),
            _ => Err(Failure::Usage("--target: expected one target, got several".to_owned())),
        }
    }

    /// A compiler with all options but the target.
    pub(super) fn any_target(&self) -> Result<Compiler, Failure> {
        let compiler = Compiler::new().backend(self.backend()?).strictness(self.strictness());
        let compiler = compiler.precision(self.precision());
        let compiler = self.rules.iter().fold(compiler, |c, path| c.rules(path));
        Ok(self.bindings()?.iter().fold(compiler, |c, (name, value)| c.bind(name, *value)))
    }

    /// A compiler for each processor that is named.
    pub(super) fn compilers(&self) -> Result<Vec<(String, Compiler)>, Failure> {
        let compiler = self.any_target()?;
        let cpu = |target| match target {
            Wanted::Cpu(name, cpu) => Some((name, compiler.clone().target(cpu))),
            Wanted::Gpu(_) => None,
        };
        Ok(self.targets()?.into_iter().filter_map(cpu).collect())
    }
}

/// What one word of `--target` means.
enum Wanted {
    Cpu(String, CpuTarget),
    Gpu(GpuTarget),
}

/// A model in one of the forms it can be given in.
pub(super) enum Model {
    /// To be compiled.
    Graph(Graph),
    /// Compiled before.
    Artifact(Compiled),
    /// Compiled for GPUs before.
    Gpu(GpuModel),
}

/// Reads a model, finding out from its content what it is.
pub(super) fn load(path: &Path) -> Result<Model, Failure> {
    let name = path.display().to_string();
    if path.join("manifest.json").is_file() {
        let opened = GpuModel::open(path).map_err(|e| Failure::Input(format!("{name}: {e}")))?;
        return Ok(Model::Gpu(opened));
    }
    if starts_with_magic(path) {
        let opened = Compiled::open(path).map_err(|e| Failure::Input(format!("{name}: {e}")))?;
        return Ok(Model::Artifact(opened));
    }
    load_graph(path).map(Model::Graph)
}

/// Reads a model that is no artifact.
pub(super) fn load_graph(path: &Path) -> Result<Graph, Failure> {
    let name = path.display().to_string();
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let source = Source::read(&name)?;
    match source.format() {
        Format::Json => {
            let text = source.into_text()?;
            from_json(&text.text, folder).map_err(|e| Failure::Input(format!("{name}: not a graph\n{e}")))
        }
        Format::Text(Level::Graph) => match source.into_text()?.parse_one()? {
            Ir::Graph(graph) => Ok(graph),
            _ => Err(Failure::Input(format!("{name}: expected a graph"))),
        },
        Format::Text(_) => Err(Failure::Input(format!("{name}: expected a graph, got the text of a kernel"))),
        Format::Binary => super::onnx::load(path),
        Format::Unknown => Err(Failure::Input(format!(
            "{name}: expected an ONNX model, a graph in JSON, or the text of a graph"
        ))),
    }
}

/// Reads a model, or all programs of a text, from a file or standard input.
pub(super) fn read_ir(path: &str) -> Result<Vec<Ir>, Failure> {
    let source = Source::read(path)?;
    match source.format() {
        Format::Text(_) | Format::Unknown => source.into_text()?.parse(),
        Format::Binary if path == "-" => {
            let graph = import_bytes(source.bytes.into(), None, &source.name);
            Ok(vec![Ir::Graph(graph.map_err(|report| Failure::Input(report.to_string()))?)])
        }
        Format::Json if path == "-" => {
            let text = source.into_text()?;
            let graph = from_json(&text.text, Path::new("."));
            Ok(vec![Ir::Graph(
                graph.map_err(|e| Failure::Input(format!("{}: not a graph\n{e}", text.name)))?,
            )])
        }
        Format::Json | Format::Binary => load_graph(Path::new(path)).map(|graph| vec![Ir::Graph(graph)]),
    }
}

/// Reads what is one program.
pub(super) fn read_one(path: &str) -> Result<Ir, Failure> {
    let mut all = read_ir(path)?;
    match (all.pop(), all.len()) {
        (Some(ir), 0) => Ok(ir),
        (_, more) => Err(Failure::Input(format!("{path}: expected one program, got {}", more + 1))),
    }
}

/// Whether a file is an artifact.
pub(super) fn starts_with_magic(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 8];
    let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head));
    read.is_ok() && &head == tcc_runtime::artifact::MAGIC
}

impl RunArgs {
    /// The model, compiled if it was not.
    pub(super) fn compiled(&self) -> Result<Compiled, Failure> {
        match load(&self.model)? {
            Model::Artifact(compiled) => Ok(compiled),
            Model::Gpu(_) => Err(gpu::no_driver(&self.model)),
            Model::Graph(graph) => self
                .compile
                .compiler()?
                .compile(&graph)
                .map_err(|e| Failure::Input(format!("{}: {e}", self.model.display()))),
        }
    }

    /// The threads that kernels run on.
    pub(super) fn threads(&self) -> Result<(usize, Arc<dyn Parallel>), Failure> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = self.threads.unwrap_or(cores);
        if count == 0 {
            return Err(Failure::Usage("--threads: expected at least 1, got 0".to_owned()));
        }
        if count == 1 {
            return Ok((1, Arc::new(Inline)));
        }
        let pool = Pool::new(&PoolConfig::with_threads(count)).map_err(|e| Failure::Input(e.to_string()))?;
        Ok((count, Arc::new(pool)))
    }

    /// The inputs by name, type and shape: given ones, or random ones in which open symbols are as small as they
    /// can be.
    pub(super) fn tensors(&self, params: &[InputType], context: &Context) -> Result<Vec<Tensor>, Failure> {
        if let Some(path) = &self.inputs {
            let all = npz::open(path).map_err(|e| Failure::Input(e.to_string()))?;
            return params
                .iter()
                .map(|p| given(p, all.iter().find(|(n, _)| *n == p.name).map(|(_, t)| t.clone())))
                .collect();
        }
        if !self.input.is_empty() {
            let mut all = Vec::new();
            for text in &self.input {
                let (name, path) = text
                    .split_once('=')
                    .ok_or_else(|| Failure::Usage(format!("--input: expected NAME=FILE, got {text:?}")))?;
                if !params.iter().any(|p| p.name == name) {
                    let known: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
                    let known = known.join(", ");
                    return Err(Failure::Input(format!(
                        "--input: expected the name of an input ({known}), got {name:?}"
                    )));
                }
                let tensor = npy::open(Path::new(path)).map_err(|e| Failure::Input(e.to_string()))?;
                all.push((name, tensor));
            }
            return params
                .iter()
                .map(|p| given(p, all.iter().find(|(n, _)| *n == p.name).map(|(_, t)| t.clone())))
                .collect();
        }
        let mut bindings: Bindings =
            self.compile.bindings()?.into_iter().map(|(name, value)| (Symbol::new(&name), value)).collect();
        let seed = self.random.unwrap_or(0);
        let mut made = Vec::new();
        for (i, param) in params.iter().enumerate() {
            for symbol in param.shape.iter().flat_map(|d| d.symbols()) {
                bindings.entry(symbol.clone()).or_insert_with(|| {
                    context.output.say(&format!("{symbol} was not bound and is taken to be 1\n"));
                    1
                });
            }
            let bad = |e: String| Failure::Input(format!("input {}: {e}", param.name));
            let shape =
                param.shape.iter().map(|d| d.eval(&bindings).map_err(|s| bad(format!("no value for {s}"))));
            let shape: Vec<usize> = shape
                .map(|d| d.and_then(|v| usize::try_from(v).map_err(|_| bad(format!("extent {v}")))))
                .collect::<Result<_, _>>()?;
            made.push(Tensor::random(param.dtype, &shape, seed + i as u64).map_err(|e| bad(e.to_string()))?);
        }
        Ok(made)
    }
}

/// What a model says of one input.
pub(super) struct InputType {
    pub(super) name: String,
    pub(super) dtype: tcc_ir::dtype::DType,
    pub(super) shape: Vec<tcc_ir::dim::Dim>,
}

fn given(param: &InputType, tensor: Option<Tensor>) -> Result<Tensor, Failure> {
    let tensor =
        tensor.ok_or_else(|| Failure::Input(format!("input {}: expected a tensor, got none", param.name)))?;
    if tensor.dtype() != param.dtype || tensor.rank() != param.shape.len() {
        return Err(Failure::Input(format!(
            "input {}: expected {}{:?}, got {}{:?}",
            param.name,
            param.dtype,
            param.shape,
            tensor.dtype(),
            tensor.shape()
        )));
    }
    Ok(tensor)
}

/// The inputs of a graph.
pub(super) fn graph_inputs(graph: &Graph) -> Vec<InputType> {
    let one = |(name, value): &(Arc<str>, tcc_ir::graph::Value)| {
        let ty = graph.ty(*value);
        InputType { name: name.to_string(), dtype: ty.dtype, shape: ty.shape.to_vec() }
    };
    graph.params().iter().map(one).collect()
}

/// The inputs of a compiled model.
pub(super) fn compiled_inputs(compiled: &Compiled) -> Result<Vec<InputType>, Failure> {
    compiled
        .inputs()
        .map_err(|e| Failure::Input(e.to_string()))
        .map(|all| all.into_iter().map(|(name, dtype, shape)| InputType { name, dtype, shape }).collect())
}
