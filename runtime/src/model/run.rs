//! Running a model: what a caller gives and gets, and the loaded code.

use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Model;
use super::call::{Call, Memory};
use crate::CompiledKernel;
use crate::loader::{Image, LoadError};
use crate::memory::{HUGE_PAGE, MemoryError, RawBuffer};
use crate::threads::{Parallel, ThreadError};

/// Why a run gave no outputs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The wrong number of inputs.
    #[error("expected {expected} inputs, got {got}")]
    InputCount {
        /// How many the model has.
        expected: usize,
        /// How many were given.
        got: usize,
    },
    /// The wrong number of outputs to write to.
    #[error("expected {expected} outputs, got {got}")]
    OutputCount {
        /// How many the model has.
        expected: usize,
        /// How many were given.
        got: usize,
    },
    /// An input of another type or shape.
    #[error("input `{name}`: expected {expected}, got {got}")]
    Input {
        /// Its name.
        name: String,
        /// What the model takes.
        expected: String,
        /// What was given.
        got: String,
    },
    /// An output of another type or shape.
    #[error("output `{name}`: expected {expected}, got {got}")]
    Output {
        /// Its name.
        name: String,
        /// What the model makes.
        expected: String,
        /// What was given to write to.
        got: String,
    },
    /// An extent outside of what the code was made for.
    #[error("expected {symbol} in {lo}..={hi}, got {got}")]
    Extent {
        /// The symbol.
        symbol: String,
        /// The least it can be.
        lo: i64,
        /// The most it can be.
        hi: i64,
        /// What it would be.
        got: i64,
    },
    /// A size that cannot be computed or is out of all bounds.
    #[error("expected a size for {0} that can be computed from the inputs")]
    Size(String),
    /// No memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// A thread failed.
    #[error(transparent)]
    Thread(#[from] ThreadError),
    /// The code could not be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An op that the embedder carries out failed.
    #[error("{name}: {message}")]
    Host {
        /// The op.
        name: String,
        /// What happened.
        message: String,
    },
    /// The caller asked for the end of the run.
    #[error("the run was cancelled after {steps} of {all} steps")]
    Cancelled {
        /// How many steps were done.
        steps: usize,
        /// How many there are.
        all: usize,
    },
    /// The model contradicts itself.
    #[error("the model is malformed: {0}")]
    Malformed(String),
}

/// A tensor that the caller owns: contiguous, row-major.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The name of its element type.
    pub dtype: &'a str,
    /// Its extents.
    pub shape: &'a [usize],
    /// Its elements.
    pub bytes: &'a [u8],
}

/// A tensor of the caller's that is written to: contiguous, row-major.
#[derive(Debug)]
pub struct TensorViewMut<'a> {
    /// The name of its element type.
    pub dtype: &'a str,
    /// Its extents.
    pub shape: &'a [usize],
    /// Its elements.
    pub bytes: &'a mut [u8],
}

/// A tensor that a run made.
pub struct TensorData {
    /// The name of its element type.
    pub dtype: String,
    /// Its extents.
    pub shape: Vec<usize>,
    memory: RawBuffer,
    len: usize,
    /// Who takes the memory once the tensor is dropped.
    returns: Option<Arc<Spare>>,
}

/// Memory of outputs that callers are done with, for the outputs of later runs: pages of its own that the system
/// would have to clear again cost more than many a model.
#[derive(Default)]
pub(super) struct Spare(Mutex<Vec<RawBuffer>>);

impl Spare {
    /// Memory for this many bytes, of earlier outputs where one is not much too large.
    pub(super) fn take(&self, bytes: usize) -> Result<RawBuffer, MemoryError> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |m: &RawBuffer| (bytes..=bytes.saturating_mul(2)).contains(&m.len());
        match spare.iter().position(fits) {
            Some(found) => Ok(spare.swap_remove(found)),
            None => RawBuffer::uninit(bytes),
        }
    }

    fn put(&self, memory: RawBuffer) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Smaller memory comes from an allocator that reuses it by itself.
        if memory.len() >= HUGE_PAGE && spare.len() < KEPT_IDLE {
            spare.push(memory);
        }
    }
}

impl Drop for TensorData {
    fn drop(&mut self) {
        if let Some(spare) = &self.returns {
            spare.put(std::mem::take(&mut self.memory));
        }
    }
}

impl TensorData {
    /// An output of this many bytes, all of them written from `bytes`.
    pub fn copy_of(dtype: &str, shape: &[usize], bytes: &[u8]) -> Result<TensorData, MemoryError> {
        let memory = RawBuffer::uninit(bytes.len())?;
        // SAFETY: the buffer was made with room for all of `bytes`, and nothing else points into it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.as_ptr(), bytes.len()) };
        Ok(TensorData {
            dtype: dtype.to_owned(),
            shape: shape.to_vec(),
            memory,
            len: bytes.len(),
            returns: None,
        })
    }

    /// # Safety
    /// The first `len` bytes of the memory must be there and initialised.
    pub(super) unsafe fn made(
        dtype: String,
        shape: Vec<usize>,
        memory: RawBuffer,
        len: usize,
        returns: Arc<Spare>,
    ) -> TensorData {
        TensorData { dtype, shape, memory, len, returns: Some(returns) }
    }

    /// The elements.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: a run writes every byte of an output before it hands it out, and `len` is within the buffer.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

/// How long a step took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The step.
    pub step: usize,
    /// When it began, from the start of the run.
    pub start: Duration,
    /// How long.
    pub time: Duration,
    /// What each worker did of a kernel.
    pub slices: Vec<Slice>,
}

/// One range of a kernel's tiles, carried out by one worker.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// The worker.
    pub worker: usize,
    /// When it began, from the start of the run.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
}

impl Timing {
    /// How much longer the busiest worker was at it than workers were on average; 1 is even.
    pub fn imbalance(&self, workers: usize) -> f64 {
        let mut busy = vec![0.0; workers.max(1)];
        for slice in &self.slices {
            if let Some(busy) = busy.get_mut(slice.worker) {
                *busy += slice.time.as_secs_f64();
            }
        }
        let most = busy.iter().copied().fold(0.0, f64::max);
        let mean = busy.iter().sum::<f64>() / busy.len() as f64;
        if mean > 0.0 { most / mean } else { 1.0 }
    }
}

/// What a run gave.
pub struct Outcome {
    /// The outputs in order.
    pub outputs: Vec<TensorData>,
    /// How long each step took, if that was asked for.
    pub timings: Vec<Timing>,
}

/// Carries out host ops: from the op's number and its inputs to its outputs.
pub type HostOps<'a> =
    &'a (dyn Fn(u32, &[TensorView<'_>], &[Option<i64>]) -> Result<HostResult, String> + Sync);

/// What a host op gives: its outputs, and symbols that got their values.
pub struct HostResult {
    /// The outputs.
    pub outputs: Vec<TensorData>,
    /// Symbols by number with their values.
    pub symbols: Vec<(u32, i64)>,
}

/// With what a model is run.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Who runs the tiles of kernels.
    pub threads: &'a dyn Parallel,
    /// Who carries out host ops.
    pub host: HostOps<'a>,
    /// Set from anywhere to end the run after the step it is at.
    pub cancel: Option<&'a AtomicBool>,
    /// Whether steps are timed.
    pub profile: bool,
}

impl<'a> Means<'a> {
    /// Only threads: no host ops, no timing.
    pub fn threads(threads: &'a dyn Parallel) -> Means<'a> {
        let none: HostOps<'a> = &|index, _, _| Err(format!("expected no host ops, got number {index}"));
        Means { threads, host: none, cancel: None, profile: false }
    }
}

/// A model whose code is loaded.
pub struct Executable {
    pub(super) model: Model,
    /// Holds the code that `functions` point into.
    _image: Option<Image>,
    pub(super) functions: Vec<CompiledKernel>,
    /// Memory of earlier runs.
    idle: Mutex<Vec<Memory>>,
    /// Memory of the outputs of earlier runs.
    pub(super) spare: Arc<Spare>,
}

/// How much memory of earlier runs is kept for later ones.
const KEPT_IDLE: usize = 8;

impl Executable {
    /// Loads the code of a model.
    pub fn new(model: Model) -> Result<Executable, RunError> {
        model.validate().map_err(RunError::Malformed)?;
        let image =
            if model.functions.is_empty() { None } else { Some(Image::load_with_runtime(&model.object)?) };
        let mut functions = Vec::with_capacity(model.functions.len());
        for name in &model.functions {
            let address = image.as_ref().and_then(|i| i.symbol(name));
            let address =
                address.ok_or_else(|| RunError::Malformed(format!("no code for kernel `{name}`")))?;
            // SAFETY: the backends emit every kernel with this signature under its name, and the image that holds
            // the code lives as long as the pointer.
            functions.push(unsafe { std::mem::transmute::<*const u8, CompiledKernel>(address) });
        }
        Ok(Executable { model, _image: image, functions, idle: Mutex::default(), spare: Arc::default() })
    }

    /// What it was made of.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs the model, with memory that earlier runs left.
    pub fn run(&self, inputs: &[TensorView<'_>], means: &Means<'_>) -> Result<Outcome, RunError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = idle().pop().unwrap_or_default();
        let outcome = Call::new(self, &mut memory, inputs, None).and_then(|call| call.run(means));
        memory.forget_late();
        let mut kept = idle();
        if kept.len() < KEPT_IDLE {
            kept.push(memory);
        }
        outcome
    }
}

/// Runs of one caller, one after the other. From the second on, a run with the same extents takes no lock and
/// allocates nothing, unless the model has host ops.
pub struct Session<E> {
    executable: E,
    memory: Memory,
}

impl<E: Deref<Target = Executable>> Session<E> {
    /// A session of a model.
    pub fn new(executable: E) -> Session<E> {
        Session { executable, memory: Memory::default() }
    }

    /// Runs the model, writing to the caller's outputs; the times of the steps if they were asked for.
    pub fn run_into(
        &mut self,
        inputs: &[TensorView<'_>],
        outputs: &mut [TensorViewMut<'_>],
        means: &Means<'_>,
    ) -> Result<Vec<Timing>, RunError> {
        let call = Call::new(&self.executable, &mut self.memory, inputs, Some(outputs))?;
        call.run(means).map(|outcome| outcome.timings)
    }
}
