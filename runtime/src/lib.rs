//! Runs compiled models; knows nothing of the compiler.
pub mod cpu;
pub mod kernels;
pub mod loader;
pub mod memory;
pub mod threads;
