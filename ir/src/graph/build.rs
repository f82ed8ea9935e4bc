//! Shorthand for building graphs: what importers, passes and tests write instead of [`Graph::push`].
//!
//! Each method infers what an attribute list would spell out, and gives the value of its only result.

use smallvec::smallvec;

use super::{Attr, Attrs, Graph, Ints, Op, Value, Violation};
use crate::dim::Dim;
use crate::dtype::{DType, Scalar};
use crate::scalar::ScalarOp;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What the shorthand gives.
pub type Built = Result<Value, Violation>;

impl Graph {
    /// A node with one result and no regions.
    pub fn op(&mut self, op: Op, operands: &[Value], attrs: Attrs) -> Built {
        let id = self.push(op, operands, attrs, Vec::new())?;
        Ok(self.node(id).result())
    }

    /// A scalar operation on tensors of one shape.
    pub fn scalar(&mut self, op: ScalarOp, operands: &[Value]) -> Built {
        self.op(Op::Scalar(op), operands, Attrs::new())
    }

    /// A constant.
    pub fn constant(&mut self, value: Tensor) -> Built {
        self.op(Op::Const, &[], smallvec![Attr::Tensor(value)])
    }

    /// A scalar constant.
    pub fn number(&mut self, dtype: DType, value: f64) -> Built {
        let value = if dtype.is_float() { Scalar::Float(value) } else { Scalar::Int(value as i128) };
        self.constant(Tensor::scalar(dtype, value.round_to(dtype)))
    }

    /// A constant repeated to a shape.
    pub fn full(&mut self, dtype: DType, value: f64, shape: &Shape) -> Built {
        let one = self.number(dtype, value)?;
        self.broadcast(one, shape)
    }

    /// Another shape of the same elements; nothing if it has it already.
    pub fn reshape(&mut self, x: Value, shape: &Shape) -> Built {
        if self.ty(x).shape == *shape {
            return Ok(x);
        }
        self.op(Op::Reshape, &[x], smallvec![Attr::Dims(shape.clone())])
    }

    /// Repetition to a shape; nothing if it has it already.
    pub fn broadcast(&mut self, x: Value, shape: &Shape) -> Built {
        if self.ty(x).shape == *shape {
            return Ok(x);
        }
        self.op(Op::Broadcast, &[x], smallvec![Attr::Dims(shape.clone())])
    }

    /// Axes in another order; nothing if it is theirs.
    pub fn transpose(&mut self, x: Value, perm: &[usize]) -> Built {
        if perm.iter().enumerate().all(|(i, p)| i == *p) {
            return Ok(x);
        }
        let perm: Ints = perm.iter().map(|p| *p as i64).collect();
        self.op(Op::Transpose, &[x], smallvec![Attr::Ints(perm)])
    }

    /// A range of one axis.
    pub fn slice_axis(&mut self, x: Value, axis: usize, start: &Dim, size: &Dim) -> Built {
        let shape = self.ty(x).shape.clone();
        if start.is(0) && shape[axis] == *size {
            return Ok(x);
        }
        let starts = (0..shape.rank()).map(|i| if i == axis { start.clone() } else { Dim::ZERO });
        let starts: Shape = starts.collect();
        let steps: Ints = smallvec![1; shape.rank()];
        self.op(
            Op::Slice,
            &[x],
            smallvec![starts.into(), shape.with(axis, size.clone()).into(), steps.into()],
        )
    }

    /// Tensors joined along an axis.
    pub fn concat(&mut self, xs: &[Value], axis: usize) -> Built {
        if let [only] = xs {
            return Ok(*only);
        }
        self.op(Op::Concat, xs, smallvec![Attr::Int(axis as i64)])
    }

    /// Another element type; nothing if it has it already.
    pub fn cast(&mut self, x: Value, dtype: DType) -> Built {
        if self.ty(x).dtype == dtype {
            return Ok(x);
        }
        self.op(Op::Cast, &[x], smallvec![dtype.into(), Attr::Bool(true)])
    }

    /// A reduction over axes that stay with extent 1 if `keep`.
    pub fn reduce(&mut self, op: Op, x: Value, axes: &[usize], keep: bool) -> Built {
        let shape = self.ty(x).shape.clone();
        let list: Ints = axes.iter().map(|a| *a as i64).collect();
        let reduced = if axes.is_empty() { x } else { self.op(op, &[x], smallvec![Attr::Ints(list)])? };
        if !keep {
            return Ok(reduced);
        }
        let kept =
            shape.iter().enumerate().map(|(i, d)| if axes.contains(&i) { Dim::ONE } else { d.clone() });
        self.reshape(reduced, &kept.collect())
    }

    /// A scalar operation on tensors that are broadcast to their common shape first.
    pub fn broadcasting(&mut self, op: ScalarOp, operands: &[Value]) -> Built {
        let shape = self.common_shape(operands)?;
        let mut same = Vec::with_capacity(operands.len());
        for operand in operands {
            same.push(self.broadcast(*operand, &shape)?);
        }
        self.scalar(op, &same)
    }

    /// The shape that tensors broadcast to, as NumPy has it. Extents that are not known to be equal and not
    /// known to be 1 give their maximum, which is right whichever of them turns out to be 1.
    pub fn common_shape(&self, operands: &[Value]) -> Result<Shape, Violation> {
        let rank = operands.iter().map(|v| self.ty(*v).shape.rank()).max().unwrap_or(0);
        let mut common: Vec<Dim> = vec![Dim::ONE; rank];
        for operand in operands {
            let shape = &self.ty(*operand).shape;
            for (slot, dim) in common[rank - shape.rank()..].iter_mut().zip(shape.iter()) {
                if dim.is(1) || self.ranges.equal(slot, dim) {
                    continue;
                }
                *slot = match (slot.as_const(), dim.as_const()) {
                    (Some(1), _) => dim.clone(),
                    (Some(a), Some(b)) => {
                        return Err(Violation::new(
                            "broadcast",
                            format!("expected extents that are equal or 1, got {a} and {b}"),
                        ));
                    }
                    (Some(_), None) => slot.clone(),
                    (None, Some(_)) => dim.clone(),
                    (None, None) => slot.maximum(dim),
                };
            }
        }
        Ok(common.into_iter().collect())
    }

    /// A product of matrices over the last two axes of each, with equal batch axes before them.
    pub fn matmul(&mut self, lhs: Value, rhs: Value, dtype: DType) -> Built {
        let batch: Ints = (0..self.ty(lhs).shape.rank() as i64 - 2).collect();
        let (l, r) = (batch.len() as i64 + 1, batch.len() as i64);
        self.op(
            Op::Dot,
            &[lhs, rhs],
            smallvec![batch.clone().into(), batch.into(), [l].into(), [r].into(), dtype.into()],
        )
    }
}
