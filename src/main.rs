//! The command line of `tcc`, with the passes that come with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tcc::cli::main(tcc::lowering::pass::Registry::builtin())
}
