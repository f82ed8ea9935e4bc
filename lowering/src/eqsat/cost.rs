//! What a node costs: a roofline over numbers that describe a target.
//!
//! Times are in nanoseconds. Views cost next to nothing and elementwise ops only their work and a share of
//! their traffic, because lowering fuses them; ops with a kernel of their own cost a launch and the larger of
//! traffic and work.

use tcc_ir::dim::{Bindings, Dim, Ranges};
use tcc_ir::graph::{Attr, Op};
use tcc_ir::numerics::Numerics;
use tcc_ir::shape::TensorType;

/// A target in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct CostModel {
    /// Bytes of memory traffic per nanosecond.
    pub bandwidth: f64,
    /// Operations of contractions per nanosecond.
    pub contraction: f64,
    /// Other operations per nanosecond.
    pub scalar: f64,
    /// What starting a kernel costs.
    pub launch: f64,
    /// The share of the traffic of an elementwise op that fusion leaves.
    pub unfused: f64,
    /// The share of a copy that a permuted access costs where it is read.
    pub strided: f64,
    /// Operations for a transcendental function.
    pub function: f64,
    /// With fewer rows than this a block is no contraction of micro-tiles.
    pub block_rows: f64,
    /// How many elements must be in the making at once for the full rate of other operations.
    pub lanes: f64,
}

impl CostModel {
    /// A processor of a few cores with wide vectors.
    pub fn cpu() -> CostModel {
        CostModel {
            bandwidth: 30.0,
            contraction: 150.0,
            scalar: 8.0,
            launch: 2000.0,
            unfused: 0.25,
            strided: 0.5,
            function: 12.0,
            block_rows: 8.0,
            lanes: 64.0,
        }
    }

    /// A processor of thousands of threads beside fast memory.
    pub fn gpu() -> CostModel {
        CostModel {
            bandwidth: 1500.0,
            contraction: 15_000.0,
            scalar: 8000.0,
            launch: 4000.0,
            unfused: 0.25,
            strided: 0.25,
            function: 8.0,
            block_rows: 1.0,
            lanes: 100_000.0,
        }
    }
}

/// No node is free, so that fewer are better and no cycle is worth anything.
const LEAST: f64 = 0.1;

/// What a symbol is taken to be where its range allows it.
const TYPICAL: i64 = 32;

/// Costs of the nodes of one graph.
pub(crate) struct Costs<'m> {
    model: &'m CostModel,
    symbols: Bindings,
}

impl<'m> Costs<'m> {
    pub(crate) fn new(model: &'m CostModel, ranges: &Ranges) -> Costs<'m> {
        let typical =
            |(s, r): (&tcc_ir::dim::Symbol, tcc_ir::dim::Range)| (s.clone(), TYPICAL.clamp(r.lo, r.hi));
        Costs { model, symbols: ranges.iter().map(typical).collect() }
    }

    fn number(&self, dim: &Dim) -> f64 {
        let mut symbols = self.symbols.clone();
        if dim.as_const().is_none() {
            dim.each_symbol(&mut |s| {
                symbols.entry(s.clone()).or_insert(TYPICAL);
            });
        }
        dim.eval(&symbols).map_or(1.0, |n| n.max(0) as f64)
    }

    pub(crate) fn elements(&self, ty: &TensorType) -> f64 {
        ty.shape.iter().map(|d| self.number(d)).product()
    }

    fn bytes(&self, ty: &TensorType) -> f64 {
        self.elements(ty) * ty.dtype.bits() as f64 / 8.0
    }

    /// The cost of a node itself.
    pub(super) fn of(
        &self,
        op: Op,
        attrs: &[Attr],
        operands: &[&TensorType],
        results: &[&TensorType],
    ) -> f64 {
        let model = self.model;
        let made: f64 = results.iter().map(|ty| self.bytes(ty)).sum();
        let count: f64 = results.iter().map(|ty| self.elements(ty)).sum();
        let read: f64 = operands.iter().map(|ty| self.bytes(ty)).sum();
        let cost = match op {
            Op::Const | Op::Iota | Op::Dims | Op::Reshape | Op::Broadcast => 0.0,
            Op::Slice | Op::Reverse => 1.0,
            Op::Transpose => model.strided * made / model.bandwidth,
            Op::Cast | Op::Bitcast => self.elementwise(1.0, count, made),
            Op::Scalar(scalar) => {
                let exact = scalar.def().numerics == Numerics::Exact;
                self.elementwise(if exact { 1.0 } else { model.function }, count, made)
            }
            Op::Quantize | Op::Dequantize => self.elementwise(4.0, count, made),
            Op::Pad | Op::Concat | Op::Copy | Op::Gather => (read.min(made) + made) / model.bandwidth,
            op => {
                let time = match op {
                    Op::Attention => self.attention(operands),
                    Op::Dot | Op::Conv => self.work(op, attrs, operands, count) / model.contraction,
                    _ => self.work(op, attrs, operands, count) / model.scalar,
                };
                model.launch + time.max((read + made) / model.bandwidth)
            }
        };
        cost + LEAST
    }

    fn elementwise(&self, work: f64, count: f64, bytes: f64) -> f64 {
        work * count / self.model.scalar + self.model.unfused * bytes / self.model.bandwidth
    }

    /// Both products, and a weight for each score; scores are not written to memory.
    fn attention(&self, operands: &[&TensorType]) -> f64 {
        let extent = |i: usize, axis: usize| operands[i].shape.get(axis).map_or(1.0, |d| self.number(d));
        let queries = extent(0, 2);
        let scores = extent(0, 0) * extent(0, 1) * queries * extent(1, 2);
        let in_blocks = queries >= self.model.block_rows;
        let rate = if in_blocks { self.model.contraction } else { self.model.scalar };
        let products = 2.0 * scores * (extent(0, 3) + extent(2, 3)) / rate;
        products + scores * (self.model.function + 4.0) / self.model.scalar
    }

    /// The operations of an op that makes so many elements.
    pub(crate) fn work(&self, op: Op, attrs: &[Attr], operands: &[&TensorType], count: f64) -> f64 {
        let read = operands.first().map_or(0.0, |ty| self.elements(ty));
        let extent = |ty: &TensorType, axis: i64| {
            usize::try_from(axis).ok().and_then(|a| ty.shape.get(a)).map_or(1.0, |d| self.number(d))
        };
        match op {
            Op::Dot => {
                let contracted: f64 = match attrs.get(2) {
                    Some(Attr::Ints(axes)) => axes.iter().map(|a| extent(operands[0], *a)).product(),
                    _ => 1.0,
                };
                2.0 * count * contracted
            }
            Op::Conv => {
                2.0 * count
                    * (1..operands[1].shape.rank() as i64).map(|a| extent(operands[1], a)).product::<f64>()
            }
            Op::Softmax | Op::LogSoftmax => (self.model.function + 4.0) * read,
            Op::LayerNorm | Op::GroupNorm | Op::RmsNorm => 6.0 * read,
            Op::PoolMax | Op::PoolSum | Op::PoolArgMax => match attrs.first() {
                Some(Attr::Ints(window)) => count * window.iter().map(|w| *w as f64).product::<f64>(),
                _ => read,
            },
            _ => read + count,
        }
    }
}
