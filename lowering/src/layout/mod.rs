//! Layouts as graph rewrites: where the elements of operands lie is said by movements around them.

mod attention;
mod channels_last;
mod extremes;
mod groups;
mod panels;
mod phases;
mod strided;

pub use attention::lay_out_attention;
pub use channels_last::channels_last;
pub use extremes::split_extremes;
pub use panels::pack_contractions;
pub use phases::split_phases;

use smallvec::smallvec;
use tcc_ir::graph::eval::evaluate;
use tcc_ir::graph::{Attr, Graph, Node, Op, Rewriter, Value, Violation};
use tcc_ir::tensor::Tensor;

/// An attribute that is a list of axes.
fn list(node: &Node, name: &str) -> Vec<usize> {
    ints(node, name).into_iter().map(|a| a as usize).collect()
}

fn ints(node: &Node, name: &str) -> Vec<i64> {
    match node.attr(name) {
        Attr::Ints(values) => values.to_vec(),
        _ => Vec::new(),
    }
}

/// The value of a constant, also behind movements.
pub(crate) fn known(graph: &Graph, value: Value) -> Option<Tensor> {
    let node = graph.def_node(value)?;
    match node.op {
        Op::Const => match &node.attrs[0] {
            Attr::Tensor(tensor) => Some(tensor.clone()),
            _ => None,
        },
        Op::Transpose | Op::Reshape | Op::Broadcast | Op::Slice | Op::Reverse => {
            let mut one = Graph::new("known");
            let operand = one.constant(known(graph, node.operands[0])?).ok()?;
            let moved = one.op(node.op, &[operand], node.attrs.clone()).ok()?;
            one.add_output("x", moved);
            evaluate(&one, &[]).ok()?.pop()
        }
        _ => None,
    }
}

/// A value of the old graph, moved, with memory of its own: at compile time if it is a constant.
fn settled(
    rewriter: &mut Rewriter<'_>,
    value: Value,
    moved: impl Fn(&mut Graph, Value) -> Result<Value, Violation>,
) -> Result<Value, Violation> {
    let constant = known(rewriter.from, value).and_then(|tensor| {
        let mut one = Graph::new("settled");
        let value = one.constant(tensor).ok()?;
        let moved = moved(&mut one, value).ok()?;
        one.add_output("x", moved);
        evaluate(&one, &[]).ok()?.pop()?.contiguous().ok()
    });
    match constant {
        Some(tensor) => rewriter.to.constant(tensor),
        None => {
            let value = rewriter.get(value);
            let moved = moved(&mut rewriter.to, value)?;
            rewriter.to.op(Op::Copy, &[moved], smallvec![])
        }
    }
}
