//! Models on NVIDIA GPUs: what is launched, as data, and with the feature `cuda` the driver that launches it.
//!
//! The driver is loaded when it is first asked for; nothing of a toolkit is needed, and a machine without a driver
//! gives an error. All calls work in the device's primary context, which other users of CUDA in the process share,
//! and leave the context of the calling thread as they found it.
//!
//! A `Context` of the `Driver` opens a `CudaModel` from its folder; a `Binding` says the extents of a call, and
//! `CudaModel::enqueue` puts its launches into the caller's stream. A `CudaSession` does all of that for tensors of
//! the host.

mod manifest;

#[cfg(feature = "cuda")]
mod code;
#[cfg(feature = "cuda")]
mod context;
#[cfg(feature = "cuda")]
mod driver;
#[cfg(feature = "cuda")]
mod error;
#[cfg(feature = "cuda")]
mod executable;
#[cfg(feature = "cuda")]
mod session;
#[cfg(all(test, feature = "cuda"))]
mod tests;

pub use manifest::{FORMAT, Kernel, Launch, Manifest, Resources, Step, Target, Weight};

#[cfg(feature = "cuda")]
pub use code::Code;
#[cfg(feature = "cuda")]
pub use context::{Context, DeviceMemory, Event, Graph, Stream};
#[cfg(feature = "cuda")]
pub use driver::{DRIVER_VARIABLE, Driver};
#[cfg(feature = "cuda")]
pub use error::CudaError;
#[cfg(feature = "cuda")]
pub use executable::{Binding, CudaModel, RawStream};
#[cfg(feature = "cuda")]
pub use session::{CudaOutcome, CudaSession};
