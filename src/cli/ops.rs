//! `tcc ops`: the op table.

use serde_json::json;
use tcc_ir::graph::Op;

use super::{Context, Failure};
use crate::reference;

const EXAMPLES: &str = "Examples:
  tcc ops                  the names, one a line, with what they take
  tcc ops --format md      the reference, as in docs/ops.md
  tcc ops --format json    for programs";

/// List the ops of graphs.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The form of the list.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Md,
    Json,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let text = match args.format {
        Format::Md => reference::ops_markdown(),
        Format::Text if !context.output.json => {
            Op::all().map(|op| format!("{}\n", reference::signature(op))).collect()
        }
        Format::Text | Format::Json => format!("{}\n", json!(Op::all().map(op_json).collect::<Vec<_>>())),
    };
    context.output.print(&text);
    Ok(())
}

fn op_json(op: Op) -> serde_json::Value {
    let def = op.def();
    let attrs: Vec<_> =
        def.attrs.iter().map(|a| json!({ "name": a.name, "kind": format!("{:?}", a.kind) })).collect();
    json!({
        "name": def.name, "operands": def.operands, "rest": def.rest, "attributes": attrs,
        "regions": def.regions, "numerics": def.numerics.to_string(), "doc": def.doc.trim(),
    })
}
