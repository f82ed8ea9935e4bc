//! Runs a model for GPUs in the emulator: kernels from their PTX, the other ops by the interpreters.
//!
//! Every buffer is memory of its own there, so that what leaves one is found even if another one lies next to it on
//! a GPU.

use tcc_codegen::ptx::GpuTarget;
use tcc_codegen::ptx::Module;
use tcc_codegen::ptx::emulate::{Arg, Fault, GlobalMemory, Options, launch};
use tcc_ir::dim::{Bindings, Symbol};
use tcc_ir::loops::{interpret_with, parse_nest};
use tcc_ir::tensor::{Tensor, TensorError, Tolerance};
use tcc_runtime::cuda::{Kernel, Launch, Step};
use tcc_runtime::model::{BufferDef, Expr, Op, Param, Place, TensorView};

use super::super::host::carry_out;
use super::GpuModel;

/// Why a run gave no outputs.
#[derive(Debug, thiserror::Error)]
pub enum GpuRunError {
    /// Inputs of a wrong number, type or shape.
    #[error("input `{name}`: expected {expected}, got {got}")]
    Input {
        /// Which.
        name: String,
        /// What the model takes.
        expected: String,
        /// What was given.
        got: String,
    },
    /// There is no code for the target.
    #[error("expected a target that the model was compiled for ({known}), got {got}")]
    Target {
        /// Those it was compiled for.
        known: String,
        /// What was asked for.
        got: String,
    },
    /// The PTX is none.
    #[error("the kernels are malformed: {0}")]
    Ptx(String),
    /// A kernel broke a rule.
    #[error("{0}")]
    Fault(Box<Fault>),
    /// A size that cannot be computed.
    #[error("expected a size for {0} that can be computed from the inputs")]
    Size(String),
    /// An op on the host failed.
    #[error("{name}: {message}")]
    Host {
        /// Which.
        name: String,
        /// What happened.
        message: String,
    },
    /// A kernel gave something else than the nest it is made of.
    #[error("{kernel}: {message}")]
    Differs {
        /// Which.
        kernel: String,
        /// How.
        message: String,
    },
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What a run in the emulator gave.
pub struct GpuRun {
    /// The outputs in order.
    pub outputs: Vec<Tensor>,
    /// How many kernels were launched.
    pub launches: usize,
    /// How many ops the host carried out.
    pub host_ops: usize,
}

impl GpuModel {
    /// Runs the model on inputs in the order of its parameters. With `check`, every kernel is compared with the nest
    /// that it computes.
    pub fn emulate(
        &self,
        target: Option<GpuTarget>,
        inputs: &[Tensor],
        check: bool,
    ) -> Result<GpuRun, GpuRunError> {
        let wanted = |t: &GpuTarget| target.is_none_or(|w| w == *t);
        let found = self.ptx.iter().position(|(t, _)| wanted(t));
        let Some(found) = found else {
            let known: Vec<String> = self.ptx.iter().map(|(t, _)| t.to_string()).collect();
            let got = target.map_or_else(|| "none".to_owned(), |t| t.to_string());
            return Err(GpuRunError::Target { known: known.join(", "), got });
        };
        let text = &self.ptx[found].1;
        let schedule = self.manifest.targets.get(found).map_or(0, |t| t.schedule as usize);
        let module = Module::parse(text).map_err(|e| GpuRunError::Ptx(e.to_string()))?;
        let mut call = Call {
            model: self,
            module,
            symbols: vec![None; self.manifest.symbols.len()],
            memory: GlobalMemory::new(),
            places: vec![None; self.manifest.buffers.len()],
            check,
        };
        call.take(inputs)?;
        let (mut launches, mut host_ops) = (0, 0);
        for step in &self.manifest.steps {
            match step {
                Step::Launch { kernel, buffers } => {
                    launches += 1;
                    let kernel = &self.manifest.kernels[*kernel as usize];
                    call.launch(kernel, &kernel.launches[schedule], buffers)?;
                }
                Step::Host { work, inputs, outputs, name, .. } => {
                    host_ops += 1;
                    call.host(*work, inputs, outputs, name)?;
                }
            }
        }
        let outputs = self.manifest.outputs.iter().map(|param| call.tensor(param.buffer as usize));
        Ok(GpuRun { outputs: outputs.collect::<Result<_, _>>()?, launches, host_ops })
    }
}

struct Call<'m> {
    model: &'m GpuModel,
    module: Module,
    symbols: Vec<Option<i64>>,
    memory: GlobalMemory,
    /// The address and size of each buffer that there is.
    places: Vec<Option<(u64, usize)>>,
    check: bool,
}

impl Call<'_> {
    fn take(&mut self, inputs: &[Tensor]) -> Result<(), GpuRunError> {
        let params = &self.model.manifest.inputs;
        if inputs.len() != params.len() {
            let (expected, got) = (format!("{} inputs", params.len()), inputs.len().to_string());
            return Err(GpuRunError::Input { name: "all".to_owned(), expected, got });
        }
        for (param, tensor) in params.iter().zip(inputs) {
            if tensor.dtype().name() != param.dtype || tensor.rank() != param.shape.len() {
                return Err(mismatch(param, tensor));
            }
            for (dim, extent) in param.shape.iter().zip(tensor.shape()) {
                if let [Op::Symbol(s)] = dim.0.as_slice()
                    && let Some(slot) = self.symbols.get_mut(*s as usize)
                {
                    let value = *extent as i64;
                    if slot.is_some_and(|v| v != value) {
                        return Err(mismatch(param, tensor));
                    }
                    *slot = Some(value);
                }
            }
        }
        for (param, tensor) in params.iter().zip(inputs) {
            let wrong =
                |(dim, extent): (&Expr, &usize)| dim.size(&self.symbols).is_some_and(|d| d != *extent);
            if param.shape.iter().zip(tensor.shape()).any(wrong) {
                return Err(mismatch(param, tensor));
            }
            let contiguous = tensor.contiguous()?;
            let bytes = contiguous.to_bytes()?;
            let address = self.memory.upload(&param.name, &bytes);
            self.places[param.buffer as usize] = Some((address, bytes.len()));
        }
        for (i, buffer) in self.model.manifest.buffers.iter().enumerate() {
            if let Place::Constant(c) = &buffer.place
                && let Some(constant) = self.model.constants.get(*c as usize)
            {
                let bytes: &[u8] = (*constant.bytes).as_ref();
                let address = self.memory.upload(&format!("constant {c}"), bytes);
                self.places[i] = Some((address, bytes.len()));
            }
        }
        Ok(())
    }

    fn def(&self, buffer: usize) -> &BufferDef {
        &self.model.manifest.buffers[buffer]
    }

    fn size(&self, expr: &Expr, what: impl FnOnce() -> String) -> Result<usize, GpuRunError> {
        expr.size(&self.symbols).ok_or_else(|| GpuRunError::Size(what()))
    }

    /// Where a buffer is; one that is not there yet is made.
    fn place(&mut self, buffer: usize) -> Result<(u64, usize), GpuRunError> {
        if let Some(place) = self.places[buffer] {
            return Ok(place);
        }
        let bytes = self.size(&self.def(buffer).bytes, || format!("buffer {buffer}"))?;
        let place = (self.memory.reserve(&format!("buffer {buffer}"), bytes), bytes);
        self.places[buffer] = Some(place);
        Ok(place)
    }

    fn shape(&self, buffer: usize) -> Result<Vec<usize>, GpuRunError> {
        let extents = self.def(buffer).shape.iter();
        extents.map(|e| self.size(e, || format!("buffer {buffer}"))).collect()
    }

    fn bytes(&self, buffer: usize) -> Result<&[u8], GpuRunError> {
        match self.places[buffer] {
            Some((_, 0)) => Ok(&[]),
            Some((address, bytes)) => self.memory.read(address, bytes).ok_or_else(|| GpuRunError::Host {
                name: format!("buffer {buffer}"),
                message: "expected all of it to be written, got bytes that never were".to_owned(),
            }),
            None if self.size(&self.def(buffer).bytes, || format!("buffer {buffer}"))? == 0 => Ok(&[]),
            None => Err(GpuRunError::Size(format!("buffer {buffer}, which no step makes"))),
        }
    }

    fn tensor(&self, buffer: usize) -> Result<Tensor, GpuRunError> {
        let def = self.def(buffer);
        let dtype =
            def.dtype.parse().map_err(|_| GpuRunError::Size(format!("element type {}", def.dtype)))?;
        Ok(Tensor::from_byte_slice(dtype, &self.shape(buffer)?, self.bytes(buffer)?)?)
    }

    fn launch(&mut self, kernel: &Kernel, how: &Launch, buffers: &[u32]) -> Result<(), GpuRunError> {
        let mut args = Vec::new();
        for buffer in buffers {
            args.push(Arg::U64(self.place(*buffer as usize)?.0));
        }
        let missing = || GpuRunError::Size(format!("kernel `{}`", kernel.name));
        for symbol in &how.symbols {
            let value = self.symbols.get(*symbol as usize).copied().flatten();
            args.push(Arg::I64(value.ok_or_else(missing)?));
        }
        let mut grid = [0u32; 3];
        for (to, extent) in grid.iter_mut().zip(&how.grid) {
            let extent = extent.eval(&self.symbols).ok_or_else(missing)?;
            *to = u32::try_from(extent.max(0)).map_err(|_| missing())?;
        }
        if grid.contains(&0) {
            return Ok(());
        }
        let scratch = self.size(&how.scratch_bytes, || kernel.name.clone())?;
        if how.has_scratch() {
            let blocks: usize = grid.iter().map(|g| *g as usize).product();
            args.push(Arg::U64(self.memory.reserve("scratch", scratch.saturating_mul(blocks))));
        }
        let shared = self.size(&how.shared_bytes, || kernel.name.clone())?;
        let shared = u32::try_from(shared).map_err(|_| missing())?;
        let options = Options::default();
        launch(&self.module, &kernel.name, grid, how.block, shared, &args, &mut self.memory, options)
            .map_err(|fault| GpuRunError::Fault(Box::new(fault)))?;
        if self.check { self.compare(kernel, buffers) } else { Ok(()) }
    }

    /// Compares what a kernel wrote with what its nest gives.
    fn compare(&self, kernel: &Kernel, buffers: &[u32]) -> Result<(), GpuRunError> {
        let differs = |message: String| GpuRunError::Differs { kernel: kernel.name.clone(), message };
        let nest = parse_nest(&kernel.nest).map_err(|d| differs(d.to_string()))?;
        let (inputs, outputs) = buffers.split_at(nest.inputs.len().min(buffers.len()));
        let inputs: Vec<Tensor> =
            inputs.iter().map(|b| self.tensor(*b as usize)).collect::<Result<_, _>>()?;
        let names = self.model.manifest.symbols.iter().zip(&self.symbols);
        let bindings: Bindings = names.filter_map(|(n, v)| Some((Symbol::new(n), (*v)?))).collect();
        let wanted = interpret_with(&nest, &inputs, &bindings).map_err(|e| differs(e.to_string()))?;
        for (buffer, wanted) in outputs.iter().zip(wanted) {
            let got = self.tensor(*buffer as usize)?;
            got.compare(&wanted, tolerance(&wanted)).map_err(|m| differs(m.to_string()))?;
        }
        Ok(())
    }

    fn host(&mut self, work: u32, inputs: &[u32], outputs: &[u32], name: &str) -> Result<(), GpuRunError> {
        let failed = |message: String| GpuRunError::Host { name: name.to_owned(), message };
        let shapes: Vec<Vec<usize>> =
            inputs.iter().map(|b| self.shape(*b as usize)).collect::<Result<_, _>>()?;
        let mut views = Vec::new();
        for (buffer, shape) in inputs.iter().zip(&shapes) {
            let dtype = &self.def(*buffer as usize).dtype;
            views.push(TensorView { dtype, shape, bytes: self.bytes(*buffer as usize)? });
        }
        let work = self.model.host.get(work as usize).ok_or_else(|| failed("no such op".to_owned()))?;
        let result = carry_out(work, &views, &self.symbols, &self.model.manifest.symbols).map_err(failed)?;
        for (symbol, value) in result.symbols {
            if let Some(slot) = self.symbols.get_mut(symbol as usize) {
                *slot = Some(value);
            }
        }
        for (buffer, data) in outputs.iter().zip(result.outputs) {
            let (address, bytes) = self.place(*buffer as usize)?;
            if data.bytes().len() != bytes {
                return Err(failed(format!("expected {bytes} bytes, got {}", data.bytes().len())));
            }
            if bytes > 0 && !self.memory.write(address, data.bytes()) {
                return Err(failed(format!("expected buffer {buffer} to take {bytes} bytes")));
            }
        }
        Ok(())
    }
}

/// Sums of many terms are added in another order than the interpreter's.
fn tolerance(tensor: &Tensor) -> Tolerance {
    use tcc_ir::dtype::DType;
    match tensor.dtype() {
        DType::F32 => Tolerance::relative(2e-4, 2e-5),
        DType::F64 => Tolerance::relative(1e-9, 1e-11),
        other => Tolerance::for_dtype(other),
    }
}

fn mismatch(param: &Param, tensor: &Tensor) -> GpuRunError {
    let shape: Vec<String> = param.shape.iter().map(ToString::to_string).collect();
    GpuRunError::Input {
        name: param.name.clone(),
        expected: format!("{}[{}]", param.dtype, shape.join(", ")),
        got: format!("{}{:?}", tensor.dtype(), tensor.shape()),
    }
}
