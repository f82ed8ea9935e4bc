//! Imports ONNX models and prints how long that took and what memory of its own the process then holds; with
//! `--print` also the graphs.

#![allow(clippy::print_stdout, reason = "the measurement is the product")]

use std::path::Path;
use std::time::Instant;

use tcc_ir::import::onnx;

fn main() {
    let (flags, paths): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|a| a.starts_with("--"));
    for path in paths {
        let before = Instant::now();
        let imported = onnx::import_file(Path::new(&path));
        let took = before.elapsed();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let held = status.lines().find(|l| l.starts_with("RssAnon")).unwrap_or("");
        match imported {
            Ok(graph) => {
                println!("{path}: {} nodes in {took:?}, {held}", graph.node_count());
                if flags.iter().any(|f| f == "--print") {
                    println!("{graph}");
                }
            }
            Err(report) => println!("{report}"),
        }
    }
}
