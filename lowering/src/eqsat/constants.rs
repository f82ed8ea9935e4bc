//! Computing at compile time what follows from constants.
//!
//! Only exact ops are computed, so the bits are those of every target. Weights are large and interpreters
//! slow, which is why the arithmetic of f32 that folding into weights needs is done on slices.

use rustc_hash::FxHashMap;
use tcc_ir::graph::{Attr, Op};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::TensorType;
use tcc_ir::tensor::Tensor;

use super::extract::{Classes, Extraction};
use super::facts::{Egraph, attrs_of, compute, type_of};
use super::language::Head;
use crate::graph_passes::fold::with_plain_nans;

/// The constants of an extraction, each computed once.
pub(super) struct Constants<'a> {
    pub(super) egraph: &'a Egraph,
    pub(super) classes: &'a Classes,
    pub(super) extraction: &'a Extraction,
    pub(super) known: FxHashMap<u32, Option<Tensor>>,
}

impl Constants<'_> {
    /// The value of a class; none if an op has none for these operands.
    pub(super) fn value(&mut self, class: u32) -> Option<Tensor> {
        if let Some(known) = self.known.get(&class) {
            return known.clone();
        }
        let value = self.computed(class);
        self.known.insert(class, value.clone());
        value
    }

    fn computed(&mut self, class: u32) -> Option<Tensor> {
        let classes = self.classes;
        let known = &classes.all[class as usize];
        let choice = &known.nodes[self.extraction.chosen[class as usize] as usize];
        let Head::Op(op) = choice.node.head else { return None };
        let attrs = attrs_of(self.egraph, &choice.node);
        if op == Op::Const {
            let Attr::Tensor(tensor) = &attrs[0] else { return None };
            return Some(tensor.clone());
        }
        if let (Some(number), Some(ty)) = (self.egraph[known.id].data.splat, type_of(self.egraph, known.id)) {
            return Tensor::scalar(ty.dtype, number).broadcast_to(&ty.shape.as_fixed()?).ok();
        }
        let inputs: Vec<Tensor> = choice.operands.iter().map(|o| self.value(*o)).collect::<Option<_>>()?;
        let ty: &TensorType = type_of(self.egraph, known.id)?;
        on_slices(op, &inputs, ty)
            .or_else(|| with_plain_nans(compute(op, &attrs, &inputs, ty)?)?.contiguous().ok())
    }
}

/// Arithmetic of f32, whose scalars the interpreter computes in f64 and rounds, which is the same for these.
fn on_slices(op: Op, inputs: &[Tensor], ty: &TensorType) -> Option<Tensor> {
    let Op::Scalar(op) = op else { return None };
    let compute: fn(f32, f32) -> f32 = match op {
        ScalarOp::Add => |x, y| x + y,
        ScalarOp::Sub => |x, y| x - y,
        ScalarOp::Mul => |x, y| x * y,
        ScalarOp::Div => |x, y| x / y,
        _ => return None,
    };
    let [x, y] = inputs else { return None };
    let (x, y) = (x.contiguous().ok()?, y.contiguous().ok()?);
    let (xs, ys) = (x.as_slice::<f32>()?, y.as_slice::<f32>()?);
    let plain = |v: f32| if v.is_nan() { f32::NAN } else { v };
    let made: Vec<f32> = xs.iter().zip(ys).map(|(x, y)| plain(compute(*x, *y))).collect();
    let extents = ty.shape.as_fixed()?;
    (x.shape() == extents.as_slice()).then(|| Tensor::from_slice(&extents, &made).ok())?
}
