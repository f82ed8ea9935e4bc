//! The work of a node: arithmetic operations, and bytes read and written if nothing is fused.

use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Graph, Node, Op, Value};

/// Work as expressions over the symbols of a graph.
#[derive(Clone, Debug)]
pub(super) struct Work {
    /// Additions, multiplications, comparisons, functions: each counts as one.
    pub(super) operations: Dim,
    /// Of operands and results.
    pub(super) bytes: Dim,
}

impl Default for Work {
    fn default() -> Work {
        Work { operations: Dim::ZERO, bytes: Dim::ZERO }
    }
}

impl Work {
    /// The work of both.
    pub(super) fn plus(&self, other: &Work) -> Work {
        Work { operations: &self.operations + &other.operations, bytes: &self.bytes + &other.bytes }
    }
}

/// The work of a node. What is in its regions counts once, since how often they run is not known.
pub(super) fn work(graph: &Graph, node: &Node) -> Work {
    let mut total = Work { operations: operations(graph, node), bytes: Dim::ZERO };
    for region in &node.regions {
        for (_, inner) in region.nodes().filter(|(_, n)| n.op != Op::Const) {
            total = total.plus(&work(region, inner));
        }
    }
    for value in node.operands.iter().copied().chain(node.results()) {
        total.bytes = &total.bytes + &bytes(graph, value);
    }
    total
}

fn bytes(graph: &Graph, value: Value) -> Dim {
    let ty = graph.ty(value);
    let bits = &ty.shape.elements() * &Dim::from(ty.dtype.bits() as i64);
    bits.ceil_div(&Dim::from(8i64))
}

fn operations(graph: &Graph, node: &Node) -> Dim {
    let elements = |v: Value| graph.ty(v).shape.elements();
    let times = |count: &Dim, each: i64| count * &Dim::from(each);
    let Some(result) = node.results().next() else { return Dim::ZERO };
    let out = elements(result);
    let first = || node.operands.first().map_or(Dim::ZERO, |v| elements(*v));
    match node.op {
        Op::Scalar(_) => out,
        Op::Dot => {
            let Attr::Ints(axes) = node.attr("lhs_contract") else { return Dim::ZERO };
            let shape = &graph.ty(node.operands[0]).shape;
            let summed: Dim = axes.iter().map(|a| shape[*a as usize].clone()).product();
            times(&(&out * &summed), 2)
        }
        Op::Conv => {
            let summed: Dim = graph.ty(node.operands[1]).shape[1..].iter().cloned().product();
            times(&(&out * &summed), 2)
        }
        Op::ReduceSum | Op::ReduceProd | Op::ReduceMax | Op::ReduceMin | Op::ArgMax | Op::ArgMin => first(),
        Op::CumSum | Op::CumProd | Op::Quantize => first(),
        Op::Dequantize => times(&out, 2),
        Op::PoolMax | Op::PoolSum | Op::PoolArgMax => match node.attr("window") {
            Attr::Ints(window) => times(&out, window.iter().product()),
            _ => out,
        },
        // The greatest, the difference, its exponential, their sum, the quotient.
        Op::Softmax | Op::LogSoftmax => times(&out, 5),
        Op::LayerNorm | Op::GroupNorm => times(&out, 8),
        Op::RmsNorm => times(&out, 5),
        Op::Attention => {
            let (q, k) = (&graph.ty(node.operands[0]).shape, &graph.ty(node.operands[1]).shape);
            let (Some(depth), Some(keys)) = (q.last(), k.get(k.rank().saturating_sub(2))) else {
                return Dim::ZERO;
            };
            let scores = (&elements(node.operands[0]) * keys).exact_div(depth).unwrap_or(Dim::ZERO);
            let products = &(&elements(node.operands[0]) * keys) + &(&out * keys);
            &times(&products, 2) + &times(&scores, 5)
        }
        // About so many additions for every element read and every one written.
        Op::WinogradIn | Op::WinogradOut => times(&(&first() + &out), 4),
        _ => Dim::ZERO,
    }
}
