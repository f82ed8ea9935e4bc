//! Models as objects and shared objects: C programs that have nothing else are built with them and run.

use std::path::Path;
use std::process::{Command, Output};

use tcc::codegen::BACKENDS;
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::parse_graph;
use tcc::ir::tensor::{Tensor, Tolerance};

use crate::support::{Random, root};

/// A layer with weights of its own, for any batch up to 64, and an output that is an input.
fn first() -> String {
    let mut random = Random(11);
    let rows: Vec<String> = (0..20)
        .map(|_| {
            let row: Vec<String> =
                (0..33).map(|_| format!("{:.4}", random.below(1000) as f64 / 1000.0 - 0.5)).collect();
            format!("[{}]", row.join(", "))
        })
        .collect();
    format!(
        "graph @first(%x: f32[N, 20]) -> (y: f32[N, 33], same: f32[N, 20]) where N in 1..=64 {{
           %w = const value=f32[20, 33] [{}] : f32[20, 33]
           %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 33]
           %1 = cast %0 dtype=f16 saturate=false : f16[N, 33]
           %2 = cast %1 dtype=f32 saturate=false : f32[N, 33]
           %3 = sin %2 : f32[N, 33]
           %4 = softmax %3 axis=1 : f32[N, 33]
           return %4, %x
         }}",
        rows.join(", ")
    )
}

const SECOND: &str = "graph @second(%x: f32[4]) -> (y: f32[4]) {\n  %0 = add %x, %x : f32[4]\n  return %0\n}";

fn tcc(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tcc")).args(arguments).current_dir(folder).output().unwrap()
}

fn succeeded(output: &Output, what: &str) {
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
}

fn models() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("first.txt"), first()).unwrap();
    std::fs::write(folder.path().join("second.txt"), SECOND).unwrap();
    folder
}

/// What the program should print, from the interpreter.
fn expected() -> Tensor {
    let x: Vec<f32> = (0..37 * 20).map(|i| (i % 50) as f32 / 64.0 - 0.375).collect();
    let x = Tensor::from_slice(&[37, 20], &x).unwrap();
    evaluate(&parse_graph(&first()).unwrap(), &[x]).unwrap().remove(0)
}

fn check(output: &Output, what: &str) {
    succeeded(output, what);
    let want = expected();
    let got = Tensor::from_byte_slice(want.dtype(), want.shape(), &output.stdout).unwrap();
    if let Err(mismatch) = got.compare(&want, Tolerance::relative(1e-3, 1e-5)) {
        panic!("{what}: {mismatch}");
    }
}

/// Builds the program with files that `tcc compile` made and runs it.
fn build_and_run(folder: &Path, compiler: &str, objects: &[&str], emulator: Option<&str>) -> Output {
    let mut build = Command::new(compiler);
    build.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-I"]).arg(folder);
    build.arg(root().join("tests/linked/program.c"));
    build.args(objects.iter().map(|name| folder.join(name)));
    if emulator.is_some() {
        build.arg("-static");
    }
    // The model calls `sin`; the header says that it needs the mathematical library.
    let built = build.arg("-lm").arg("-o").arg(folder.join("program")).output().unwrap();
    succeeded(&built, compiler);
    assert!(built.stderr.is_empty(), "{}", String::from_utf8_lossy(&built.stderr));
    match emulator {
        Some(emulator) => {
            Command::new(emulator).args(["-cpu", "max"]).arg(folder.join("program")).output().unwrap()
        }
        None => Command::new(folder.join("program")).output().unwrap(),
    }
}

#[test]
fn objects_link_into_c_programs_with_nothing_else() {
    for backend in BACKENDS {
        let folder = models();
        for (model, name) in [("first.txt", "first"), ("second.txt", "second")] {
            let arguments =
                ["compile", model, "--emit", "obj,header", "--backend", backend.name(), "-o", name];
            succeeded(&tcc(folder.path(), &arguments), name);
        }
        let header = std::fs::read_to_string(folder.path().join("first.h")).unwrap();
        for part in ["(-lm): sin", "EXTENT_N = 0, /* 1 to 64 */", "INPUT_X = 0, /* float: f32[N, 20] */"] {
            assert!(header.contains(part), "{part}\n{header}");
        }
        let second = std::fs::read_to_string(folder.path().join("second.h")).unwrap();
        assert!(second.contains("it needs nothing but the C library"), "{second}");
        let ran = build_and_run(folder.path(), "cc", &["first.o", "second.o"], None);
        check(&ran, backend.name());
    }
}

#[test]
fn objects_for_arm_link_and_run() {
    let (compiler, emulator) = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static");
    let here = |command: &str| Command::new(command).arg("--version").output().is_ok();
    if !here(compiler) || !here(emulator) {
        eprintln!("SKIPPED: nothing here links and runs code for AArch64");
        return;
    }
    for backend in BACKENDS {
        let folder = models();
        for (model, name) in [("first.txt", "first"), ("second.txt", "second")] {
            let target = ["--target", "aarch64-neon", "--backend", backend.name()];
            let arguments = [&["compile", model, "--emit", "obj,header", "-o", name], &target[..]].concat();
            let output = tcc(folder.path(), &arguments);
            if String::from_utf8_lossy(&output.stderr).contains("Rust's core library for aarch64") {
                eprintln!("SKIPPED: tcc was built without the core library for AArch64");
                return;
            }
            succeeded(&output, name);
        }
        let ran = build_and_run(folder.path(), compiler, &["first.o", "second.o"], Some(emulator));
        check(&ran, backend.name());
    }
}

#[test]
fn shared_objects_run_and_need_no_runtime() {
    let folder = models();
    for (model, name) in [("first.txt", "first"), ("second.txt", "second")] {
        let arguments = ["compile", model, "--emit", "so,header", "-o", name];
        succeeded(&tcc(folder.path(), &arguments), name);
    }
    let first = folder.path().join("first.so");
    check(&build_and_run(folder.path(), "cc", &["first.so", "second.so"], None), "first.so");
    let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(first).output().unwrap();
    let symbols = String::from_utf8_lossy(&symbols.stdout).into_owned();
    let names: Vec<&str> = symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(names, ["first_run", "first_workspace_bytes"]);
}

#[test]
fn what_has_no_kernel_has_no_object() {
    let folder = tempfile::tempdir().unwrap();
    let graph = "graph @f(%x: f32[4]) -> (v: f32[2], i: i64[2]) {\n  %0, %1 = top_k %x k=2 axis=0 largest=true : \
                 f32[2], i64[2]\n  return %0, %1\n}";
    std::fs::write(folder.path().join("f.txt"), graph).unwrap();
    let output = tcc(folder.path(), &["compile", "f.txt", "--emit", "obj", "-o", "f.o"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("expected a kernel for every op, got top_k"), "{error}");
    assert!(!folder.path().join("f.o").exists());
    let output = tcc(folder.path(), &["compile", "f.txt", "--emit", "obj,graph", "-o", "f"]);
    assert_eq!(output.status.code(), Some(2));
}

/// Every kernel that compiled code may call is in the part of the runtime that is linked into objects.
#[test]
fn the_freestanding_part_has_every_function_of_the_runtime() {
    let text = std::fs::read_to_string(root().join("runtime/freestanding/lib.rs")).unwrap();
    for entry in std::fs::read_dir(root().join("runtime/src/kernels")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let source = std::fs::read_to_string(root().join("runtime/src/kernels").join(&name)).unwrap();
        let module = name.trim_end_matches(".rs");
        if source.contains("\nkernel!(tcc_mk_") {
            assert!(
                text.contains(&format!("mod {module};")),
                "expected `mod {module};` in runtime/freestanding"
            );
        }
    }
}
