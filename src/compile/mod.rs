//! From a graph to a model that runs: the way of a model through the whole compiler.

pub mod gpu;
mod host;
pub mod linked;
mod operations;
mod plan;
mod session;
mod target;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use tcc_codegen::{BACKENDS, Backend, CpuTarget, EmitError};
use tcc_ir::diag::Diags;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Graph, Violation};
use tcc_ir::numerics::Numerics;
use tcc_ir::tensor::{Tensor, TensorError};
use tcc_lowering::graph_to_loops::{Work, lower_graph};
use tcc_lowering::pass::RunError as PassRunError;
use tcc_lowering::pipeline::{GraphOptions, Precision, Strictness, optimise, optimise_and_report};
use tcc_lowering::schedule::plan as plan_schedule;
use tcc_runtime::artifact::{Artifact, ArtifactError, Inexact, Provenance, Variant};
use tcc_runtime::model::{
    Executable, Expr, Means, Model, Op as ExprOp, Outcome, Param, RunError, TensorView, Timing,
};
use tcc_runtime::threads::Parallel;

pub use self::session::Session;
use self::target::Schedulable;
pub use self::target::{named, native};

/// Why a graph could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// A binding that contradicts the model.
    #[error("binding of symbols: {0}")]
    Binding(Violation),
    /// A name that is no symbol of the model.
    #[error("expected the name of a symbol of the model ({known}), got `{name}`")]
    UnknownSymbol {
        /// What was given.
        name: String,
        /// The symbols there are.
        known: String,
    },
    /// A value that the model does not take.
    #[error("expected {name} in {lo}..={hi}, got {value}")]
    OutOfRange {
        /// The symbol.
        name: String,
        /// What was given.
        value: i64,
        /// The least it can be.
        lo: i64,
        /// The most it can be.
        hi: i64,
    },
    /// A graph pass failed.
    #[error(transparent)]
    Pass(#[from] PassRunError),
    /// The backend failed.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// A constant could not be laid out.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The code could not be loaded.
    #[error(transparent)]
    Load(#[from] RunError),
    /// The code is for another processor.
    #[error("expected code for {0}")]
    Foreign(String),
}

/// Why an artifact could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file is no artifact that can run here.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A step for the interpreter is malformed.
    #[error("artifact: {0}")]
    Host(#[from] Diags),
    /// The code could not be loaded.
    #[error(transparent)]
    Load(#[from] RunError),
}

/// What a compilation depends on besides the graph.
#[derive(Clone)]
pub struct Compiler {
    backend: &'static dyn Backend,
    target: CpuTarget,
    bindings: Vec<(Symbol, i64)>,
    options: GraphOptions,
    name: String,
}

impl Default for Compiler {
    fn default() -> Self {
        Compiler {
            backend: BACKENDS[0],
            target: native(),
            bindings: Vec::new(),
            options: GraphOptions::default(),
            name: "native".to_owned(),
        }
    }
}

impl Compiler {
    /// The default backend, for the processor this runs on.
    pub fn new() -> Compiler {
        Compiler::default()
    }

    /// Uses another backend.
    pub fn backend(mut self, backend: &'static dyn Backend) -> Compiler {
        self.backend = backend;
        self
    }

    /// Emits code for another processor.
    pub fn target(mut self, target: CpuTarget) -> Compiler {
        self.target = target;
        self
    }

    /// What artifacts call the target.
    pub fn target_name(mut self, name: &str) -> Compiler {
        name.clone_into(&mut self.name);
        self
    }

    /// Fixes the value of a symbolic extent.
    pub fn bind(mut self, symbol: &str, value: i64) -> Compiler {
        self.bindings.push((Symbol::new(symbol), value));
        self
    }

    /// Says what rewrites of the graph may do to numbers.
    pub fn strictness(mut self, strictness: Strictness) -> Compiler {
        self.options.strictness = strictness;
        self
    }

    /// Says what products of f32 are computed in.
    pub fn precision(mut self, precision: Precision) -> Compiler {
        self.options.precision = precision;
        self
    }

    /// Rewrites with the rules of a file, too.
    pub fn rules(mut self, path: &str) -> Compiler {
        self.options.rules = Some(path.to_owned());
        self
    }

    /// The graph with the bound symbols replaced.
    pub fn specialise(&self, graph: &Graph) -> Result<Graph, CompileError> {
        for (symbol, _) in &self.bindings {
            if !graph.in_scope(symbol) {
                let known: Vec<String> = graph.symbols().iter().map(ToString::to_string).collect();
                let known = if known.is_empty() { "it has none".to_owned() } else { known.join(", ") };
                return Err(CompileError::UnknownSymbol { name: symbol.to_string(), known });
            }
        }
        for (symbol, value) in &self.bindings {
            let range = graph.ranges.get(symbol);
            if *value < range.lo || *value > range.hi {
                let (name, value) = (symbol.to_string(), *value);
                return Err(CompileError::OutOfRange { name, value, lo: range.lo, hi: range.hi });
            }
        }
        let value = |s: &Symbol| self.bindings.iter().find(|(name, _)| name == s).map(|(_, v)| Dim::from(*v));
        graph.substitute(&value).map_err(CompileError::Binding)
    }

    /// The graph in the form that its kernels are made from.
    pub fn optimised(&self, graph: &Graph) -> Result<Graph, CompileError> {
        Ok(optimise(graph, &self.target.schedule(), &self.options)?)
    }

    /// The text of a stage.
    pub fn emit(&self, graph: &Graph, stage: Stage) -> Result<String, CompileError> {
        let graph = if self.bindings.is_empty() { graph.clone() } else { self.specialise(graph)? };
        let machine = self.target.schedule();
        let graph = optimise(&graph, &machine, &self.options)?;
        if stage == Stage::Graph {
            return Ok(graph.to_string());
        }
        let mut text = String::new();
        for stage_of_model in lower_graph(&graph) {
            let Work::Nest(nest) = stage_of_model.work else { continue };
            let one = match stage {
                Stage::Nest => nest.to_string(),
                Stage::Schedule => plan_schedule(&nest, &machine).1.to_string(),
                _ => plan::program(&nest, &self.target).to_string(),
            };
            text.push_str(&one);
        }
        Ok(text)
    }

    /// Compiles a graph and loads the code.
    pub fn compile(&self, graph: &Graph) -> Result<Compiled, CompileError> {
        self.translate(graph)?.load()
    }

    /// Compiles a graph, for whatever processor.
    pub fn translate(&self, graph: &Graph) -> Result<Translated, CompileError> {
        let graph = if self.bindings.is_empty() { graph.clone() } else { self.specialise(graph)? };
        let _span = tracing::info_span!("translate", graph = %graph.name).entered();
        let mut ledger: Vec<Inexact> = Vec::new();
        let graph = optimise_and_report(&graph, &self.target.schedule(), &self.options, &mut |applied| {
            let inexact = applied.owed.iter().filter(|o| o.numerics != Numerics::Exact);
            ledger.extend(inexact.map(|o| Inexact {
                rewrite: o.rewrite.clone(),
                numerics: o.numerics.to_string(),
                count: o.count,
            }));
        })?;
        let mut parts = plan::plan(&graph, self.backend, &self.target)?;
        parts.model.flush_denormals = self.options.strictness == Strictness::Fast;
        let origin = Origin {
            target: self.name.clone(),
            backend: self.backend.name().to_owned(),
            arch: self.target.arch.to_owned(),
            features: self.target.features.clone(),
            ledger,
            provenance: self.provenance(&graph.name),
        };
        let target = self.target.clone();
        Ok(Translated { model: parts.model, host: parts.host, report: parts.report, target, origin })
    }

    /// What artifacts say of where they come from, apart from the model's file.
    pub fn provenance(&self, model: &str) -> Provenance {
        Provenance {
            made_by: format!("tcc {}", env!("CARGO_PKG_VERSION")),
            model: model.to_owned(),
            model_sha256: None,
            numerics: format!("{:?}", self.options.strictness).to_lowercase(),
            bindings: self.bindings.iter().map(|(s, v)| (s.to_string(), *v)).collect(),
        }
    }
}

/// What an artifact says of a model beside the model.
#[derive(Clone, Debug, Default)]
struct Origin {
    target: String,
    backend: String,
    arch: String,
    features: Vec<String>,
    ledger: Vec<Inexact>,
    provenance: Provenance,
}

impl Origin {
    fn variant(&self, model: &Model, host: &[host::HostWork]) -> Variant {
        Variant {
            target: self.target.clone(),
            backend: self.backend.clone(),
            arch: self.arch.clone(),
            features: self.features.clone(),
            model: model.clone(),
            host: host.iter().map(ToString::to_string).collect(),
            ledger: self.ledger.clone(),
        }
    }
}

/// A compiled model whose code has not been loaded: to be written, or to be run.
pub struct Translated {
    model: Model,
    host: Vec<host::HostWork>,
    report: Report,
    target: CpuTarget,
    origin: Origin,
}

impl Translated {
    /// Loads the code, which must be for this processor.
    pub fn load(self) -> Result<Compiled, CompileError> {
        if let Some(reason) = target::foreign(&self.target) {
            return Err(CompileError::Foreign(reason));
        }
        Ok(Compiled {
            executable: Arc::new(Executable::new(self.model)?),
            host: Arc::new(self.host),
            report: self.report,
            origin: self.origin,
        })
    }

    /// Writes the model as an artifact, which [`Compiled::open`] and the runtime read.
    pub fn write(&self, out: &mut impl std::io::Write) -> Result<(), ArtifactError> {
        let provenance = self.origin.provenance.clone();
        Artifact { provenance, variants: vec![self.variant()] }.write(out)
    }

    /// The model as one of the variants of an artifact.
    pub fn variant(&self) -> Variant {
        self.origin.variant(&self.model, &self.host)
    }

    /// The rewrites that may have changed the bits of results.
    pub fn ledger(&self) -> &[Inexact] {
        &self.origin.ledger
    }

    /// The model as data.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What became of the graph.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

/// A compiled model in this process. Clones share the code; any number of runs may go on at the same time.
#[derive(Clone)]
pub struct Compiled {
    executable: Arc<Executable>,
    host: Arc<Vec<host::HostWork>>,
    report: Report,
    origin: Origin,
}

/// A stage of compilation that has a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The graph after all graph passes.
    Graph,
    /// The loop nests as they are lowered.
    Nest,
    /// The schedules of the loop nests, as lists of steps.
    Schedule,
    /// The programs that backends get.
    Program,
}

/// What became of the graph.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Kernel calls in a run.
    pub calls: usize,
    /// Different kernels.
    pub kernels: usize,
    /// Ops that have no kernel and are carried out by the interpreter, with the reason.
    pub interpreted: Vec<String>,
    /// The arena's size, where it is a number.
    pub arena_bytes: Option<i64>,
    /// The most bytes alive at once, where they are numbers.
    pub arena_lower_bound: Option<i64>,
}

/// What a run gave.
pub struct Run {
    /// The outputs in order.
    pub outputs: Vec<Tensor>,
    /// How long each step took, if that was asked for.
    pub timings: Vec<Timing>,
}

impl Compiled {
    /// Writes the model as an artifact, which [`Compiled::open`] and the runtime read.
    pub fn write(&self, out: &mut impl std::io::Write) -> Result<(), ArtifactError> {
        let provenance = self.origin.provenance.clone();
        Artifact { provenance, variants: vec![self.origin.variant(self.model(), &self.host)] }.write(out)
    }

    /// What made the code.
    pub fn backend(&self) -> &str {
        &self.origin.backend
    }

    /// Maps an artifact; steps that need the interpreter run in it.
    pub fn open(path: &Path) -> Result<Compiled, OpenError> {
        let artifact = Artifact::open(path)?;
        let provenance = artifact.provenance.clone();
        let variant = artifact.choose()?;
        let host = variant.host.iter().map(|text| text.parse()).collect::<Result<Vec<_>, Diags>>()?;
        let executable = Executable::new(variant.model)?;
        let report = Report { calls: executable.model().steps.len(), ..Report::default() };
        Ok(Compiled {
            executable: Arc::new(executable),
            host: Arc::new(host),
            report,
            origin: Origin {
                target: variant.target,
                backend: variant.backend,
                arch: variant.arch,
                features: variant.features,
                ledger: variant.ledger,
                provenance,
            },
        })
    }

    /// The model as data.
    pub fn model(&self) -> &Model {
        self.executable.model()
    }

    /// What became of the graph.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The inputs: names, element types and extents.
    pub fn inputs(&self) -> Result<Vec<(String, DType, Vec<Dim>)>, RunError> {
        let malformed = |what: String| RunError::Malformed(what);
        let one = |param: &Param| {
            let dtype =
                param.dtype.parse().map_err(|_| malformed(format!("element type {}", param.dtype)))?;
            let dims =
                param.shape.iter().map(|e| self.dim(e).ok_or_else(|| malformed(format!("extent {e}"))));
            Ok((param.name.clone(), dtype, dims.collect::<Result<_, RunError>>()?))
        };
        self.model().inputs.iter().map(one).collect()
    }

    /// An expression of the runtime in the compiler's terms.
    fn dim(&self, expr: &Expr) -> Option<Dim> {
        dim_of(expr, &self.model().symbols)
    }

    /// A series of runs that share their memory.
    pub fn session(&self) -> Session {
        Session::new(self)
    }

    /// Runs the model for its time alone; outputs are dropped as the runtime made them.
    pub fn measure(
        &self,
        inputs: &[Tensor],
        threads: &dyn Parallel,
        profile: bool,
    ) -> Result<Vec<Timing>, RunError> {
        self.outcome(inputs, threads, profile).map(|outcome| outcome.timings)
    }

    /// Runs the model on inputs in the order of its parameters.
    pub fn run(&self, inputs: &[Tensor], threads: &dyn Parallel) -> Result<Run, RunError> {
        self.run_profiled(inputs, threads, false)
    }

    /// As [`Compiled::run`], with the time of each step if `profile`.
    pub fn run_profiled(
        &self,
        inputs: &[Tensor],
        threads: &dyn Parallel,
        profile: bool,
    ) -> Result<Run, RunError> {
        let outcome = self.outcome(inputs, threads, profile)?;
        let outputs = outcome.outputs.iter().map(|data| {
            let dtype = data
                .dtype
                .parse()
                .map_err(|_| RunError::Malformed(format!("element type {}", data.dtype)))?;
            Tensor::from_byte_slice(dtype, &data.shape, data.bytes())
                .map_err(|e| RunError::Malformed(e.to_string()))
        });
        Ok(Run { outputs: outputs.collect::<Result<_, _>>()?, timings: outcome.timings })
    }

    fn outcome(&self, inputs: &[Tensor], threads: &dyn Parallel, profile: bool) -> Result<Outcome, RunError> {
        let failed = |e: TensorError| RunError::Malformed(e.to_string());
        let contiguous: Vec<Tensor> =
            inputs.iter().map(Tensor::contiguous).collect::<Result<_, _>>().map_err(failed)?;
        let bytes: Vec<_> =
            contiguous.iter().map(Tensor::to_bytes).collect::<Result<_, _>>().map_err(failed)?;
        let views: Vec<TensorView<'_>> = contiguous
            .iter()
            .zip(&bytes)
            .map(|(t, b)| TensorView { dtype: t.dtype().name(), shape: t.shape(), bytes: b })
            .collect();
        let host = |index: u32, inputs: &[TensorView<'_>], symbols: &[Option<i64>]| {
            let work = self.host.get(index as usize).ok_or("no such op")?;
            host::carry_out(work, inputs, symbols, &self.model().symbols)
        };
        self.executable.run(&views, &Means { threads, host: &host, cancel: None, profile })
    }
}

/// An expression of the runtime in the compiler's terms.
fn dim_of(expr: &Expr, symbols: &[String]) -> Option<Dim> {
    let mut stack: Vec<Dim> = Vec::new();
    for op in &expr.0 {
        let dim = match op {
            ExprOp::Const(value) => Dim::from(*value),
            ExprOp::Symbol(index) => Dim::sym(symbols.get(*index as usize)?.as_str()),
            binary => {
                let (b, a) = (stack.pop()?, stack.pop()?);
                match binary {
                    ExprOp::Add => &a + &b,
                    ExprOp::Mul => &a * &b,
                    ExprOp::FloorDiv => a.floor_div(&b),
                    ExprOp::Mod => a.modulo(&b),
                    ExprOp::Min => a.minimum(&b),
                    _ => a.maximum(&b),
                }
            }
        };
        stack.push(dim);
    }
    stack.pop().filter(|_| stack.is_empty())
}
