//! What goes wrong with GPUs, each in one line.

use crate::memory::MemoryError;

/// Why a model does not load or run on a GPU.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// The driver's library is not there.
    #[error("expected a driver for NVIDIA GPUs, found none: {0}")]
    NoDriver(String),
    /// The driver is older than what is asked of it.
    #[error("expected a driver with the function {0}, found one without")]
    OldDriver(&'static str),
    /// There is no such GPU.
    #[error("expected a GPU with the number {wanted}, found {found}")]
    NoDevice {
        /// The number that was asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// The driver refused something.
    #[error("{call}: expected success, got {name}: {message}")]
    Call {
        /// The driver's function.
        call: &'static str,
        /// The driver's number for what happened.
        code: i32,
        /// Its name for it.
        name: String,
        /// Its explanation.
        message: String,
    },
    /// The driver's compiler refused the kernels.
    #[error("kernels for {target}: expected code that the driver takes, got {name}: {log}")]
    Code {
        /// What the code was made for.
        target: String,
        /// The driver's name for what happened.
        name: String,
        /// What its compiler said, with the line that it is about.
        log: String,
    },
    /// No code for this GPU.
    #[error("expected code for compute capability {got}, found it for {known}")]
    Target {
        /// What the GPU has.
        got: u32,
        /// What there is code for.
        known: String,
    },
    /// An input or output of a wrong number, type or shape.
    #[error("{name}: expected {expected}, got {got}")]
    Argument {
        /// Which.
        name: String,
        /// What the model takes.
        expected: String,
        /// What was given.
        got: String,
    },
    /// The workspace is too small.
    #[error("expected a workspace of {expected} bytes, got {got}")]
    Workspace {
        /// What the model needs.
        expected: usize,
        /// What was given.
        got: usize,
    },
    /// A size that cannot be computed or is out of all bounds.
    #[error("expected a size for {0} that can be computed from the inputs")]
    Size(String),
    /// Kernels alone do not make the run.
    #[error("expected a model of kernels alone, found `{0}` on the host")]
    HostOp(String),
    /// An op on the host failed.
    #[error("{name}: {message}")]
    Host {
        /// Which.
        name: String,
        /// What happened.
        message: String,
    },
    /// A file could not be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// What happened.
        error: std::io::Error,
    },
    /// The manifest contradicts itself.
    #[error("manifest.json: {0}")]
    Malformed(String),
    /// No memory on the host.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}
