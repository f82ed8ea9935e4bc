//! Transposed convolutions as plain ones: an output pixel meets only every `b`-th row of the window, and which ones
//! depends on its phase alone.
//!
//! ```text
//! %1 = conv %x, %w base=[b]                               x with b - 1 zeros between its elements
//! ->
//! %p = conv %x, (every b-th element of %w from k_p on)    for each phase p of the output
//! %1 = the phases, taking turns
//! ```

use smallvec::smallvec;
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Graph, Ints, Node, Op, Rewriter, Value, Violation};
use tcc_ir::shape::Shape;

use super::ints;

/// Takes every convolution over a spread-out image apart whose phases have windows and padding of fixed size.
pub fn split_phases(graph: &Graph) -> Graph {
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        let done = node.op == Op::Conv && split(&mut rewriter, node).is_some();
        if !done {
            rewriter.copy(id);
        }
    }
    rewriter.finish()
}

/// One phase along one axis.
#[derive(Clone)]
struct Phase {
    /// The first element of the window that it meets, and how many there are.
    first: i64,
    count: i64,
    /// The padding around the image, negative where some of it is left out.
    lo: i64,
    hi: i64,
}

fn split(rewriter: &mut Rewriter<'_>, node: &Node) -> Option<()> {
    let from = rewriter.from;
    let [strides, lo, hi, dilation, base] =
        ["strides", "lo", "hi", "dilation", "base"].map(|name| ints(node, name));
    let spread = |axis: usize| base[axis] > 1;
    let axes: Vec<usize> = (0..base.len()).filter(|axis| spread(*axis)).collect();
    if axes.is_empty() || axes.iter().any(|axis| strides[*axis] != 1 || dilation[*axis] != 1) {
        return None;
    }
    let (image, window) = (&from.ty(node.operands[0]).shape, &from.ty(node.operands[1]).shape);
    let out = &from.ty(node.result()).shape;
    let mut phases: Vec<Vec<Phase>> = Vec::new();
    for axis in 0..base.len() {
        let k = window[axis + 2].as_const()?;
        if !spread(axis) {
            phases.push(vec![Phase { first: 0, count: k, lo: lo[axis], hi: hi[axis] }]);
            continue;
        }
        let b = base[axis];
        let all = out[axis + 2].ceil_div(&Dim::from(b));
        let more = from.ranges.simplify(&(&all - &image[axis + 2])).as_const()?;
        let one = |p: i64| {
            let first = (lo[axis] - p).rem_euclid(b);
            let count = (k - first + b - 1).div_euclid(b);
            let before = (lo[axis] - p - first) / b;
            (count > 0).then_some(Phase { first, count, lo: before, hi: more + count - 1 - before })
        };
        phases.push((0..b).map(one).collect::<Option<_>>()?);
    }
    let done = interleaved(rewriter, node, &base, &phases, &mut Vec::new()).ok()?;
    rewriter.replace(node.result(), done);
    Some(())
}

/// The outputs of all phases from one axis on, given those chosen along the axes before.
fn interleaved(
    rewriter: &mut Rewriter<'_>,
    node: &Node,
    base: &[i64],
    phases: &[Vec<Phase>],
    chosen: &mut Vec<Phase>,
) -> Result<Value, Violation> {
    let axis = chosen.len();
    if axis == phases.len() {
        return convolved(rewriter, node, base, chosen);
    }
    let mut parts = Vec::new();
    for phase in &phases[axis] {
        chosen.push(phase.clone());
        parts.push(interleaved(rewriter, node, base, phases, chosen)?);
        chosen.pop();
    }
    if let [one] = parts.as_slice() {
        return Ok(*one);
    }
    let place = axis + 2;
    let graph = &mut rewriter.to;
    let whole = graph.ty(parts[0]).shape.clone();
    let split = |inner: Dim| -> Shape {
        let (before, behind) = (&whole[..=place], &whole[place + 1..]);
        before.iter().cloned().chain([inner]).chain(behind.iter().cloned()).collect()
    };
    let apart: Vec<Value> =
        parts.iter().map(|part| graph.reshape(*part, &split(Dim::ONE))).collect::<Result<_, _>>()?;
    let together = graph.concat(&apart, place + 1)?;
    let joined = whole.with(place, &whole[place] * &Dim::from(base[axis]));
    let together = graph.reshape(together, &joined)?;
    let wanted = rewriter.from.ty(node.result()).shape[place].clone();
    rewriter.to.slice_axis(together, place, &Dim::ZERO, &wanted)
}

/// The output of one phase along every axis.
fn convolved(
    rewriter: &mut Rewriter<'_>,
    node: &Node,
    base: &[i64],
    chosen: &[Phase],
) -> Result<Value, Violation> {
    let [mut x, mut w] = [node.operands[0], node.operands[1]].map(|v| rewriter.get(v));
    let graph = &mut rewriter.to;
    let window = graph.ty(w).shape.clone();
    let fixed = |values: Vec<i64>| -> Shape { values.into_iter().map(Dim::from).collect() };
    let starts = [0, 0].into_iter().chain(chosen.iter().map(|p| p.first));
    let steps: Ints = [1, 1].into_iter().chain(base.iter().copied()).collect();
    let counts = chosen.iter().map(|p| Dim::from(p.count));
    let sizes: Shape = window[..2].iter().cloned().chain(counts).collect();
    w = graph.op(
        Op::Slice,
        &[w],
        smallvec![fixed(starts.collect()).into(), sizes.into(), Attr::Ints(steps)],
    )?;
    for (axis, phase) in chosen.iter().enumerate() {
        let (before, behind) = ((-phase.lo).max(0), (-phase.hi).max(0));
        if before + behind > 0 {
            let extent = &graph.ty(x).shape[axis + 2];
            let size = extent - &Dim::from(before + behind);
            x = graph.slice_axis(x, axis + 2, &Dim::from(before), &size)?;
        }
    }
    let list = |pick: &dyn Fn(&Phase) -> i64| Attr::Ints(chosen.iter().map(|p| pick(p).max(0)).collect());
    let attrs = smallvec![
        node.attr("strides").clone(),
        list(&|p| p.lo),
        list(&|p| p.hi),
        node.attr("dilation").clone(),
        list(&|_| 1),
        node.attr("groups").clone(),
        node.attr("dtype").clone(),
    ];
    let id = graph.push_from(Op::Conv, &[x, w], attrs, Vec::new(), node.origin.clone())?;
    Ok(graph.node(id).result())
}
