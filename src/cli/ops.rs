//! `tcc ops`: which operators of ONNX are supported, and the op table of graphs.

use serde_json::json;
use tcc_ir::graph::Op;

use super::{Context, Failure};
use crate::{reference, support};

const EXAMPLES: &str = "Examples:
  tcc ops                     operators of ONNX, one a line, with the element types that are tested
  tcc ops --format md         operator by element type, as in docs/support.md
  tcc ops --format json       the same for programs
  tcc ops --graph             the ops that graphs are made of, with what they take
  tcc ops --graph --format md the reference, as in docs/ops.md";

/// List the operators that models may have, or the ops that graphs have.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The form of the list.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The op table of graphs, instead of what is imported from ONNX.
    #[arg(long)]
    graph: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Format {
    Text,
    Md,
    Json,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let json_wanted = args.format == Format::Json || (args.format == Format::Text && context.output.json);
    let text = match args.format {
        _ if !args.graph && json_wanted => format!("{}\n", matrix_json()),
        Format::Md if !args.graph => support::markdown(&support::recorded()),
        Format::Text if !args.graph => support::text(&support::recorded()),
        Format::Md => reference::ops_markdown(),
        Format::Text if !context.output.json => {
            Op::all().map(|op| format!("{}\n", reference::signature(op))).collect()
        }
        Format::Text | Format::Json => format!("{}\n", json!(Op::all().map(op_json).collect::<Vec<_>>())),
    };
    context.output.print(&text);
    Ok(())
}

fn matrix_json() -> serde_json::Value {
    let results = support::recorded();
    let row = |row: &support::Row<'_>| {
        let counts = |c: &support::Counts| json!({ "cases": c.cases, "interpreter": c.interpreter, "compiled": c.compiled, "open": c.open });
        let types: serde_json::Map<String, serde_json::Value> =
            row.types.iter().map(|(name, c)| ((*name).to_owned(), counts(c))).collect();
        json!({ "domain": row.domain, "operator": row.name, "since": row.since, "types": types })
    };
    support::rows(&results).iter().map(row).collect()
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
