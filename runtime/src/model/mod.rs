//! A compiled model as data: buffers, kernel calls and what is known of its inputs and outputs.
//!
//! A model is loaded once and can then be run by any number of threads at the same time: a run takes its memory
//! from a pool and writes nothing else.

mod call;
mod expr;
mod run;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use expr::{Expr, Op};
pub use run::{
    Executable, HostOps, HostResult, Means, Outcome, RunError, Session, Slice, TensorData, TensorView,
    TensorViewMut, Timing,
};

/// What a model is made of.
#[derive(Clone, Default)]
pub struct Model {
    /// The names of the symbolic extents.
    pub symbols: Vec<String>,
    /// The least and the largest value of each of them that the code was made for.
    pub ranges: Vec<[i64; 2]>,
    /// What is given to it.
    pub inputs: Vec<Param>,
    /// What it gives.
    pub outputs: Vec<Param>,
    /// The constants.
    pub constants: Vec<Constant>,
    /// Every tensor of a run.
    pub buffers: Vec<BufferDef>,
    /// The size of the arena that buffers lie in.
    pub arena_bytes: Option<Expr>,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// The relocatable object with the kernels.
    pub object: Vec<u8>,
    /// The name of each kernel's function.
    pub functions: Vec<String>,
    /// Whether kernels run with subnormal numbers taken for zeros.
    pub flush_denormals: bool,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// The name of its element type.
    pub dtype: String,
    /// The bits of an element.
    pub bits: u32,
    /// Its extents.
    pub shape: Vec<Expr>,
    /// The buffer it is.
    pub buffer: u32,
}

/// Bytes that are part of the model.
#[derive(Clone)]
pub struct Constant {
    /// Where they are.
    pub bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

/// Where a buffer's memory comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// The caller's input.
    Input(u32),
    /// The caller's output.
    Output(u32),
    /// A constant.
    Constant(u32),
    /// The arena, at an offset.
    Arena(Expr),
    /// Memory made when the step that writes it runs, for sizes that are known only then.
    Late,
}

/// One tensor of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BufferDef {
    /// Where it lies.
    pub place: Place,
    /// Its size.
    pub bytes: Expr,
    /// The name of its element type.
    pub dtype: String,
    /// Its extents.
    pub shape: Vec<Expr>,
}

/// What operations are done in, as far as processors have peaks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// f32, or what is no faster.
    #[default]
    F32,
    /// Products of bf16.
    Bf16,
    /// Products of bytes.
    Int8,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// A kernel call.
    Kernel {
        /// Which function.
        function: u32,
        /// Its buffers.
        buffers: Vec<u32>,
        /// The symbols it takes.
        symbols: Vec<u32>,
        /// How many tiles there are.
        tiles: Expr,
        /// The memory each worker needs.
        scratch: Expr,
        /// A name for profiles.
        name: String,
        /// The arithmetic operations of a call.
        operations: Expr,
        /// What most of them are done in.
        arithmetic: Arithmetic,
    },
    /// An op that the embedder carries out.
    Host {
        /// Its number, in the embedder's terms.
        index: u32,
        /// What it reads.
        inputs: Vec<u32>,
        /// What it makes.
        outputs: Vec<u32>,
        /// A name for profiles.
        name: String,
    },
}

impl Model {
    /// Whether every number that refers to something refers to something there is; what does not is named.
    pub fn validate(&self) -> Result<(), String> {
        let within = |what: &str, index: u32, count: usize| {
            if (index as usize) < count {
                Ok(())
            } else {
                Err(format!("expected {what} below {count}, got {index}"))
            }
        };
        let expr = |e: &Expr| {
            e.0.iter().try_for_each(|op| match op {
                Op::Symbol(s) => within("a symbol", *s, self.symbols.len()),
                _ => Ok(()),
            })
        };
        if self.ranges.len() != self.symbols.len() {
            let (expected, got) = (self.symbols.len(), self.ranges.len());
            return Err(format!("expected {expected} ranges of symbols, got {got}"));
        }
        for (i, buffer) in self.buffers.iter().enumerate() {
            match &buffer.place {
                Place::Input(n) => within("an input", *n, self.inputs.len())?,
                Place::Output(n) => within("an output", *n, self.outputs.len())?,
                Place::Constant(n) => {
                    within("a constant", *n, self.constants.len())?;
                    let len = (*self.constants[*n as usize].bytes).as_ref().len();
                    if buffer.bytes.size(&[]).is_none_or(|bytes| bytes > len) {
                        return Err(format!("expected constant {n} to fill buffer {i}, got {len} bytes"));
                    }
                }
                Place::Arena(offset) => expr(offset)?,
                Place::Late => {}
            }
            expr(&buffer.bytes)?;
            buffer.shape.iter().try_for_each(expr)?;
        }
        for param in self.inputs.iter().chain(&self.outputs) {
            within("a buffer", param.buffer, self.buffers.len())?;
            param.shape.iter().try_for_each(expr)?;
        }
        self.arena_bytes.iter().try_for_each(expr)?;
        for step in &self.steps {
            match step {
                Step::Kernel { function, buffers, symbols, tiles, scratch, operations, .. } => {
                    within("a function", *function, self.functions.len())?;
                    buffers.iter().try_for_each(|b| within("a buffer", *b, self.buffers.len()))?;
                    symbols.iter().try_for_each(|s| within("a symbol", *s, self.symbols.len()))?;
                    expr(tiles)?;
                    expr(scratch)?;
                    expr(operations)?;
                }
                Step::Host { inputs, outputs, .. } => {
                    let mut all = inputs.iter().chain(outputs);
                    all.try_for_each(|b| within("a buffer", *b, self.buffers.len()))?;
                }
            }
        }
        Ok(())
    }
}
