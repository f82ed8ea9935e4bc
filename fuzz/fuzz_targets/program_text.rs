//! The text of programs: what parses must verify and print to text that parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(program) = tcc_ir::mem::parse_program(text) {
        let printed = program.to_string();
        let again = tcc_ir::mem::parse_program(&printed);
        assert!(again.is_ok_and(|p| p.to_string() == printed));
    }
});
