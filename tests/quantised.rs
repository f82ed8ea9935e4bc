//! Quantised products in machine code against the interpreter: exact for every size, zero point and order of axes.

use tcc::codegen::BACKENDS;
use tcc::compile::Compiler;
use tcc::ir::dtype::DType;
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::{Graph, parse_graph};
use tcc::ir::tensor::{Tensor, Tolerance};
use tcc::lowering::pass::{Ir, Pipeline, Registry, RunOptions, run};
use tcc::lowering::pipeline::Precision;
use tcc::runtime::threads::Inline;

/// Numbers of all sizes, the same every time.
fn numbers(dtype: DType, shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let count = shape.iter().product();
    let mut bytes: Vec<i64> = Vec::new();
    for _ in 0..count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.push((state >> 40) as i64 & 0xff);
    }
    match dtype {
        DType::U8 => Tensor::from_slice(shape, &bytes.iter().map(|b| *b as u8).collect::<Vec<_>>()),
        DType::I8 => Tensor::from_slice(shape, &bytes.iter().map(|b| *b as u8 as i8).collect::<Vec<_>>()),
        _ => Tensor::from_slice(shape, &bytes.iter().map(|b| (*b - 128) as f32 / 16.0).collect::<Vec<_>>()),
    }
    .unwrap()
}

fn inputs(graph: &Graph, seed: u64) -> Vec<Tensor> {
    let types = graph.param_types();
    types
        .enumerate()
        .map(|(i, ty)| numbers(ty.dtype, &ty.shape.as_fixed().unwrap(), seed + i as u64))
        .collect()
}

fn compare(text: &str, tolerance: Tolerance, compiler: &Compiler) {
    let graph = parse_graph(text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
    let inputs = inputs(&graph, text.len() as u64);
    let expected = evaluate(&graph, &inputs).unwrap();
    for backend in BACKENDS {
        let compiled = compiler.clone().backend(*backend).compile(&graph).unwrap();
        let got = compiled.run(&inputs, &Inline).unwrap();
        for (got, want) in got.outputs.iter().zip(&expected) {
            if let Err(mismatch) = got.compare(want, tolerance) {
                panic!("{}: {mismatch}\n{text}", backend.name());
            }
        }
    }
}

fn exact(text: &str) {
    compare(text, Tolerance::EXACT, &Compiler::new());
}

/// A product of centred bytes, the right operand as `[k, n]` or `[n, k]`.
fn dot(a: &str, b: &str, [m, k, n]: [usize; 3], [za, zb]: [i64; 2], turned: bool) -> String {
    let (shape, axis) = if turned { (format!("{n}, {k}"), 1) } else { (format!("{k}, {n}"), 0) };
    format!(
        "graph @f(%x: {a}[{m}, {k}], %w: {b}[{shape}]) -> (y: i32[{m}, {n}]) {{
  %0 = cast %x dtype=i32 saturate=true : i32[{m}, {k}]
  %1 = const value=i32[] {za} : i32[]
  %2 = broadcast %1 shape=[{m}, {k}] : i32[{m}, {k}]
  %3 = sub %0, %2 : i32[{m}, {k}]
  %4 = cast %w dtype=i32 saturate=true : i32[{shape}]
  %5 = const value=i32[] {zb} : i32[]
  %6 = broadcast %5 shape=[{shape}] : i32[{shape}]
  %7 = sub %4, %6 : i32[{shape}]
  %8 = dot %3, %7 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[{axis}] dtype=i32 : i32[{m}, {n}]
  return %8
}}"
    )
}

#[test]
fn products_of_bytes_are_exact() {
    let sizes = [[1, 1, 1], [3, 5, 7], [33, 66, 65], [40, 131, 32], [14, 64, 96], [70, 28, 19], [1, 200, 50]];
    for (i, size) in sizes.into_iter().enumerate() {
        for (j, (a, b)) in [("u8", "i8"), ("i8", "i8"), ("u8", "u8"), ("i8", "u8")].into_iter().enumerate() {
            let zeros = [[0, 0], [128, 0], [7, -3], [0, 100]][(i + j) % 4];
            exact(&dot(a, b, size, zeros, (i + j) % 2 == 0));
        }
    }
}

#[test]
fn batched_products_of_bytes_are_exact() {
    exact(
        "graph @f(%x: u8[2, 9, 3, 20], %w: u8[2, 11, 3, 20]) -> (y: i32[2, 3, 9, 11]) {
  %0 = cast %x dtype=i32 saturate=true : i32[2, 9, 3, 20]
  %1 = const value=i32[] 3 : i32[]
  %2 = broadcast %1 shape=[2, 9, 3, 20] : i32[2, 9, 3, 20]
  %3 = sub %0, %2 : i32[2, 9, 3, 20]
  %4 = cast %w dtype=i32 saturate=true : i32[2, 11, 3, 20]
  %5 = dot %3, %4 lhs_batch=[0, 2] rhs_batch=[0, 2] lhs_contract=[3] rhs_contract=[3] dtype=i32 : i32[2, 3, 9, 11]
  return %5
}",
    );
}

#[test]
fn convolutions_of_bytes_are_exact() {
    for (channels, outputs, window, stride, pad, groups) in
        [(3, 8, 3, 2, 1, 1), (4, 33, 1, 1, 0, 1), (8, 5, 3, 1, 1, 1), (8, 8, 3, 1, 1, 2), (6, 6, 3, 1, 1, 6)]
    {
        let side = (9 + 2 * pad - window) / stride + 1;
        let inner = channels / groups;
        exact(&format!(
            "graph @f(%x: u8[2, {channels}, 9, 9], %w: i8[{outputs}, {inner}, {window}, {window}]) -> (y: i32[2, {outputs}, {side}, {side}]) {{
  %0 = cast %x dtype=i32 saturate=true : i32[2, {channels}, 9, 9]
  %1 = const value=i32[] 131 : i32[]
  %2 = broadcast %1 shape=[2, {channels}, 9, 9] : i32[2, {channels}, 9, 9]
  %3 = sub %0, %2 : i32[2, {channels}, 9, 9]
  %4 = cast %w dtype=i32 saturate=true : i32[{outputs}, {inner}, {window}, {window}]
  %5 = conv %3, %4 strides=[{stride}, {stride}] lo=[{pad}, {pad}] hi=[{pad}, {pad}] dilation=[1, 1] base=[1, 1] groups={groups} dtype=i32 : i32[2, {outputs}, {side}, {side}]
  return %5
}}"
        ));
    }
}

/// A product of dequantised operands, with a scale for each column, a bias, and quantised again.
const REQUANTISED: &str = "graph @f(%x: f32[37, 50], %w: i8[50, 21], %s: f32[1, 21], %b: f32[21]) -> (y: u8[37, 21]) {
  %0 = const value=f32[1, 1] [[0.0625]] : f32[1, 1]
  %1 = const value=u8[1, 1] [[120]] : u8[1, 1]
  %2 = quantize %x, %0, %1 dtype=u8 : u8[37, 50]
  %3 = dequantize %2, %0, %1 dtype=f32 : f32[37, 50]
  %4 = const value=i8[1, 21] [[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] : i8[1, 21]
  %5 = const value=f32[1, 21] [[0.5, 0.5, 0.25, 0.25, 1.0, 0.5, 0.5, 0.25, 0.25, 1.0, 0.5, 0.5, 0.25, 0.25, 1.0, 0.5, 0.5, 0.25, 0.25, 1.0, 2.0]] : f32[1, 21]
  %6 = dequantize %w, %5, %4 dtype=f32 : f32[50, 21]
  %7 = dot %3, %6 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[37, 21]
  %8 = broadcast %b shape=[37, 21] : f32[37, 21]
  %9 = add %7, %8 : f32[37, 21]
  %10 = const value=f32[1, 1] [[32.0]] : f32[1, 1]
  %11 = quantize %9, %10, %1 dtype=u8 : u8[37, 21]
  return %11
}";

#[test]
fn requantised_products_are_those_of_real_numbers() {
    // All scales are powers of two, so that real sums are exact as well.
    exact(REQUANTISED);
    let pipeline = Pipeline::parse("integer-products,dce", &Registry::builtin()).unwrap();
    let graph = parse_graph(REQUANTISED).unwrap();
    let Ir::Graph(after) = run(Ir::Graph(graph), &pipeline, &RunOptions::default(), &mut |_| {}).unwrap()
    else {
        panic!("a graph pass gives a graph")
    };
    let text = after.to_string();
    assert!(text.contains("dtype=i32 : i32[37, 21]") && !text.contains("dequantize"), "{text}");
}

#[test]
fn products_can_be_of_lower_precision() {
    let text = "graph @f(%x: f32[35, 50], %w: f32[50, 40]) -> (y: f32[35, 40]) {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[35, 40]
  return %0
}";
    // The numbers have few bits, so that rounding them changes nothing.
    for precision in [Precision::Bf16, Precision::F16] {
        compare(text, Tolerance::EXACT, &Compiler::new().precision(precision));
    }
}

#[test]
fn vectors_become_bytes_as_single_numbers_do() {
    for dtype in ["u8", "i8", "i16", "u16"] {
        exact(&format!(
            "graph @f(%x: f32[1000]) -> (y: {dtype}[1000]) {{
  %0 = const value=f32[] 1000.0 : f32[]
  %1 = broadcast %0 shape=[1000] : f32[1000]
  %2 = mul %x, %1 : f32[1000]
  %3 = mul %2, %2 : f32[1000]
  %4 = sub %3, %3 : f32[1000]
  %5 = div %x, %4 : f32[1000]
  %6 = add %5, %2 : f32[1000]
  %7 = cast %6 dtype={dtype} saturate=true : {dtype}[1000]
  %8 = cast %2 dtype={dtype} saturate=true : {dtype}[1000]
  %9 = max %7, %8 : {dtype}[1000]
  return %9
}}"
        ));
    }
}
