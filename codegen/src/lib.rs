//! Backends: from the memory IR to machine code or PTX.
//!
//! A CPU backend turns programs into the bytes of one relocatable object with a function for each, which the
//! runtime loads, an artifact carries or a linker takes. Every function has the signature
//! `fn(buffers: *const *mut u8, symbols: *const i64, begin: i64, end: i64, scratch: *mut u8)`: pointers to the
//! inputs, then the outputs; the values of the program's symbols in order of name; the range of tiles to run;
//! and memory for the program's own buffers, [`scratch_bytes`] of it for each worker.

pub mod cranelift;
mod groups;
pub mod link;
#[cfg(feature = "llvm")]
pub mod llvm;
pub mod ptx;
mod target;

use tcc_ir::dim::Dim;
use tcc_ir::dtype::DType;
use tcc_ir::mem::{Inst, Program, each};
use tcc_ir::scalar::ScalarOp;

pub use target::{CpuTarget, NamedTarget, NarrowKernel};

/// Why a backend gave no code.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EmitError {
    /// The program uses something the backend has no code for.
    #[error("@{program}: {message}")]
    Unsupported {
        /// The program.
        program: String,
        /// Expected …, got ….
        message: String,
    },
    /// The code generator refused what the backend made of a verified program: a bug.
    #[error("@{program}: the code generator refused its code: {message}")]
    Internal {
        /// The program.
        program: String,
        /// What it said.
        message: String,
    },
}

/// A CPU backend.
pub trait Backend: Send + Sync {
    /// The name that `--backend` takes.
    fn name(&self) -> &'static str;

    /// Whether programs may use a type.
    fn has_type(&self, dtype: DType) -> bool;

    /// One relocatable object with a function for each program, under the program's name.
    fn emit(&self, programs: &[Program], target: &CpuTarget) -> Result<Vec<u8>, EmitError>;
}

/// The backends of this build; the first is the default.
pub static BACKENDS: &[&dyn Backend] = &[
    &cranelift::Cranelift,
    #[cfg(feature = "llvm")]
    &llvm::Llvm,
];

/// The memory that each worker needs for a program's own buffers.
pub fn scratch_bytes(program: &Program) -> Dim {
    let mut total = Dim::ZERO;
    each(&program.body, &mut |inst| {
        if let Inst::Alloc { memory, .. } = inst {
            total = &total + &buffer_bytes(memory);
        }
    });
    total
}

/// The bytes of a buffer of a program's own, up to the alignment of the next one.
fn buffer_bytes(memory: &tcc_ir::mem::Memory) -> Dim {
    let bits = Dim::from(i64::from(memory.dtype.bits()));
    (&memory.elements * &bits).ceil_div(&Dim::from(8i64)).round_up(&Dim::from(64i64))
}

/// What is wrong with a tile that there is no micro-kernel for.
fn no_kernel([a, b, c]: [DType; 3], group: u32) -> String {
    format!("expected a tile that there is a micro-kernel for, got {c} += {a} * {b} by {group}")
}

/// The C library's name of an operation on doubles.
fn c_name(op: ScalarOp) -> Option<&'static str> {
    use ScalarOp::*;
    Some(match op {
        Exp => "exp",
        Exp2 => "exp2",
        Expm1 => "expm1",
        Log => "log",
        Log2 => "log2",
        Log1p => "log1p",
        Sin => "sin",
        Cos => "cos",
        Tan => "tan",
        Asin => "asin",
        Acos => "acos",
        Atan => "atan",
        Sinh => "sinh",
        Cosh => "cosh",
        Tanh => "tanh",
        Asinh => "asinh",
        Acosh => "acosh",
        Atanh => "atanh",
        Erf => "erf",
        Rem => "fmod",
        Pow => "pow",
        Atan2 => "atan2",
        _ => return None,
    })
}
