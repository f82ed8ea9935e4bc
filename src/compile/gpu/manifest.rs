//! What is written of a model for GPUs beside its kernels and weights: `manifest.json`.
//!
//! Expressions are in the notation of the runtime: words in reverse Polish order, `s0` the first symbol. A kernel's
//! parameters are the addresses of a launch's buffers, the values of the kernel's symbols as 64 bits each, and, if it
//! needs scratch memory, the address of that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tcc_runtime::model::{BufferDef, Expr, Param};

/// The version of the format.
pub(super) const FORMAT: u32 = 1;

/// A model for GPUs as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The names of the symbolic extents.
    pub symbols: Vec<String>,
    /// What is given to it.
    pub inputs: Vec<Param>,
    /// What it gives.
    pub outputs: Vec<Param>,
    /// Every tensor of a run.
    pub buffers: Vec<BufferDef>,
    /// The size of the arena that buffers lie in.
    pub arena_bytes: Option<Expr>,
    /// The constants, in `weights.bin`.
    pub weights: Vec<Weight>,
    /// The targets that there is code for.
    pub targets: Vec<Target>,
    /// The kernels, alike for all targets.
    pub kernels: Vec<Kernel>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// The ops that the host carries out, as text.
    pub host: Vec<String>,
}

/// A constant in the file of weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weight {
    /// Its first byte.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Code for one GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its name, such as `sm_80`.
    pub name: String,
    /// The PTX version that the driver must know.
    pub ptx: String,
    /// The file of PTX.
    pub file: String,
    /// The file of machine code, if it was assembled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cubin: Option<String>,
    /// What each kernel uses, if it was assembled.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub resources: BTreeMap<String, Resources>,
}

/// What the assembler says of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes stored and loaded because there are too few registers.
    pub spill_bytes: u32,
    /// Bytes of a thread's own memory.
    pub stack_bytes: u32,
    /// The part of the processor's threads that fit at once, in percent.
    pub occupancy: u32,
}

/// How a kernel is launched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its entry in the PTX.
    pub name: String,
    /// Blocks along each axis.
    pub grid: [Expr; 3],
    /// Threads of a block along each axis.
    pub block: [u32; 3],
    /// Bytes of shared memory of a block.
    pub shared_bytes: Expr,
    /// Bytes of scratch memory of each block.
    pub scratch_bytes: Expr,
    /// The symbols whose values it takes.
    pub symbols: Vec<u32>,
    /// The nest that it computes.
    pub nest: String,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A kernel on buffers, inputs first.
    Launch {
        /// Which.
        kernel: u32,
        /// Its buffers.
        buffers: Vec<u32>,
    },
    /// An op that the host carries out.
    Host {
        /// Its number among the texts.
        work: u32,
        /// What it reads.
        inputs: Vec<u32>,
        /// What it makes.
        outputs: Vec<u32>,
        /// Its name.
        name: String,
        /// Why it is no kernel.
        reason: String,
    },
}

impl Manifest {
    /// Whether every number that refers to something refers to something there is; what does not is named.
    pub fn validate(&self) -> Result<(), String> {
        let within = |what: &str, index: u32, count: usize| match (index as usize) < count {
            true => Ok(()),
            false => Err(format!("expected {what} below {count}, got {index}")),
        };
        if self.format != FORMAT {
            return Err(format!("expected format {FORMAT}, got {}", self.format));
        }
        for param in self.inputs.iter().chain(&self.outputs) {
            within("a buffer", param.buffer, self.buffers.len())?;
        }
        for step in &self.steps {
            match step {
                Step::Launch { kernel, buffers } => {
                    within("a kernel", *kernel, self.kernels.len())?;
                    buffers.iter().try_for_each(|b| within("a buffer", *b, self.buffers.len()))?;
                }
                Step::Host { work, inputs, outputs, .. } => {
                    within("an op", *work, self.host.len())?;
                    let mut all = inputs.iter().chain(outputs);
                    all.try_for_each(|b| within("a buffer", *b, self.buffers.len()))?;
                }
            }
        }
        let mut symbols = self.kernels.iter().flat_map(|k| &k.symbols);
        symbols.try_for_each(|s| within("a symbol", *s, self.symbols.len()))
    }
}
