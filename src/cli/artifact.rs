//! What an artifact says of itself: where it comes from, for which processors it has code, which rewrites were not
//! exact.

use std::path::Path;

use serde_json::json;

use super::{Context, Failure};
use crate::runtime::artifact::{Artifact, Variant};

/// Compares all checksums, then prints the manifest in short.
pub(super) fn inspect(path: &Path, context: &Context) -> Result<(), Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Input(format!("{}: {e}", path.display()));
    Artifact::verify(path).map_err(|e| fail(&e))?;
    let artifact = Artifact::open(path).map_err(|e| fail(&e))?;
    let text = if context.output.json { json(&artifact) } else { text(&artifact) };
    context.output.print(&text);
    Ok(())
}

fn constant_bytes(variant: &Variant) -> usize {
    variant.model.constants.iter().map(|c| (*c.bytes).as_ref().len()).sum()
}

fn json(artifact: &Artifact) -> String {
    let variant = |v: &Variant| {
        json!({
            "target": v.target, "backend": v.backend, "arch": v.arch, "features": v.features,
            "steps": v.model.steps.len(), "kernels": v.model.functions.len(), "host_ops": v.host.len(),
            "code_bytes": v.model.object.len(), "constant_bytes": constant_bytes(v), "ledger": v.ledger,
        })
    };
    let variants: Vec<_> = artifact.variants.iter().map(variant).collect();
    format!("{}\n", json!({ "provenance": artifact.provenance, "variants": variants }))
}

fn text(artifact: &Artifact) -> String {
    let provenance = &artifact.provenance;
    let mut text =
        format!("{} by {}, numerics {}", provenance.model, provenance.made_by, provenance.numerics);
    for (symbol, value) in &provenance.bindings {
        text += &format!(", {symbol} = {value}");
    }
    if let Some(hash) = &provenance.model_sha256 {
        text += &format!("\nmodel sha256 {hash}");
    }
    text += "\nall checksums are right\n";
    for v in &artifact.variants {
        text += &format!(
            "{}: {} with {} by {}, {} steps, {} kernels, {} ops on the host, {} bytes of code, {} of constants\n",
            v.target,
            v.arch,
            v.features.join(", "),
            v.backend,
            v.model.steps.len(),
            v.model.functions.len(),
            v.host.len(),
            v.model.object.len(),
            constant_bytes(v),
        );
        for inexact in &v.ledger {
            text += &format!("  {:4} x {} ({})\n", inexact.count, inexact.rewrite, inexact.numerics);
        }
    }
    text
}
