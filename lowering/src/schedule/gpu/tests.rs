//! Scheduled nests mean what they meant, without races, also as programs.

use tcc_ir::dim::{Bindings, Symbol};
use tcc_ir::graph::parse_graph;
use tcc_ir::loops::interpret_with;
use tcc_ir::mem;
use tcc_ir::tensor::{Tensor, Tolerance};

use super::{GpuMachine, schedule_gpu};
use crate::graph_to_loops::{Work, lower_graph};
use crate::loops_to_mem::lower_nest;

fn holds(text: &str, symbols: &[(&str, i64)], expected: &str) {
    let graph = parse_graph(text).unwrap_or_else(|d| panic!("{}", d.render("graph", text)));
    let bindings: Bindings = symbols.iter().map(|(s, v)| (Symbol::new(s), *v)).collect();
    let mut seen = String::new();
    for stage in lower_graph(&graph) {
        let Work::Nest(nest) = stage.work else { continue };
        let scheduled = schedule_gpu(&nest, &GpuMachine::default());
        seen += &scheduled.to_string();
        scheduled.verify().unwrap_or_else(|d| panic!("{d}\n{scheduled}"));
        let program = lower_nest(&scheduled);
        program.verify().unwrap_or_else(|d| panic!("{d}\n{program}"));
        let inputs: Vec<Tensor> = nest
            .inputs
            .iter()
            .map(|b| Tensor::random(b.ty.dtype, &b.ty.shape.eval(&bindings).unwrap(), 5).unwrap())
            .collect();
        let wanted = interpret_with(&nest, &inputs, &bindings).unwrap();
        let got =
            interpret_with(&scheduled, &inputs, &bindings).unwrap_or_else(|e| panic!("{e}\n{scheduled}"));
        let flat = mem::interpret(&program, &inputs, &bindings).unwrap_or_else(|e| panic!("{e}\n{program}"));
        for ((a, b), c) in wanted.iter().zip(&got).zip(&flat) {
            let tolerance = match a.dtype() {
                tcc_ir::dtype::DType::F32 => Tolerance::relative(1e-4, 1e-5),
                other => Tolerance::for_dtype(other),
            };
            b.compare(a, tolerance).unwrap_or_else(|m| panic!("{m}\n{scheduled}"));
            let c = c.reshape(b.shape()).unwrap();
            c.compare(b, tolerance).unwrap_or_else(|m| panic!("{m}\n{program}"));
        }
    }
    assert!(seen.contains(expected), "expected `{expected}` in\n{seen}");
}

#[test]
fn elements() {
    holds(
        "graph @e(%x: f32[5, 12], %y: f32[N, 3]) -> (a: f32[5, 12], b: f32[N, 3], c: f32[7, 15]) {
           %0 = exp %x : f32[5, 12]
           %1 = mul %y, %y : f32[N, 3]
           %2 = const value=f32[] 0.5 : f32[]
           %3 = pad %0, %2 lo=[1, 2] hi=[1, 1] inner=[0, 0] : f32[7, 15]
           return %0, %1, %3
         }",
        &[("N", 101)],
        "vector",
    );
}

#[test]
fn rows() {
    for n in [1, 31, 64, 100, 300] {
        holds(
            "graph @r(%x: f32[3, N], %s: f32[N], %b: f32[N]) -> (a: f32[3, N], c: f32[3, N], d: f32[], e: f32[N]) {
               %0 = layer_norm %x, %s, %b axis=1 eps=0.00001 : f32[3, N]
               %1 = softmax %x axis=1 : f32[3, N]
               %2 = reduce_sum %x axes=[0, 1] : f32[]
               %3 = reduce_max %x axes=[0] : f32[N]
               return %0, %1, %2, %3
             }",
            &[("N", n)],
            "in shared",
        );
    }
}

#[test]
fn attention_and_groups() {
    holds(
        "graph @a(%q: f32[1, 2, 3, 8], %k: f32[1, 2, 40, 8], %v: f32[1, 2, 40, 6], %x: f32[2, 4, 5, 9], %s: f32[4]) -> (y: f32[1, 2, 3, 6], g: f32[2, 4, 5, 9]) {
           %0 = attention %q, %k, %v scale=0.35 causal=true softcap=0.0 : f32[1, 2, 3, 6]
           %1 = group_norm %x, %s, %s groups=2 eps=0.00001 : f32[2, 4, 5, 9]
           return %0, %1
         }",
        &[],
        "scores: f32[56, 128] in shared",
    );
}

#[test]
fn attention_in_several_blocks() {
    holds(
        "graph @a(%q: f32[1, 2, Q, 8], %k: f32[1, 1, K, 8], %v: f32[1, 1, K, 100]) -> (y: f32[1, 2, Q, 100]) {
           %0 = attention %q, %k, %v scale=0.35 causal=true softcap=0.0 : f32[1, 2, Q, 100]
           return %0
         }",
        &[("Q", 61), ("K", 150)],
        "mixed: f32[56, 100] in global",
    );
}

#[test]
fn contractions() {
    holds(
        "graph @c(%x: f32[2, M, 20], %w: f32[33, 20], %v: f32[2, 20, 70], %i: f32[1, 3, 9, 9], %f: f32[18, 3, 3, 3]) -> (a: f32[2, M, 33], b: f32[2, M, 70], c: f32[1, 18, 9, 9]) {
           %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[1] dtype=f32 : f32[2, M, 33]
           %1 = gelu %0 : f32[2, M, 33]
           %2 = dot %x, %v lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] dtype=f32 : f32[2, M, 70]
           %3 = conv %i, %f strides=[1, 1] lo=[1, 1] hi=[1, 1] dilation=[1, 1] base=[1, 1] groups=1 dtype=f32 : f32[1, 18, 9, 9]
           return %1, %2, %3
         }",
        &[("M", 35)],
        "sums[",
    );
}

#[test]
fn tensor_cores() {
    holds(
        "graph @t(%x: f16[2, M, 40], %w: f16[40, 72], %v: bf16[24, 30], %u: bf16[30, 70]) -> (a: f16[2, M, 72], b: f32[24, 70]) {
           %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[0] dtype=f16 : f16[2, M, 72]
           %1 = neg %0 : f16[2, M, 72]
           %2 = dot %v, %u lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[24, 70]
           return %1, %2
         }",
        &[("M", 35)],
        "tile",
    );
}

#[test]
fn scatters_take_turns() {
    holds(
        "graph @s(%x: f32[5, 4], %p: i64[2, 4], %u: f32[2, 4]) -> (y: f32[5, 4]) {
           %0 = scatter_elements %x, %p, %u axis=0 reduce=\"add\" : f32[5, 4]
           return %0
         }",
        &[],
        "in 0..1 thread.x",
    );
}
