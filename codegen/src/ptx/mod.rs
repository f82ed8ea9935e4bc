//! PTX for NVIDIA GPUs: as text, its parser, and the emulator that runs and checks kernels.
//!
//! A kernel is a program whose outermost loops are `block` loops with `thread` loops inside. Its parameters are
//! the addresses of the inputs, then of the outputs, each aligned to 16 bytes, then the values of the program's
//! symbols in order of name, each as 64 bits, and last the address of its scratch memory, if it has any.

mod emit;
pub mod emulate;
mod functions;
mod isa;
pub mod parse;
mod target;

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::mem::Program;

use crate::EmitError;

pub use functions::expand_device_functions;
pub use parse::{Module, ParseError};
pub use target::{GpuTarget, UnknownTarget};

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

/// What stands before all kernels of a module.
pub fn header(target: GpuTarget) -> String {
    format!(
        ".version {}.{}\n.target {target}\n.address_size 64\n\n.extern .shared .align 128 .b8 shared_memory[];\n",
        target.version.0, target.version.1
    )
}

/// How the kernel of a program is launched, and its PTX, to stand behind a [`header`].
pub fn emit(program: &Program, target: GpuTarget) -> Result<(Kernel, String), EmitError> {
    emit::kernel(program, target)
}
