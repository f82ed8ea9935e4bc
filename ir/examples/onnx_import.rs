//! Imports ONNX models and prints how long that took and how much memory the process then held at most.

#![allow(clippy::print_stdout, reason = "the measurement is the product")]

use std::path::Path;
use std::time::Instant;

use tcc_ir::import::onnx;

fn main() {
    for path in std::env::args().skip(1) {
        let before = Instant::now();
        let imported = onnx::import_file(Path::new(&path));
        let took = before.elapsed();
        let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = peak.lines().find(|l| l.starts_with("RssAnon")).unwrap_or("").to_owned();
        match imported {
            Ok(graph) => println!("{path}: {} nodes in {took:?}, {peak}", graph.node_count()),
            Err(report) => println!("{report}"),
        }
    }
}
