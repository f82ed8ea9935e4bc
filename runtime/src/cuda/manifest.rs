//! What is written of a model for GPUs beside its kernels and weights: `manifest.json`.
//!
//! Expressions are in the notation of the runtime: words in reverse Polish order, `s0` the first symbol. A kernel's
//! parameters are the addresses of a launch's buffers, the values of the kernel's symbols as 64 bits each, and, if it
//! needs scratch memory, the address of that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{BufferDef, Expr, Op, Param, Place};

/// The version of the format.
pub const FORMAT: u32 = 2;

/// A model for GPUs as data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The names of the symbolic extents.
    pub symbols: Vec<String>,
    /// The least and the largest value of each of them that the code was made for.
    #[serde(default)]
    pub ranges: Vec<[i64; 2]>,
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
    /// The kernels, by the same names for all targets.
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
    /// Which launch of each kernel is its: targets that can do the same have the same schedules.
    pub schedule: u32,
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

/// A kernel: one computation, scheduled for all targets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// Its entry in the PTX.
    pub name: String,
    /// How it is launched, for each schedule.
    pub launches: Vec<Launch>,
    /// The nest that it computes.
    pub nest: String,
}

/// How a kernel is launched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Launch {
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

impl Launch {
    /// Whether it takes the address of scratch memory.
    pub fn has_scratch(&self) -> bool {
        self.scratch_bytes != Expr::constant(0)
    }
}

impl Target {
    /// Ten times the major plus the minor compute capability, and whether code runs on no other.
    pub fn capability(&self) -> Option<(u32, bool)> {
        let number = self.name.strip_prefix("sm_")?;
        let plain = number.strip_suffix('a');
        Some((plain.unwrap_or(number).parse().ok()?, plain.is_some()))
    }
}

impl Manifest {
    /// Whether every number that refers to something refers to something there is; what does not is named.
    pub fn validate(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("expected format {FORMAT}, got {}", self.format));
        }
        self.validate_buffers()?;
        self.validate_kernels()?;
        let buffers = |mut all: std::slice::Iter<'_, u32>| {
            all.try_for_each(|b| within("a buffer", *b, self.buffers.len()))
        };
        for step in &self.steps {
            match step {
                Step::Launch { kernel, buffers: all } => {
                    within("a kernel", *kernel, self.kernels.len())?;
                    buffers(all.iter())?;
                }
                Step::Host { work, inputs, outputs, .. } => {
                    within("an op", *work, self.host.len())?;
                    buffers(inputs.iter())?;
                    buffers(outputs.iter())?;
                }
            }
        }
        Ok(())
    }

    fn validate_buffers(&self) -> Result<(), String> {
        for param in self.inputs.iter().chain(&self.outputs) {
            within("a buffer", param.buffer, self.buffers.len())?;
            param.shape.iter().try_for_each(|e| self.validate_expr(e))?;
        }
        for (i, buffer) in self.buffers.iter().enumerate() {
            match &buffer.place {
                Place::Input(n) => within("an input", *n, self.inputs.len())?,
                Place::Output(n) => within("an output", *n, self.outputs.len())?,
                Place::Constant(n) => {
                    within("a constant", *n, self.weights.len())?;
                    let weight = &self.weights[*n as usize];
                    if buffer.bytes.size(&[]).is_none_or(|bytes| bytes as u64 > weight.bytes) {
                        return Err(format!(
                            "expected weight {n} to fill buffer {i}, got {} bytes",
                            weight.bytes
                        ));
                    }
                }
                Place::Arena(offset) => self.validate_expr(offset)?,
                Place::Late => {}
            }
            self.validate_expr(&buffer.bytes)?;
            buffer.shape.iter().try_for_each(|e| self.validate_expr(e))?;
        }
        self.arena_bytes.iter().try_for_each(|e| self.validate_expr(e))
    }

    fn validate_kernels(&self) -> Result<(), String> {
        let schedules = self.targets.iter().map(|t| t.schedule as usize + 1).max().unwrap_or(0);
        for kernel in &self.kernels {
            if kernel.launches.len() < schedules {
                let got = kernel.launches.len();
                return Err(format!("expected {schedules} launches of {}, got {got}", kernel.name));
            }
            for launch in &kernel.launches {
                let threads = launch.block.iter().try_fold(1u32, |n, extent| n.checked_mul(*extent));
                if !threads.is_some_and(|n| (1..=1024).contains(&n)) {
                    let name = &kernel.name;
                    return Err(format!("expected 1 to 1024 threads of {name}, got {:?}", launch.block));
                }
                let sizes = [&launch.shared_bytes, &launch.scratch_bytes];
                launch.grid.iter().chain(sizes).try_for_each(|e| self.validate_expr(e))?;
                launch.symbols.iter().try_for_each(|s| within("a symbol", *s, self.symbols.len()))?;
            }
        }
        Ok(())
    }

    fn validate_expr(&self, expr: &Expr) -> Result<(), String> {
        expr.0.iter().try_for_each(|op| match op {
            Op::Symbol(s) => within("a symbol", *s, self.symbols.len()),
            _ => Ok(()),
        })
    }
}

fn within(what: &str, index: u32, count: usize) -> Result<(), String> {
    match (index as usize) < count {
        true => Ok(()),
        false => Err(format!("expected {what} below {count}, got {index}")),
    }
}
