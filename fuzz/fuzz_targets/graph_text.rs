//! The text of graphs: what parses must verify and print to text that parses to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(graph) = tcc_ir::graph::parse_graph(text) {
        let again = tcc_ir::graph::parse_graph(&graph.to_string());
        assert!(again.is_ok_and(|g| g == graph));
    }
});
