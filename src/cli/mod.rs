//! The frame of the command line: one module for each sub-command, one place for diagnostics and exit codes.
//!
//! Exit codes are 0 for done, 1 for an input that is wrong or unsupported, 2 for wrong usage. A panic is a
//! mistake of ours; it is caught, said to be one, and ends with 1.

mod artifact;
mod bench;
mod bisect;
mod compile;
mod explain;
mod failure;
mod gpu;
mod import;
mod inspect;
mod model;
mod onnx;
mod ops;
mod opt;
mod output;
mod picture;
mod profile;
mod reduce;
mod run;
pub mod source;
mod targets;
mod verify;
mod work;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use clap::{Parser, Subcommand};
use tcc_lowering::pass::Registry;

pub use failure::Failure;
pub use output::{Output, write_file};

#[derive(Debug, Parser)]
#[command(
    name = "tcc",
    version,
    about = "A tensor compiler: models in, machine code out",
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compile(compile::Args),
    Explain(explain::Args),
    Run(run::Args),
    Bench(bench::Args),
    Inspect(inspect::Args),
    Import(import::Args),
    Opt(opt::Args),
    Bisect(bisect::Args),
    Reduce(reduce::Args),
    Ops(ops::Args),
    Targets(targets::Args),
    Verify(verify::Args),
}

/// What every sub-command is given beside its arguments.
#[derive(Debug)]
pub struct Context {
    /// The passes there are.
    pub registry: Registry,
    /// Where and how to say things.
    pub output: Output,
}

/// Runs the command line of the process with these passes, to the exit code.
pub fn main(registry: Registry) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows where each goes. There is nobody left to tell if
            // that fails.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let context = Context { registry, output: cli.output };
    std::panic::set_hook(Box::new(|info| remember_panic(&info.to_string())));
    let done = catch_unwind(AssertUnwindSafe(|| run(cli.command, &context)));
    let failure = match done {
        Ok(Ok(())) => return ExitCode::SUCCESS,
        Ok(Err(failure)) => failure,
        Err(_) => Failure::Bug { what: last_panic(), reproducer: None },
    };
    failure.report(&context.output);
    ExitCode::from(failure.exit_code())
}

fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Compile(args) => compile::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Run(args) => run::run(&args, context),
        Command::Bench(args) => bench::run(&args, context),
        Command::Inspect(args) => inspect::run(&args, context),
        Command::Import(args) => import::run(&args, context),
        Command::Opt(args) => opt::run(&args, context),
        Command::Bisect(args) => bisect::run(&args, context),
        Command::Reduce(args) => reduce::run(&args, context),
        Command::Ops(args) => ops::run(&args, context),
        Command::Targets(args) => targets::run(&args, context),
        Command::Verify(args) => verify::run(&args, context),
    }
}

/// What the last panic said, kept because the payload does not know its place.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn remember_panic(what: &str) {
    if let Ok(mut last) = LAST_PANIC.lock() {
        what.clone_into(&mut last);
    }
}

fn last_panic() -> String {
    LAST_PANIC.lock().map_or_else(|_| String::new(), |last| last.clone())
}
