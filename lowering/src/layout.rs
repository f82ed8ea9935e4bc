//! Layouts of contractions: the right operand in panels as wide as a micro-tile.
//!
//! ```text
//! %1 = dot %x, %w : f32[m, n]
//! ->
//! %p = copy of %w as [n / c, k, c]         (constant if %w is)
//! %v = the view of %p as [k, n]
//! %1 = dot %x, %v : f32[m, n]
//! ```
//!
//! Convolutions of one position are contractions. Others read their input from a copy with its padding in it, in
//! which the columns that a window visits with one stride are neighbours, so that rows of pixels are rows of tiles.
//!
//! Panels of constants are made at compile time. Others cost a copy, which pays off when the left operand has
//! more than a few rows, or when columns are not neighbours.

use smallvec::smallvec;
use tcc_ir::dim::Dim;
use tcc_ir::dtype::DType;
use tcc_ir::graph::eval::evaluate;
use tcc_ir::graph::{Attr, Graph, Ints, Node, NodeId, Op, Rewriter, Value, Violation};
use tcc_ir::shape::Shape;
use tcc_ir::tensor::Tensor;

use crate::schedule::Machine;

/// With at least this many rows a copy of the right operand pays off.
const ROWS_WORTH_PACKING: i64 = 8;

/// Brings every contraction that micro-tiles can carry out into their layout.
pub fn pack_contractions(graph: &Graph, machine: &Machine) -> Graph {
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        let packed = node.op == Op::Dot && pack(&mut rewriter, id, machine).is_some();
        if !packed {
            rewriter.copy(id);
        }
    }
    rewriter.finish()
}

/// Brings every convolution that micro-tiles can carry out into a form that they can.
pub fn lay_out_convolutions(graph: &Graph, machine: &Machine) -> Graph {
    let mut rewriter = Rewriter::new(graph);
    for (id, node) in graph.nodes() {
        let done = node.op == Op::Conv && lay_out(&mut rewriter, node, machine).is_some();
        if !done {
            rewriter.copy(id);
        }
    }
    rewriter.finish()
}

fn ints(node: &Node, name: &str) -> Vec<i64> {
    match node.attr(name) {
        Attr::Ints(values) => values.to_vec(),
        _ => Vec::new(),
    }
}

fn lay_out(rewriter: &mut Rewriter<'_>, node: &Node, machine: &Machine) -> Option<()> {
    let [x, w] = [node.operands[0], node.operands[1]];
    let from = rewriter.from;
    let all_f32 = [x, w, node.result()].iter().all(|v| from.ty(*v).dtype == DType::F32);
    let [strides, lo, hi, dilation, base] =
        ["strides", "lo", "hi", "dilation", "base"].map(|n| ints(node, n));
    let one_group = matches!(node.attr("groups"), Attr::Int(1));
    let plain = base.iter().all(|b| *b == 1) && lo.iter().chain(&hi).all(|p| *p >= 0);
    let (shape, window) = (from.ty(x).shape.clone(), from.ty(w).shape.clone());
    let spatial = shape.rank() - 2;
    if !all_f32 || !one_group || !plain || spatial == 0 {
        return None;
    }
    let pointwise = window[2..].iter().all(|d| d.is(1)) && strides.iter().all(|s| *s == 1);
    if pointwise && lo.iter().chain(&hi).all(|p| *p == 0) {
        return as_contraction(rewriter, node);
    }
    let columns = from.ty(node.result()).shape[spatial + 1].clone();
    // Narrow images would leave most of a tile empty, and a symbolic size could not be checked.
    if columns.as_const().is_none_or(|c| c * 8 < machine.tile_columns) || shape.as_fixed().is_none() {
        return None;
    }
    let image = rewriter.get(x);
    let padded = padded_copy(&mut rewriter.to, image, &lo, &hi, strides[spatial - 1], machine).ok()?;
    let none: Ints = smallvec![0; spatial];
    let attrs = smallvec![
        Attr::Ints(strides.into_iter().collect()),
        Attr::Ints(none.clone()),
        Attr::Ints(none),
        Attr::Ints(dilation.into_iter().collect()),
        Attr::Ints(base.into_iter().collect()),
        Attr::Int(1),
        DType::F32.into(),
    ];
    let w = rewriter.get(w);
    rewriter.push_for(node, Op::Conv, &[padded, w], attrs).ok()?;
    Some(())
}

/// `w: [o, c]` times `x: [n, c, pixels]`.
fn as_contraction(rewriter: &mut Rewriter<'_>, node: &Node) -> Option<()> {
    let (x, w) = (rewriter.get(node.operands[0]), rewriter.get(node.operands[1]));
    let graph = &mut rewriter.to;
    let (shape, window) = (graph.ty(x).shape.clone(), graph.ty(w).shape.clone());
    let out = rewriter.from.ty(node.result()).shape.clone();
    let pixels: Dim = shape[2..].iter().cloned().product();
    let flat = [shape[0].clone(), shape[1].clone(), pixels].into_iter().collect();
    let x = graph.reshape(x, &flat).ok()?;
    let w = graph.reshape(w, &Shape::from(&window[..2])).ok()?;
    let batched = [shape[0].clone(), window[0].clone(), window[1].clone()].into_iter().collect();
    let w = graph.broadcast(w, &batched).ok()?;
    let attrs = smallvec![[0].into(), [0].into(), [2].into(), [1].into(), DType::F32.into()];
    let product = graph.push_from(Op::Dot, &[w, x], attrs, Vec::new(), node.origin.clone()).ok()?;
    let product = graph.node(product).result();
    let result = graph.reshape(product, &out).ok()?;
    rewriter.replace(node.result(), result);
    Some(())
}

/// The view, as the padded image, of a copy in which every `stride`-th column stands beside the next.
fn padded_copy(
    graph: &mut Graph,
    x: Value,
    lo: &[i64],
    hi: &[i64],
    stride: i64,
    machine: &Machine,
) -> Result<Value, Violation> {
    let shape = graph.ty(x).shape.clone();
    let (rank, spatial) = (shape.rank(), lo.len());
    let last = rank - 1;
    let padded: Vec<Dim> = (0..rank)
        .map(|i| if i < 2 { shape[i].clone() } else { &shape[i] + &Dim::from(lo[i - 2] + hi[i - 2]) })
        .collect();
    let s = Dim::from(stride);
    let width = padded[last].round_up(&s);
    // Tiles read a whole row of theirs also at the end of the last line: there must be something to read.
    let room = Dim::from(2 * machine.tile_columns * stride);
    let (axis, more) = if spatial > 1 { (last - 1, room.ceil_div(&width)) } else { (last, room) };
    let mut after: Vec<Dim> =
        (0..rank).map(|i| if i < 2 { Dim::ZERO } else { Dim::from(hi[i - 2]) }).collect();
    after[last] = &after[last] + &(&width - &padded[last]);
    after[axis] = (&after[axis] + &more).round_up(&if axis == last { s.clone() } else { Dim::ONE });
    let before: Shape = (0..rank).map(|i| if i < 2 { Dim::ZERO } else { Dim::from(lo[i - 2]) }).collect();
    let zero = graph.number(DType::F32, 0.0)?;
    let inner: Ints = smallvec![0; rank];
    let after: Shape = after.into_iter().collect();
    let x = graph.op(Op::Pad, &[x, zero], smallvec![before.into(), after.into(), inner.into()])?;
    let whole = graph.ty(x).shape.clone();
    let x = if stride == 1 {
        graph.op(Op::Copy, &[x], smallvec![])?
    } else {
        let phases: Shape =
            whole[..last].iter().cloned().chain([whole[last].floor_div(&s), s.clone()]).collect();
        let apart = graph.reshape(x, &phases)?;
        let mut perm: Vec<usize> = (0..=rank).collect();
        perm.swap(rank - 1, rank);
        let apart = graph.transpose(apart, &perm)?;
        let copy = graph.op(Op::Copy, &[apart], smallvec![])?;
        let back = graph.transpose(copy, &perm)?;
        graph.reshape(back, &whole)?
    };
    let zeros: Shape = (0..rank).map(|_| Dim::ZERO).collect();
    let steps: Ints = smallvec![1; rank];
    let padded: Shape = padded.into_iter().collect();
    graph.op(Op::Slice, &[x], smallvec![zeros.into(), padded.into(), steps.into()])
}

fn list(node: &Node, name: &str) -> Vec<usize> {
    match node.attr(name) {
        Attr::Ints(axes) => axes.iter().map(|a| *a as usize).collect(),
        _ => Vec::new(),
    }
}

fn pack(rewriter: &mut Rewriter<'_>, id: NodeId, machine: &Machine) -> Option<()> {
    let node = rewriter.from.node(id);
    let [lhs, rhs] = [node.operands[0], node.operands[1]];
    let (lhs_ty, rhs_ty) = (rewriter.from.ty(lhs), rewriter.from.ty(rhs));
    let all_f32 = [lhs_ty.dtype, rhs_ty.dtype, rewriter.from.ty(node.result()).dtype] == [DType::F32; 3];
    let (batch, contract) = (list(node, "rhs_batch"), list(node, "rhs_contract"));
    let free: Vec<usize> =
        (0..rhs_ty.shape.rank()).filter(|a| !batch.contains(a) && !contract.contains(a)).collect();
    let ([k], [n]) = (contract.as_slice(), free.as_slice()) else { return None };
    if !all_f32 {
        return None;
    }
    let width = Dim::from(machine.tile_columns);
    let columns = rhs_ty.shape[*n].clone();
    let constant = known(rewriter.from, rhs);
    if constant.is_none() {
        let (lhs_batch, lhs_contract) = (list(node, "lhs_batch"), list(node, "lhs_contract"));
        let rows: Dim = (0..lhs_ty.shape.rank())
            .filter(|a| !lhs_batch.contains(a) && !lhs_contract.contains(a))
            .map(|a| lhs_ty.shape[a].clone())
            .product();
        let few = rows.as_const().is_some_and(|r| r < ROWS_WORTH_PACKING);
        let narrow = columns.as_const().is_some_and(|c| c * 4 < machine.tile_columns);
        if few || narrow {
            return None;
        }
    }
    let perm: Vec<usize> = batch.iter().copied().chain([*k, *n]).collect();
    let panels = match constant {
        Some(tensor) => {
            let mut one = Graph::new("panels");
            let value = one.constant(tensor).ok()?;
            let panels = to_panels(&mut one, value, &perm, &width).ok()?;
            one.add_output("panels", panels);
            let made = evaluate(&one, &[]).ok()?.pop()?.contiguous().ok()?;
            rewriter.to.constant(made).ok()?
        }
        None => {
            let value = rewriter.get(rhs);
            let panels = to_panels(&mut rewriter.to, value, &perm, &width).ok()?;
            rewriter.to.op(Op::Copy, &[panels], smallvec![]).ok()?
        }
    };
    let view = from_panels(&mut rewriter.to, panels, &columns).ok()?;
    let batches: Ints = (0..batch.len() as i64).collect();
    let attrs = smallvec![
        node.attr("lhs_batch").clone(),
        Attr::Ints(batches),
        node.attr("lhs_contract").clone(),
        [batch.len() as i64].into(),
        node.attr("dtype").clone(),
    ];
    let lhs = rewriter.get(lhs);
    rewriter.push_for(node, Op::Dot, &[lhs, view], attrs).ok()?;
    Some(())
}

/// `[…, k, n]` as `[…, n / width, k, width]`, with zeros to fill up the last panel.
fn to_panels(graph: &mut Graph, x: Value, perm: &[usize], width: &Dim) -> Result<Value, Violation> {
    let x = graph.transpose(x, perm)?;
    let shape = graph.ty(x).shape.clone();
    let rank = shape.rank();
    let panels = shape[rank - 1].ceil_div(width);
    let fill = graph.ranges.simplify(&(&(&panels * width) - &shape[rank - 1]));
    let x = if fill.is(0) {
        x
    } else {
        let zero = graph.number(DType::F32, 0.0)?;
        let none: Shape = shape.iter().map(|_| Dim::ZERO).collect();
        let inner: Ints = smallvec![0; rank];
        graph.op(
            Op::Pad,
            &[x, zero],
            smallvec![none.clone().into(), none.with(rank - 1, fill).into(), inner.into()],
        )?
    };
    let split: Shape = shape[..rank - 1].iter().cloned().chain([panels, width.clone()]).collect();
    let x = graph.reshape(x, &split)?;
    graph.transpose(x, &swap(rank + 1))
}

/// The view of panels as the matrix they were made from.
fn from_panels(graph: &mut Graph, panels: Value, columns: &Dim) -> Result<Value, Violation> {
    let rank = graph.ty(panels).shape.rank();
    let x = graph.transpose(panels, &swap(rank))?;
    let shape = graph.ty(x).shape.clone();
    let padded = &shape[rank - 2] * &shape[rank - 1];
    let joined: Shape = shape[..rank - 2].iter().cloned().chain([padded]).collect();
    let x = graph.reshape(x, &joined)?;
    graph.slice_axis(x, rank - 2, &Dim::ZERO, columns)
}

/// The permutation that exchanges the second and third axis from the end.
fn swap(rank: usize) -> Vec<usize> {
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(rank - 3, rank - 2);
    perm
}

/// The value of a constant, also behind movements.
fn known(graph: &Graph, value: Value) -> Option<Tensor> {
    let node = graph.def_node(value)?;
    match node.op {
        Op::Const => match &node.attrs[0] {
            Attr::Tensor(tensor) => Some(tensor.clone()),
            _ => None,
        },
        Op::Transpose | Op::Reshape => {
            let mut one = Graph::new("known");
            let operand = one.constant(known(graph, node.operands[0])?).ok()?;
            let moved = one.op(node.op, &[operand], node.attrs.clone()).ok()?;
            one.add_output("x", moved);
            evaluate(&one, &[]).ok()?.pop()
        }
        _ => None,
    }
}
