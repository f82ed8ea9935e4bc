//! Shapes and tensor types.

use std::fmt;
use std::ops::Deref;

use smallvec::SmallVec;

use crate::dim::{Bindings, Dim, Ranges, Symbol};
use crate::dtype::DType;

/// The extents of a tensor, outermost first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Shape(SmallVec<[Dim; 4]>);

/// Extents known to be numbers.
pub type Extents = SmallVec<[usize; 4]>;

/// No tensor has more axes than this; a text or a model that claims more is refused.
pub const MAX_RANK: usize = 32;

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// A shape of numbers.
    pub fn fixed(extents: &[usize]) -> Shape {
        extents.iter().map(|e| Dim::from(*e)).collect()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements.
    pub fn elements(&self) -> Dim {
        self.0.iter().cloned().product()
    }

    /// The extents, if all are numbers.
    pub fn as_fixed(&self) -> Option<Extents> {
        self.0.iter().map(|d| d.as_const().and_then(|c| usize::try_from(c).ok())).collect()
    }

    /// The extents under bindings of every symbol, or the symbol that has none.
    pub fn eval(&self, values: &Bindings) -> Result<Extents, Symbol> {
        self.0.iter().map(|d| d.eval(values).map(|v| usize::try_from(v).unwrap_or(0))).collect()
    }

    /// The shape with symbols replaced by the expressions `with` has for them.
    pub fn substitute(&self, with: &dyn Fn(&Symbol) -> Option<Dim>) -> Shape {
        self.0.iter().map(|d| d.substitute(with)).collect()
    }

    /// Whether both have equal extents for every value of the symbols.
    pub fn equal(&self, other: &Shape, ranges: &Ranges) -> bool {
        self == other
            || (self.rank() == other.rank() && self.iter().zip(other.iter()).all(|(a, b)| ranges.equal(a, b)))
    }

    /// The shape without some axes.
    pub fn without(&self, axes: &[usize]) -> Shape {
        let kept = self.0.iter().enumerate().filter(|(i, _)| !axes.contains(i));
        kept.map(|(_, d)| d.clone()).collect()
    }

    /// The shape with one axis of another extent.
    pub fn with(&self, axis: usize, extent: Dim) -> Shape {
        let mut shape = self.clone();
        shape.0[axis] = extent;
        shape
    }
}

impl Deref for Shape {
    type Target = [Dim];
    fn deref(&self) -> &[Dim] {
        &self.0
    }
}

impl FromIterator<Dim> for Shape {
    fn from_iter<I: IntoIterator<Item = Dim>>(dims: I) -> Shape {
        Shape(dims.into_iter().collect())
    }
}

impl From<&[Dim]> for Shape {
    fn from(dims: &[Dim]) -> Shape {
        dims.iter().cloned().collect()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{dim}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What is known of a tensor before it exists.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct TensorType {
    /// The type of the elements.
    pub dtype: DType,
    /// The extents.
    pub shape: Shape,
}

impl TensorType {
    /// A type of these parts.
    pub fn new(dtype: DType, shape: Shape) -> TensorType {
        TensorType { dtype, shape }
    }

    /// A type whose extents are numbers.
    pub fn fixed(dtype: DType, extents: &[usize]) -> TensorType {
        TensorType { dtype, shape: Shape::fixed(extents) }
    }

    /// The type of a scalar.
    pub fn scalar(dtype: DType) -> TensorType {
        TensorType { dtype, shape: Shape::scalar() }
    }

    /// The same shape of another element type.
    pub fn of(&self, dtype: DType) -> TensorType {
        TensorType { dtype, shape: self.shape.clone() }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}
