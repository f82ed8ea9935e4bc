//! Convolutions with windows of 3 by 3 as products of small tiles: fewer multiplications for more memory.
//!
//! ```text
//! %1 = conv %x, %w : f32[n, o, h, w]
//! ->
//! %a = winograd_in %x with its channels last : f32[t * t, n, h / m, w / m, c]
//! %p = %w with G on both sides               : f32[t * t, c, o], at compile time
//! %b = dot %a, %p, for each of the t * t
//! %1 = winograd_out %b, whose channels are last
//! ```
//!
//! Whether that pays is decided by what the machine multiplies and moves in a cycle.

use smallvec::smallvec;
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Attr, Graph, Ints, Node, Op, Rewriter, Value, Violation};
use tcc_ir::shape::Shape;
use tcc_ir::tensor::Tensor;
use tcc_ir::winograd::{ALL, Winograd};

use super::{ints, known, settled};
use crate::schedule::Machine;

/// The tiles that a convolution is best carried out with; none where the direct form is better.
pub(super) fn best(graph: &Graph, node: &Node, machine: &Machine) -> Option<&'static Winograd> {
    let [x, w] = [node.operands[0], node.operands[1]];
    let [strides, lo, hi, dilation, base] =
        ["strides", "lo", "hi", "dilation", "base"].map(|name| ints(node, name));
    let ones = |list: &[i64]| list.iter().all(|v| *v == 1);
    let plain = strides.len() == 2 && ones(&strides) && ones(&dilation) && ones(&base);
    let padded = lo.iter().chain(&hi).all(|p| *p >= 0);
    let all_f32 = [x, w, node.result()].iter().all(|v| graph.ty(*v).dtype == DType::F32);
    let Attr::Int(1) = node.attr("groups") else { return None };
    let (window, out) = (&graph.ty(w).shape, &graph.ty(node.result()).shape);
    if !plain || !padded || !all_f32 || !window[2..].iter().all(|d| d.is(3)) || known(graph, w).is_none() {
        return None;
    }
    let number = |d: &tcc_ir::dim::Dim| d.as_const().map(|n| n as f64);
    let pixels = [number(&out[2])?, number(&out[3])?];
    // Of a number of images that only the call knows, one is sure.
    let images = number(&out[0]).unwrap_or(1.0);
    let work = Work { pixels, images, inputs: number(&window[1])?, outputs: number(&window[0])? };
    let direct = work.direct(machine)?;
    let tiles = ALL.iter().filter_map(|w| Some((w, work.in_tiles(machine, w)?)));
    let (best, cycles) = tiles.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (cycles < GAIN * direct).then_some(best)
}

/// With less of a gain than to this share, the larger weights are not worth it.
const GAIN: f64 = 0.8;
/// The share of the multiplications that a processor could do which contractions get done.
const EFFICIENCY: f64 = 0.85;
/// The registers that are as wide as a micro-tile.
const COLUMN_REGISTERS: f64 = 2.0;
/// Fewer channels than this leave vectors empty.
const FEWEST_CHANNELS: f64 = 16.0;

/// A convolution in numbers.
struct Work {
    pixels: [f64; 2],
    images: f64,
    inputs: f64,
    outputs: f64,
}

impl Work {
    /// The cycles of so many multiplications and of reading so many weights.
    fn product(&self, machine: &Machine, multiplications: f64, weights: f64) -> Option<f64> {
        let memory = machine.facts.memory_bytes_per_cycle as f64;
        let units = machine.facts.fma_units as f64;
        let a_cycle = units * machine.tile_columns as f64 / COLUMN_REGISTERS;
        // Columns beyond the last are multiplied for nothing.
        let columns = machine.tile_columns as f64;
        let waste = (self.outputs / columns).ceil() * columns / self.outputs;
        let cycles = waste * multiplications / (a_cycle * EFFICIENCY) + 4.0 * weights / memory;
        (memory > 0.0 && units > 0.0).then_some(cycles)
    }

    fn direct(&self, machine: &Machine) -> Option<f64> {
        let weights = 9.0 * self.inputs * self.outputs;
        self.product(machine, self.images * self.pixels[0] * self.pixels[1] * weights, weights)
    }

    fn in_tiles(&self, machine: &Machine, winograd: &Winograd) -> Option<f64> {
        let along = |pixels: f64| (pixels / winograd.outputs as f64).ceil();
        let tiles = self.images * along(self.pixels[0]) * along(self.pixels[1]);
        let products = (winograd.inputs() * winograd.inputs()) as f64;
        let weights = products * self.inputs * self.outputs;
        // What is written is read again.
        let moved = 4.0 * products * tiles * 2.0 * (self.inputs + self.outputs);
        let cache = machine.facts.cache_bytes_per_cycle as f64;
        let enough = self.inputs.min(self.outputs) >= FEWEST_CHANNELS && cache > 0.0;
        let product = self.product(machine, tiles * weights, weights)?;
        enough.then_some(product + moved / cache)
    }
}

/// The convolution of an image with its channels last, which its result has, too.
pub(super) fn in_tiles(
    rewriter: &mut Rewriter<'_>,
    node: &Node,
    image: Value,
    winograd: &Winograd,
) -> Result<Value, Violation> {
    let weights = weights(rewriter, node.operands[1], winograd)?;
    let out = rewriter.from.ty(node.result()).shape.clone();
    let graph = &mut rewriter.to;
    let m = Attr::Int(winograd.outputs as i64);
    let attrs = smallvec![m.clone(), node.attr("lo").clone(), node.attr("hi").clone()];
    let factors = graph.op(Op::WinogradIn, &[image], attrs)?;
    let lists: [Ints; 4] = [smallvec![0], smallvec![0], smallvec![4], smallvec![1]];
    let attrs = lists.into_iter().map(Attr::from).chain([DType::F32.into()]).collect();
    let id = graph.push_from(Op::Dot, &[factors, weights], attrs, Vec::new(), node.origin.clone())?;
    let products = graph.node(id).result();
    let sizes: Shape = [out[2].clone(), out[3].clone()].into_iter().collect();
    let attrs = smallvec![m, sizes.into()];
    let id = graph.push_from(Op::WinogradOut, &[products], attrs, Vec::new(), node.origin.clone())?;
    Ok(graph.node(id).result())
}

/// `[o, c, 3, 3]` with G on both sides, as `[t * t, c, o]`.
fn weights(rewriter: &mut Rewriter<'_>, w: Value, winograd: &Winograd) -> Result<Value, Violation> {
    let rows = winograd.window;
    let pairs = rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b)));
    // One matrix from windows to factors, in f64 so that each weight is rounded once.
    let both = pairs.flat_map(|(a, b)| a.iter().flat_map(move |x| b.iter().map(move |y| x * y)));
    let products = winograd.inputs() * winograd.inputs();
    let matrix = Tensor::from_f64_iter(DType::F64, &[products, 3, 3], both);
    let matrix = matrix.map_err(|e| Violation::new("size", e.to_string()))?;
    settled(rewriter, w, |graph, w| {
        let matrix = graph.constant(matrix.clone())?;
        let lists: [Ints; 4] = [smallvec![], smallvec![], smallvec![1, 2], smallvec![2, 3]];
        let attrs = lists.into_iter().map(Attr::from).chain([DType::F32.into()]).collect();
        let factors = graph.op(Op::Dot, &[matrix, w], attrs)?;
        graph.transpose(factors, &[0, 2, 1])
    })
}

#[cfg(test)]
mod tests {
    use tcc_ir::graph::parse_graph;

    use super::*;
    use crate::schedule::Facts;

    /// The outputs of a tile along an axis that a square image and its channels get.
    fn chosen(size: usize, channels: usize) -> Option<usize> {
        let facts =
            Facts { fma_units: 2, cache_bytes_per_cycle: 16, memory_bytes_per_cycle: 8, ..Facts::NONE };
        let machine = Machine { tile_columns: 32, facts, ..Machine::default() };
        let (image, window) =
            (format!("1, {channels}, {size}, {size}"), format!("{channels}, {channels}, 3, 3"));
        let text = format!(
            "graph @f(%x: f32[{image}]) -> (y: f32[{image}]) {{
              %0 = const value=f32[] 0.5 : f32[]
              %1 = broadcast %0 shape=[{window}] : f32[{window}]
              %2 = conv %x, %1 strides=[1, 1] lo=[1, 1] hi=[1, 1] dilation=[1, 1] base=[1, 1] groups=1 \
                dtype=f32 : f32[{image}]
              return %2
            }}"
        );
        let graph = parse_graph(&text).unwrap_or_else(|d| panic!("{}", d.render("graph", &text)));
        let node = graph.nodes().find(|(_, n)| n.op == Op::Conv).unwrap().1;
        best(&graph, node, &machine).map(|w| w.outputs)
    }

    #[test]
    fn tiles_are_chosen_by_cost() {
        assert_eq!(chosen(56, 64), Some(4));
        assert_eq!(chosen(224, 64), Some(4));
        assert_eq!(chosen(56, 8), None);
        // With few pixels the weights are what counts, and there are fewer of them in the direct form.
        assert_eq!(chosen(4, 512), None);
    }
}
