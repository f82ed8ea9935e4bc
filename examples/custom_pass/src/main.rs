//! A driver of its own: everything that `tcc` does, with one pass more.
//!
//! ```text
//! cargo run -p custom_pass -- opt model.tcc --passes double-by-add,dce --check
//! ```

mod double_by_add;

use std::process::ExitCode;

use tcc::lowering::pass::Registry;

fn main() -> ExitCode {
    tcc::cli::main(Registry::builtin().with(double_by_add::PASS))
}
