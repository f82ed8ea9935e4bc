//! Objects for every named target: they are well formed, and run where a C compiler and a machine can be had.
//!
//! A model becomes a C program that holds its buffers and calls its kernels in order. It is linked with the object
//! and run, by `qemu-aarch64-static` where the object is not for this processor.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use tcc::codegen::{BACKENDS, Backend, NamedTarget};
use tcc::compile::{Compiler, named};
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::{Graph, parse_graph};
use tcc::ir::tensor::{Tensor, Tolerance};
use tcc::runtime::cpu::Isa;
use tcc::runtime::model::{Expr, Model, Place, Step};

const MODEL: &str =
    "graph @mlp(%x: f32[17, 20], %w: f32[20, 33], %b: f32[33], %v: f32[33, 5], %h: f16[17, 5])
    -> (y: f32[17, 5], z: f16[17, 5], i: i32[17, 5]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[17, 33]
  %1 = broadcast %b shape=[17, 33] : f32[17, 33]
  %2 = add %0, %1 : f32[17, 33]
  %3 = gelu %2 : f32[17, 33]
  %4 = dot %3, %v lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[17, 5]
  %5 = softmax %4 axis=1 : f32[17, 5]
  %6 = mul %h, %h : f16[17, 5]
  %7 = cast %4 dtype=i32 saturate=false : i32[17, 5]
  return %5, %6, %7
}";

#[test]
fn objects_for_every_target_are_for_its_machine() {
    let graph = parse_graph(MODEL).unwrap();
    for (target, backend) in pairs() {
        let object = translate(&graph, &target, backend).object;
        assert_eq!(&object[..4], b"\x7fELF", "{} on {}", target.name, backend.name());
        // EM_X86_64 and EM_AARCH64.
        let machine = if target.arch == "aarch64" { 183 } else { 62 };
        assert_eq!(u16::from_le_bytes([object[18], object[19]]), machine, "{}", target.name);
    }
}

#[test]
fn objects_for_every_target_compute_what_the_graph_means() {
    let graph = parse_graph(MODEL).unwrap();
    let inputs: Vec<Tensor> = graph
        .param_types()
        .zip(1..)
        .map(|(ty, seed)| {
            let shape: Vec<usize> = ty.shape.iter().map(|d| d.as_const().unwrap() as usize).collect();
            Tensor::random(ty.dtype, &shape, seed).unwrap()
        })
        .collect();
    let expected = evaluate(&graph, &inputs).unwrap();
    for (target, backend) in pairs() {
        let Some((compiler, emulator)) = tools(&target) else {
            eprintln!("SKIPPED: nothing here links and runs code for {}", target.name);
            continue;
        };
        let model = translate(&graph, &target, backend);
        let printed = run(&model, &inputs, compiler, emulator);
        let mut at = 0;
        for want in &expected {
            let bytes = want.to_bytes().unwrap().len();
            let got = Tensor::from_byte_slice(want.dtype(), want.shape(), &printed[at..at + bytes]).unwrap();
            at += bytes;
            let tolerance =
                if want.dtype().is_float() { Tolerance::relative(1e-3, 1e-4) } else { Tolerance::EXACT };
            if let Err(mismatch) = got.compare(want, tolerance) {
                panic!("{} on {}: {mismatch}\n{got}\n{want}", target.name, backend.name());
            }
        }
    }
}

fn pairs() -> impl Iterator<Item = (NamedTarget, &'static dyn Backend)> {
    NamedTarget::all().flat_map(|target| BACKENDS.iter().map(move |backend| (target.clone(), *backend)))
}

fn translate(graph: &Graph, target: &NamedTarget, backend: &'static dyn Backend) -> Model {
    let compiler = Compiler::new().backend(backend).target(named(target.name).unwrap());
    compiler.translate(graph).unwrap().model().clone()
}

/// The C compiler for a target, and what runs its programs if this processor does not.
fn tools(target: &NamedTarget) -> Option<(&'static str, Option<&'static str>)> {
    let here = |command: &str| Command::new(command).arg("--version").output().is_ok();
    if cfg!(target_arch = "x86_64") && target.arch == "x86_64" {
        let needed = target.features.join("+").parse().unwrap();
        return (Isa::detect().contains(needed) && here("gcc")).then_some(("gcc", None));
    }
    let (compiler, emulator) = ("aarch64-linux-gnu-gcc", "qemu-aarch64-static");
    (target.arch == "aarch64" && here(compiler) && here(emulator)).then_some((compiler, Some(emulator)))
}

/// Builds the C program and gives back what it prints: the bytes of the outputs in order.
fn run(model: &Model, inputs: &[Tensor], compiler: &str, emulator: Option<&str>) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("model.o"), &model.object).unwrap();
    std::fs::write(file("driver.c"), driver(model, inputs)).unwrap();
    let mut build = Command::new(compiler);
    build
        .args(["-O1", "-static", "-o"])
        .args(["program", "driver.c", "model.o", "-lm"].map(file_name(folder.path())));
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let program = file("program");
    let output = match emulator {
        Some(emulator) => Command::new(emulator).args(["-cpu", "max"]).arg(&program).output().unwrap(),
        None => Command::new(&program).output().unwrap(),
    };
    assert!(output.status.success(), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Options stay as they are, files are in the folder.
fn file_name(folder: &Path) -> impl Fn(&str) -> std::ffi::OsString {
    move |name| if name.starts_with('-') { name.into() } else { folder.join(name).into() }
}

/// The functions of the runtime that kernels may call, in their plainest form.
const RUNTIME: &str = "#include <stdio.h>
#include <stdint.h>
#include <math.h>
#include <string.h>
typedef int64_t i64;
static void tile(i64 k, const float *a, i64 ar, i64 ak, const float *b, i64 br, float *c, i64 cr, i64 m, i64 n, i64 add) {
  for (i64 i = 0; i < m; i++) for (i64 j = 0; j < n; j++) {
    float sum = 0;
    for (i64 p = 0; p < k; p++) sum += a[i * ar + p * ak] * b[p * br + j];
    c[i * cr + j] = add ? c[i * cr + j] + sum : sum;
  }
}
#define TILE(name) void name(i64 k, const float *a, i64 ar, i64 ak, const float *b, i64 br, float *c, i64 cr, \\
  i64 m, i64 n, i64 add) { tile(k, a, ar, ak, b, br, c, cr, m, n, add); }
TILE(tcc_mk_f32_sse) TILE(tcc_mk_f32_avx2) TILE(tcc_mk_f32_avx512) TILE(tcc_mk_f32_neon)
float tcc_f32_from_f16(uint32_t h) {
  int e = h >> 10 & 31, m = h & 1023;
  float f = e == 31 ? (m ? NAN : INFINITY) : e ? ldexpf(1024 + m, e - 25) : ldexpf(m, -24);
  return h & 0x8000 ? -f : f;
}
uint32_t tcc_f16_from_f32(float f) {
  uint32_t sign = signbit(f) ? 0x8000 : 0;
  int e;
  f = fabsf(f);
  if (isnan(f)) return sign | 0x7e00;
  if (f >= 65520) return sign | 0x7c00;
  if (f < 0x1p-14f) return sign | (uint32_t)rintf(ldexpf(f, 24));
  frexpf(f, &e);
  return sign | ((uint32_t)(e + 13) << 10) + (uint32_t)rintf(ldexpf(f, 11 - e));
}
";

fn driver(model: &Model, inputs: &[Tensor]) -> String {
    let value = |e: &Expr| e.eval(&[]).expect("the model has no open symbols");
    let mut text = RUNTIME.to_owned();
    let mut data = |name: String, bytes: &[u8], size: i64| {
        let bytes: Vec<String> = bytes.iter().map(u8::to_string).collect();
        // Micro-kernels may read, though never use, columns beyond the end of their operands.
        let size = size + 1024;
        let _ = writeln!(text, "static _Alignas(64) unsigned char {name}[{size}] = {{{}}};", bytes.join(","));
    };
    data("arena".to_owned(), &[0], model.arena_bytes.as_ref().map_or(0, value));
    data("scratch".to_owned(), &[0], 1 << 20);
    let mut pointers = Vec::new();
    for (i, buffer) in model.buffers.iter().enumerate() {
        let own: &[u8] = match &buffer.place {
            Place::Input(input) => &inputs[*input as usize].to_bytes().unwrap(),
            Place::Constant(constant) => model.constants[*constant as usize].bytes.as_ref().as_ref(),
            Place::Arena(offset) => {
                pointers.push(format!("arena + {}", value(offset)));
                continue;
            }
            _ => &[0],
        };
        data(format!("b{i}"), own, value(&buffer.bytes));
        pointers.push(format!("b{i}"));
    }
    for name in &model.functions {
        let _ = writeln!(text, "void {name}(unsigned char **, const i64 *, i64, i64, unsigned char *);");
    }
    text.push_str("int main(void) {\n");
    for step in &model.steps {
        let Step::Kernel { function, buffers, tiles, .. } = step else { panic!("expected kernels alone") };
        let list: Vec<&str> = buffers.iter().map(|b| pointers[*b as usize].as_str()).collect();
        let (name, list, tiles) = (&model.functions[*function as usize], list.join(", "), value(tiles));
        let _ =
            writeln!(text, "  {name}((unsigned char *[]){{{list}}}, (i64[1]){{0}}, 0, {tiles}, scratch);");
    }
    for output in &model.outputs {
        let bytes = value(&model.buffers[output.buffer as usize].bytes);
        let _ = writeln!(text, "  fwrite({}, 1, {bytes}, stdout);", pointers[output.buffer as usize]);
    }
    text.push_str("  return 0;\n}\n");
    text
}
