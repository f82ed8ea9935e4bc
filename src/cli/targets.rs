//! `tcc targets`: what code can be made for.

use serde_json::json;

use super::{Context, Failure};
use crate::codegen::NamedTarget;
use crate::codegen::ptx::GpuTarget;
use crate::compile::native;
use crate::runtime::cpu::Ceilings;

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
    let mut ceilings = Vec::new();
    if args.probe {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut counts = vec![1, cores];
        counts.dedup();
        for threads in counts {
            let measured = tcc_runtime::cpu::probe(&caches, threads);
            ceilings.push(measured.map_err(|e| Failure::Input(e.to_string()))?);
        }
    }
    if context.output.json {
        let gpus: Vec<String> = GpuTarget::all().iter().map(ToString::to_string).collect();
        let report = json!({ "gpus": gpus, "native": {
            "arch": target.arch, "features": target.features, "f32_tile": target.f32_tile,
            "ceilings": ceilings.iter().map(ceilings_json).collect::<Vec<_>>(),
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
    for ceilings in &ceilings {
        context.output.print(&format!("ceilings of {} threads:", ceilings.threads));
        for (name, value) in ceilings.figures() {
            context.output.print(&format!(" {name} {value:.1}"));
        }
        context.output.print("\n");
    }
    Ok(())
}

/// The figures by name.
pub(super) fn ceilings_json(ceilings: &Ceilings) -> serde_json::Value {
    let mut all = serde_json::Map::new();
    all.insert("threads".to_owned(), json!(ceilings.threads));
    all.extend(ceilings.figures().into_iter().map(|(name, value)| (name.to_owned(), json!(value))));
    all.into()
}
