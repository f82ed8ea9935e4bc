//! `tcc reduce`: shrinks a graph that fails to a small one that still does.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tcc_ir::graph::Graph;
use tcc_lowering::pass::{
    CheckOptions, Ir, Pipeline, ReduceOptions, RunError, RunOptions, reduce, run as run_pipeline,
};

use super::model::read_one;
use super::opt::{Samples, read_pipeline};
use super::{Context, Failure, write_file};

const EXAMPLES: &str = "Examples:
  tcc reduce model.tcc --passes fold,cse -o small.tcc          fails: the pipeline breaks or changes numbers
  tcc reduce model.tcc --command './crashes.sh' -o small.tcc   fails: the command, given a file, does not exit with 0";

/// Shrink a failing graph to a small one that still fails.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The text of a graph; `-` is standard input.
    file: String,
    /// The pipeline that goes wrong, or `@` and a file that holds it.
    #[arg(long, required_unless_present = "command")]
    passes: Option<String>,
    /// A command that fails when given the file as its last argument; words are separated by spaces.
    #[arg(long, conflicts_with = "passes")]
    command: Option<String>,
    #[command(flatten)]
    samples: Samples,
    /// How many candidates are tried.
    #[arg(long, default_value_t = 2000)]
    trials: usize,
    /// Write to a file instead of standard output.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let graph = match read_one(&args.file)? {
        Ir::Graph(graph) => graph,
        other => {
            return Err(Failure::Input(format!("{}: expected a graph, got a {}", args.file, other.level())));
        }
    };
    let mut test = Test::new(args, context)?;
    let Some(kind) = test.failure(&graph)? else {
        return Err(Failure::Input(format!("{}: expected a graph that fails, but it does not", args.file)));
    };
    context.output.detail(&format!("the failure to keep: {kind}\n"));
    let mut progress = context.output.progress();
    let mut fails = |candidate: &Graph| {
        progress.at(&format!("{} nodes", candidate.node_count()));
        // A candidate on which the test itself cannot be made is none.
        test.failure(candidate).ok().flatten().as_ref() == Some(&kind)
    };
    let small = reduce(&graph, ReduceOptions { trials: args.trials }, &mut fails);
    drop(progress);
    context.output.say(&format!("{} nodes of {}\n", small.node_count(), graph.node_count()));
    match &args.output {
        Some(path) => write_file(path, small.to_string().as_bytes())
            .map_err(|e| Failure::io(&path.display().to_string(), &e)),
        None => {
            context.output.print(&small.to_string());
            Ok(())
        }
    }
}

/// What must stay true of a graph.
enum Test {
    Pipeline(Pipeline, CheckOptions),
    Command { words: Vec<String>, file: PathBuf },
}

impl Test {
    fn new(args: &Args, context: &Context) -> Result<Test, Failure> {
        if let Some(command) = &args.command {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            if words.is_empty() {
                return Err(Failure::Usage("expected a command, got nothing".into()));
            }
            let file = std::env::temp_dir().join(format!("tcc-reduce-{}.tcc", std::process::id()));
            return Ok(Test::Command { words, file });
        }
        let pipeline = read_pipeline(args.passes.as_deref().unwrap_or_default(), &context.registry)?;
        Ok(Test::Pipeline(pipeline, args.samples.options()))
    }

    /// In which way a graph fails, if it does: the part of the message that does not depend on details.
    fn failure(&mut self, graph: &Graph) -> Result<Option<String>, Failure> {
        match self {
            Test::Pipeline(pipeline, check) => {
                let options = RunOptions { check: Some(*check), ..RunOptions::default() };
                match run_pipeline(Ir::Graph(graph.clone()), pipeline, &options, &mut |_| {}) {
                    Ok(_) => Ok(None),
                    Err(RunError::Broken(broken)) => {
                        let kind = broken.what.split(':').next().unwrap_or_default();
                        Ok(Some(format!("{}: {kind}", broken.pass)))
                    }
                    Err(other) => Err(Failure::from_run(other)),
                }
            }
            Test::Command { words, file } => {
                write_file(file, graph.to_string().as_bytes())
                    .map_err(|e| Failure::io(&file.display().to_string(), &e))?;
                exit_status(words, file)
            }
        }
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        if let Test::Command { file, .. } = self {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn exit_status(words: &[String], file: &Path) -> Result<Option<String>, Failure> {
    let status = Command::new(&words[0])
        .args(&words[1..])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|e| Failure::Input(format!("{}: {e}", words[0])))?;
    Ok((!status.success()).then(|| status.to_string()))
}
