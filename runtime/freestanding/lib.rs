//! What compiled models need of the runtime, as a library without Rust's standard library, so that models can be
//! linked into programs that have nothing else.
//!
//! The build script of the compiler compiles this file for each architecture whose core library is installed. The
//! kernels are the runtime's own files: a new one is named here too, which a test asks for.
#![no_std]
#![allow(dead_code, unused_imports, unreachable_pub, reason = "the runtime uses more of its modules")]

// The kernels name the standard library where the core library has what they need.
extern crate core as std;

#[path = "../src/convert.rs"]
mod convert;
mod plan;
mod processor;

#[path = "../src/kernels"]
pub mod kernels {
    //! The modules of the runtime that define kernels.

    pub(crate) mod contraction;
    #[cfg(target_arch = "aarch64")]
    mod neon;
    mod portable;
    #[cfg(target_arch = "x86_64")]
    mod x86_f32;
    #[cfg(target_arch = "x86_64")]
    mod x86_half;
    #[cfg(target_arch = "x86_64")]
    mod x86_int8;
    #[cfg(target_arch = "x86_64")]
    mod x86_sums;
}
