//! `tcc targets`: what code can be made for.

use serde_json::json;

use super::{Context, Failure};
use crate::codegen::NamedTarget;
use crate::codegen::ptx::GpuTarget;
use crate::compile::native;

/// List the targets, and say what this machine is.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Measure what this machine can do at most.
    #[arg(long)]
    probe: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<(), Failure> {
    let target = native();
    let caches = tcc_runtime::cpu::Cpu::detect().caches;
    let ceilings = args.probe.then(|| tcc_runtime::cpu::probe(&caches));
    if context.output.json {
        let gpus: Vec<String> = GpuTarget::all().iter().map(ToString::to_string).collect();
        let report = json!({ "gpus": gpus, "native": {
            "arch": target.arch, "features": target.features, "f32_tile": target.f32_tile,
            "ceilings": ceilings.map(|c| format!("{c:?}")),
        }, "targets": NamedTarget::all().map(|t| json!({
            "name": t.name, "arch": t.arch, "features": t.features,
        })).collect::<Vec<_>>() });
        context.output.print(&format!("{report}\n"));
        return Ok(());
    }
    context.output.print(&format!("native: {} with {}\n", target.arch, target.features.join(", ")));
    for named in NamedTarget::all() {
        let features = named.features.join(", ");
        context.output.print(&format!("{}: {} with {features}. {}\n", named.name, named.arch, named.doc));
    }
    for target in GpuTarget::all() {
        let (major, minor) = target.version;
        context.output.print(&format!("{target}: PTX {major}.{minor}\n"));
    }
    if let Some(ceilings) = ceilings {
        context.output.print(&format!("{ceilings:#?}\n"));
    }
    Ok(())
}
