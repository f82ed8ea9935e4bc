//! A model on a GPU: its kernels and weights loaded, and its launches put into a stream.
//!
//! The workspace is one range of memory: the arena, then scratch memory that the launches share one after the other.
//! Addresses of a binding never change, so that all launches can be captured once and repeated as a graph.

use std::path::Path;
use std::sync::Arc;

use super::code::{Code, Function, Module, best_target};
use super::context::{Context, DeviceMemory, Graph, Stream};
use super::driver::{Handle, call};
use super::{CudaError, Launch, Manifest, Step};
use crate::model::{BufferDef, Constant, Expr, Op, Param, Place};

/// Where scratch memory and the arena begin.
const ALIGN: usize = 256;

/// A model on a GPU.
pub struct CudaModel {
    pub(super) context: Arc<Context>,
    pub(super) manifest: Manifest,
    /// The number of the target whose code is loaded.
    target: usize,
    functions: Vec<Function>,
    weights: DeviceMemory,
    /// Functions live as long as their module does.
    _module: Module,
}

/// A stream of the caller's: a `CUstream` or `cudaStream_t`; null is the default stream.
#[derive(Clone, Copy, Debug)]
pub struct RawStream(pub *mut std::ffi::c_void);

impl From<&Stream> for RawStream {
    fn from(stream: &Stream) -> RawStream {
        RawStream(stream.raw)
    }
}

/// The extents of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub(super) symbols: Vec<Option<i64>>,
}

impl CudaModel {
    /// Loads a model from the folder that it was written to.
    pub fn open(context: Arc<Context>, folder: &Path) -> Result<CudaModel, CudaError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| CudaError::Io { path: path.display().to_string(), error })
        };
        let manifest: Manifest = serde_json::from_slice(&read("manifest.json")?)
            .map_err(|e| CudaError::Malformed(e.to_string()))?;
        manifest.validate().map_err(CudaError::Malformed)?;
        let best = best_target(&manifest, context.capability())?;
        let target = &manifest.targets[best];
        if target.capability().is_none() || target.name.contains(['/', '\\', '.']) {
            return Err(CudaError::Malformed(format!(
                "expected a target such as sm_80, got {:?}",
                target.name
            )));
        }
        // Files are named after the target, so that no manifest leads out of the folder.
        let ptx = String::from_utf8(read(&format!("kernels/{}.ptx", target.name))?)
            .map_err(|e| CudaError::Malformed(e.to_string()))?;
        let cubin = match target.cubin {
            Some(_) => Some(read(&format!("kernels/{}.cubin", target.name))?),
            None => None,
        };
        let weights = read("weights.bin")?;
        let code = Code { ptx: &ptx, cubin: cubin.as_deref() };
        CudaModel::new(
            context,
            manifest,
            best,
            &code,
            |memory, stream| memory.write(0, &weights, stream),
            weights.len(),
        )
    }

    /// Loads a model from memory: code for each of the manifest's targets, and its constants.
    pub fn load(
        context: Arc<Context>,
        manifest: &Manifest,
        code: &[Code<'_>],
        constants: &[Constant],
    ) -> Result<CudaModel, CudaError> {
        manifest.validate().map_err(CudaError::Malformed)?;
        let best = best_target(manifest, context.capability())?;
        let chosen = code.get(best).ok_or_else(|| {
            CudaError::Malformed(format!(
                "expected code for {} targets, got {}",
                manifest.targets.len(),
                code.len()
            ))
        })?;
        let bytes = manifest.weights.iter().map(|w| w.offset.saturating_add(w.bytes)).max().unwrap_or(0);
        let bytes = usize::try_from(bytes).map_err(|_| CudaError::Size("the weights".to_owned()))?;
        let weights = manifest.weights.clone();
        let fits = |(w, c): (&super::Weight, &Constant)| w.bytes == (*c.bytes).as_ref().len() as u64;
        if weights.len() != constants.len() || !weights.iter().zip(constants).all(fits) {
            return Err(CudaError::Malformed(format!("expected {} constants of its sizes", weights.len())));
        }
        let fill = |memory: &DeviceMemory, stream: &Stream| {
            let mut all = weights.iter().zip(constants);
            all.try_for_each(|(w, c)| memory.write(w.offset as usize, (*c.bytes).as_ref(), stream))
        };
        CudaModel::new(context, manifest.clone(), best, chosen, fill, bytes)
    }

    fn new(
        context: Arc<Context>,
        manifest: Manifest,
        target: usize,
        code: &Code<'_>,
        fill: impl FnOnce(&DeviceMemory, &Stream) -> Result<(), CudaError>,
        bytes: usize,
    ) -> Result<CudaModel, CudaError> {
        let end = manifest.weights.iter().map(|w| w.offset.saturating_add(w.bytes)).max().unwrap_or(0);
        if end > bytes as u64 {
            return Err(CudaError::Malformed(format!("expected {end} bytes of weights, got {bytes}")));
        }
        let described = &manifest.targets[target];
        let module = Module::load(&context, described, code)?;
        let mut functions = Vec::with_capacity(manifest.kernels.len());
        for kernel in &manifest.kernels {
            // What depends on symbols may need all there is.
            let shared = &kernel.launches[described.schedule as usize].shared_bytes;
            let shared = shared.size(&[]).unwrap_or(context.shared_bytes());
            functions.push(module.function(&kernel.name, shared)?);
        }
        let weights = context.allocate(bytes)?;
        let stream = Stream::new(&context)?;
        fill(&weights, &stream)?;
        Ok(CudaModel { context, manifest, target, functions, weights, _module: module })
    }

    /// What is launched, and how.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The GPU.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The name of the target whose code was chosen.
    pub fn target(&self) -> &str {
        &self.manifest.targets[self.target].name
    }

    /// The extents that inputs of these shapes give the symbols.
    pub fn bind(&self, shapes: &[&[usize]]) -> Result<Binding, CudaError> {
        let params = &self.manifest.inputs;
        if shapes.len() != params.len() {
            let (expected, got) = (format!("{} inputs", params.len()), shapes.len().to_string());
            return Err(CudaError::Argument { name: "inputs".to_owned(), expected, got });
        }
        let mut symbols = vec![None; self.manifest.symbols.len()];
        for (param, shape) in params.iter().zip(shapes) {
            for (dim, extent) in param.shape.iter().zip(*shape) {
                if let [Op::Symbol(s)] = dim.0.as_slice()
                    && let Some(slot) = symbols.get_mut(*s as usize)
                {
                    *slot = slot.or(i64::try_from(*extent).ok());
                }
            }
        }
        for (param, shape) in params.iter().zip(shapes) {
            let fits = |(dim, extent): (&Expr, &usize)| dim.size(&symbols).is_none_or(|d| d == *extent);
            if param.shape.len() != shape.len() || !param.shape.iter().zip(*shape).all(fits) {
                return Err(mismatch(param, &format!("{}{shape:?}", param.dtype)));
            }
        }
        let named = self.manifest.symbols.iter().zip(&self.manifest.ranges).zip(&symbols);
        for ((name, [lo, hi]), value) in named {
            if let Some(got) = value.filter(|v| v < lo || v > hi) {
                let (name, expected) = (format!("extent {name}"), format!("{lo}..={hi}"));
                return Err(CudaError::Argument { name, expected, got: got.to_string() });
            }
        }
        Ok(Binding { symbols })
    }

    /// The shape of an output.
    pub fn output_shape(&self, output: usize, binding: &Binding) -> Result<Vec<usize>, CudaError> {
        let missing = || CudaError::Size(format!("output {output}"));
        let param = self.manifest.outputs.get(output).ok_or_else(missing)?;
        param.shape.iter().map(|e| e.size(&binding.symbols).ok_or_else(missing)).collect()
    }

    /// The bytes of an input's or output's tensor.
    pub fn bytes(&self, param: &Param, binding: &Binding) -> Result<usize, CudaError> {
        self.buffer_bytes(param.buffer as usize, binding)
    }

    /// How much memory a call needs beside inputs and outputs.
    pub fn workspace_bytes(&self, binding: &Binding) -> Result<usize, CudaError> {
        let missing = |what: &str| CudaError::Size(what.to_owned());
        let arena = self.arena_bytes(binding)?;
        let mut scratch = 0usize;
        for step in &self.manifest.steps {
            let Step::Launch { kernel, .. } = step else { continue };
            let launch = self.launch_of(*kernel);
            if launch.has_scratch() {
                let name = &self.manifest.kernels[*kernel as usize].name;
                let each = launch.scratch_bytes.size(&binding.symbols).ok_or_else(|| missing(name))?;
                let blocks = self.grid(*kernel, binding)?.iter().map(|g| *g as usize).product::<usize>();
                scratch = scratch.max(each.checked_mul(blocks).ok_or_else(|| missing(name))?);
            }
        }
        arena.checked_add(scratch).ok_or_else(|| missing("the workspace"))
    }

    /// Puts the model's launches into a stream, and waits for nothing. Addresses are of inputs, then of outputs, as
    /// the manifest orders them, each a multiple of 16; the workspace's a multiple of 256.
    ///
    /// # Safety
    /// Inputs and outputs must be memory of this GPU with the bytes that [`CudaModel::bytes`] gives, outputs and
    /// workspace used by nothing else until the stream is done, and `stream` a live stream of the primary context.
    pub unsafe fn enqueue(
        &self,
        binding: &Binding,
        inputs: &[u64],
        outputs: &[u64],
        workspace: &DeviceMemory,
        stream: RawStream,
    ) -> Result<(), CudaError> {
        let places = self.places(binding, inputs, outputs, workspace)?;
        let scratch = workspace.address() + self.arena_bytes(binding)? as u64;
        let _entered = self.context.enter()?;
        for step in &self.manifest.steps {
            match step {
                Step::Launch { kernel, buffers } => {
                    // SAFETY: the places hold memory as the caller warrants.
                    unsafe { self.launch(*kernel, buffers, &places, scratch, binding, stream)? };
                }
                Step::Host { name, .. } => return Err(CudaError::HostOp(name.clone())),
            }
        }
        Ok(())
    }

    /// The launches of a call as a graph, which [`Graph::launch`] repeats on the same memory.
    ///
    /// # Safety
    /// As for [`CudaModel::enqueue`], until the last launch of the graph is done; nothing else may use the stream
    /// meanwhile.
    pub unsafe fn capture(
        &self,
        binding: &Binding,
        inputs: &[u64],
        outputs: &[u64],
        workspace: &DeviceMemory,
        stream: RawStream,
    ) -> Result<Graph, CudaError> {
        // SAFETY: as the caller warrants.
        unsafe {
            Graph::capture(&self.context, stream.0, || {
                self.enqueue(binding, inputs, outputs, workspace, stream)
            })
        }
    }

    /// Whether kernels alone make a run, so that it can be captured.
    pub fn is_kernels_alone(&self) -> bool {
        let late = self.manifest.buffers.iter().any(|b| matches!(b.place, Place::Late));
        !late && self.manifest.steps.iter().all(|s| matches!(s, Step::Launch { .. }))
    }

    /// The address of each buffer; late ones have none yet.
    pub(super) fn places(
        &self,
        binding: &Binding,
        inputs: &[u64],
        outputs: &[u64],
        workspace: &DeviceMemory,
    ) -> Result<Vec<Option<u64>>, CudaError> {
        let expected = self.workspace_bytes(binding)?;
        if workspace.bytes() < expected {
            return Err(CudaError::Workspace { expected, got: workspace.bytes() });
        }
        let given = [
            ("inputs", inputs, self.manifest.inputs.len()),
            ("outputs", outputs, self.manifest.outputs.len()),
        ];
        for (name, given, wanted) in given {
            if given.len() != wanted {
                let (expected, got) = (format!("{wanted} addresses"), given.len().to_string());
                return Err(CudaError::Argument { name: name.to_owned(), expected, got });
            }
        }
        let place = |(i, buffer): (usize, &BufferDef)| {
            let missing = || CudaError::Size(format!("buffer {i}"));
            Ok(match &buffer.place {
                Place::Input(n) => inputs.get(*n as usize).copied(),
                Place::Output(n) => outputs.get(*n as usize).copied(),
                Place::Constant(n) => {
                    let weight = self.manifest.weights.get(*n as usize).ok_or_else(missing)?;
                    Some(self.weights.address() + weight.offset)
                }
                Place::Arena(offset) => {
                    let offset = offset.size(&binding.symbols).ok_or_else(missing)?;
                    let end = buffer.bytes.size(&binding.symbols).and_then(|b| b.checked_add(offset));
                    if end.is_none_or(|end| end > expected) {
                        return Err(CudaError::Malformed(format!("expected buffer {i} within the arena")));
                    }
                    Some(workspace.address() + offset as u64)
                }
                Place::Late => None,
            })
        };
        self.manifest.buffers.iter().enumerate().map(place).collect()
    }

    /// Puts one kernel into a stream, in the context that the thread is in.
    ///
    /// # Safety
    /// Places must hold memory of their buffers' sizes, and `scratch` what the launch needs of it.
    pub(super) unsafe fn launch(
        &self,
        kernel: u32,
        buffers: &[u32],
        places: &[Option<u64>],
        scratch: u64,
        binding: &Binding,
        stream: RawStream,
    ) -> Result<(), CudaError> {
        let name = &self.manifest.kernels[kernel as usize].name;
        let missing = || CudaError::Size(format!("kernel `{name}`"));
        let launch = self.launch_of(kernel);
        let grid = self.grid(kernel, binding)?;
        if grid.contains(&0) {
            return Ok(());
        }
        let mut args: Vec<u64> = Vec::with_capacity(buffers.len() + launch.symbols.len() + 1);
        for buffer in buffers {
            args.push(places[*buffer as usize].ok_or_else(missing)?);
        }
        for symbol in &launch.symbols {
            let value = binding.symbols.get(*symbol as usize).copied().flatten().ok_or_else(missing)?;
            args.push(value.cast_unsigned());
        }
        if launch.has_scratch() {
            args.push(scratch);
        }
        let shared = launch.shared_bytes.size(&binding.symbols).and_then(|b| u32::try_from(b).ok());
        let shared = shared.ok_or_else(missing)?;
        // Arguments as one block of memory with its size: the driver reads no further, whatever the code declares.
        let mut bytes = args.len() * size_of::<u64>();
        let mut extra: [Handle; 5] = [
            std::ptr::without_provenance_mut(1),
            args.as_mut_ptr().cast(),
            std::ptr::without_provenance_mut(2),
            (&raw mut bytes).cast(),
            std::ptr::null_mut(),
        ];
        let [gx, gy, gz] = grid;
        let [bx, by, bz] = launch.block;
        let function = self.functions[kernel as usize].0;
        let (none, extra) = (std::ptr::null_mut(), extra.as_mut_ptr());
        let driver = self.context.driver();
        // SAFETY: the function is of a module that lives; arguments are copied by the call; memory is as the caller
        // warrants.
        unsafe { call!(driver, launch(function, gx, gy, gz, bx, by, bz, shared, stream.0, none, extra)) }
    }

    pub(super) fn weights(&self) -> &DeviceMemory {
        &self.weights
    }

    pub(super) fn launch_of(&self, kernel: u32) -> &Launch {
        let schedule = self.manifest.targets[self.target].schedule;
        &self.manifest.kernels[kernel as usize].launches[schedule as usize]
    }

    pub(super) fn grid(&self, kernel: u32, binding: &Binding) -> Result<[u32; 3], CudaError> {
        let mut grid = [0u32; 3];
        for (to, extent) in grid.iter_mut().zip(&self.launch_of(kernel).grid) {
            let extent = extent.eval(&binding.symbols).and_then(|e| u32::try_from(e.max(0)).ok());
            let name = &self.manifest.kernels[kernel as usize].name;
            *to = extent.ok_or_else(|| CudaError::Size(format!("kernel `{name}`")))?;
        }
        Ok(grid)
    }

    pub(super) fn arena_bytes(&self, binding: &Binding) -> Result<usize, CudaError> {
        let Some(arena) = &self.manifest.arena_bytes else { return Ok(0) };
        let bytes = arena.size(&binding.symbols).and_then(|b| b.checked_next_multiple_of(ALIGN));
        bytes.ok_or_else(|| CudaError::Size("the arena".to_owned()))
    }

    pub(super) fn buffer_bytes(&self, buffer: usize, binding: &Binding) -> Result<usize, CudaError> {
        let bytes = self.manifest.buffers[buffer].bytes.size(&binding.symbols);
        bytes.ok_or_else(|| CudaError::Size(format!("buffer {buffer}")))
    }
}

pub(super) fn mismatch(param: &Param, got: &str) -> CudaError {
    let shape: Vec<String> = param.shape.iter().map(ToString::to_string).collect();
    CudaError::Argument {
        name: format!("input `{}`", param.name),
        expected: format!("{}[{}]", param.dtype, shape.join(", ")),
        got: got.to_owned(),
    }
}
