//! Runs the ONNX standard's backend test data on the interpreter and on every backend, and prints the outcomes.
//!
//! `conformance DATA_DIR [--filter S] [--list-failures] [--names OUTCOME] [--engine E] [--expect FILE]
//! [--record FILE]`, where `DATA_DIR` holds `node`, `simple`, `pytorch-converted`, `pytorch-operator` and `light`. A case whose operands
//! decide about shapes in ways that need constants is tried again with its small inputs bound as constants, and
//! counted as `bound`. With `--expect`, the cases that are refused must be those that the file lists, each with
//! its reason; any other failure, and any listed case that passes, makes the run fail. With
//! `--record`, the results by operator and element type must be those of the file; `TCC_BLESS=1` writes it.

#![allow(clippy::print_stdout, reason = "the table is the product")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tcc::codegen::{BACKENDS, Backend};
use tcc::ir::dtype::DType;
use tcc::ir::graph::{Graph, eval};
use tcc::ir::import::onnx::{self, Options};
use tcc::ir::import::report::Report;
use tcc::ir::shape::TensorType;
use tcc::ir::tensor::{Tensor, Tolerance};
use tcc::runtime::threads::Inline;
use tcc::support::{self, Results};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Outcome {
    Pass,
    Bound,
    Refused,
    Wrong,
    Panic,
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Pass, Outcome::Bound, Outcome::Refused, Outcome::Wrong, Outcome::Panic];

/// A value of a test file.
#[derive(Clone)]
enum Datum {
    Tensor(Tensor),
    Sequence(Vec<Tensor>),
    Absent,
}

type Files = Vec<Vec<u8>>;

struct Case {
    name: String,
    model: PathBuf,
    /// Files of inputs and of outputs.
    sets: Vec<(Files, Files)>,
}

/// What runs the cases.
#[derive(Clone, Copy)]
enum Engine {
    Interpreter,
    Compiled(&'static dyn Backend),
    /// PTX for sm_80 in the emulator; only where it is asked for, since it checks every access.
    Emulator,
}

/// The interpreter, the backends of this build, and the emulator.
fn engines() -> impl Iterator<Item = (&'static str, Engine)> {
    let compiled = BACKENDS.iter().map(|backend| (backend.name(), Engine::Compiled(*backend)));
    std::iter::once(("interpreter", Engine::Interpreter))
        .chain(compiled)
        .chain(std::iter::once(("emulator", Engine::Emulator)))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let Some(root) = args.first().map(PathBuf::from) else {
        println!(
            "usage: conformance DATA_DIR [--filter S] [--list-failures] [--names OUTCOME] [--engine E] [--expect FILE]"
        );
        return ExitCode::from(2);
    };
    let (filter, list) =
        (option("--filter").unwrap_or_default(), args.iter().any(|a| a == "--list-failures"));
    let shown = option("--names").unwrap_or_default();
    let listed = option("--expect").map(|file| read_expected(Path::new(&file)));
    let wanted = option("--engine");
    let record = option("--record");
    let mut results = Results::new();
    std::panic::set_hook(Box::new(|_| {}));
    let (mut passed, mut failed) = (0, 0);
    for (engine_name, engine) in engines() {
        let chosen = wanted.as_deref().map_or(!matches!(engine, Engine::Emulator), |w| w == engine_name);
        if !chosen {
            continue;
        }
        println!(
            "{:18} {:>6} {:>6} {:>6} {:>8} {:>6} {:>6}",
            engine_name, "cases", "pass", "bound", "refused", "wrong", "panic"
        );
        let mut causes: BTreeMap<(Outcome, String), Vec<String>> = BTreeMap::new();
        for category in ["node", "simple", "pytorch-converted", "pytorch-operator", "light"] {
            let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
            for case in cases(&root.join(category)).into_iter().filter(|c| c.name.contains(&filter)) {
                let run = catch_unwind(AssertUnwindSafe(|| run(&case, engine, &Options::default())));
                let (outcome, cause) = run.unwrap_or_else(|panic| {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
                    (Outcome::Panic, text.unwrap_or_default())
                });
                *counts.entry(outcome).or_default() += 1;
                let good = outcome <= Outcome::Bound;
                if record.is_some() && category == "node" {
                    note(&mut results, &case, engine, good);
                }
                let word = match outcome {
                    Outcome::Refused => "refused",
                    Outcome::Wrong => "differs",
                    Outcome::Panic => "panics",
                    Outcome::Pass | Outcome::Bound => "passes",
                };
                match &listed {
                    Some(listed) if listed.get(&case.name).map_or("passes", String::as_str) != word => {
                        println!("UNEXPECTED on {engine_name}: {} {outcome:?} {cause}", case.name);
                        failed += 1;
                    }
                    None if !good => failed += 1,
                    _ => passed += usize::from(good),
                }
                if !good {
                    causes.entry((outcome, cause)).or_default().push(case.name);
                } else if shown.eq_ignore_ascii_case(&format!("{outcome:?}")) {
                    println!("{outcome:?}: {}", case.name);
                }
            }
            let count = |o: Outcome| counts.get(&o).copied().unwrap_or(0);
            let total: usize = counts.values().sum();
            print!("{category:18} {total:>6}");
            for (outcome, width) in OUTCOMES.into_iter().zip([6, 6, 8, 6, 6]) {
                print!(" {:>width$}", count(outcome));
            }
            println!();
        }
        if list {
            for ((outcome, cause), names) in causes {
                println!("{outcome:?} {:4}  {cause}\n            {}", names.len(), names.join(" "));
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    let current = record.is_none_or(|file| agrees_with_record(&results, Path::new(&file)));
    if (failed > 0 && listed.is_some()) || !current { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Counts a case of one operator for each element type of its inputs, or of its outputs if it has none.
fn note(results: &mut Results, case: &Case, engine: Engine, good: bool) {
    let Ok(names) = onnx::signature(&case.model) else { return };
    let ([(domain, operator)], Some((inputs, outputs))) = (names.operators.as_slice(), case.sets.first())
    else {
        return;
    };
    let (files, kinds) = if inputs.is_empty() { (outputs, &names.outputs) } else { (inputs, &names.inputs) };
    let mut types: Vec<&str> = Vec::new();
    for (bytes, (_, kind)) in files.iter().zip(kinds) {
        types.extend(match datum(bytes, *kind) {
            Ok(Datum::Tensor(t)) => vec![t.dtype().name()],
            Ok(Datum::Sequence(list)) => list.iter().map(|t| t.dtype().name()).collect(),
            _ => Vec::new(),
        });
    }
    types.sort_unstable();
    types.dedup();
    let open = matches!(engine, Engine::Interpreter) && good && passes_open(case);
    let domain = if domain.is_empty() { "ai.onnx" } else { domain };
    for dtype in types {
        let counts = results.entry((domain.to_owned(), operator.clone(), dtype.to_owned())).or_default();
        match engine {
            Engine::Interpreter => {
                counts.cases += 1;
                counts.interpreter += usize::from(good);
                counts.open += usize::from(open);
            }
            // The record is the same with and without the backends that are opt-in.
            Engine::Compiled(backend) if backend.name() == BACKENDS[0].name() => {
                counts.compiled += usize::from(good);
            }
            Engine::Compiled(_) | Engine::Emulator => {}
        }
    }
}

/// Whether a case passes on the interpreter with all extents of its inputs open, or of the first input.
fn passes_open(case: &Case) -> bool {
    let Ok(names) = onnx::signature(&case.model) else { return false };
    let all: Vec<String> = names.inputs.into_iter().map(|(name, _)| name).collect();
    [&all[..], &all[..all.len().min(1)]].into_iter().any(|open| {
        let options = Options { open: open.iter().cloned().collect(), ..Options::default() };
        let run = catch_unwind(AssertUnwindSafe(|| run(case, Engine::Interpreter, &options)));
        run.is_ok_and(|(outcome, _)| outcome <= Outcome::Bound)
    })
}

/// Whether results are those recorded in a file, which is rewritten if that is asked for.
fn agrees_with_record(results: &Results, file: &Path) -> bool {
    let text = support::print(results);
    if std::env::var_os("TCC_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(file, &text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        return true;
    }
    let same = std::fs::read_to_string(file).is_ok_and(|found| found == text);
    if !same {
        println!("{}: expected what TCC_BLESS=1 writes", file.display());
    }
    same
}

/// What is expected of cases that do not pass: lines of `refused NAME: reason` or `differs NAME: reason`.
fn read_expected(file: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    let entry = |line: &str| {
        let (word, rest) = line.split_once(' ')?;
        Some((rest.split_once(':')?.0.to_owned(), word.to_owned()))
    };
    lines.map(|l| entry(l).unwrap_or_else(|| panic!("expected `WORD NAME: reason`, got `{l}`"))).collect()
}

fn cases(folder: &Path) -> Vec<Case> {
    let mut found: Vec<Case> = entries(folder).iter().filter_map(|path| case(path)).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    paths.sort();
    paths
}

/// A folder with a model and sets of data, or a light model with its one output.
fn case(path: &Path) -> Option<Case> {
    let name = path.file_stem()?.to_string_lossy().into_owned();
    if path.is_dir() {
        let sets = entries(path).into_iter().filter(|p| p.is_dir());
        let files = |set: &Path, prefix: &str| -> Vec<Vec<u8>> {
            (0..).map_while(|i| std::fs::read(set.join(format!("{prefix}_{i}.pb"))).ok()).collect()
        };
        let sets = sets.map(|s| (files(&s, "input"), files(&s, "output"))).collect();
        return Some(Case { name, model: path.join("model.onnx"), sets });
    }
    let is_model = path.extension().is_some_and(|e| e == "onnx");
    let output = std::fs::read(path.with_file_name(format!("{name}_output_0.pb"))).ok()?;
    is_model.then(|| Case { name, model: path.to_owned(), sets: vec![(Vec::new(), vec![output])] })
}

fn run(case: &Case, engine: Engine, options: &Options) -> (Outcome, String) {
    let names = match onnx::signature(&case.model) {
        Ok(names) => names,
        Err(report) => return (Outcome::Refused, cause(&report)),
    };
    let mut best = Outcome::Pass;
    for (inputs, outputs) in &case.sets {
        let read = |list: &[Vec<u8>], kinds: &[onnx::ValueKind]| -> Result<Vec<Datum>, String> {
            list.iter().zip(kinds).map(|(bytes, kind)| datum(bytes, *kind)).collect()
        };
        let kinds = |list: &[(String, onnx::ValueKind)]| list.iter().map(|(_, k)| *k).collect::<Vec<_>>();
        let (inputs, outputs) =
            match (read(inputs, &kinds(&names.inputs)), read(outputs, &kinds(&names.outputs))) {
                (Ok(i), Ok(o)) => (i, o),
                (Err(e), _) | (_, Err(e)) => return (Outcome::Refused, format!("test data: {e}")),
            };
        let named: Vec<(String, Datum)> = names.inputs.iter().map(|(n, _)| n.clone()).zip(inputs).collect();
        match run_set(case, engine, options.clone(), &named, &outputs) {
            Ok(outcome) => best = best.max(outcome),
            Err(failure) => return failure,
        }
    }
    (best, String::new())
}

fn datum(bytes: &[u8], kind: onnx::ValueKind) -> Result<Datum, String> {
    let bytes = bytes.to_vec().into();
    match kind {
        onnx::ValueKind::Tensor => onnx::decode_tensor(bytes).map(Datum::Tensor),
        onnx::ValueKind::Sequence => onnx::decode_sequence(bytes).map(Datum::Sequence),
        onnx::ValueKind::Optional => Ok(match onnx::decode_optional(bytes)? {
            None => Datum::Absent,
            Some(Ok(tensor)) => Datum::Tensor(tensor),
            Some(Err(tensors)) => Datum::Sequence(tensors),
        }),
    }
}

fn run_set(
    case: &Case,
    engine: Engine,
    mut options: Options,
    inputs: &[(String, Datum)],
    outputs: &[Datum],
) -> Result<Outcome, (Outcome, String)> {
    for (name, datum) in inputs {
        match datum {
            Datum::Tensor(_) => {}
            Datum::Sequence(tensors) => {
                let types = tensors.iter().map(|t| TensorType::fixed(t.dtype(), t.shape())).collect();
                options.sequences.insert(name.clone(), types);
            }
            Datum::Absent => {
                options.absent.insert(name.clone());
            }
        }
    }
    let (graph, outcome) = match onnx::import_file_with(&case.model, &options) {
        Ok(graph) => (graph, Outcome::Pass),
        Err(report) if report.problems.iter().all(|p| p.constraint == "constant") => {
            for (name, datum) in inputs {
                if let Datum::Tensor(tensor) = datum
                    && tensor.rank() <= 1
                    && tensor.len() <= 64
                    && (*name != inputs[0].0 || tensor.rank() == 0)
                {
                    options.constants.insert(name.clone(), tensor.clone());
                }
            }
            let graph = onnx::import_file_with(&case.model, &options);
            (graph.map_err(|r| (Outcome::Refused, cause(&r)))?, Outcome::Bound)
        }
        Err(report) => return Err((Outcome::Refused, cause(&report))),
    };
    let text = graph.to_string();
    if let Err(diags) = graph.verify() {
        return Err((
            Outcome::Wrong,
            format!("verifier: {diags:?} of {}", text.lines().next().unwrap_or("")),
        ));
    }
    let arguments = arguments(&graph, inputs);
    let results = match engine {
        Engine::Interpreter => eval::evaluate(&graph, &arguments).map_err(|e| e.to_string()),
        Engine::Compiled(backend) => compile_and_run(&graph, backend, &arguments),
        Engine::Emulator => emulate(&graph, &arguments),
    };
    let results = results.map_err(|e| (Outcome::Wrong, format!("running: {}", clip(&e))))?;
    let expected: Vec<&Tensor> = outputs
        .iter()
        .flat_map(|d| match d {
            Datum::Tensor(t) => std::slice::from_ref(t),
            Datum::Sequence(list) => list.as_slice(),
            Datum::Absent => &[],
        })
        .collect();
    if results.len() != expected.len() {
        let message = format!("expected {} outputs, got {}", expected.len(), results.len());
        return Err((Outcome::Wrong, message));
    }
    // Draws differ from generator to generator, so only their type and shape can be compared.
    let draws = ["test_bernoulli", "test_training_dropout"].iter().any(|n| case.name.starts_with(n));
    let shape_only = draws && !case.name.contains("zero_ratio");
    for (result, wanted) in results.iter().zip(expected) {
        if shape_only && result.shape() == wanted.shape() && result.dtype() == wanted.dtype() {
            continue;
        }
        result
            .compare(wanted, tolerance(wanted.dtype()))
            .map_err(|m| (Outcome::Wrong, clip(&m.to_string())))?;
    }
    Ok(outcome)
}

fn compile_and_run(
    graph: &Graph,
    backend: &'static dyn Backend,
    arguments: &[Tensor],
) -> Result<Vec<Tensor>, String> {
    let compiler = tcc::compile::Compiler::new().backend(backend);
    let compiled = compiler.compile(graph).map_err(|e| e.to_string())?;
    compiled.run(arguments, &Inline).map(|run| run.outputs).map_err(|e| e.to_string())
}

fn emulate(graph: &Graph, arguments: &[Tensor]) -> Result<Vec<Tensor>, String> {
    let target: tcc::codegen::ptx::GpuTarget =
        "sm_80".parse().map_err(|e: tcc::codegen::ptx::UnknownTarget| e.to_string())?;
    let model = tcc::compile::Compiler::new().compile_gpu(graph, &[target]).map_err(|e| e.to_string())?;
    model.emulate(Some(target), arguments, false).map(|run| run.outputs).map_err(|e| e.to_string())
}

/// Arguments in the order of the graph's parameters; a light model gets the standard's ramp.
fn arguments(graph: &Graph, inputs: &[(String, Datum)]) -> Vec<Tensor> {
    let find = |name: &str| {
        inputs.iter().find_map(|(n, datum)| match datum {
            Datum::Tensor(t) if n == name => Some(t.clone()),
            Datum::Sequence(list) => {
                let index = name.strip_prefix(n.as_str())?.strip_prefix('.')?;
                list.get(index.parse::<usize>().ok()?).cloned()
            }
            _ => None,
        })
    };
    graph
        .params()
        .iter()
        .filter_map(|(name, value)| {
            find(name).or_else(|| {
                let dims = graph.ty(*value).shape.iter().map(|d| d.as_const().unwrap_or(1) as usize);
                let shape: Vec<usize> = dims.collect();
                let count: usize = shape.iter().product();
                Tensor::from_f64_iter(DType::F32, &shape, (0..count).map(|i| i as f64 / count as f64)).ok()
            })
        })
        .collect()
}

/// The standard's runner compares floats with these, and everything else exactly.
fn tolerance(dtype: DType) -> Tolerance {
    if dtype.is_float() { Tolerance::relative(1e-3, 1e-7) } else { Tolerance::EXACT }
}

fn cause(report: &Report) -> String {
    let Some(first) = report.problems.first() else { return String::new() };
    clip(&format!("{}: {}", first.op, first.message))
}

fn clip(text: &str) -> String {
    text.chars().take(220).collect()
}
