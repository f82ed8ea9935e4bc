//! Shorthand that rules are written in: the graph's own shorthand with refusals as errors, and broadcasting.

use super::context::{Cx, Refusal, Step, ensure};
use super::values::Held;
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Attr, Ints, Op, Value};
use crate::scalar::ScalarOp;
use crate::shape::Shape;

impl Cx<'_, '_> {
    /// A scalar operation on one tensor.
    pub(crate) fn un(&mut self, op: ScalarOp, x: Value) -> Step {
        Ok(self.g().scalar(op, &[x])?)
    }

    /// A scalar operation on two tensors that are broadcast.
    pub(crate) fn bin(&mut self, op: ScalarOp, x: Value, y: Value) -> Step {
        Ok(self.g().broadcasting(op, &[x, y])?)
    }

    /// A choice among tensors that are broadcast.
    pub(crate) fn select(&mut self, condition: Value, x: Value, y: Value) -> Step {
        Ok(self.g().broadcasting(ScalarOp::Select, &[condition, x, y])?)
    }

    pub(crate) fn add(&mut self, x: Value, y: Value) -> Step {
        self.bin(ScalarOp::Add, x, y)
    }

    pub(crate) fn sub(&mut self, x: Value, y: Value) -> Step {
        self.bin(ScalarOp::Sub, x, y)
    }

    pub(crate) fn mul(&mut self, x: Value, y: Value) -> Step {
        self.bin(ScalarOp::Mul, x, y)
    }

    pub(crate) fn div(&mut self, x: Value, y: Value) -> Step {
        self.bin(ScalarOp::Div, x, y)
    }

    /// A scalar constant of the type of another tensor.
    pub(crate) fn like(&mut self, x: Value, number: f64) -> Step {
        let dtype = self.dtype(x);
        self.number(dtype, number)
    }

    /// A scalar constant.
    pub(crate) fn number(&mut self, dtype: DType, number: f64) -> Step {
        Ok(self.g().number(dtype, number)?)
    }

    /// A scalar operation with a constant as second operand.
    pub(crate) fn with(&mut self, op: ScalarOp, x: Value, number: f64) -> Step {
        let number = self.like(x, number)?;
        self.bin(op, x, number)
    }

    /// An expression as a scalar.
    pub(crate) fn dim_value(&mut self, dim: &Dim, dtype: DType) -> Step {
        if dtype.is_float() {
            if let Some(number) = dim.as_const() {
                return self.number(dtype, number as f64);
            }
            let whole = self.place(&Held::elements_of(DType::I64, &[], vec![dim.clone()]))?;
            return self.cast(whole, dtype);
        }
        self.place(&Held::elements_of(dtype, &[], vec![dim.clone()]))
    }

    /// Expressions as a vector of i64.
    pub(crate) fn dims_value(&mut self, dims: &[Dim]) -> Step {
        self.place(&Held::elements_of(DType::I64, &[dims.len()], dims.to_vec()))
    }

    /// A vector of constants.
    pub(crate) fn vector(&mut self, dtype: DType, values: &[f64]) -> Step {
        let tensor = crate::tensor::Tensor::from_f64_iter(dtype, &[values.len()], values.iter().copied())?;
        Ok(self.g().constant(tensor)?)
    }

    pub(crate) fn cast(&mut self, x: Value, dtype: DType) -> Step {
        Ok(self.g().cast(x, dtype)?)
    }

    pub(crate) fn reshape(&mut self, x: Value, shape: &[Dim]) -> Step {
        Ok(self.g().reshape(x, &Shape::from(shape))?)
    }

    pub(crate) fn broadcast(&mut self, x: Value, shape: &[Dim]) -> Step {
        Ok(self.g().broadcast(x, &Shape::from(shape))?)
    }

    pub(crate) fn transpose(&mut self, x: Value, perm: &[usize]) -> Step {
        Ok(self.g().transpose(x, perm)?)
    }

    /// The last two axes exchanged.
    pub(crate) fn swap_last(&mut self, x: Value) -> Step {
        let rank = self.rank(x);
        if rank < 2 {
            return Err(Refusal::new(format!("expected a rank of at least 2, got {rank}")));
        }
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(rank - 1, rank - 2);
        self.transpose(x, &perm)
    }

    /// An axis moved to another place.
    pub(crate) fn move_axis(&mut self, x: Value, from: usize, to: usize) -> Step {
        let rank = self.rank(x);
        ensure!(from < rank && to < rank, "expected axes {from} and {to}, got {}", self.ty(x));
        let mut perm: Vec<usize> = (0..rank).filter(|a| *a != from).collect();
        perm.insert(to, from);
        self.transpose(x, &perm)
    }

    /// New axes of extent 1, at these places of the result.
    pub(crate) fn unsqueeze(&mut self, x: Value, axes: &[usize]) -> Step {
        let old = self.shape(x);
        let mut rest = old.iter().cloned();
        let rank = old.rank() + axes.len();
        let shape: Vec<Dim> = (0..rank)
            .map(|i| if axes.contains(&i) { Dim::ONE } else { rest.next().unwrap_or(Dim::ONE) })
            .collect();
        self.reshape(x, &shape)
    }

    /// Without these axes, whose extent is 1.
    pub(crate) fn squeeze(&mut self, x: Value, axes: &[usize]) -> Step {
        let shape = self.shape(x).without(axes);
        self.reshape(x, &shape)
    }

    /// A vector laid along one axis of a tensor of a rank.
    pub(crate) fn along(&mut self, x: Value, axis: usize, rank: usize) -> Step {
        ensure!(self.rank(x) == 1 && axis < rank, "expected a vector, got {}", self.ty(x));
        let extent = self.extent(x, 0);
        let mut shape = vec![Dim::ONE; rank];
        shape[axis] = extent;
        self.reshape(x, &shape)
    }

    pub(crate) fn concat(&mut self, xs: &[Value], axis: usize) -> Step {
        Ok(self.g().concat(xs, axis)?)
    }

    pub(crate) fn slice(&mut self, x: Value, axis: usize, start: &Dim, size: &Dim) -> Step {
        ensure!(axis < self.rank(x), "expected an axis {axis}, got {}", self.ty(x));
        Ok(self.g().slice_axis(x, axis, start, size)?)
    }

    /// One index of an axis, which vanishes.
    pub(crate) fn pick(&mut self, x: Value, axis: usize, at: &Dim) -> Step {
        let row = self.slice(x, axis, at, &Dim::ONE)?;
        self.squeeze(row, &[axis])
    }

    pub(crate) fn reverse(&mut self, x: Value, axes: &[usize]) -> Step {
        let axes: Ints = axes.iter().map(|a| *a as i64).collect();
        self.node(Op::Reverse, &[x], [Attr::Ints(axes)])
    }

    /// Padding with a number of the type.
    pub(crate) fn pad(&mut self, x: Value, number: f64, lo: &[Dim], hi: &[Dim]) -> Step {
        let value = self.like(x, number)?;
        self.pad_with(x, value, lo, hi)
    }

    pub(crate) fn pad_with(&mut self, x: Value, value: Value, lo: &[Dim], hi: &[Dim]) -> Step {
        let inner: Ints = lo.iter().map(|_| 0).collect();
        self.node(Op::Pad, &[x, value], [Shape::from(lo).into(), Shape::from(hi).into(), inner.into()])
    }

    pub(crate) fn gather(&mut self, x: Value, indices: Value, axis: usize) -> Step {
        self.node(Op::Gather, &[x, indices], [Attr::Int(axis as i64)])
    }

    pub(crate) fn iota(&mut self, shape: &[Dim], axis: usize, dtype: DType) -> Step {
        self.node(Op::Iota, &[], [Shape::from(shape).into(), Attr::Int(axis as i64), dtype.into()])
    }

    /// `0, 1, …` as a vector.
    pub(crate) fn range(&mut self, count: &Dim, dtype: DType) -> Step {
        self.iota(std::slice::from_ref(count), 0, dtype)
    }

    pub(crate) fn reduce(&mut self, op: Op, x: Value, axes: &[usize], keep: bool) -> Step {
        Ok(self.g().reduce(op, x, axes, keep)?)
    }

    pub(crate) fn sum(&mut self, x: Value, axes: &[usize], keep: bool) -> Step {
        self.reduce(Op::ReduceSum, x, axes, keep)
    }

    pub(crate) fn mean(&mut self, x: Value, axes: &[usize], keep: bool) -> Step {
        let shape = self.shape(x);
        ensure!(axes.iter().all(|a| *a < shape.rank()), "expected axes {axes:?}, got {}", self.ty(x));
        let count: Dim = axes.iter().map(|a| shape[*a].clone()).product();
        let sum = self.sum(x, axes, keep)?;
        let count = self.dim_value(&count, self.dtype(x))?;
        self.div(sum, count)
    }

    /// A contraction.
    pub(crate) fn dot(
        &mut self,
        (lhs, rhs): (Value, Value),
        batch: (&[i64], &[i64]),
        contract: (&[i64], &[i64]),
        dtype: DType,
    ) -> Step {
        let attrs = [batch.0.into(), batch.1.into(), contract.0.into(), contract.1.into(), dtype.into()];
        self.node(Op::Dot, &[lhs, rhs], attrs)
    }

    /// A product of matrices with as many batch axes as the first has, whose result has its type.
    pub(crate) fn matmul(&mut self, lhs: Value, rhs: Value) -> Step {
        let dtype = self.dtype(lhs);
        Ok(self.g().matmul(lhs, rhs, dtype)?)
    }

    /// A node with one result.
    pub(crate) fn node<const N: usize>(&mut self, op: Op, operands: &[Value], attrs: [Attr; N]) -> Step {
        Ok(self.g().op(op, operands, attrs.into_iter().collect())?)
    }

    /// A node with several results.
    pub(crate) fn nodes<const N: usize>(
        &mut self,
        op: Op,
        operands: &[Value],
        attrs: [Attr; N],
    ) -> Step<Vec<Value>> {
        let id = self.g().push(op, operands, attrs.into_iter().collect(), Vec::new())?;
        Ok(self.g().node(id).results().collect())
    }

    /// Indices from either end as indices from the start.
    pub(crate) fn counted_from_start(&mut self, indices: Value, extent: &Dim) -> Step {
        if self.is_not_negative(indices) {
            return Ok(indices);
        }
        if self.dtype(indices).is_unsigned() {
            return Ok(indices);
        }
        let zero = self.like(indices, 0.0)?;
        let negative = self.bin(ScalarOp::Lt, indices, zero)?;
        let extent = self.dim_value(extent, self.dtype(indices))?;
        let shifted = self.add(indices, extent)?;
        self.select(negative, shifted, indices)
    }

    /// Whether indices come, moved about at most, from constants or counts that are not negative.
    fn is_not_negative(&self, indices: Value) -> bool {
        let graph = &self.importer.graph;
        let mut value = indices;
        while let Some(node) = graph.def_node(value) {
            match (node.op, node.operands.first()) {
                (Op::Slice | Op::Reshape | Op::Transpose | Op::Broadcast | Op::Gather, Some(source)) => {
                    value = *source;
                }
                (Op::Const, _) => {
                    let Attr::Tensor(tensor) = node.attr("value") else { return false };
                    return tensor.len() <= 1 << 16 && tensor.iter_scalars().all(|s| s.to_f64() >= 0.0);
                }
                (op, _) => return matches!(op, Op::Iota | Op::NonZero | Op::ArgMax | Op::ArgMin),
            }
        }
        false
    }

    /// `x` limited to the range of two numbers.
    pub(crate) fn clamp(&mut self, x: Value, lo: f64, hi: f64) -> Step {
        let x = self.with(ScalarOp::Max, x, lo)?;
        self.with(ScalarOp::Min, x, hi)
    }

    /// The truth of `x op number`.
    pub(crate) fn is(&mut self, op: ScalarOp, x: Value, number: f64) -> Step {
        self.with(op, x, number)
    }
}
