//! Convolutions in Winograd's tiles against the plain ones: random sizes, both backends, and how far rounding goes.

use tcc::codegen::BACKENDS;
use tcc::compile::Compiler;
use tcc::ir::dim::Dim;
use tcc::ir::dtype::DType;
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::{Attr, Graph, Ints, Op};
use tcc::ir::numerics::Numerics;
use tcc::ir::scalar::ScalarOp;
use tcc::ir::shape::{Shape, TensorType};
use tcc::ir::tensor::{Tensor, Tolerance};
use tcc::lowering::layout::channels_last;
use tcc::lowering::pipeline::Strictness;
use tcc::lowering::schedule::{Facts, Machine};
use tcc::runtime::threads::Inline;

/// A convolution with a bias and what cuts off the negative, of which only the call knows how many images there are.
fn convolution(channels: [usize; 2], size: [usize; 2], lo: [i64; 2], hi: [i64; 2]) -> Graph {
    let mut graph = Graph::new("conv");
    let [inputs, outputs] = channels;
    let image: Shape = [Dim::sym("N"), inputs.into(), size[0].into(), size[1].into()].into_iter().collect();
    let x = graph.add_param("x", TensorType::new(DType::F32, image));
    let w = graph.constant(Tensor::random(DType::F32, &[outputs, inputs, 3, 3], 7).unwrap()).unwrap();
    let bias = graph.constant(Tensor::random(DType::F32, &[outputs, 1, 1], 8).unwrap()).unwrap();
    let ones: Ints = [1, 1].into_iter().collect();
    let [lo, hi] = [lo, hi].map(|p| Attr::from(p.into_iter().collect::<Ints>()));
    let same = || Attr::from(ones.clone());
    let attrs = [same(), lo, hi, same(), same(), Attr::Int(1), DType::F32.into()];
    let y = graph.op(Op::Conv, &[x, w], attrs.into_iter().collect()).unwrap();
    let y = graph.broadcasting(ScalarOp::Add, &[y, bias]).unwrap();
    let zero = graph.number(DType::F32, 0.0).unwrap();
    let y = graph.broadcasting(ScalarOp::Max, &[y, zero]).unwrap();
    graph.add_output("y", y);
    graph
}

/// A machine to which multiplications are all that counts.
fn multiplying() -> Machine {
    let fast = 1 << 30;
    let facts =
        Facts { fma_units: 1, cache_bytes_per_cycle: fast, memory_bytes_per_cycle: fast, ..Facts::NONE };
    Machine { tile_columns: 1, facts, ..Machine::default() }
}

fn in_tiles(graph: &Graph) -> Graph {
    let tiled = channels_last(graph, &multiplying(), Numerics::Reassociates);
    assert!(tiled.nodes().any(|(_, n)| n.op == Op::WinogradOut), "{tiled}");
    tiled
}

#[test]
fn tiles_give_what_convolutions_give() {
    let mut seed = 1u64;
    let mut below = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut tried = 0;
    for round in 0..12 {
        let channels = [16 + below(20) as usize, 16 + below(20) as usize];
        let mut pads = || [below(3) as i64, below(3) as i64];
        let (lo, hi) = if round == 0 { ([1, 1], [1, 1]) } else { (pads(), pads()) };
        let least = |axis: usize| (3 - lo[axis] - hi[axis]).max(1) as u64;
        let size = match round {
            0 => [1, 1],
            _ => [0, 1].map(|axis| (least(axis) + below(14)) as usize),
        };
        let graph = convolution(channels, size, lo, hi);
        // Where hardly any pixels are, tiles have more products than the window.
        let tiled = channels_last(&graph, &multiplying(), Numerics::Reassociates);
        tried += usize::from(tiled.nodes().any(|(_, n)| n.op == Op::WinogradOut));
        let x =
            Tensor::random(DType::F32, &[1 + below(3) as usize, channels[0], size[0], size[1]], 3).unwrap();
        let want = evaluate(&graph, std::slice::from_ref(&x)).unwrap();
        let close = |got: &Tensor, what: &str| {
            if let Err(mismatch) = got.compare(&want[0], Tolerance::relative(1e-3, 2e-3)) {
                panic!("{what}, {channels:?} {size:?} {lo:?} {hi:?}: {mismatch}");
            }
        };
        close(&evaluate(&tiled, std::slice::from_ref(&x)).unwrap()[0], "interpreted");
        for backend in BACKENDS {
            let compiled = Compiler::new().backend(*backend).compile(&tiled).unwrap();
            close(&compiled.run(std::slice::from_ref(&x), &Inline).unwrap().outputs[0], backend.name());
        }
    }
    assert!(tried >= 6, "{tried}");
}

#[test]
fn strict_numerics_keep_convolutions() {
    let graph = convolution([64, 64], [28, 28], [1, 1], [1, 1]);
    let strict = channels_last(&graph, &multiplying(), Numerics::Exact);
    assert!(strict.nodes().all(|(_, n)| n.op != Op::WinogradOut), "{strict}");
    assert!(in_tiles(&graph).nodes().all(|(_, n)| n.op != Op::Conv));
}

/// The largest error among outputs whose size is about one, in units of 2^-24.
fn error(got: &Tensor, want: &Tensor, scale: f64) -> f64 {
    let pairs = got.to_vec_f64().unwrap().into_iter().zip(want.to_vec_f64().unwrap());
    pairs.map(|(g, w)| (g - w).abs()).fold(0.0, f64::max) / scale * f64::from(1 << 24)
}

#[test]
fn errors_stay_near_those_of_plain_sums() {
    for channels in [64, 128, 256, 512] {
        let graph = convolution([channels, 16], [12, 12], [1, 1], [1, 1]);
        let x = Tensor::random(DType::F32, &[1, channels, 12, 12], 3).unwrap();
        // The interpreter sums in f64.
        let want = evaluate(&graph, std::slice::from_ref(&x)).unwrap();
        let scale = (9.0 * channels as f64).sqrt();
        let [tiled, plain] = [in_tiles(&graph), graph.clone()].map(|graph| {
            let compiled = Compiler::new().strictness(Strictness::Strict).compile(&graph).unwrap();
            error(&compiled.run(std::slice::from_ref(&x), &Inline).unwrap().outputs[0], &want[0], scale)
        });
        assert!(tiled < 3.0 * plain.max(16.0), "{channels}: {tiled} {plain}");
    }
}
