//! Compiled models against the interpreter, at every stage of the way.

use tcc_ir::dim::Bindings;
use tcc_ir::dtype::DType;
use tcc_ir::graph::eval::evaluate;
use tcc_ir::graph::{Graph, parse_graph};
use tcc_ir::loops::interpret_with;
use tcc_ir::tensor::{Tensor, Tolerance};
use tcc_lowering::graph_to_loops::{Work, lower_graph};
use tcc_lowering::schedule::schedule;
use tcc_runtime::threads::{Inline, Pool, PoolConfig};

use super::target::Schedulable;
use super::*;

/// Runs a graph through the interpreter of graphs, the nests before and after scheduling, and machine code.
fn agrees(text: &str, symbols: &[(&str, i64)]) {
    let graph = parse_graph(text).unwrap_or_else(|d| panic!("{}", d.render("graph", text)));
    let bindings: Bindings = symbols.iter().map(|(s, v)| (Symbol::new(s), *v)).collect();
    let inputs: Vec<Tensor> = graph
        .params()
        .iter()
        .enumerate()
        .map(|(i, (name, v))| {
            let ty = graph.ty(*v);
            let shape = ty.shape.eval(&bindings).unwrap();
            if name.starts_with("index") {
                let count = shape.iter().product();
                return Tensor::from_f64_iter(ty.dtype, &shape, (0..count).map(|i| ((i * 7) % 3) as f64))
                    .unwrap();
            }
            Tensor::random(ty.dtype, &shape, i as u64 + 1).unwrap()
        })
        .collect();
    let expected = evaluate(&graph, &inputs).unwrap();
    check_nests(&graph, &bindings);
    check_nests(
        &tcc_lowering::pipeline::optimise(&graph, &native().schedule(), &Default::default()).unwrap(),
        &bindings,
    );
    let pool = Pool::new(&PoolConfig::with_threads(3)).unwrap();
    for backend in BACKENDS {
        let compiled = Compiler::new().backend(*backend).compile(&graph).unwrap();
        for threads in [&Inline as &dyn Parallel, &pool] {
            let run = compiled.run(&inputs, threads).unwrap();
            for (got, want) in run.outputs.iter().zip(&expected) {
                close(got, want, &format!("{} of {text}", backend.name()));
            }
        }
    }
}

fn close(got: &Tensor, want: &Tensor, text: &str) {
    let tolerance = match got.dtype() {
        DType::F32 => Tolerance::relative(2e-4, 2e-5),
        DType::F64 => Tolerance::relative(1e-9, 1e-11),
        d => Tolerance::for_dtype(d),
    };
    if let Err(mismatch) = got.compare(want, tolerance) {
        panic!("{mismatch}\n{text}\ngot {got}\nwant {want}");
    }
}

/// Each nest gives the same before and after it is scheduled.
fn check_nests(graph: &Graph, bindings: &Bindings) {
    for stage in lower_graph(graph) {
        let Work::Nest(nest) = stage.work else { continue };
        nest.verify().unwrap_or_else(|d| panic!("{d}\n{nest}"));
        let scheduled = schedule(&nest, &native().schedule());
        scheduled.verify().unwrap_or_else(|d| panic!("{d}\n{scheduled}"));
        let inputs: Vec<Tensor> = nest
            .inputs
            .iter()
            .filter_map(|b| Some(Tensor::random(b.ty.dtype, &b.ty.shape.eval(bindings).ok()?, 5).unwrap()))
            .collect();
        // Symbols that are bound only when the model runs have no value here.
        if inputs.len() < nest.inputs.len() {
            continue;
        }
        let before = interpret_with(&nest, &inputs, bindings).unwrap_or_else(|e| panic!("{e}\n{nest}"));
        let after =
            interpret_with(&scheduled, &inputs, bindings).unwrap_or_else(|e| panic!("{e}\n{scheduled}"));
        for (a, b) in after.iter().zip(&before) {
            close(a, b, &scheduled.to_string());
        }
    }
}

#[test]
fn a_perceptron() {
    agrees(
        "graph @mlp(%x: f32[N, 20], %w: f32[20, 33], %b: f32[33], %v: f32[33, 5]) -> (y: f32[N, 5]) {
           %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 33]
           %1 = broadcast %b shape=[N, 33] : f32[N, 33]
           %2 = add %0, %1 : f32[N, 33]
           %3 = const value=f32[] 0.0 : f32[]
           %4 = broadcast %3 shape=[N, 33] : f32[N, 33]
           %5 = max %2, %4 : f32[N, 33]
           %6 = dot %5, %v lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 5]
           %7 = softmax %6 axis=1 : f32[N, 5]
           return %7
         }",
        &[("N", 7)],
    );
}

#[test]
fn convolution_pooling_and_normalisation() {
    agrees(
        "graph @cnn(%x: f32[2, 4, 9, 9], %w: f32[6, 2, 3, 3], %s: f32[6], %b: f32[6]) -> (y: f32[2, 6, 2, 2], m: i64[2, 6, 2, 2], g: f32[2, 6, 4, 4]) {
           %0 = conv %x, %w strides=[2, 2] lo=[1, 0] hi=[0, 1] dilation=[1, 2] base=[1, 1] groups=2 dtype=f32 : f32[2, 6, 4, 3]
           %1 = conv %x, %w strides=[2, 2] lo=[1, 0] hi=[0, 0] dilation=[1, 1] base=[1, 1] groups=2 dtype=f32 : f32[2, 6, 4, 4]
           %2 = group_norm %1, %s, %b groups=3 eps=0.00001 : f32[2, 6, 4, 4]
           %3 = pool_max %2 window=[3, 3] strides=[2, 2] lo=[1, 1] hi=[0, 0] dilation=[1, 1] : f32[2, 6, 2, 2]
           %4 = pool_argmax %2 window=[3, 3] strides=[2, 2] lo=[1, 1] hi=[0, 0] dilation=[1, 1] : i64[2, 6, 2, 2]
           %5 = gelu %3 : f32[2, 6, 2, 2]
           return %5, %4, %2
         }",
        &[],
    );
    agrees(
        "graph @t(%x: f32[1, 3, 5], %w: f32[4, 3, 3]) -> (y: f32[1, 4, 10]) {
           %0 = conv %x, %w strides=[1] lo=[2] hi=[1] dilation=[1] base=[2] groups=1 dtype=f32 : f32[1, 4, 10]
           return %0
         }",
        &[],
    );
}

#[test]
fn attention_with_groups_and_masks() {
    agrees(
        "graph @a(%q: f32[2, 4, 5, 8], %k: f32[2, 2, T, 8], %v: f32[2, 2, T, 6], %m: f32[5, T]) -> (y: f32[2, 4, 5, 6], z: f32[2, 4, 5, 6]) {
           %0 = attention %q, %k, %v, %m scale=0.35 causal=false softcap=2.0 : f32[2, 4, 5, 6]
           %1 = attention %q, %k, %v scale=0.35 causal=true softcap=0.0 : f32[2, 4, 5, 6]
           return %0, %1
         }",
        &[("T", 7)],
    );
}

#[test]
fn movements_fuse_into_their_consumers() {
    agrees(
        "graph @m(%x: f32[4, 6, 3], %index: i64[5]) -> (y: f32[6, 12], p: f32[8, 15], c: f32[7, 6], g: f32[4, 5, 3], r: f32[3], n: f32[6]) {
           %0 = transpose %x perm=[1, 0, 2] : f32[6, 4, 3]
           %1 = reshape %0 shape=[6, 12] : f32[6, 12]
           %2 = exp %1 : f32[6, 12]
           %3 = const value=f32[] 0.5 : f32[]
           %4 = pad %2, %3 lo=[1, 2] hi=[1, 1] inner=[0, 0] : f32[8, 15]
           %5 = reshape %x shape=[24, 3] : f32[24, 3]
           %6 = slice %5 starts=[20, 0] sizes=[3, 3] steps=[-2, 1] : f32[3, 3]
           %7 = reshape %x shape=[4, 18] : f32[4, 18]
           %8 = slice %7 starts=[0, 1] sizes=[4, 6] steps=[1, 3] : f32[4, 6]
           %9 = reverse %8 axes=[1] : f32[4, 6]
           %10 = concat %6, %6 axis=1 : f32[3, 6]
           %11 = concat %10, %9 axis=0 : f32[7, 6]
           %12 = gather %x, %index axis=1 : f32[4, 5, 3]
           %13 = reduce_sum %x axes=[0, 1] : f32[3]
           %14 = reduce_max %x axes=[0, 2] : f32[6]
           return %1, %4, %11, %12, %13, %14
         }",
        &[],
    );
}

#[test]
fn integers_halves_and_conversions() {
    agrees(
        "graph @i(%x: i32[37], %y: i32[37], %h: f16[37], %b: bf16[37], %u: u8[37], %s: f32[1], %z: u8[1]) -> (a: i32[37], c: f16[37], d: bf16[37], e: f32[37], f: bool[37], q: u8[37], w: i64[37]) {
           %0 = div %x, %y : i32[37]
           %1 = floor_mod %x, %y : i32[37]
           %2 = shl %0, %1 : i32[37]
           %3 = mul %h, %h : f16[37]
           %4 = exp %3 : f16[37]
           %5 = add %b, %b : bf16[37]
           %6 = dequantize %u, %s, %z dtype=f32 : f32[37]
           %7 = lt %x, %y : bool[37]
           %8 = not %7 : bool[37]
           %9 = quantize %6, %s, %z dtype=u8 : u8[37]
           %10 = cast %h dtype=i64 saturate=true : i64[37]
           %11 = cumsum %10 axis=0 exclusive=true reverse=true : i64[37]
           return %2, %4, %5, %6, %8, %9, %11
         }",
        &[],
    );
}

#[test]
fn host_ops_bind_what_later_kernels_need() {
    agrees(
        "graph @h(%x: f32[5, 4], %n: i64[1]) -> (p: i64[2, c], v: f32[5, 2], i: i64[5, 2], s: f32[5, 4], d: f32[c]) {
           %0 = nonzero %x count=c : i64[2, c]
           %1 = cast %0 dtype=f32 saturate=true : f32[2, c]
           %2 = reduce_sum %1 axes=[0] : f32[c]
           %3, %4 = top_k %x k=2 axis=1 largest=true : f32[5, 2], i64[5, 2]
           %5 = sigmoid %x : f32[5, 4]
           %6 = scatter_elements %5, %4, %3 axis=1 reduce=\"add\" : f32[5, 4]
           return %0, %3, %4, %6, %2
         }",
        &[],
    );
}

#[test]
fn rows_of_any_width() {
    for n in [1, 3, 16, 31, 64, 100] {
        agrees(
            "graph @r(%x: f32[5, N], %s: f32[N], %b: f32[N]) -> (a: f32[5, N], c: f32[5, N], d: f32[5], e: f32[5, N], f: i64[5]) {
               %0 = layer_norm %x, %s, %b axis=1 eps=0.00001 : f32[5, N]
               %1 = log_softmax %x axis=1 : f32[5, N]
               %2 = mul %x, %x : f32[5, N]
               %3 = reduce_sum %2 axes=[1] : f32[5]
               %4 = rms_norm %2, %s axis=1 eps=0.00001 : f32[5, N]
               %5 = argmax %x axis=1 last=false : i64[5]
               return %0, %1, %3, %4, %5
             }",
            &[("N", n)],
        );
    }
}

#[test]
fn products_of_matrices_of_any_size() {
    for (m, k, n) in [(1, 5, 40), (14, 64, 32), (15, 33, 33), (29, 7, 100), (3, 1, 1)] {
        let text = format!(
            "graph @p(%x: f32[2, {m}, {k}], %w: f32[{n}, {k}], %v: f32[2, {k}, {n}], %r: f32[2, {m}, {n}]) -> (a: f32[2, {m}, {n}], b: f32[2, {m}, {n}], c: f32[{n}, {n}]) {{
               %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[2] rhs_contract=[1] dtype=f32 : f32[2, {m}, {n}]
               %1 = add %0, %r : f32[2, {m}, {n}]
               %2 = gelu %1 : f32[2, {m}, {n}]
               %3 = dot %x, %v lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[1] dtype=f32 : f32[2, {m}, {n}]
               %4 = dot %v, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[1] dtype=f32 : f32[2, {n}, {n}]
               %5 = reduce_sum %4 axes=[0] : f32[{n}, {n}]
               return %2, %3, %5
             }}"
        );
        agrees(&text, &[]);
    }
    agrees(
        "graph @s(%q: f32[2, S, 16], %k: f32[2, T, 16]) -> (a: f32[2, S, T]) {
           %0 = dot %q, %k lhs_batch=[0] rhs_batch=[0] lhs_contract=[2] rhs_contract=[2] dtype=f32 : f32[2, S, T]
           return %0
         }",
        &[("S", 9), ("T", 35)],
    );
}

#[test]
fn convolutions_in_tiles() {
    for (c, o, size, k, stride, pad, dilation) in [
        (3, 16, 20, 3, 1, 1, 1),
        (8, 15, 33, 3, 2, 1, 1),
        (5, 30, 40, 1, 1, 0, 1),
        (3, 8, 38, 7, 2, 3, 1),
        (4, 4, 24, 3, 1, 2, 2),
    ] {
        let out = (size + 2 * pad - (k - 1) * dilation - 1) / stride + 1;
        let text = format!(
            "graph @c(%x: f32[2, {c}, {size}, {size}], %w: f32[{o}, {c}, {k}, {k}], %b: f32[{o}], %r: f32[2, {o}, {out}, {out}]) -> (y: f32[2, {o}, {out}, {out}]) {{
               %0 = conv %x, %w strides=[{stride}, {stride}] lo=[{pad}, {pad}] hi=[{pad}, {pad}] dilation=[{dilation}, {dilation}] base=[1, 1] groups=1 dtype=f32 : f32[2, {o}, {out}, {out}]
               %1 = reshape %b shape=[{o}, 1, 1] : f32[{o}, 1, 1]
               %2 = broadcast %1 shape=[2, {o}, {out}, {out}] : f32[2, {o}, {out}, {out}]
               %3 = add %0, %2 : f32[2, {o}, {out}, {out}]
               %4 = add %3, %r : f32[2, {o}, {out}, {out}]
               %5 = const value=f32[] 0.0 : f32[]
               %6 = broadcast %5 shape=[2, {o}, {out}, {out}] : f32[2, {o}, {out}, {out}]
               %7 = max %4, %6 : f32[2, {o}, {out}, {out}]
               return %7
             }}"
        );
        agrees(&text, &[]);
        let graph = parse_graph(&text).unwrap();
        let program = Compiler::new().emit(&graph, Stage::Program).unwrap();
        assert!(program.contains(" k="), "no micro-tile in {program}");
    }
}

#[test]
fn transposed_convolutions() {
    for (base, k, lo, hi, groups) in
        [(2, 4, 2, 2, 1), (2, 3, 1, 2, 2), (3, 5, 3, 1, 1), (2, 2, 0, 0, 1), (3, 2, 1, 1, 1), (2, 5, 5, 6, 2)]
    {
        // Along the second axis the image is not spread out.
        let (h, w, o) = (5, 6, 4);
        let extents = [(h - 1) * base + 1 + lo + hi - k + 1, w];
        let i = 4 / groups;
        let text = format!(
            "graph @f(%x: f32[N, 4, {h}, {w}], %w: f32[{o}, {i}, {k}, 3]) -> (y: f32[N, {o}, {}, {}]) {{
               %0 = conv %x, %w strides=[1, 1] lo=[{lo}, 1] hi=[{hi}, 1] dilation=[1, 1] base=[{base}, 1] groups={groups} dtype=f32 : f32[N, {o}, {}, {}]
               return %0
             }}",
            extents[0], extents[1], extents[0], extents[1]
        );
        agrees(&text, &[("N", 2)]);
    }
}

#[test]
fn transposed_convolutions_become_plain_ones() {
    let text = "graph @f(%x: f32[1, 8, H, 7], %w: f32[16, 8, 4, 4]) -> (y: f32[1, 16, 2*H, 14]) {
        %0 = conv %x, %w strides=[1, 1] lo=[2, 2] hi=[2, 2] dilation=[1, 1] base=[2, 2] groups=1 dtype=f32 : f32[1, 16, 2*H, 14]
        return %0
      }";
    let graph = parse_graph(text).unwrap_or_else(|d| panic!("{}", d.render("graph", text)));
    let schedules = Compiler::new().emit(&graph, Stage::Schedule).unwrap();
    assert_eq!(schedules.matches("tensorise([row, col, ").count(), 4, "{schedules}");
    agrees(text, &[("H", 5)]);
}
