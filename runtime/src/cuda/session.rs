//! Runs with tensors of the host: copies in and out, memory that is kept from call to call, and one captured graph
//! for calls of the same extents. Models with ops for the host run step by step instead.

use std::sync::Arc;

use super::context::{DeviceMemory, Event, Graph, Stream};
use super::executable::mismatch;
use super::{Binding, CudaError, CudaModel, RawStream, Step};
use crate::model::{HostOps, TensorData, TensorView};

/// A model with memory for its calls. One call at a time; sessions of one model are independent.
pub struct CudaSession {
    model: Arc<CudaModel>,
    stream: Stream,
    events: [Event; 2],
    prepared: Option<Prepared>,
}

/// What a run gave.
pub struct CudaOutcome {
    /// The outputs in order.
    pub outputs: Vec<TensorData>,
    /// Milliseconds that the GPU took, between the copies.
    pub milliseconds: f32,
}

/// Memory for calls of certain extents. Fields are dropped in order: the graph uses what follows it.
struct Prepared {
    graph: Option<Graph>,
    binding: Binding,
    inputs: Vec<DeviceMemory>,
    outputs: Vec<Option<DeviceMemory>>,
    workspace: DeviceMemory,
}

impl CudaSession {
    /// A session on a stream of its own.
    pub fn new(model: Arc<CudaModel>) -> Result<CudaSession, CudaError> {
        let context = model.context();
        let stream = Stream::new(context)?;
        let events = [Event::new(context)?, Event::new(context)?];
        Ok(CudaSession { model, stream, events, prepared: None })
    }

    /// Runs the model; `host` carries out the ops that are no kernels.
    pub fn run(&mut self, inputs: &[TensorView<'_>], host: HostOps<'_>) -> Result<CudaOutcome, CudaError> {
        let shapes: Vec<&[usize]> = inputs.iter().map(|t| t.shape).collect();
        let binding = self.model.bind(&shapes)?;
        for (param, tensor) in self.model.manifest.inputs.iter().zip(inputs) {
            let bytes = self.model.bytes(param, &binding)?;
            if tensor.dtype != param.dtype || tensor.bytes.len() != bytes {
                let got = format!("{}{:?} of {} bytes", tensor.dtype, tensor.shape, tensor.bytes.len());
                return Err(mismatch(param, &got));
            }
        }
        if self.prepared.as_ref().is_none_or(|p| p.binding != binding) {
            // What was there goes first, so that both need not fit.
            self.prepared = None;
            self.prepared = Some(self.prepare(binding)?);
        }
        let Some(prepared) = &self.prepared else { return Err(CudaError::Size("the call".to_owned())) };
        for (memory, tensor) in prepared.inputs.iter().zip(inputs) {
            memory.write(0, tensor.bytes, &self.stream)?;
        }
        let [start, end] = &self.events;
        start.record(&self.stream)?;
        match &prepared.graph {
            Some(graph) => {
                // SAFETY: the stream is ours, and the memory is kept beside the graph.
                unsafe { graph.launch(RawStream::from(&self.stream))? };
                end.record(&self.stream)?;
                let milliseconds = end.since(start)?;
                let mut outputs = Vec::with_capacity(prepared.outputs.len());
                for (i, memory) in prepared.outputs.iter().enumerate() {
                    let missing = || CudaError::Size(format!("output {i}"));
                    let memory = memory.as_ref().ok_or_else(missing)?;
                    outputs.push(self.output(i, memory, &prepared.binding)?);
                }
                Ok(CudaOutcome { outputs, milliseconds })
            }
            None => {
                let outputs = self.step_by_step(prepared, host)?;
                end.record(&self.stream)?;
                Ok(CudaOutcome { outputs, milliseconds: end.since(start)? })
            }
        }
    }

    /// Repeats the launches of the last run so many times, and gives the milliseconds that each took.
    pub fn repeat(&mut self, times: usize) -> Result<Vec<f32>, CudaError> {
        let graph = self.prepared.as_ref().and_then(|p| p.graph.as_ref());
        let graph = graph.ok_or_else(|| CudaError::HostOp("a run that can be repeated".to_owned()))?;
        let [start, end] = &self.events;
        let mut all = Vec::with_capacity(times);
        for _ in 0..times {
            start.record(&self.stream)?;
            // SAFETY: the stream is ours, and the memory is kept beside the graph.
            unsafe { graph.launch(RawStream::from(&self.stream))? };
            end.record(&self.stream)?;
            all.push(end.since(start)?);
        }
        Ok(all)
    }

    fn prepare(&self, binding: Binding) -> Result<Prepared, CudaError> {
        let model = &self.model;
        let mut inputs = Vec::with_capacity(model.manifest.inputs.len());
        for param in &model.manifest.inputs {
            inputs.push(model.context.allocate(model.bytes(param, &binding)?)?);
        }
        let mut outputs = Vec::with_capacity(model.manifest.outputs.len());
        let alone = model.is_kernels_alone();
        for param in &model.manifest.outputs {
            let bytes = model.bytes(param, &binding);
            outputs.push(match (bytes, alone) {
                (Ok(bytes), _) => Some(model.context.allocate(bytes)?),
                // Its extents are known when the host has said them.
                (Err(_), false) => None,
                (Err(error), true) => return Err(error),
            });
        }
        let workspace = match model.workspace_bytes(&binding) {
            Ok(bytes) => bytes,
            Err(_) if !alone => model.arena_bytes(&binding)?,
            Err(error) => return Err(error),
        };
        let workspace = model.context.allocate(workspace)?;
        let graph = if alone {
            let ins: Vec<u64> = inputs.iter().map(DeviceMemory::address).collect();
            let outs: Vec<u64> = outputs.iter().flatten().map(DeviceMemory::address).collect();
            // SAFETY: inputs and outputs have the sizes that the model asks for; all memory is kept beside the
            // graph, and the stream is ours.
            let stream = RawStream::from(&self.stream);
            Some(unsafe { model.capture(&binding, &ins, &outs, &workspace, stream)? })
        } else {
            None
        };
        Ok(Prepared { graph, binding, inputs, outputs, workspace })
    }

    fn output(
        &self,
        output: usize,
        memory: &DeviceMemory,
        binding: &Binding,
    ) -> Result<TensorData, CudaError> {
        let shape = self.model.output_shape(output, binding)?;
        let mut bytes = vec![0; memory.bytes()];
        memory.read(0, &mut bytes, &self.stream)?;
        let dtype = &self.model.manifest.outputs[output].dtype;
        Ok(TensorData::copy_of(dtype, &shape, &bytes)?)
    }

    fn step_by_step(&self, prepared: &Prepared, host: HostOps<'_>) -> Result<Vec<TensorData>, CudaError> {
        let model = &self.model;
        let mut steps = Steps {
            model,
            stream: &self.stream,
            binding: prepared.binding.clone(),
            memory: (0..model.manifest.buffers.len()).map(|_| None).collect(),
            prepared,
        };
        for step in &model.manifest.steps {
            match step {
                Step::Launch { kernel, buffers } => steps.launch(*kernel, buffers)?,
                Step::Host { work, inputs, outputs, name, .. } => {
                    steps.host(*work, inputs, outputs, name, host)?;
                }
            }
        }
        let mut outputs = Vec::with_capacity(model.manifest.outputs.len());
        for (i, param) in model.manifest.outputs.iter().enumerate() {
            let bytes = steps.read(param.buffer as usize)?;
            let shape = model.output_shape(i, &steps.binding)?;
            outputs.push(TensorData::copy_of(&param.dtype, &shape, &bytes)?);
        }
        Ok(outputs)
    }
}

/// A run of kernels and ops of the host.
struct Steps<'s> {
    model: &'s CudaModel,
    stream: &'s Stream,
    binding: Binding,
    /// Memory of each buffer that neither the caller, the weights nor the arena has.
    memory: Vec<Option<DeviceMemory>>,
    prepared: &'s Prepared,
}

impl Steps<'_> {
    /// Where a buffer lies: its memory, and the offset in it.
    fn place(&mut self, buffer: usize) -> Result<(&DeviceMemory, usize), CudaError> {
        use crate::model::Place;
        let missing = || CudaError::Size(format!("buffer {buffer}"));
        let def = &self.model.manifest.buffers[buffer];
        match &def.place {
            Place::Input(n) => Ok((self.prepared.inputs.get(*n as usize).ok_or_else(missing)?, 0)),
            Place::Constant(n) => {
                let weight = self.model.manifest.weights.get(*n as usize).ok_or_else(missing)?;
                Ok((self.model.weights(), weight.offset as usize))
            }
            Place::Arena(offset) => {
                let offset = offset.size(&self.binding.symbols).ok_or_else(missing)?;
                let end = offset.checked_add(self.model.buffer_bytes(buffer, &self.binding)?);
                match end.is_some_and(|end| end <= self.prepared.workspace.bytes()) {
                    true => Ok((&self.prepared.workspace, offset)),
                    false => Err(CudaError::Malformed(format!("expected buffer {buffer} within the arena"))),
                }
            }
            Place::Output(n) if self.prepared.outputs.get(*n as usize).is_some_and(Option::is_some) => {
                let memory = self.prepared.outputs.get(*n as usize).and_then(Option::as_ref);
                Ok((memory.ok_or_else(missing)?, 0))
            }
            Place::Output(_) | Place::Late => {
                if self.memory[buffer].is_none() {
                    let bytes = self.model.buffer_bytes(buffer, &self.binding)?;
                    self.memory[buffer] = Some(self.model.context.allocate(bytes)?);
                }
                Ok((self.memory[buffer].as_ref().ok_or_else(missing)?, 0))
            }
        }
    }

    fn read(&mut self, buffer: usize) -> Result<Vec<u8>, CudaError> {
        let stream = self.stream;
        let mut bytes = vec![0; self.model.buffer_bytes(buffer, &self.binding)?];
        let (memory, offset) = self.place(buffer)?;
        memory.read(offset, &mut bytes, stream)?;
        Ok(bytes)
    }

    fn launch(&mut self, kernel: u32, buffers: &[u32]) -> Result<(), CudaError> {
        let mut places = vec![None; self.memory.len()];
        for buffer in buffers {
            let (memory, offset) = self.place(*buffer as usize)?;
            places[*buffer as usize] = Some(memory.address() + offset as u64);
        }
        let how = self.model.launch_of(kernel);
        let missing = || CudaError::Size(format!("kernel {kernel}"));
        let blocks = self.model.grid(kernel, &self.binding)?.iter().map(|g| *g as usize).product::<usize>();
        let each = how.scratch_bytes.size(&self.binding.symbols).ok_or_else(missing)?;
        let scratch = self.model.context.allocate(each.checked_mul(blocks).ok_or_else(missing)?)?;
        let _entered = self.model.context.enter()?;
        let (at, stream) = (scratch.address(), RawStream::from(self.stream));
        // SAFETY: every buffer has memory of its size, as has the scratch memory, which is kept until the launch is
        // done: freeing memory waits for the GPU.
        unsafe { self.model.launch(kernel, buffers, &places, at, &self.binding, stream) }
    }

    fn host(
        &mut self,
        work: u32,
        inputs: &[u32],
        outputs: &[u32],
        name: &str,
        host: HostOps<'_>,
    ) -> Result<(), CudaError> {
        let failed = |message: String| CudaError::Host { name: name.to_owned(), message };
        let mut read = Vec::with_capacity(inputs.len());
        for buffer in inputs {
            let def = &self.model.manifest.buffers[*buffer as usize];
            let shape: Option<Vec<usize>> = def.shape.iter().map(|e| e.size(&self.binding.symbols)).collect();
            let shape = shape.ok_or_else(|| CudaError::Size(format!("buffer {buffer}")))?;
            read.push((def.dtype.as_str(), shape, self.read(*buffer as usize)?));
        }
        let views: Vec<TensorView<'_>> =
            read.iter().map(|(dtype, shape, bytes)| TensorView { dtype, shape, bytes }).collect();
        let result = host(work, &views, &self.binding.symbols).map_err(failed)?;
        for (symbol, value) in result.symbols {
            if let Some(slot) = self.binding.symbols.get_mut(symbol as usize) {
                *slot = Some(value);
            }
        }
        for (buffer, data) in outputs.iter().zip(&result.outputs) {
            let bytes = self.model.buffer_bytes(*buffer as usize, &self.binding)?;
            if data.bytes().len() != bytes {
                return Err(failed(format!("expected {bytes} bytes, got {}", data.bytes().len())));
            }
            let stream = self.stream;
            let (memory, offset) = self.place(*buffer as usize)?;
            memory.write(offset, data.bytes(), stream)?;
        }
        Ok(())
    }
}
