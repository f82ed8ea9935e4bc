//! The text of loop nests: what parses prints to text that parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(nest) = tcc_ir::loops::parse_nest(text) {
        let again = tcc_ir::loops::parse_nest(&nest.to_string());
        assert!(again.is_ok_and(|n| n == nest));
    }
});
