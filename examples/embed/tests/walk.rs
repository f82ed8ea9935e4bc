//! The walk-through of embedding, walked: an artifact for several processors, run by a program without a compiler.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::process::Command;

use tcc::compile::{Compiler, Translated, named};
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::parse_graph;
use tcc::ir::tensor::Tensor;
use tcc::runtime::artifact::Artifact;

const MODEL: &str = "graph @layer(%x: f32[N, 16]) -> (y: f32[N, 16]) {
  %0 = const value=f32[16] [0.5, 1, 1.5, 2, 0.5, 1, 1.5, 2, 0.5, 1, 1.5, 2, 0.5, 1, 1.5, 2] : f32[16]
  %1 = broadcast %0 shape=[N, 16] : f32[N, 16]
  %2 = mul %x, %1 : f32[N, 16]
  %3 = tanh %2 : f32[N, 16]
  return %3
}";

#[test]
fn a_program_with_the_runtime_alone_runs_an_artifact() {
    let graph = parse_graph(MODEL).unwrap();
    let translate = |name: &str| {
        let target = named(name).unwrap();
        Compiler::new().target(target).target_name(name).translate(&graph).unwrap()
    };
    let all: Vec<Translated> = ["aarch64-neon", "x86-64-v2", "x86-64-v3", "x86-64-v4"].map(translate).into();
    let provenance = Compiler::new().provenance("layer");
    let artifact = Artifact { provenance, variants: all.iter().map(Translated::variant).collect() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.tcc");
    artifact.write(&mut std::fs::File::create(&path).unwrap()).unwrap();

    let program = env!("CARGO_BIN_EXE_embed");
    let ran = Command::new(program).arg(&path).arg("3").output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}{err}");
    let x: Vec<f32> = (0..48).map(|i| i as f32 / 64.0).collect();
    let want = evaluate(&graph, &[Tensor::from_slice(&[3, 16], &x).unwrap()]).unwrap();
    let line = out.lines().find(|line| line.starts_with("y: f32[3, 16] ")).unwrap();
    let got: Vec<f64> = line[15..line.len() - 1].split(", ").map(|n| n.parse().unwrap()).collect();
    assert_eq!(got.len(), 4);
    for (got, want) in got.iter().zip(want[0].iter_scalars()) {
        assert!((got - want.to_f64()).abs() < 1e-6, "{out}");
    }
    if cfg!(target_arch = "x86_64") {
        assert!(out.starts_with("code for x86-64-v"), "{out}");
    }

    let wrong = Command::new(program).arg(&path).arg("-3").output().unwrap();
    assert!(!wrong.status.success());
    let code = std::fs::read(program).unwrap();
    let holds = |word: &str| code.windows(word.len()).any(|part| part == word.as_bytes());
    assert!(holds("TCCMODEL") && !holds("cranelift") && !holds("eqsat"), "the program holds a compiler");
}
