//! Running a model.

use std::time::{Duration, Instant};

use super::{Model, Param, Place, Step};
use crate::CompiledKernel;
use crate::loader::{Image, LoadError};
use crate::memory::{ALIGNMENT, Arena, ArenaPool, MemoryError, RawBuffer};
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

/// A tensor that a run made.
pub struct TensorData {
    /// The name of its element type.
    pub dtype: String,
    /// Its extents.
    pub shape: Vec<usize>,
    memory: RawBuffer,
    len: usize,
}

impl TensorData {
    /// An output of this many bytes, all of them written from `bytes`.
    pub fn copy_of(dtype: &str, shape: &[usize], bytes: &[u8]) -> Result<TensorData, MemoryError> {
        let memory = RawBuffer::uninit(bytes.len())?;
        // SAFETY: the buffer was made with room for all of `bytes`, and nothing else points into it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.as_ptr(), bytes.len()) };
        Ok(TensorData { dtype: dtype.to_owned(), shape: shape.to_vec(), memory, len: bytes.len() })
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
    /// How long.
    pub time: Duration,
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

/// A model whose code is loaded.
pub struct Executable {
    model: Model,
    /// Holds the code that `functions` point into.
    _image: Option<Image>,
    functions: Vec<CompiledKernel>,
    arenas: ArenaPool,
}

impl Executable {
    /// Loads the code of a model.
    pub fn new(model: Model) -> Result<Executable, RunError> {
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
        Ok(Executable { model, _image: image, functions, arenas: ArenaPool::new(8) })
    }

    /// What it was made of.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs the model.
    pub fn run(
        &self,
        inputs: &[TensorView<'_>],
        threads: &dyn Parallel,
        host: HostOps<'_>,
        profile: bool,
    ) -> Result<Outcome, RunError> {
        let mut call = Call::new(self, inputs)?;
        let mut timings = Vec::new();
        for (i, step) in self.model.steps.iter().enumerate() {
            let start = profile.then(Instant::now);
            call.step(step, threads, host)?;
            if let Some(start) = start {
                timings.push(Timing { step: i, time: start.elapsed() });
            }
        }
        Ok(Outcome { outputs: call.finish()?, timings })
    }
}

/// The memory of one run.
struct Call<'a> {
    exe: &'a Executable,
    symbols: Vec<Option<i64>>,
    pointers: Vec<*mut u8>,
    sizes: Vec<usize>,
    outputs: Vec<Option<RawBuffer>>,
    late: Vec<RawBuffer>,
    /// Holds the memory that pointers into the arena point to.
    _arena: Option<Arena<'a>>,
}

impl<'a> Call<'a> {
    fn new(exe: &'a Executable, given: &[TensorView<'_>]) -> Result<Call<'a>, RunError> {
        let model = &exe.model;
        if given.len() != model.inputs.len() {
            return Err(RunError::InputCount { expected: model.inputs.len(), got: given.len() });
        }
        let mut symbols = vec![None; model.symbols.len()];
        for (param, view) in model.inputs.iter().zip(given) {
            bind(param, view, &mut symbols)?;
        }
        for (param, view) in model.inputs.iter().zip(given) {
            check(param, view, &symbols)?;
        }
        let arena = match &model.arena_bytes {
            None => None,
            Some(bytes) => {
                let bytes = bytes.size(&symbols).ok_or_else(|| RunError::Size("the arena".to_owned()))?;
                Some(exe.arenas.checkout(bytes.max(1))?)
            }
        };
        let mut call = Call {
            exe,
            symbols,
            pointers: vec![std::ptr::null_mut(); model.buffers.len()],
            sizes: vec![0; model.buffers.len()],
            outputs: model.outputs.iter().map(|_| None).collect(),
            late: Vec::new(),
            _arena: arena,
        };
        for (i, view) in given.iter().enumerate() {
            call.place_input(i, view)?;
        }
        for (i, buffer) in model.buffers.iter().enumerate() {
            match &buffer.place {
                Place::Constant(c) => {
                    let constant = model.constants.get(*c as usize);
                    let constant = constant.ok_or_else(|| RunError::Malformed(format!("no constant {c}")))?;
                    let bytes: &[u8] = (*constant.bytes).as_ref();
                    call.pointers[i] = bytes.as_ptr().cast_mut();
                    call.sizes[i] = bytes.len();
                }
                Place::Arena(offset) => {
                    let size = || RunError::Size(format!("buffer {i}"));
                    let offset = offset.size(&call.symbols).ok_or_else(size)?;
                    let bytes = buffer.bytes.size(&call.symbols).ok_or_else(size)?;
                    let arena = call._arena.as_ref();
                    let room =
                        arena.is_some_and(|a| offset.checked_add(bytes).is_some_and(|end| end <= a.len()));
                    let Some(arena) = arena.filter(|_| room) else {
                        return Err(RunError::Malformed(format!("buffer {i} lies outside of the arena")));
                    };
                    // SAFETY: the offset was just checked to lie within the arena.
                    call.pointers[i] = unsafe { arena.as_ptr().add(offset) };
                    call.sizes[i] = bytes;
                }
                Place::Input(_) | Place::Output(_) | Place::Late => {}
            }
        }
        Ok(call)
    }

    /// Kernels may use instructions that need alignment, so an input that has none is copied.
    fn place_input(&mut self, index: usize, view: &TensorView<'_>) -> Result<(), RunError> {
        let buffer = self.exe.model.inputs[index].buffer as usize;
        let aligned = view.bytes.as_ptr().addr().is_multiple_of(16);
        let pointer = if aligned {
            view.bytes.as_ptr().cast_mut()
        } else {
            let copy = RawBuffer::uninit(view.bytes.len())?;
            // SAFETY: the copy has room for all bytes, and the two do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(view.bytes.as_ptr(), copy.as_ptr(), view.bytes.len()) };
            let pointer = copy.as_ptr();
            self.late.push(copy);
            pointer
        };
        let slot = self.pointers.get_mut(buffer);
        *slot.ok_or_else(|| RunError::Malformed(format!("no buffer {buffer}")))? = pointer;
        self.sizes[buffer] = view.bytes.len();
        Ok(())
    }

    /// Makes the memory of a buffer whose size is known by now.
    fn make(&mut self, buffer: usize) -> Result<(), RunError> {
        let model = &self.exe.model;
        let def =
            model.buffers.get(buffer).ok_or_else(|| RunError::Malformed(format!("no buffer {buffer}")))?;
        if !self.pointers[buffer].is_null() {
            return Ok(());
        }
        let bytes =
            def.bytes.size(&self.symbols).ok_or_else(|| RunError::Size(format!("buffer {buffer}")))?;
        let memory = RawBuffer::uninit(bytes)?;
        self.pointers[buffer] = memory.as_ptr();
        self.sizes[buffer] = bytes;
        match &def.place {
            Place::Output(o) if (*o as usize) < self.outputs.len() => {
                self.outputs[*o as usize] = Some(memory)
            }
            _ => self.late.push(memory),
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, threads: &dyn Parallel, host: HostOps<'_>) -> Result<(), RunError> {
        match step {
            Step::Kernel { function, buffers, symbols, tiles, scratch, name } => {
                for buffer in buffers {
                    self.make(*buffer as usize)?;
                }
                let pointers: Vec<*mut u8> = buffers.iter().map(|b| self.pointers[*b as usize]).collect();
                let size = || RunError::Size(format!("kernel `{name}`"));
                let values: Option<Vec<i64>> =
                    symbols.iter().map(|s| self.symbols.get(*s as usize).copied()?).collect();
                let values = values.ok_or_else(size)?;
                let tiles = tiles.eval(&self.symbols).ok_or_else(size)?;
                let scratch = scratch.size(&self.symbols).ok_or_else(size)?.next_multiple_of(ALIGNMENT);
                let kernel = *self
                    .exe
                    .functions
                    .get(*function as usize)
                    .ok_or_else(|| RunError::Malformed(format!("no kernel {function}")))?;
                let memory = self.exe.arenas.checkout((scratch * threads.threads()).max(1))?;
                let shared = Shared { pointers: &pointers, symbols: &values, scratch: memory.as_ptr() };
                threads.run(tiles, &|worker, begin, end| {
                    let shared = &shared;
                    // SAFETY: the buffers are as large as the compiler was told, the workers' scratch regions do
                    // not overlap, and a compiled kernel touches nothing else; ranges of tiles are independent.
                    unsafe {
                        let own = shared.scratch.add(worker * scratch);
                        kernel(shared.pointers.as_ptr(), shared.symbols.as_ptr(), begin, end, own);
                    }
                })?;
                Ok(())
            }
            Step::Host { index, inputs, outputs, name } => {
                let shapes: Vec<Vec<usize>> =
                    inputs.iter().map(|b| self.shape(*b)).collect::<Result<_, _>>()?;
                let model = &self.exe.model;
                let views: Vec<TensorView<'_>> = inputs
                    .iter()
                    .zip(&shapes)
                    .map(|(b, shape)| {
                        let b = *b as usize;
                        // SAFETY: earlier steps wrote the whole buffer, whose size was recorded when it was made.
                        let bytes = unsafe { slice_of(self.pointers[b], self.sizes[b]) };
                        TensorView { dtype: &model.buffers[b].dtype, shape, bytes }
                    })
                    .collect();
                let result = host(*index, &views, &self.symbols)
                    .map_err(|message| RunError::Host { name: name.clone(), message })?;
                for (symbol, value) in result.symbols {
                    if let Some(slot) = self.symbols.get_mut(symbol as usize) {
                        *slot = Some(value);
                    }
                }
                for (buffer, data) in outputs.iter().zip(result.outputs) {
                    let buffer = *buffer as usize;
                    self.make(buffer)?;
                    if data.bytes().len() != self.sizes[buffer] {
                        let message =
                            format!("expected {} bytes, got {}", self.sizes[buffer], data.bytes().len());
                        return Err(RunError::Host { name: name.clone(), message });
                    }
                    // SAFETY: the buffer has exactly as many bytes as the data, which is memory of its own.
                    unsafe {
                        std::ptr::copy_nonoverlapping(
                            data.bytes().as_ptr(),
                            self.pointers[buffer],
                            data.bytes().len(),
                        );
                    }
                }
                Ok(())
            }
        }
    }

    fn shape(&self, buffer: u32) -> Result<Vec<usize>, RunError> {
        let def = self.exe.model.buffers.get(buffer as usize);
        let def = def.ok_or_else(|| RunError::Malformed(format!("no buffer {buffer}")))?;
        let shape: Option<Vec<usize>> = def.shape.iter().map(|d| d.size(&self.symbols)).collect();
        shape.ok_or_else(|| RunError::Size(format!("buffer {buffer}")))
    }

    fn finish(mut self) -> Result<Vec<TensorData>, RunError> {
        let model = &self.exe.model;
        let mut outputs = Vec::with_capacity(model.outputs.len());
        for (i, param) in model.outputs.iter().enumerate() {
            let buffer = param.buffer as usize;
            let shape = self.shape(param.buffer)?;
            let (dtype, len) = (param.dtype.clone(), self.sizes[buffer]);
            match self.outputs[i].take() {
                Some(memory) => outputs.push(TensorData { dtype, shape, memory, len }),
                None => {
                    // The output is an input, a constant or another output.
                    if self.pointers[buffer].is_null() {
                        self.make(buffer)?;
                    }
                    // SAFETY: the buffer was written before the run came to its end.
                    let bytes = unsafe { slice_of(self.pointers[buffer], self.sizes[buffer]) };
                    outputs.push(TensorData::copy_of(&dtype, &shape, bytes)?);
                }
            }
        }
        Ok(outputs)
    }
}

/// What the workers of a kernel share.
struct Shared<'a> {
    pointers: &'a [*mut u8],
    symbols: &'a [i64],
    scratch: *mut u8,
}

// SAFETY: workers only read the pointers, and write through them to elements that belong to their own tiles.
unsafe impl Sync for Shared<'_> {}

/// # Safety
/// `len` bytes at `pointer` must be initialised and stay unchanged for `'a`.
unsafe fn slice_of<'a>(pointer: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(pointer, len) }
}

/// Symbols that are an extent of an input take its value.
fn bind(param: &Param, view: &TensorView<'_>, symbols: &mut [Option<i64>]) -> Result<(), RunError> {
    if view.dtype != param.dtype || view.shape.len() != param.shape.len() {
        return Err(mismatch(param, view));
    }
    for (dim, extent) in param.shape.iter().zip(view.shape) {
        if let [super::Op::Symbol(s)] = dim.0.as_slice()
            && let Some(slot) = symbols.get_mut(*s as usize)
        {
            let value = i64::try_from(*extent).map_err(|_| mismatch(param, view))?;
            if slot.is_some_and(|v| v != value) {
                return Err(mismatch(param, view));
            }
            *slot = Some(value);
        }
    }
    Ok(())
}

fn check(param: &Param, view: &TensorView<'_>, symbols: &[Option<i64>]) -> Result<(), RunError> {
    for (dim, extent) in param.shape.iter().zip(view.shape) {
        if dim.size(symbols).is_some_and(|d| d != *extent) {
            return Err(mismatch(param, view));
        }
    }
    let elements = view.shape.iter().try_fold(1usize, |n, e| n.checked_mul(*e));
    let bytes = elements.and_then(|n| n.checked_mul(param.bits as usize)).map(|bits| bits.div_ceil(8));
    if bytes != Some(view.bytes.len()) {
        return Err(RunError::Input {
            name: param.name.clone(),
            expected: format!("{} bytes", bytes.unwrap_or(usize::MAX)),
            got: view.bytes.len().to_string(),
        });
    }
    Ok(())
}

fn mismatch(param: &Param, view: &TensorView<'_>) -> RunError {
    let shape: Vec<String> = param.shape.iter().map(ToString::to_string).collect();
    RunError::Input {
        name: param.name.clone(),
        expected: format!("{}[{}]", param.dtype, shape.join(", ")),
        got: format!("{}{:?}", view.dtype, view.shape),
    }
}
