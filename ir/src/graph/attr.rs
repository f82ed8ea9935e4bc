//! The values an op's attributes can take, and how an op declares them.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::dim::{Dim, Symbol};
use crate::dtype::DType;
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;

/// A list of integers: axes, strides, dilations.
pub type Ints = SmallVec<[i64; 4]>;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// A choice between two behaviours.
    Bool(bool),
    /// A number, such as an axis.
    Int(i64),
    /// A real number, such as an epsilon.
    Float(f64),
    /// A word from a fixed set, or a name.
    Text(Arc<str>),
    /// Several numbers.
    Ints(Ints),
    /// An integer expression.
    Dim(Dim),
    /// Several integer expressions.
    Dims(Shape),
    /// An element type.
    DType(DType),
    /// The types of results.
    Types(Arc<[TensorType]>),
    /// A constant.
    Tensor(Tensor),
}

/// What kind of value an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrKind {
    /// [`Attr::Bool`].
    Bool,
    /// [`Attr::Int`].
    Int,
    /// [`Attr::Float`].
    Float,
    /// [`Attr::Text`].
    Text,
    /// [`Attr::Ints`].
    Ints,
    /// [`Attr::Dim`].
    Dim,
    /// [`Attr::Dims`].
    Dims,
    /// [`Attr::DType`].
    DType,
    /// [`Attr::Types`].
    Types,
    /// [`Attr::Tensor`].
    Tensor,
}

impl fmt::Display for AttrKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttrKind::Bool => "`true` or `false`",
            AttrKind::Int => "an integer",
            AttrKind::Float => "a number",
            AttrKind::Text => "a string",
            AttrKind::Ints => "a list of integers",
            AttrKind::Dim => "an integer expression",
            AttrKind::Dims => "a list of integer expressions",
            AttrKind::DType => "an element type",
            AttrKind::Types => "a list of tensor types",
            AttrKind::Tensor => "a tensor",
        })
    }
}

/// How an op declares one attribute; every attribute of an op is given, none has a default.
#[derive(Clone, Copy, Debug)]
pub struct AttrDef {
    /// The name in text.
    pub name: &'static str,
    /// What it holds.
    pub kind: AttrKind,
}

impl Attr {
    /// What kind of value this is.
    pub fn kind(&self) -> AttrKind {
        match self {
            Attr::Bool(_) => AttrKind::Bool,
            Attr::Int(_) => AttrKind::Int,
            Attr::Float(_) => AttrKind::Float,
            Attr::Text(_) => AttrKind::Text,
            Attr::Ints(_) => AttrKind::Ints,
            Attr::Dim(_) => AttrKind::Dim,
            Attr::Dims(_) => AttrKind::Dims,
            Attr::DType(_) => AttrKind::DType,
            Attr::Types(_) => AttrKind::Types,
            Attr::Tensor(_) => AttrKind::Tensor,
        }
    }

    /// Calls `visit` for every symbol in it.
    pub fn each_symbol(&self, visit: &mut dyn FnMut(&Symbol)) {
        match self {
            Attr::Dim(dim) => dim.each_symbol(visit),
            Attr::Dims(dims) => dims.iter().for_each(|d| d.each_symbol(visit)),
            Attr::Types(types) => {
                types.iter().flat_map(|t| t.shape.iter()).for_each(|d| d.each_symbol(visit))
            }
            _ => {}
        }
    }

    /// The same with symbols replaced by the expressions `with` has for them.
    pub fn substitute(&self, with: &dyn Fn(&Symbol) -> Option<Dim>) -> Attr {
        match self {
            Attr::Dim(dim) => Attr::Dim(dim.substitute(with)),
            Attr::Dims(dims) => Attr::Dims(dims.substitute(with)),
            Attr::Types(types) => Attr::Types(
                types.iter().map(|t| TensorType::new(t.dtype, t.shape.substitute(with))).collect(),
            ),
            other => other.clone(),
        }
    }
}

macro_rules! attr_from {
    ($($ty:ty => $variant:ident),* $(,)?) => {$(
        impl From<$ty> for Attr {
            fn from(value: $ty) -> Attr { Attr::$variant(value.into()) }
        }
    )*};
}

attr_from! {
    bool => Bool, i64 => Int, f64 => Float, &str => Text, Ints => Ints, &[i64] => Ints, Vec<i64> => Ints,
    Dim => Dim, Shape => Dims, DType => DType, Vec<TensorType> => Types, Tensor => Tensor,
}

impl<const N: usize> From<[i64; N]> for Attr {
    fn from(values: [i64; N]) -> Attr {
        Attr::Ints(values.iter().copied().collect())
    }
}

/// The attributes of a node, in the order of its op's declaration.
pub type Attrs = SmallVec<[Attr; 1]>;
