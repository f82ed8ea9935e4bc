//! `tcc import`: from any model format to graph.json or text.

use std::path::PathBuf;

use tcc_ir::import::json::to_json;

use super::model::load_graph;
use super::{Context, Failure, write_file};

const EXAMPLES: &str = "Examples:
  tcc import model.onnx -o graph.json
  tcc import model.onnx --text";

/// Convert a model to graph.json, or to the text of a graph.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model: ONNX, graph.json, or the text of a graph.
    model: PathBuf,
    /// Where the result goes; standard output unless said.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Write the text of a graph instead of JSON.
    #[arg(long)]
    text: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let graph = load_graph(&args.model)?;
    let text = if args.text {
        graph.to_string()
    } else {
        to_json(&graph).map_err(|e| Failure::Input(format!("{}: {e}", args.model.display())))?
    };
    match &args.output {
        Some(path) => {
            write_file(path, text.as_bytes()).map_err(|e| Failure::io(&path.display().to_string(), &e))
        }
        None => {
            context.output.print(&text);
            Ok(())
        }
    }
}
