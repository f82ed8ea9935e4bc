//! Extremes of whole tensors in two steps, so that workers and vectors share the first.
//!
//! ```text
//! %1 = reduce_max %x axes=[0, 1, 2] : f32[]
//! ->
//! %a = reduce_max %x axes=[1, 2] : f32[n]
//! %1 = reduce_max %a axes=[0] : f32[]
//! ```

use smallvec::smallvec;
use tcc_ir::graph::{Attr, Graph, Ints, NodeId, Op, Rewriter, Violation};
use tcc_ir::shape::Shape;

use super::list;

/// Fewer elements than this are one worker's.
const WORTH_SHARING: i64 = 4096;
/// So many elements at least make up a row.
const ROW: i64 = 256;

/// Takes extremes of all elements of large tensors by rows first.
pub fn split_extremes(graph: &Graph) -> Graph {
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        let extreme = matches!(node.op, Op::ReduceMax | Op::ReduceMin);
        if !extreme || !split(&mut rewriter, id).is_ok_and(|done| done) {
            rewriter.copy(id);
        }
    }
    rewriter.finish()
}

fn split(rewriter: &mut Rewriter<'_>, id: NodeId) -> Result<bool, Violation> {
    let node = rewriter.from.node(id);
    let shape = &rewriter.from.ty(node.operands[0]).shape;
    let rank = shape.rank();
    let Some(extents) = shape.as_fixed().filter(|_| list(node, "axes").len() == rank) else {
        return Ok(false);
    };
    let count = |axes: std::ops::Range<usize>| -> i64 {
        extents[axes].iter().fold(1i64, |n, e| n.saturating_mul(*e as i64))
    };
    if count(0..rank) < WORTH_SHARING {
        return Ok(false);
    }
    // The last axes that make up a row; one long axis alone is cut into rows.
    let first = (1..rank).rev().find(|axis| count(*axis..rank) >= ROW && count(0..*axis) > 1);
    let value = rewriter.get(node.operands[0]);
    let (value, first, rank) = match first {
        Some(first) => (value, first, rank),
        None if count(0..rank) % ROW == 0 => {
            let rows: Shape = Shape::fixed(&[(count(0..rank) / ROW) as usize, ROW as usize]);
            (rewriter.to.reshape(value, &rows)?, 1, 2)
        }
        None => return Ok(false),
    };
    let axes =
        |range: std::ops::Range<usize>| -> Attr { Attr::Ints(range.map(|a| a as i64).collect::<Ints>()) };
    let rows = rewriter.to.op(node.op, &[value], smallvec![axes(first..rank)])?;
    rewriter.push_for(node, node.op, &[rows], smallvec![axes(0..first)])?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use tcc_ir::graph::eval::evaluate;
    use tcc_ir::graph::parse_graph;
    use tcc_ir::tensor::Tensor;

    use super::*;

    #[test]
    fn two_steps_find_the_same_extremes() {
        for shape in ["8192", "64, 300", "3, 5, 7, 120", "2, 40"] {
            let text = format!(
                "graph @f(%x: f32[{shape}]) -> (y: f32[]) {{\n  %0 = reduce_max %x axes=[AXES] : f32[]\n  return %0\n}}"
            );
            let axes: Vec<String> = (0..shape.split(',').count()).map(|a| a.to_string()).collect();
            let graph = parse_graph(&text.replace("AXES", &axes.join(", "))).unwrap();
            let extents: Vec<usize> = shape.split(", ").map(|e| e.parse().unwrap()).collect();
            let count: usize = extents.iter().product();
            let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % count) as f32).collect();
            let x = Tensor::from_slice(&extents, &values).unwrap();
            let expected = evaluate(&graph, std::slice::from_ref(&x)).unwrap();
            let split = split_extremes(&graph);
            assert_eq!(split.node_count() > graph.node_count(), count >= 4096, "{split}");
            assert_eq!(evaluate(&split, &[x]).unwrap()[0].get_flat(0), expected[0].get_flat(0));
        }
    }
}
