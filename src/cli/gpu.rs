//! What the commands that run models share about GPUs.

use std::path::Path;

use super::Failure;
use super::model::{InputType, Model, RunArgs, load};
use crate::codegen::ptx::GpuTarget;
use crate::compile::gpu::GpuModel;

/// A model for GPUs with the target to run it for, if that is what the arguments name.
pub(super) fn wanted(args: &RunArgs) -> Result<Option<(GpuModel, Option<GpuTarget>)>, Failure> {
    let gpus = args.compile.gpus()?;
    if gpus.is_empty() && !args.model.join("manifest.json").is_file() {
        return Ok(None);
    }
    if args.compile.count() > 1 {
        return Err(Failure::Usage("--target: expected one target to run on, got several".to_owned()));
    }
    match load(&args.model)? {
        Model::Gpu(model) => Ok(Some((model, gpus.first().copied()))),
        Model::Graph(graph) => {
            let compiled = args.compile.any_target()?.compile_gpu(&graph, &gpus);
            let model = compiled.map_err(|e| Failure::Input(format!("{}: {e}", args.model.display())))?;
            Ok(Some((model, gpus.first().copied())))
        }
        Model::Artifact(_) => {
            Err(Failure::Usage("--target: expected a model, got an artifact for this machine".to_owned()))
        }
    }
}

/// Why a model for GPUs does not run here.
pub(super) fn no_driver(model: &Path) -> Failure {
    Failure::Input(format!(
        "{}: expected a driver for NVIDIA GPUs, found none; --emulate runs the kernels without one",
        model.display()
    ))
}

/// The inputs of a model for GPUs.
pub(super) fn inputs(model: &GpuModel) -> Result<Vec<InputType>, Failure> {
    let one = |(name, dtype, shape): (String, Option<_>, Vec<_>)| match dtype {
        Some(dtype) => Ok(InputType { name, dtype, shape }),
        None => Err(Failure::Input(format!("input {name}: expected a known element type"))),
    };
    model.inputs().into_iter().map(one).collect()
}
