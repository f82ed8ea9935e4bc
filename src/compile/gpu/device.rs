//! Models on a GPU, with the interpreters for what the host does.

use std::sync::Arc;

use tcc_ir::tensor::{Tensor, TensorError};
use tcc_runtime::cuda::{Code, Context, CudaError, CudaModel, CudaOutcome, CudaSession, Step};
use tcc_runtime::model::TensorView;

use super::super::host::carry_out;
use super::{GpuModel, GpuRun};

/// Why a run on a GPU gave no outputs.
#[derive(Debug, thiserror::Error)]
pub enum DeviceRunError {
    /// The runtime or the driver refused something.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl GpuModel {
    /// Loads the model into a GPU's context: the code of the target that suits it best.
    pub fn load(&self, context: Arc<Context>) -> Result<CudaModel, CudaError> {
        let code = |(target, ptx): &(_, String)| {
            let cubin = self.cubins.iter().find(|(t, _)| t == target);
            (ptx.clone(), cubin.map(|(_, bytes)| bytes.clone()))
        };
        let all: Vec<(String, Option<Vec<u8>>)> = self.ptx.iter().map(code).collect();
        let codes: Vec<Code<'_>> =
            all.iter().map(|(ptx, cubin)| Code { ptx, cubin: cubin.as_deref() }).collect();
        CudaModel::load(context, &self.manifest, &codes, &self.constants)
    }

    /// Runs the model on the GPU that a session of it has, and gives the milliseconds that it took there.
    pub fn run(&self, session: &mut CudaSession, inputs: &[Tensor]) -> Result<(GpuRun, f32), DeviceRunError> {
        let whole = inputs.iter().map(Tensor::contiguous).collect::<Result<Vec<_>, _>>()?;
        let mut views = Vec::with_capacity(whole.len());
        let bytes = whole.iter().map(Tensor::to_bytes).collect::<Result<Vec<_>, _>>()?;
        for (tensor, bytes) in whole.iter().zip(&bytes) {
            views.push(TensorView { dtype: tensor.dtype().name(), shape: tensor.shape(), bytes });
        }
        let CudaOutcome { outputs, milliseconds } =
            session.run(&views, &|work, inputs, symbols| match self.host.get(work as usize) {
                Some(work) => carry_out(work, inputs, symbols, &self.manifest.symbols),
                None => Err(format!("expected an op below {}, got {work}", self.host.len())),
            })?;
        let mut tensors = Vec::with_capacity(outputs.len());
        for data in &outputs {
            let dtype = data.dtype.parse().map_err(|_| {
                CudaError::Malformed(format!("expected an element type, got {:?}", data.dtype))
            })?;
            tensors.push(Tensor::from_byte_slice(dtype, &data.shape, data.bytes())?);
        }
        let launches = self.manifest.steps.iter().filter(|s| matches!(s, Step::Launch { .. })).count();
        let host_ops = self.manifest.steps.len() - launches;
        Ok((GpuRun { outputs: tensors, launches, host_ops }, milliseconds))
    }
}
