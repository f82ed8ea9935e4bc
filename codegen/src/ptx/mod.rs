//! PTX for NVIDIA GPUs, as text.
//!
//! A kernel is a program whose outermost loops are `block` loops with `thread` loops inside. Its parameters are
//! the addresses of the inputs, then of the outputs, each aligned to 16 bytes, then the values of the program's
//! symbols in order of name, each as 64 bits, and last the address of its scratch memory, if it has any.

mod emit;
mod functions;
mod target;

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::mem::Program;

use crate::EmitError;

pub use functions::expand_device_functions;
pub use target::{GpuTarget, UnknownTarget};

/// PTX text with what is needed to launch its kernels.
#[derive(Clone, Debug)]
pub struct Module {
    /// The PTX.
    pub text: String,
    /// One for each program.
    pub kernels: Vec<Kernel>,
}

/// How a kernel is launched.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// The name of its entry.
    pub name: String,
    /// The blocks along each axis.
    pub grid: [Dim; 3],
    /// The threads of a block along each axis.
    pub block: [u32; 3],
    /// The bytes of shared memory of a block.
    pub shared_bytes: Dim,
    /// The bytes of scratch memory that each block needs; without any there is no parameter for it.
    pub scratch_bytes: Dim,
    /// The symbols whose values it takes.
    pub symbols: Vec<Symbol>,
}

/// Whether device code can hold a type.
pub fn has_type(dtype: DType) -> bool {
    use DType::*;
    matches!(dtype, F64 | F32 | F16 | BF16 | I64 | I32 | I16 | I8 | U64 | U32 | U16 | U8 | Bool)
}

/// The PTX of programs for a target.
pub fn emit(programs: &[Program], target: GpuTarget) -> Result<Module, EmitError> {
    let mut text = format!(
        ".version {}.{}\n.target {target}\n.address_size 64\n\n.extern .shared .align 128 .b8 shared[];\n",
        target.version.0, target.version.1
    );
    let mut kernels = Vec::with_capacity(programs.len());
    for program in programs {
        let (kernel, body) = emit::kernel(program, target)?;
        text.push('\n');
        text.push_str(&body);
        kernels.push(kernel);
    }
    Ok(Module { text, kernels })
}
