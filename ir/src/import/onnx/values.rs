//! What the importer knows of a value of the model.
//!
//! Most values are values of the graph. Constants and small integer tensors, whose elements are known as
//! expressions over symbols, come into the graph only where a node needs them, so shape arithmetic leaves no
//! trace. Sequences and optional values exist at import time only.

use std::cell::Cell;
use std::rc::Rc;

use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::Value;
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// Larger integer tensors are not looked into.
pub(crate) const MOST_ELEMENTS: usize = 1024;

/// A value of the model.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// A tensor.
    Tensor(Held),
    /// Several, and the element type if it was said.
    Sequence(Rc<Vec<Item>>),
    /// One or none.
    Optional(Option<Box<Item>>),
    /// The result of a node that was refused, or something of a type that is: its users are passed over.
    Poison,
}

/// A tensor, in the graph or on its way there.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Its type.
    pub(crate) ty: TensorType,
    /// What is known of it.
    pub(crate) form: Form,
    /// The frame in which it was put into the graph, and its value there.
    pub(crate) placed: Rc<Cell<Option<(u32, Value)>>>,
}

/// How a tensor is known.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// A value of the graph.
    Node(Value),
    /// A constant.
    Constant(Tensor),
    /// Its elements in row-major order, of a shape of numbers.
    Elements(Rc<[Dim]>),
}

impl Held {
    /// A value of the graph.
    pub(crate) fn node(value: Value, ty: TensorType) -> Held {
        Held { ty, form: Form::Node(value), placed: Rc::default() }
    }

    /// A constant.
    pub(crate) fn constant(tensor: Tensor) -> Held {
        let ty = TensorType::fixed(tensor.dtype(), tensor.shape());
        Held { ty, form: Form::Constant(tensor), placed: Rc::default() }
    }

    /// Elements that are expressions; a constant if none of them is symbolic. The shape must be of numbers and
    /// have as many elements.
    pub(crate) fn elements_of(dtype: DType, shape: &[usize], elements: Vec<Dim>) -> Held {
        let numbers: Option<Vec<crate::dtype::Scalar>> =
            elements.iter().map(|d| d.as_const().map(|c| crate::dtype::Scalar::Int(i128::from(c)))).collect();
        if let Some(Ok(tensor)) = numbers.map(|n| Tensor::from_scalars(dtype, shape, &n)) {
            return Held::constant(tensor);
        }
        let ty = TensorType::fixed(dtype, shape);
        Held { ty, form: Form::Elements(elements.into()), placed: Rc::default() }
    }

    /// The constant, if it is one.
    pub(crate) fn as_constant(&self) -> Option<&Tensor> {
        match &self.form {
            Form::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The elements of a small integer tensor, if they are known.
    pub(crate) fn elements(&self) -> Option<Rc<[Dim]>> {
        match &self.form {
            Form::Elements(elements) => Some(elements.clone()),
            Form::Constant(tensor) if !tensor.dtype().is_float() && tensor.len() <= MOST_ELEMENTS => tensor
                .iter_scalars()
                .map(|s| i64::try_from(s.to_i128()).ok().map(Dim::from))
                .collect::<Option<Vec<Dim>>>()
                .map(Rc::from),
            // Of nothing everything is known.
            _ if !self.ty.dtype.is_float() && self.ty.shape.elements().is(0) => Some(Rc::from([])),
            _ => None,
        }
    }
}
