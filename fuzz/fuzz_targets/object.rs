//! Relocatable objects: loaded, never run.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = tcc_runtime::loader::Image::load_with_runtime(bytes);
});
