//! The reference pages that follow from tables: ops and passes.
//!
//! `docs/ops.md` and `docs/passes.md` hold what these functions give, and a test keeps them current.

use std::fmt::Write;

use tcc_ir::graph::Op;
use tcc_lowering::pass::Registry;

/// Every op as Markdown, in the order of the table.
pub fn ops_markdown() -> String {
    let mut out = String::from(
        "# Ops\n\nGenerated from the op table by `tcc ops --graph`. Every attribute is given in text; none has a default. \
         A label such as (C1) is the code of the error that a node which breaks the constraint gives.\n",
    );
    for op in Op::all() {
        let def = op.def();
        // Writing to a string cannot fail.
        let _ = write!(out, "\n## `{}`\n\n```text\n{}\n```\n\n", def.name, signature(op));
        let _ = writeln!(out, "{}\n", paragraphs(def.doc));
        let _ = writeln!(out, "Numerics: {}.", def.numerics);
    }
    out
}

/// An op with operands, attributes and regions in a line.
pub fn signature(op: Op) -> String {
    let def = op.def();
    let mut operands: Vec<String> = def.operands.iter().map(|o| format!("%{o}")).collect();
    operands.extend(def.rest.map(|rest| format!("%{rest}…")));
    let mut text = def.name.to_owned();
    if !operands.is_empty() {
        text += &format!(" {}", operands.join(", "));
    }
    for attr in def.attrs {
        text += &format!(" {}={:?}", attr.name, attr.kind);
    }
    for region in def.regions {
        text += &format!(" region @{region}");
    }
    text
}

/// Lines of doc comments without their leading space, constraints as a list.
fn paragraphs(doc: &str) -> String {
    let lines: Vec<&str> = doc.lines().map(|l| l.strip_prefix(' ').unwrap_or(l)).collect();
    let text = lines.join("\n");
    let mut out = String::new();
    for paragraph in text.split("\n\n") {
        let joined = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if joined.starts_with("(C1)") {
            let items = joined.replace(" (C", "\n- (C");
            out += &format!("- {items}\n\n");
        } else if !joined.is_empty() {
            out += &format!("{joined}\n\n");
        }
    }
    out.trim_end().to_owned()
}

/// Every pass as Markdown: its header and options.
pub fn passes_markdown(registry: &Registry) -> String {
    let mut out = String::from(
        "# Passes\n\nGenerated from the headers of the passes by `tcc opt --list --format md`. The examples are \
         executed by tests.\n",
    );
    for pass in registry.passes() {
        let doc = pass.doc();
        let doc = doc.strip_prefix(&format!("`{}`: ", pass.name)).unwrap_or(&doc).trim();
        // Writing to a string cannot fail.
        let _ =
            write!(out, "\n## `{}`\n\nLevel: {}. Numerics: {}.\n\n", pass.name, pass.level(), pass.numerics);
        let _ = writeln!(out, "{}", capitalised(doc));
        if !pass.options.is_empty() {
            out += "\nOptions:\n\n";
        }
        for option in pass.options {
            let _ = writeln!(out, "- `{}={}`: {}", option.name, option.default, option.doc);
        }
    }
    out
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}
