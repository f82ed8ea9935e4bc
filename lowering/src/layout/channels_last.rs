//! Convolutions with their channels last: neighbouring channels are neighbours in memory.
//!
//! ```text
//! %1 = conv %x, %w : f32[n, o, h, w]
//! ->
//! %a = %x with its channels last, padded, in memory of its own
//! %p = copy of %w as [g, o / c, kh, kw, i, c]      (constant if %w is)
//! %b = conv (the view of %a as it was), (the view of %p as it was)
//! %1 = %b, transposed to channels last and back
//! ```
//!
//! What one pixel and a stretch of neighbouring ones add to a sum is then one run of memory, and the rows of
//! a micro-tile are pixels at any stride. Ops that treat all channels alike are carried out with the channels
//! last, so that between convolutions no transpose is left.

use smallvec::{SmallVec, smallvec};
use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Attrs, Graph, Ints, Node, NodeId, Op, Rewriter, Value, Violation};
use tcc_ir::shape::Shape;

use super::groups::{fill_up, from_groups, to_groups};
use super::panels::{from_panels, to_panels};
use super::{ints, list, settled};
use crate::schedule::{Machine, MicroTile};

/// Brings every convolution that profits into channels-last form, and what stands between them too.
pub fn channels_last(graph: &Graph, machine: &Machine) -> Graph {
    let forms = vec![None; graph.value_count()];
    let mut plain = vec![false; graph.value_count()];
    graph.params().iter().for_each(|(_, v)| plain[v.index()] = true);
    let mut pass = ChannelsLast { rewriter: Rewriter::new(graph), forms, plain, machine };
    for (id, node) in graph.nodes() {
        let done = match pass.node(node) {
            Ok(done) => done.is_some(),
            Err(_) => false,
        };
        if !done {
            pass.copy(id, node);
        }
    }
    for (_, value) in graph.outputs() {
        pass.as_it_was(*value);
    }
    pass.rewriter.finish()
}

/// A value with its last `spatial` axes moved behind the first.
#[derive(Clone, Copy)]
struct Form {
    value: Value,
    spatial: usize,
}

struct ChannelsLast<'g> {
    rewriter: Rewriter<'g>,
    /// The values that are known with their channels last.
    forms: Vec<Option<Form>>,
    /// The values that are known as they were.
    plain: Vec<bool>,
    machine: &'g Machine,
}

/// The order in which the channels come last.
fn forth(rank: usize, spatial: usize) -> Vec<usize> {
    std::iter::once(0).chain(rank - spatial..rank).chain(1..rank - spatial).collect()
}

/// The order that undoes [`forth`].
fn back(rank: usize, spatial: usize) -> Vec<usize> {
    std::iter::once(0).chain(spatial + 1..rank).chain(1..=spatial).collect()
}

/// A list over all axes in the order of a form.
fn moved<T: Clone>(items: &[T], spatial: usize) -> Vec<T> {
    forth(items.len(), spatial).into_iter().map(|i| items[i].clone()).collect()
}

impl ChannelsLast<'_> {
    fn copy(&mut self, id: NodeId, node: &Node) {
        for operand in &node.operands {
            self.as_it_was(*operand);
        }
        self.rewriter.copy(id);
        node.results().for_each(|r| self.plain[r.index()] = true);
    }

    /// A value in the order of axes that it had.
    fn as_it_was(&mut self, value: Value) -> Value {
        if !self.plain[value.index()]
            && let Some(form) = self.forms[value.index()]
        {
            let rank = self.rank(value);
            let was = self.rewriter.to.transpose(form.value, &back(rank, form.spatial));
            self.rewriter.replace(value, was.expect("an order of all axes"));
            self.plain[value.index()] = true;
        }
        self.rewriter.get(value)
    }

    fn rank(&self, value: Value) -> usize {
        self.rewriter.from.ty(value).shape.rank()
    }

    /// A value with its channels last.
    fn form(&mut self, value: Value, spatial: usize) -> Result<Value, Violation> {
        if let Some(form) = self.forms[value.index()].filter(|f| f.spatial == spatial) {
            return Ok(form.value);
        }
        let from = self.rewriter.from;
        let shape = from.ty(value).shape.clone();
        let order = forth(shape.rank(), spatial);
        if let Some(node) = from.def_node(value).filter(|n| n.op == Op::Broadcast) {
            let x = self.as_it_was(node.operands[0]);
            let graph = &mut self.rewriter.to;
            let own = graph.ty(x).shape.clone();
            let ones = vec![Dim::ONE; shape.rank() - own.rank()];
            let x = graph.reshape(x, &ones.into_iter().chain(own.iter().cloned()).collect())?;
            let x = graph.transpose(x, &order)?;
            return graph.broadcast(x, &moved(&shape, spatial).into_iter().collect());
        }
        let x = self.as_it_was(value);
        self.rewriter.to.transpose(x, &order)
    }

    fn push(&mut self, node: &Node, operands: &[Value], attrs: Attrs) -> Result<Value, Violation> {
        let id = self.rewriter.to.push_from(node.op, operands, attrs, Vec::new(), node.origin.clone())?;
        Ok(self.rewriter.to.node(id).result())
    }

    /// Carries out a node with the channels last, if it can be.
    fn node(&mut self, node: &Node) -> Result<Option<()>, Violation> {
        if node.op == Op::Conv {
            return self.conv(node);
        }
        let Some(spatial) = node.operands.iter().find_map(|v| Some(self.forms[v.index()]?.spatial)) else {
            return Ok(None);
        };
        let x = node.operands[0];
        let (rank, out) = (self.rank(x), &self.rewriter.from.ty(node.result()).shape);
        let channels = rank - spatial;
        let value = match node.op {
            Op::Scalar(_) | Op::Cast | Op::Quantize | Op::Dequantize => {
                let mut operands: SmallVec<[Value; 3]> = SmallVec::new();
                for operand in &node.operands {
                    operands.push(self.form(*operand, spatial)?);
                }
                self.push(node, &operands, node.attrs.clone())?
            }
            Op::PoolMax | Op::PoolSum if channels == 2 && ints(node, "window").len() == spatial => {
                let attrs = [("window", 1), ("strides", 1), ("lo", 0), ("hi", 0), ("dilation", 1)].map(
                    |(name, of_channels)| {
                        Attr::Ints(ints(node, name).into_iter().chain([of_channels]).collect())
                    },
                );
                let x = self.form(x, spatial)?;
                self.push(node, &[x], attrs.into_iter().collect())?
            }
            // The extremes of everything are the same in any order.
            Op::ReduceMax | Op::ReduceMin if list(node, "axes").len() == rank => {
                let x = self.form(x, spatial)?;
                let reduced = self.push(node, &[x], node.attrs.clone())?;
                self.stands_for(node, reduced);
                return Ok(Some(()));
            }
            Op::ReduceSum | Op::ReduceProd | Op::ReduceMax | Op::ReduceMin
                if list(node, "axes").iter().copied().eq(channels..rank) =>
            {
                let x = self.form(x, spatial)?;
                let axes: Ints = (1..=spatial as i64).collect();
                let reduced = self.push(node, &[x], smallvec![Attr::Ints(axes)])?;
                self.stands_for(node, reduced);
                return Ok(Some(()));
            }
            Op::Concat => {
                let axis = match node.attr("axis") {
                    Attr::Int(0) => 0,
                    Attr::Int(a) if (*a as usize) < channels => *a as usize + spatial,
                    Attr::Int(a) => *a as usize - channels + 1,
                    _ => return Ok(None),
                };
                let mut operands = Vec::with_capacity(node.operands.len());
                for operand in &node.operands {
                    operands.push(self.form(*operand, spatial)?);
                }
                self.push(node, &operands, smallvec![Attr::Int(axis as i64)])?
            }
            Op::Pad => {
                let attrs = self.moved_attrs(node, spatial);
                let (x, value) = (self.form(x, spatial)?, self.as_it_was(node.operands[1]));
                self.push(node, &[x, value], attrs)?
            }
            Op::Slice => {
                let attrs = self.moved_attrs(node, spatial);
                let x = self.form(x, spatial)?;
                self.push(node, &[x], attrs)?
            }
            Op::Transpose => {
                let perm = list(node, "perm");
                let keeps = |i: usize| perm[i] == i;
                if !keeps(0) || !(channels..rank).all(keeps) {
                    return Ok(None);
                }
                let inner = perm[1..channels].iter().map(|p| (p + spatial) as i64);
                let perm: Ints = (0..=spatial as i64).chain(inner).collect();
                let x = self.form(x, spatial)?;
                self.push(node, &[x], smallvec![Attr::Ints(perm)])?
            }
            Op::Reshape => {
                let shape = self.rewriter.from.ty(x).shape.clone();
                let x = self.form(x, spatial)?;
                let one_pixel = shape[channels..].iter().all(|d| d.is(1));
                if one_pixel {
                    let reshaped = self.rewriter.to.reshape(x, out)?;
                    self.stands_for(node, reshaped);
                    return Ok(Some(()));
                }
                let room = out.rank() > spatial + 1;
                if !room || out[0] != shape[0] || out[out.rank() - spatial..] != shape[channels..] {
                    return Ok(None);
                }
                let shape = moved(out, spatial).into_iter().collect();
                self.rewriter.to.reshape(x, &shape)?
            }
            _ => return Ok(None),
        };
        self.forms[node.result().index()] = Some(Form { value, spatial });
        Ok(Some(()))
    }

    fn stands_for(&mut self, node: &Node, value: Value) {
        self.rewriter.replace(node.result(), value);
        self.plain[node.result().index()] = true;
    }

    /// The attributes of a node, each of which has an entry for every axis.
    fn moved_attrs(&self, node: &Node, spatial: usize) -> Attrs {
        let one = |attr: &Attr| match attr {
            Attr::Ints(list) => Attr::Ints(moved(list, spatial).into_iter().collect()),
            Attr::Dims(list) => Attr::Dims(moved(list, spatial).into_iter().collect()),
            other => other.clone(),
        };
        node.attrs.iter().map(one).collect()
    }

    fn conv(&mut self, node: &Node) -> Result<Option<()>, Violation> {
        let [x, w] = [node.operands[0], node.operands[1]];
        let from = self.rewriter.from;
        let tile = self.machine.tile(from.ty(x).dtype, from.ty(w).dtype);
        let Some(tile) = tile.filter(|_| from.ty(node.result()).dtype.bits() <= 32) else {
            return Ok(None);
        };
        let [lo, hi, base] = ["lo", "hi", "base"].map(|n| ints(node, n));
        let plain = base.iter().all(|b| *b == 1) && lo.iter().chain(&hi).all(|p| *p >= 0);
        let Attr::Int(groups) = *node.attr("groups") else { return Ok(None) };
        let (rank, spatial) = (self.rank(x), self.rank(x) - 2);
        if !plain || spatial == 0 {
            return Ok(None);
        }
        // Channels are read in whole groups; those that fill up the last one meet weights of zero.
        let channels = from.ty(w).shape[1].clone();
        let odd = !channels.modulo(&Dim::from(tile.group)).is(0);
        let per_group = from.ty(w).shape[0].floor_div(&Dim::from(groups));
        let depthwise = per_group.is(1) && channels.is(1) && groups > 1;
        if odd && groups > 1 && !depthwise {
            return Ok(None);
        }
        let fill = match channels.as_const() {
            Some(c) if odd && !depthwise => (tile.group - c % tile.group) % tile.group,
            _ => 0,
        };
        let known_before = self.forms[x.index()].is_some();
        let form = self.form(x, spatial)?;
        let graph = &mut self.rewriter.to;
        let needs_padding = fill > 0 || lo.iter().chain(&hi).any(|p| *p > 0);
        let image = if needs_padding {
            let zero = graph.number(graph.ty(form).dtype, 0.0)?;
            let around = |sizes: &[i64], channels: i64| -> Shape {
                let inner = sizes.iter().map(|p| Dim::from(*p));
                std::iter::once(Dim::ZERO).chain(inner).chain([Dim::from(channels)]).collect()
            };
            let none: Ints = smallvec![0; rank];
            let attrs = smallvec![around(&lo, 0).into(), around(&hi, fill).into(), none.into()];
            graph.op(Op::Pad, &[form, zero], attrs)?
        } else {
            form
        };
        let image =
            if needs_padding || !known_before { graph.op(Op::Copy, &[image], smallvec![])? } else { image };
        let image = graph.transpose(image, &back(rank, spatial))?;
        self.as_it_was(w);
        let weights = self.weights(w, groups, fill, tile)?;
        let none: Ints = smallvec![0; spatial];
        let mut attrs = node.attrs.clone();
        attrs[1] = Attr::Ints(none.clone());
        attrs[2] = Attr::Ints(none);
        let sums = self.push(node, &[image, weights], attrs)?;
        let value = self.rewriter.to.transpose(sums, &forth(rank, spatial))?;
        self.forms[node.result().index()] = Some(Form { value, spatial });
        Ok(Some(()))
    }

    /// The view of weights in panels, or of depthwise ones with their channels last, as `[o, i, …]`.
    fn weights(&mut self, w: Value, groups: i64, fill: i64, tile: MicroTile) -> Result<Value, Violation> {
        let mut shape = self.rewriter.from.ty(w).shape.clone();
        let rank = shape.rank();
        let per_group = shape[0].floor_div(&Dim::from(groups));
        if per_group.is(1) && shape[1].is(1) && groups > 1 {
            let order: Vec<usize> = (1..rank).chain([0]).collect();
            let last = settled(&mut self.rewriter, w, |graph, w| graph.transpose(w, &order))?;
            let back: Vec<usize> = std::iter::once(rank - 1).chain(0..rank - 1).collect();
            return self.rewriter.to.transpose(last, &back);
        }
        let (width, group) = (Dim::from(tile.columns), tile.group);
        shape = shape.with(1, &shape[1] + &Dim::from(fill));
        let apart: Shape =
            [Dim::from(groups), per_group.clone()].into_iter().chain(shape[1..].iter().cloned()).collect();
        // [g, o, i, k…] -> [g, k…, i, o], the last of which becomes panels in front of k….
        let order: Vec<usize> = std::iter::once(0).chain(3..=rank).chain([2, 1]).collect();
        let panels = settled(&mut self.rewriter, w, |graph, w| {
            let w = fill_up(graph, w, 1, Dim::from(fill))?;
            let w = graph.reshape(w, &apart)?;
            let w = flattened(graph, w, &order)?;
            let panels = to_panels(graph, w, &[0, 1, 2], &width)?;
            to_groups(graph, panels, group)
        })?;
        let graph = &mut self.rewriter.to;
        let flat = from_groups(graph, panels, group)?;
        let matrix = from_panels(graph, flat, &per_group)?;
        let all: Vec<Dim> = order.iter().map(|axis| apart[*axis].clone()).collect();
        let inner = &all[1..all.len() - 1];
        let apart: Shape =
            [Dim::from(groups)].into_iter().chain(inner.iter().cloned()).chain([per_group]).collect();
        let matrix = graph.reshape(matrix, &apart)?;
        // [g, k…, i, o] -> [g, o, i, k…].
        let order: Vec<usize> = [0, rank, rank - 1].into_iter().chain(1..rank - 1).collect();
        let apart = graph.transpose(matrix, &order)?;
        graph.reshape(apart, &shape)
    }
}

/// A transposed tensor with all axes but the first and last joined.
fn flattened(graph: &mut Graph, x: Value, order: &[usize]) -> Result<Value, Violation> {
    let x = graph.transpose(x, order)?;
    let shape = graph.ty(x).shape.clone();
    let joined = shape[1..shape.rank() - 1].iter().cloned().product();
    let flat = [shape[0].clone(), joined, shape[shape.rank() - 1].clone()].into_iter().collect();
    graph.reshape(x, &flat)
}

#[cfg(test)]
mod tests {
    use tcc_ir::graph::parse_graph;

    use super::*;
    use crate::graph_to_loops::{Work, lower_graph};

    const TWO: &str = "
graph @two(%x: f32[1, 3, 6], %v: f32[8, 3, 3], %w: f32[8, 8, 1]) -> (y: f32[1, 8, 3]) {
  %0 = conv %x, %v strides=[1] lo=[1] hi=[1] dilation=[1] base=[1] groups=1 dtype=f32 : f32[1, 8, 6]
  %1 = exp %0 : f32[1, 8, 6]
  %2 = pool_max %1 window=[2] strides=[2] lo=[0] hi=[0] dilation=[1] : f32[1, 8, 3]
  %3 = conv %2, %w strides=[1] lo=[0] hi=[0] dilation=[1] base=[1] groups=1 dtype=f32 : f32[1, 8, 3]
  return %3
}";

    #[test]
    fn nothing_is_moved_between_convolutions() {
        let graph = parse_graph(TWO).unwrap();
        let laid_out = channels_last(&graph, &Machine { tile_columns: 8, ..Machine::default() });
        let names: Vec<String> = lower_graph(&laid_out)
            .into_iter()
            .map(|stage| match stage.work {
                Work::Nest(nest) => nest.name,
                Work::Host(_) => "host".to_owned(),
            })
            .collect();
        // The image and both weights are laid out, and the result is put back.
        assert_eq!(names, ["copy", "copy", "conv_exp", "pool_max", "copy", "conv_transpose", "transpose"]);
    }
}
