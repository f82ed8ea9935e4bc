//! A C program that opens an artifact through the shared library and runs it on threads of its own.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::path::Path;
use std::process::Command;

use tcc::compile::Compiler;
use tcc::ir::graph::parse_graph;

const MODEL: &str = "graph @sum(%x: f32[N, 8], %w: f32[8, 4]) -> (y: f32[N, 4]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 4]
  return %0
}";

#[test]
fn a_c_program_runs_an_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let graph = parse_graph(MODEL).unwrap();
    let mut artifact = Vec::new();
    Compiler::new().compile(&graph).unwrap().write(&mut artifact).unwrap();
    std::fs::write(file("model.tcc"), artifact).unwrap();
    let executable = std::env::current_exe().unwrap();
    let libraries = executable.parent().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(here)
        .arg(here.join("tests/program.c"))
        .arg("-L")
        .arg(libraries)
        .arg("-ltcc_rt")
        .arg(format!("-Wl,-rpath,{}", libraries.display()))
        .arg("-o")
        .arg(file("program"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(file("program")).arg(file("model.tcc")).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{err}");
    assert_eq!(out, "x -> y: ok\n");
}
