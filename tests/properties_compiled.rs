//! Machine code against the interpreter, on random graphs.

use tcc::codegen::BACKENDS;
use tcc::compile::Compiler;
use tcc::ir::dtype::DType;
use tcc::ir::graph::eval::evaluate;
use tcc::ir::graph::{Graph, Op};
use tcc::ir::numerics::Numerics;
use tcc::ir::scalar::{ScalarOp, Signature};
use tcc::ir::tensor::Tolerance;
use tcc::lowering::pass::{Ir, random_inputs};
use tcc::runtime::threads::Inline;

use crate::properties::seeds;
use crate::support::generate;

/// Compiling takes milliseconds where interpreting takes microseconds, so that fewer graphs are tried.
const EVERY: usize = 4;

#[test]
fn machine_code_computes_what_the_graph_means() {
    let mut compared = 0;
    let mut failures = Vec::new();
    for seed in seeds().step_by(EVERY) {
        let graph = generate::graph(seed);
        let Ok(sample) = random_inputs(&Ir::Graph(graph.clone()), seed, false) else { continue };
        // A graph without a value for these inputs says nothing.
        let Ok(expected) = evaluate(&graph, &sample.inputs) else { continue };
        if jumps_after_rounding(&graph) {
            continue;
        }
        for backend in BACKENDS {
            let name = backend.name();
            let outputs = Compiler::new()
                .backend(*backend)
                .compile(&graph)
                .map_err(|e| e.to_string())
                .and_then(|c| c.run(&sample.inputs, &Inline).map_err(|e| e.to_string()));
            match outputs {
                Err(e) => failures.push(format!("seed {seed} on {name}: {e}\n{graph}")),
                Ok(run) => {
                    for (got, want) in run.outputs.iter().zip(&expected) {
                        compared += 1;
                        if let Err(mismatch) = got.compare(want, tolerance(want.dtype())) {
                            failures.push(format!("seed {seed} on {name}: {mismatch}\n{graph}"));
                        }
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {compared}\n{}", failures.len(), failures[0]);
    assert!(compared > 50, "{compared}");
}

/// Roundings of a whole graph add up.
fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        DType::F64 | DType::F32 => Tolerance::relative(1e-3, 1e-3),
        DType::F16 | DType::BF16 => Tolerance::relative(0.1, 0.1),
        d if d.is_float() => Tolerance::relative(0.5, 0.5),
        _ => Tolerance::EXACT,
    }
}

/// Whether something inexact may go into something that jumps, so that nothing can be compared.
fn jumps_after_rounding(graph: &Graph) -> bool {
    use ScalarOp::{Atan2, Ceil, Floor, FloorMod, Rem, Round, Sign, Trunc};
    let (mut rounds, mut jumps) = (false, false);
    for (_, node) in graph.nodes() {
        rounds |= node.op.def().numerics != Numerics::Exact;
        jumps |= match node.op {
            Op::Scalar(op) => {
                op.def().signature == Signature::Test
                    || matches!(op, Atan2 | Floor | Ceil | Round | Trunc | Sign | Rem | FloorMod)
            }
            Op::Bitcast | Op::Sort | Op::TopK | Op::ArgMax | Op::ArgMin | Op::PoolArgMax | Op::Unique => true,
            Op::NonZero | Op::Nms | Op::Quantize | Op::If | Op::Loop | Op::Kernel => true,
            Op::Cast => !graph.ty(node.result()).dtype.is_float(),
            _ => false,
        };
    }
    rounds && jumps
}
