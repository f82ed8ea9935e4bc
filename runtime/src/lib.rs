//! Runs compiled models; knows nothing of the compiler.
//!
//! What is here stands below any model: aligned memory (`memory`), threads (`threads`), what the processor can do
//! (`cpu`), micro-kernels for contractions (`kernels`), a loader for the objects that code generators emit
//! (`loader`), and compiled models and their runs (`model`), on GPUs too (`cuda`).
//!
//! A compiled CPU kernel is a function of one fixed signature, `CompiledKernel`.

pub mod artifact;
mod convert;
pub mod cpu;
pub mod cuda;
pub mod kernels;
pub mod loader;
pub mod memory;
pub mod model;
pub mod threads;

/// The signature of every compiled CPU kernel: `(args, dims, begin, end, scratch)`.
///
/// `args` holds the base pointers of the buffers, `dims` the values of the symbolic dimensions, `begin..end` is the
/// range of tiles to compute, and `scratch` is memory of the calling worker alone, aligned to
/// `memory::ALIGNMENT`.
///
/// # Safety
/// The buffers must be as large as the kernel's plan says and must not be written by anything else meanwhile,
/// except by other calls of the same kernel with other tiles.
pub type CompiledKernel =
    unsafe extern "C" fn(args: *const *mut u8, dims: *const i64, begin: i64, end: i64, scratch: *mut u8);
