//! One run of a model: symbols get values, buffers get addresses, steps are carried out.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::run::{
    Executable, Means, Outcome, RunError, Slice, TensorData, TensorView, TensorViewMut, Timing,
};
use super::{Model, Op, Param, Place, Step};
use crate::cpu::Denormals;
use crate::memory::{ALIGNMENT, MemoryError, RawBuffer};

/// What a run needs and the next one can use again.
#[derive(Default)]
pub(super) struct Memory {
    symbols: Vec<Option<i64>>,
    pointers: Vec<*mut u8>,
    sizes: Vec<usize>,
    /// The arguments of the kernel at hand.
    arguments: Vec<*mut u8>,
    values: Vec<i64>,
    arena: Option<RawBuffer>,
    scratch: Option<RawBuffer>,
    /// Buffers made on the way: copies of inputs that are not aligned, sizes known late.
    late: Vec<RawBuffer>,
    /// Outputs that no caller's memory was given for.
    outputs: Vec<Option<RawBuffer>>,
}

// SAFETY: the pointers are only used within a run, which sets every one of them before, and which holds the memory
// exclusively.
unsafe impl Send for Memory {}

impl Memory {
    /// Gives back what only the run that is over needed.
    pub(super) fn forget_late(&mut self) {
        self.late.clear();
    }
}

/// The memory itself if it is large enough, else a new one in its place.
fn at_least(slot: &mut Option<RawBuffer>, bytes: usize) -> Result<&RawBuffer, MemoryError> {
    if slot.as_ref().is_none_or(|memory| memory.len() < bytes) {
        // The old memory is given back before the new one is taken.
        *slot = None;
        *slot = Some(RawBuffer::uninit(bytes)?);
    }
    Ok(slot.as_ref().expect("filled above where it was empty"))
}

/// Vector registers are stored to buffers of the caller's only at this alignment.
const CALLER_ALIGNMENT: usize = 16;

pub(super) struct Call<'c, 'o> {
    exe: &'c Executable,
    memory: &'c mut Memory,
    /// The caller's memory for outputs, if the run does not make its own.
    given: Option<&'c mut [TensorViewMut<'o>]>,
}

impl<'c, 'o> Call<'c, 'o> {
    pub(super) fn new(
        exe: &'c Executable,
        memory: &'c mut Memory,
        inputs: &[TensorView<'_>],
        given: Option<&'c mut [TensorViewMut<'o>]>,
    ) -> Result<Call<'c, 'o>, RunError> {
        let model = &exe.model;
        if inputs.len() != model.inputs.len() {
            return Err(RunError::InputCount { expected: model.inputs.len(), got: inputs.len() });
        }
        if let Some(outputs) = given.as_ref().filter(|o| o.len() != model.outputs.len()) {
            return Err(RunError::OutputCount { expected: model.outputs.len(), got: outputs.len() });
        }
        reset(&mut memory.symbols, model.symbols.len(), None);
        reset(&mut memory.pointers, model.buffers.len(), std::ptr::null_mut());
        reset(&mut memory.sizes, model.buffers.len(), 0);
        memory.outputs.clear();
        memory.outputs.resize_with(model.outputs.len(), || None);
        memory.late.clear();
        for (param, view) in model.inputs.iter().zip(inputs) {
            bind(param, view, &mut memory.symbols)?;
        }
        for (param, view) in model.inputs.iter().zip(inputs) {
            check(param, view, &memory.symbols)?;
        }
        in_range(model, &memory.symbols)?;
        let mut call = Call { exe, memory, given };
        call.place(inputs)?;
        Ok(call)
    }

    /// Gives addresses to all buffers whose place is known from the start.
    fn place(&mut self, inputs: &[TensorView<'_>]) -> Result<(), RunError> {
        let model = &self.exe.model;
        for (i, view) in inputs.iter().enumerate() {
            self.place_input(i, view)?;
        }
        let memory = &mut *self.memory;
        let (arena, room) = match &model.arena_bytes {
            None => (std::ptr::null_mut(), 0),
            Some(bytes) => {
                let bytes =
                    bytes.size(&memory.symbols).ok_or_else(|| RunError::Size("the arena".to_owned()))?;
                let arena = at_least(&mut memory.arena, bytes.max(1))?;
                (arena.as_ptr(), arena.len())
            }
        };
        for (i, buffer) in model.buffers.iter().enumerate() {
            match &buffer.place {
                Place::Constant(c) => {
                    let constant = model.constants.get(*c as usize);
                    let constant = constant.ok_or_else(|| RunError::Malformed(format!("no constant {c}")))?;
                    let bytes: &[u8] = (*constant.bytes).as_ref();
                    memory.pointers[i] = bytes.as_ptr().cast_mut();
                    memory.sizes[i] = bytes.len();
                }
                Place::Arena(offset) => {
                    let size = || RunError::Size(format!("buffer {i}"));
                    let offset = offset.size(&memory.symbols).ok_or_else(size)?;
                    let bytes = buffer.bytes.size(&memory.symbols).ok_or_else(size)?;
                    if offset.checked_add(bytes).is_none_or(|end| end > room) {
                        return Err(RunError::Malformed(format!("buffer {i} lies outside of the arena")));
                    }
                    // SAFETY: the offset was just checked to lie within the arena.
                    memory.pointers[i] = unsafe { arena.add(offset) };
                    memory.sizes[i] = bytes;
                }
                Place::Input(_) | Place::Output(_) | Place::Late => {}
            }
        }
        Ok(())
    }

    /// Kernels may use instructions that need alignment, so an input that has none is copied.
    fn place_input(&mut self, index: usize, view: &TensorView<'_>) -> Result<(), RunError> {
        let buffer = self.exe.model.inputs[index].buffer as usize;
        let aligned = view.bytes.as_ptr().addr().is_multiple_of(CALLER_ALIGNMENT);
        let pointer = if aligned {
            view.bytes.as_ptr().cast_mut()
        } else {
            let copy = RawBuffer::uninit(view.bytes.len())?;
            // SAFETY: the copy has room for all bytes, and the two do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(view.bytes.as_ptr(), copy.as_ptr(), view.bytes.len()) };
            let pointer = copy.as_ptr();
            self.memory.late.push(copy);
            pointer
        };
        let slot = self.memory.pointers.get_mut(buffer);
        *slot.ok_or_else(|| RunError::Malformed(format!("no buffer {buffer}")))? = pointer;
        self.memory.sizes[buffer] = view.bytes.len();
        Ok(())
    }

    /// Carries out all steps.
    pub(super) fn run(mut self, means: &Means<'_>) -> Result<Outcome, RunError> {
        let exe = self.exe;
        let mut timings = Vec::new();
        let _span = tracing::debug_span!("run", steps = exe.model.steps.len()).entered();
        let begin = means.profile.then(Instant::now);
        for (i, step) in exe.model.steps.iter().enumerate() {
            if means.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
                return Err(RunError::Cancelled { steps: i, all: exe.model.steps.len() });
            }
            let start = begin.map(|begin| begin.elapsed());
            let slices = self.step(step, means, begin)?;
            if let (Some(begin), Some(start)) = (begin, start) {
                timings.push(Timing { step: i, start, time: begin.elapsed() - start, slices });
            }
        }
        Ok(Outcome { outputs: self.finish()?, timings })
    }

    /// Finds the memory of a buffer whose size is known by now.
    fn make(&mut self, buffer: usize) -> Result<(), RunError> {
        let model = &self.exe.model;
        let def =
            model.buffers.get(buffer).ok_or_else(|| RunError::Malformed(format!("no buffer {buffer}")))?;
        let memory = &mut *self.memory;
        if !memory.pointers[buffer].is_null() {
            return Ok(());
        }
        let size = || RunError::Size(format!("buffer {buffer}"));
        let bytes = def.bytes.size(&memory.symbols).ok_or_else(size)?;
        memory.sizes[buffer] = bytes;
        let output = match &def.place {
            Place::Output(o) if (*o as usize) < memory.outputs.len() => Some(*o as usize),
            _ => None,
        };
        if let (Some(o), Some(given)) = (output, &mut self.given)
            && given[o].bytes.as_ptr().addr().is_multiple_of(CALLER_ALIGNMENT)
        {
            let view = &mut given[o];
            check_output(&model.outputs[o], view, &memory.symbols)?;
            if view.bytes.len() != bytes {
                return Err(size());
            }
            memory.pointers[buffer] = view.bytes.as_mut_ptr();
            return Ok(());
        }
        let output = output.filter(|_| self.given.is_none());
        let made = if output.is_some() { self.exe.spare.take(bytes)? } else { RawBuffer::uninit(bytes)? };
        memory.pointers[buffer] = made.as_ptr();
        match output {
            Some(o) => memory.outputs[o] = Some(made),
            None => memory.late.push(made),
        }
        Ok(())
    }

    /// Carries out a step; from `begin` on, workers' times are taken.
    fn step(
        &mut self,
        step: &Step,
        means: &Means<'_>,
        begin: Option<Instant>,
    ) -> Result<Vec<Slice>, RunError> {
        match step {
            Step::Kernel { .. } => self.kernel(step, means, begin),
            Step::Host { name, .. } => {
                let _span = tracing::trace_span!("host", name).entered();
                self.host(step, means).map(|()| Vec::new())
            }
        }
    }

    fn kernel(
        &mut self,
        step: &Step,
        means: &Means<'_>,
        begin: Option<Instant>,
    ) -> Result<Vec<Slice>, RunError> {
        let Step::Kernel { function, buffers, symbols, tiles, scratch, name, .. } = step else {
            return Ok(Vec::new());
        };
        let _span = tracing::trace_span!("kernel", name).entered();
        for buffer in buffers {
            self.make(*buffer as usize)?;
        }
        let exe = self.exe;
        let Memory { pointers, arguments, values, symbols: known, scratch: kept, .. } = &mut *self.memory;
        let size = || RunError::Size(format!("kernel `{name}`"));
        arguments.clear();
        arguments.extend(buffers.iter().map(|b| pointers[*b as usize]));
        values.clear();
        for symbol in symbols {
            values.push(known.get(*symbol as usize).copied().flatten().ok_or_else(size)?);
        }
        let tiles = tiles.eval(known).ok_or_else(size)?;
        let scratch = scratch.size(known).ok_or_else(size)?.next_multiple_of(ALIGNMENT);
        let all = scratch.checked_mul(means.threads.threads()).ok_or_else(size)?;
        let kernel = *exe
            .functions
            .get(*function as usize)
            .ok_or_else(|| RunError::Malformed(format!("no kernel {function}")))?;
        let memory = at_least(kept, all.max(1))?;
        let shared = Shared { pointers: arguments, symbols: values, scratch: memory.as_ptr() };
        let slices = Mutex::new(Vec::new());
        let flush = exe.model.flush_denormals;
        means.threads.run(tiles, &|worker, first, end| {
            let shared = &shared;
            let start = begin.map(|begin| begin.elapsed());
            let denormals = Denormals::set(flush);
            // SAFETY: the buffers are as large as the compiler was told, the workers' scratch regions do not
            // overlap, and a compiled kernel touches nothing else; ranges of tiles are independent.
            unsafe {
                let own = shared.scratch.add(worker * scratch);
                kernel(shared.pointers.as_ptr(), shared.symbols.as_ptr(), first, end, own);
            }
            drop(denormals);
            if let (Some(begin), Some(start)) = (begin, start) {
                let slice = Slice { worker, start, time: begin.elapsed() - start };
                slices.lock().unwrap_or_else(PoisonError::into_inner).push(slice);
            }
        })?;
        Ok(slices.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn host(&mut self, step: &Step, means: &Means<'_>) -> Result<(), RunError> {
        let Step::Host { index, inputs, outputs, name } = step else { return Ok(()) };
        let model = &self.exe.model;
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|b| self.shape(*b)).collect::<Result<_, _>>()?;
        let views = inputs.iter().zip(&shapes).map(|(b, shape)| {
            let b = *b as usize;
            // SAFETY: earlier steps wrote the whole buffer, whose size was recorded when it was made.
            let bytes = unsafe { slice_of(self.memory.pointers[b], self.memory.sizes[b]) };
            TensorView { dtype: &model.buffers[b].dtype, shape, bytes }
        });
        let views: Vec<TensorView<'_>> = views.collect();
        let failed = |message: String| RunError::Host { name: name.clone(), message };
        let result = (means.host)(*index, &views, &self.memory.symbols).map_err(failed)?;
        for (symbol, value) in result.symbols {
            if let Some(slot) = self.memory.symbols.get_mut(symbol as usize) {
                *slot = Some(value);
            }
        }
        in_range(model, &self.memory.symbols)?;
        for (buffer, data) in outputs.iter().zip(result.outputs) {
            let buffer = *buffer as usize;
            self.make(buffer)?;
            let (expected, got) = (self.memory.sizes[buffer], data.bytes().len());
            if got != expected {
                return Err(failed(format!("expected {expected} bytes, got {got}")));
            }
            // SAFETY: the buffer has exactly as many bytes as the data, which is memory of its own.
            unsafe {
                std::ptr::copy_nonoverlapping(data.bytes().as_ptr(), self.memory.pointers[buffer], got);
            }
        }
        Ok(())
    }

    fn shape(&self, buffer: u32) -> Result<Vec<usize>, RunError> {
        let def = self.exe.model.buffers.get(buffer as usize);
        let def = def.ok_or_else(|| RunError::Malformed(format!("no buffer {buffer}")))?;
        let shape: Option<Vec<usize>> = def.shape.iter().map(|d| d.size(&self.memory.symbols)).collect();
        shape.ok_or_else(|| RunError::Size(format!("buffer {buffer}")))
    }

    /// Hands out the outputs, or brings those that lie elsewhere to where the caller wants them.
    fn finish(mut self) -> Result<Vec<TensorData>, RunError> {
        let model = &self.exe.model;
        for param in &model.outputs {
            // An output of no elements has no step that makes it.
            self.make(param.buffer as usize)?;
        }
        if let Some(given) = &mut self.given {
            for (param, view) in model.outputs.iter().zip(given.iter_mut()) {
                let buffer = param.buffer as usize;
                let from = self.memory.pointers[buffer];
                if std::ptr::eq(from, view.bytes.as_ptr()) {
                    continue;
                }
                check_output(param, view, &self.memory.symbols)?;
                // SAFETY: the buffer was written before the run came to its end.
                view.bytes.copy_from_slice(unsafe { slice_of(from, self.memory.sizes[buffer]) });
            }
            return Ok(Vec::new());
        }
        let mut outputs = Vec::with_capacity(model.outputs.len());
        for (i, param) in model.outputs.iter().enumerate() {
            let buffer = param.buffer as usize;
            let shape = self.shape(param.buffer)?;
            let (dtype, len) = (param.dtype.clone(), self.memory.sizes[buffer]);
            outputs.push(match self.memory.outputs[i].take() {
                // SAFETY: the run wrote the whole buffer, which was made with this size.
                Some(memory) => unsafe {
                    TensorData::made(dtype, shape, memory, len, self.exe.spare.clone())
                },
                // The output is an input, a constant or another output.
                None => {
                    // SAFETY: the buffer was written before the run came to its end.
                    let bytes = unsafe { slice_of(self.memory.pointers[buffer], len) };
                    TensorData::copy_of(&dtype, &shape, bytes)?
                }
            });
        }
        Ok(outputs)
    }
}

/// Sets a vector to `len` copies of a value, within the memory it has.
fn reset<T: Clone>(vector: &mut Vec<T>, len: usize, value: T) {
    vector.clear();
    vector.resize(len, value);
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

/// Code is made for values in these ranges, and may rely on them.
fn in_range(model: &Model, symbols: &[Option<i64>]) -> Result<(), RunError> {
    for (i, ([lo, hi], value)) in model.ranges.iter().zip(symbols).enumerate() {
        if let Some(got) = value.filter(|v| v < lo || v > hi) {
            return Err(RunError::Extent { symbol: model.symbols[i].clone(), lo: *lo, hi: *hi, got });
        }
    }
    Ok(())
}

/// Symbols that are an extent of an input take its value.
fn bind(param: &Param, view: &TensorView<'_>, symbols: &mut [Option<i64>]) -> Result<(), RunError> {
    if view.dtype != param.dtype || view.shape.len() != param.shape.len() {
        return Err(mismatch(param, view));
    }
    for (dim, extent) in param.shape.iter().zip(view.shape) {
        if let [Op::Symbol(s)] = dim.0.as_slice()
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
    if !fits(param, view.shape, symbols) {
        return Err(mismatch(param, view));
    }
    let bytes = byte_count(param, view.shape);
    if bytes != Some(view.bytes.len()) {
        return Err(RunError::Input {
            name: param.name.clone(),
            expected: format!("{} bytes", bytes.unwrap_or(usize::MAX)),
            got: view.bytes.len().to_string(),
        });
    }
    Ok(())
}

fn check_output(param: &Param, view: &TensorViewMut<'_>, symbols: &[Option<i64>]) -> Result<(), RunError> {
    let same_rank = view.shape.len() == param.shape.len();
    let right = view.dtype == param.dtype && same_rank && fits(param, view.shape, symbols);
    if right && byte_count(param, view.shape) == Some(view.bytes.len()) {
        return Ok(());
    }
    Err(RunError::Output {
        name: param.name.clone(),
        expected: expectation(param),
        got: format!("{}{:?} of {} bytes", view.dtype, view.shape, view.bytes.len()),
    })
}

fn fits(param: &Param, shape: &[usize], symbols: &[Option<i64>]) -> bool {
    param.shape.iter().zip(shape).all(|(dim, extent)| dim.size(symbols).is_none_or(|d| d == *extent))
}

fn byte_count(param: &Param, shape: &[usize]) -> Option<usize> {
    let elements = shape.iter().try_fold(1usize, |n, e| n.checked_mul(*e))?;
    Some(elements.checked_mul(param.bits as usize)?.div_ceil(8))
}

fn expectation(param: &Param) -> String {
    let shape: Vec<String> = param.shape.iter().map(ToString::to_string).collect();
    format!("{}[{}]", param.dtype, shape.join(", "))
}

fn mismatch(param: &Param, view: &TensorView<'_>) -> RunError {
    RunError::Input {
        name: param.name.clone(),
        expected: expectation(param),
        got: format!("{}{:?}", view.dtype, view.shape),
    }
}
