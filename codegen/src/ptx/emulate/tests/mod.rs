//! Kernels in PTX text against plain Rust.
