//! Runs compiled models; knows nothing of the compiler.
pub mod memory;
pub mod threads;
