//! Seeded bugs in emitted kernels: a pattern, which of its occurrences, and what replaces it. Each must be found, as a
//! broken rule or as a difference from the nest.

use tcc_ir::dim::{Bindings, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::graph::parse_graph;
use tcc_ir::tensor::Tensor;

use super::{Compiler, GpuModel};

const CONTRACTION: &str = "graph @g(%x: f32[70, 36], %w: f32[36, 68]) -> (y: f32[70, 68]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[70, 68]
  return %0
}";
const TENSOR_CORES: &str = "graph @g(%x: f16[70, 72], %w: f16[72, 76]) -> (y: f16[70, 76]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f16 : f16[70, 76]
  return %0
}";
const SOFTMAX: &str = "graph @g(%x: f32[6, 100]) -> (y: f32[6, 100]) {
  %0 = softmax %x axis=1 : f32[6, 100]
  return %0
}";
const GATHER: &str = "graph @g(%x: f32[7, 5], %i: i64[9]) -> (y: f32[9, 5]) {
  %0 = gather %x, %i axis=0 : f32[9, 5]
  return %0
}";
const SUM: &str = "graph @g(%x: f32[N, 70]) -> (y: f32[N]) where N in 1..=9 {
  %0 = reduce_sum %x axes=[1] : f32[N]
  return %0
}";
const TRANSPOSE: &str = "graph @g(%x: f32[30, 50]) -> (y: f32[50, 30]) {
  %0 = transpose %x perm=[1, 0] : f32[50, 30]
  return %0
}";
const ADDITION: &str = "graph @g(%x: f32[1033], %z: f32[1033]) -> (y: f32[1033]) {
  %0 = add %x, %z : f32[1033]
  return %0
}";

const MUTATIONS: &[(&str, &str, usize, &str)] = &[
    (CONTRACTION, "bar.sync 0;", 0, ""),
    (CONTRACTION, "bar.sync 0;", 1, ""),
    (CONTRACTION, "setp.ge.s32", 0, "setp.gt.s32"),
    (CONTRACTION, "setp.ge.or.s32", 0, "setp.gt.or.s32"),
    (CONTRACTION, "setp.ge.or.s32", 0, "setp.ge.and.s32"),
    (CONTRACTION, "add.s32 %r6, %r6, 1;", 0, "add.s32 %r6, %r6, 2;"),
    (CONTRACTION, "@%p2 bra", 0, "@!%p2 bra"),
    (CONTRACTION, "@%p2 bra $L0;", 0, ""),
    (CONTRACTION, "bra $L1;", 0, ""),
    (CONTRACTION, "shl.b32 %r8, %r7, 6", 0, "shl.b32 %r8, %r7, 5"),
    (CONTRACTION, "and.b32 %r11, %r5, 15", 0, "and.b32 %r11, %r5, 7"),
    (CONTRACTION, "mul.lo.s32 %r18, %r11, 68", 0, "mul.lo.s32 %r18, %r11, 64"),
    (CONTRACTION, "[%rd7+2304]", 0, "[%rd7+2300]"),
    (CONTRACTION, "st.shared.f32 [%r20+64]", 0, "st.shared.f32 [%r20+60]"),
    (CONTRACTION, "add.s32 %r4, %r3, 4352", 0, "add.s32 %r4, %r3, 4096"),
    (CONTRACTION, "mov.f32 %f16, 0f00000000", 0, "mov.f32 %f16, 0f3F800000"),
    (CONTRACTION, "mov.u32 %r5, %tid.x", 0, "mov.u32 %r5, %laneid"),
    (CONTRACTION, "mov.u32 %r0, %ctaid.x", 0, "mov.u32 %r0, 0"),
    (TENSOR_CORES, "bar.sync 0;", 0, ""),
    (TENSOR_CORES, "bar.sync 0;", 1, ""),
    (TENSOR_CORES, "setp.ge.s32", 0, "setp.gt.s32"),
    (TENSOR_CORES, ", 72, %p1", 0, ", 80, %p1"),
    (TENSOR_CORES, "mov.b32 %r6, 0;", 0, "mov.b32 %r6, 1;"),
    (TENSOR_CORES, ", 40;", 0, ", 32;"),
    (TENSOR_CORES, "mov.f32 %f66, 0f00000000", 0, "mov.f32 %f66, 0f3F800000"),
    (TENSOR_CORES, ".trans", 0, ""),
    (TENSOR_CORES, ".trans", 1, ""),
    (
        TENSOR_CORES,
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        0,
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    ),
    (TENSOR_CORES, "mov.u32 %r7, %tid.x", 0, "mov.u32 %r7, %tid.y"),
    (TENSOR_CORES, ", 5120;", 0, ", 5088;"),
    (SOFTMAX, "bar.sync 0;", 0, ""),
    (SOFTMAX, "bar.sync 0;", 3, ""),
    (SOFTMAX, "bar.sync 0;", 6, ""),
    (SOFTMAX, "bar.sync 0;\n    setp.ge.s32 %p4", 0, "setp.ge.s32 %p4"),
    (SOFTMAX, "setp.ge.s32 %p3, %r14, 32", 0, "setp.ge.s32 %p3, %r14, 33"),
    (SOFTMAX, "setp.lt.s32 %p2", 0, "setp.le.s32 %p2"),
    (SOFTMAX, "add.s32 %r16, %r15, 163", 0, "add.s32 %r16, %r15, 164"),
    (SOFTMAX, "shr.u32 %r17, %r16, 6", 0, "shr.u32 %r17, %r16, 7"),
    (SOFTMAX, "@%p3 bra $L2;", 0, ""),
    (SOFTMAX, "max.NaN.f32", 0, "min.NaN.f32"),
    (SOFTMAX, "mov.f32 %f2,", 0, "mov.f32 %f1,"),
    (GATHER, "max.s64", 0, "min.s64"),
    (GATHER, "rem.u32 %r3, %r1, 5", 0, "rem.u32 %r3, %r1, 4"),
    (GATHER, "mad.wide.s32 %rd17, %r1, 4", 0, "mad.wide.s32 %rd17, %r2, 4"),
    (GATHER, "min.s64 %rd2, %rd0, %rd1", 0, "mov.b64 %rd2, %rd0"),
    (GATHER, "mov.b64 %rd1, 6", 0, "mov.b64 %rd1, 7"),
    (SUM, "bar.sync 0;", 0, ""),
    (SUM, "bar.sync 0;", 1, "bar.sync 0, 32;"),
    (SUM, "add.rn.f32", 1, "sub.rn.f32"),
    (TRANSPOSE, "setp.ge.s32", 0, "setp.gt.s32"),
    (ADDITION, "setp.ge.s32", 0, "setp.gt.s32"),
    (ADDITION, "@%p", 0, "@!%p"),
];

/// A model with random inputs; indices lie on both sides of what they may be.
fn subject(text: &str) -> (GpuModel, Vec<Tensor>) {
    let graph = parse_graph(text).unwrap_or_else(|d| panic!("{}", d.render("graph", text)));
    let bindings: Bindings = [(Symbol::new("N"), 5)].into_iter().collect();
    let input = |(i, (_, v)): (usize, &(std::sync::Arc<str>, tcc_ir::graph::Value))| {
        let ty = graph.ty(*v);
        match ty.dtype {
            DType::I64 => Tensor::from_slice(&[9], &[0i64, 6, 7, -1, 20, -90, 3, 2, 5]).unwrap(),
            other => Tensor::random(other, &ty.shape.eval(&bindings).unwrap(), i as u64 + 1).unwrap(),
        }
    };
    let inputs = graph.params().iter().enumerate().map(input).collect();
    (Compiler::new().compile_gpu(&graph, &["sm_80".parse().unwrap()]).unwrap(), inputs)
}

#[test]
fn seeded_bugs_in_emitted_kernels_are_found() {
    let mut problems = Vec::new();
    for subjects in MUTATIONS.chunk_by(|a, b| a.0 == b.0) {
        let (mut model, inputs) = subject(subjects[0].0);
        model.emulate(None, &inputs, true).unwrap_or_else(|e| panic!("{e}"));
        let text = model.ptx[0].1.clone();
        for (_, pattern, number, replacement) in subjects {
            let Some((at, _)) = text.match_indices(pattern).nth(*number) else {
                problems.push(format!("`{pattern}` {number}: expected it in the kernel\n{text:.3000}"));
                continue;
            };
            model.ptx[0].1 = format!("{}{replacement}{}", &text[..at], &text[at + pattern.len()..]);
            if model.emulate(None, &inputs, true).is_ok() {
                problems.push(format!("`{pattern}` {number} to `{replacement}`: expected it to be found"));
            }
        }
    }
    assert!(problems.is_empty(), "{} of {}\n{}", problems.len(), MUTATIONS.len(), problems.join("\n"));
}
