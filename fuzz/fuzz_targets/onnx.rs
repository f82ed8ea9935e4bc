//! ONNX models, without a folder of external data.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = tcc_ir::import::onnx::import_bytes(bytes::Bytes::copy_from_slice(bytes), None, "fuzz");
});
