//! What the commands that run models share about GPUs.

use std::path::Path;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "cuda")]
use std::time::Instant;

use tcc_ir::tensor::Tensor;
#[cfg(feature = "cuda")]
use tcc_runtime::cuda::{Context, CudaError, CudaSession, Driver};

use super::Failure;
use super::model::{InputType, Model, RunArgs, load};
use crate::codegen::ptx::GpuTarget;
#[cfg(feature = "cuda")]
use crate::compile::gpu::DeviceRunError;
use crate::compile::gpu::{GpuModel, GpuRun};

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

/// A model on the first GPU of this machine; what is missing otherwise, and how to do without it.
#[cfg(feature = "cuda")]
pub(super) fn session(path: &Path, model: &GpuModel) -> Result<CudaSession, Failure> {
    let driver = Driver::open().map_err(|error| match error {
        CudaError::NoDriver(_) => no_driver(path),
        other => {
            Failure::Input(format!("{}: {other}; --emulate runs the kernels without it", path.display()))
        }
    })?;
    let fail = |e: CudaError| Failure::Input(format!("{}: {e}", path.display()));
    let context = Context::new(driver, 0).map_err(fail)?;
    CudaSession::new(Arc::new(model.load(context).map_err(fail)?)).map_err(fail)
}

/// Why a model for GPUs does not run here.
pub(super) fn no_driver(model: &Path) -> Failure {
    Failure::Input(format!(
        "{}: expected a driver for NVIDIA GPUs, found none; --emulate runs the kernels without one",
        model.display()
    ))
}

/// Runs a model on the GPU, and says how.
pub(super) fn run(path: &Path, model: &GpuModel, inputs: &[Tensor]) -> Result<(GpuRun, String), Failure> {
    #[cfg(feature = "cuda")]
    {
        let mut session = session(path, model)?;
        let fail = |e: DeviceRunError| Failure::Input(format!("{}: {e}", path.display()));
        let (run, milliseconds) = model.run(&mut session, inputs).map_err(fail)?;
        let how = format!("GPU, {} launches in {milliseconds:.3} ms", run.launches);
        Ok((run, how))
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (model, inputs);
        Err(no_driver(path))
    }
}

/// The nanoseconds of repeated runs on the GPU, for so many seconds.
pub(super) fn measure(
    path: &Path,
    model: &GpuModel,
    inputs: &[Tensor],
    seconds: f64,
) -> Result<Vec<Duration>, Failure> {
    #[cfg(feature = "cuda")]
    {
        let mut session = session(path, model)?;
        let fail = |e: DeviceRunError| Failure::Input(format!("{}: {e}", path.display()));
        let mut times = Vec::new();
        let begin = Instant::now();
        let (_, first) = model.run(&mut session, inputs).map_err(fail)?;
        if session.repeat(0).is_err() {
            // With ops on the host every run is one of its own.
            times.push(f64::from(first));
            while begin.elapsed().as_secs_f64() < seconds {
                times.push(f64::from(model.run(&mut session, inputs).map_err(fail)?.1));
            }
        } else {
            session.repeat(3).map_err(|e| fail(e.into()))?;
            while times.is_empty() || begin.elapsed().as_secs_f64() < seconds {
                times.extend(session.repeat(10).map_err(|e| fail(e.into()))?.into_iter().map(f64::from));
            }
        }
        Ok(times.into_iter().map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3)).collect())
    }
    #[cfg(not(feature = "cuda"))]
    {
        let _ = (model, inputs, seconds);
        Err(no_driver(path))
    }
}

/// The inputs of a model for GPUs.
pub(super) fn inputs(model: &GpuModel) -> Result<Vec<InputType>, Failure> {
    let one = |(name, dtype, shape): (String, Option<_>, Vec<_>)| match dtype {
        Some(dtype) => Ok(InputType { name, dtype, shape }),
        None => Err(Failure::Input(format!("input {name}: expected a known element type"))),
    };
    model.inputs().into_iter().map(one).collect()
}
