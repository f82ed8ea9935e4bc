//! Graphs in JSON, without a folder to read constants from.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = tcc_ir::import::json::from_json(text, std::path::Path::new("/nonexistent"));
});
