//! A compiled model as data: buffers, kernel calls and what is known of its inputs and outputs.
//!
//! A model is loaded once and can then be run by any number of threads at the same time: a run takes its memory
//! from a pool and writes nothing else.

mod expr;
mod run;

use std::sync::Arc;

pub use expr::{Expr, Op};
pub use run::{Executable, HostOps, HostResult, Outcome, RunError, TensorData, TensorView, Timing};

/// What a model is made of.
#[derive(Clone, Default)]
pub struct Model {
    /// The names of the symbolic extents.
    pub symbols: Vec<String>,
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
}

/// An input or output.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
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

/// One step of a run.
#[derive(Clone, Debug, PartialEq)]
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
