//! Models compiled for GPUs give what the interpreter gives, in the emulator, and nothing depends on chance.

use tcc_ir::dim::{Bindings, Symbol};
use tcc_ir::graph::eval::evaluate;
use tcc_ir::graph::parse_graph;
use tcc_ir::tensor::{Tensor, Tolerance};

use super::*;

mod mutations;

fn target(name: &str) -> GpuTarget {
    name.parse().unwrap()
}

fn agrees(text: &str, symbols: &[(&str, i64)]) {
    let graph = parse_graph(text).unwrap_or_else(|d| panic!("{}", d.render("graph", text)));
    let bindings: Bindings = symbols.iter().map(|(s, v)| (Symbol::new(s), *v)).collect();
    let tensor = |(i, (_, v)): (usize, &(std::sync::Arc<str>, tcc_ir::graph::Value))| {
        let ty = graph.ty(*v);
        Tensor::random(ty.dtype, &ty.shape.eval(&bindings).unwrap(), i as u64 + 1).unwrap()
    };
    let inputs: Vec<Tensor> = graph.params().iter().enumerate().map(tensor).collect();
    let expected = evaluate(&graph, &inputs).unwrap();
    let targets = ["sm_70", "sm_80", "sm_90a"].map(target);
    let model = Compiler::new().compile_gpu(&graph, &targets).unwrap();
    for target in targets {
        let run =
            model.emulate(Some(target), &inputs, true).unwrap_or_else(|e| panic!("{target}: {e}\n{text}"));
        for (got, want) in run.outputs.iter().zip(&expected) {
            let tolerance = match want.dtype() {
                DType::F32 => Tolerance::relative(2e-4, 2e-5),
                d => Tolerance::for_dtype(d),
            };
            got.compare(want, tolerance).unwrap_or_else(|m| panic!("{target}: {m}\n{text}"));
        }
    }
}

#[test]
fn a_perceptron_of_any_batch() {
    agrees(
        "graph @p(%x: f32[N, 20], %w: f32[20, 33], %b: f32[33]) -> (y: f32[N, 33], z: f32[N, 33]) where N in 1..=64 {
           %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 33]
           %1 = broadcast %b shape=[N, 33] : f32[N, 33]
           %2 = add %0, %1 : f32[N, 33]
           %3 = softmax %2 axis=1 : f32[N, 33]
           %4 = gelu %2 : f32[N, 33]
           return %3, %4
         }",
        &[("N", 19)],
    );
}

#[test]
fn types_and_conversions() {
    agrees(
        "graph @t(%x: i32[37], %y: i32[37], %h: f16[37], %b: bf16[37], %i: i8[37], %u: u8[37], %d: f64[37], %l: i64[37]) -> (a: i32[37], c: f16[37], d: bf16[37], e: i8[37], f: bool[37], g: u8[37], h: f64[37], i: i64[37], j: bf16[37], k: i8[37]) {
           %0 = div %x, %y : i32[37]
           %1 = floor_mod %x, %y : i32[37]
           %2 = shl %0, %1 : i32[37]
           %3 = mul %h, %h : f16[37]
           %4 = exp %3 : f16[37]
           %5 = add %b, %b : bf16[37]
           %6 = mul %i, %i : i8[37]
           %7 = lt %x, %y : bool[37]
           %8 = not %7 : bool[37]
           %9 = pow %u, %u : u8[37]
           %10 = sin %d : f64[37]
           %11 = floor_mod %l, %l : i64[37]
           %12 = cast %d dtype=bf16 saturate=true : bf16[37]
           %13 = cast %d dtype=i8 saturate=true : i8[37]
           return %2, %4, %5, %6, %8, %9, %10, %11, %12, %13
         }",
        &[],
    );
}

#[test]
fn rows_windows_and_what_the_host_does() {
    agrees(
        "graph @r(%x: f32[2, 4, 9, 9], %w: f32[6, 2, 3, 3], %s: f32[6], %q: f32[1, 2, 5, 8], %k: f32[1, 2, T, 8]) -> (a: f32[2, 6, 2, 2], b: f32[1, 2, 5, 8], c: f32[2, 4, 9, 2], d: i64[2, 4, 9, 2], e: i64[2, 4, 9]) {
           %0 = conv %x, %w strides=[2, 2] lo=[1, 0] hi=[0, 0] dilation=[1, 1] base=[1, 1] groups=2 dtype=f32 : f32[2, 6, 4, 4]
           %1 = group_norm %0, %s, %s groups=3 eps=0.00001 : f32[2, 6, 4, 4]
           %2 = pool_max %1 window=[3, 3] strides=[2, 2] lo=[1, 1] hi=[0, 0] dilation=[1, 1] : f32[2, 6, 2, 2]
           %3 = attention %q, %k, %k scale=0.35 causal=false softcap=2.0 : f32[1, 2, 5, 8]
           %4, %5 = top_k %x k=2 axis=3 largest=true : f32[2, 4, 9, 2], i64[2, 4, 9, 2]
           %6 = argmax %x axis=3 last=false : i64[2, 4, 9]
           return %2, %3, %4, %5, %6
         }",
        &[("T", 7)],
    );
}

#[test]
fn artifacts_are_the_same_bytes_and_run() {
    let text = "graph @a(%x: f32[N, 4]) -> (y: f32[N, 4]) where N in 1..=64 {
      %0 = const value=f32[4] [1.0, 2.0, 3.0, 4.0] : f32[4]
      %1 = broadcast %0 shape=[N, 4] : f32[N, 4]
      %2 = mul %x, %1 : f32[N, 4]
      return %2
    }";
    let graph = parse_graph(text).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a", "b"].map(|name| {
        let path = folder.path().join(name);
        let model = Compiler::new().compile_gpu(&graph, &[target("sm_80"), target("sm_90a")]).unwrap();
        model.write(&path).unwrap();
        path
    });
    for file in ["manifest.json", "weights.bin", "kernels/sm_80.ptx", "kernels/sm_90a.ptx"] {
        assert_eq!(
            std::fs::read(first.join(file)).unwrap(),
            std::fs::read(second.join(file)).unwrap(),
            "{file}"
        );
    }
    let opened = GpuModel::open(&first).unwrap();
    let x = Tensor::from_slice(&[1, 4], &[1f32, 1.0, 1.0, 2.0]).unwrap();
    let run = opened.emulate(Some(target("sm_90a")), &[x], true).unwrap();
    assert_eq!(run.outputs[0].as_slice::<f32>().unwrap(), [1.0, 2.0, 3.0, 8.0]);
}

#[test]
fn products_on_tensor_cores() {
    let text = "graph @t(%x: f16[2, M, 40], %w: f16[40, 72], %v: bf16[24, 96], %u: bf16[96, 70]) -> (a: f16[2, M, 72], b: f32[24, 70]) {
      %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[0] dtype=f16 : f16[2, M, 72]
      %1 = neg %0 : f16[2, M, 72]
      %2 = dot %v, %u lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[24, 70]
      return %1, %2
    }";
    agrees(text, &[("M", 35)]);
    let graph = parse_graph(text).unwrap();
    let inputs: Vec<Tensor> = [vec![2, 35, 40], vec![40, 72], vec![24, 96], vec![96, 70]]
        .iter()
        .zip(graph.params())
        .map(|(shape, (_, v))| Tensor::random(graph.ty(*v).dtype, shape, 3).unwrap())
        .collect();
    // Alone, a target with tensor cores uses them.
    let model = Compiler::new().compile_gpu(&graph, &[target("sm_80")]).unwrap();
    assert!(model.ptx()[0].1.contains("mma.sync"), "{:?}", model.report().interpreted);
    model.emulate(None, &inputs, true).unwrap_or_else(|e| panic!("{e}"));
}
