//! Type inference: the only place that decides the type of a result.
//!
//! Builder, parser, verifier and e-graph all call it. A rule raises a [`Violation`] whose label is that of the
//! constraint in the op's documentation. Shapes are symbolic: "equal" means provably equal for all values of
//! the symbols, "can be equal" means not provably different, and is then checked when the graph runs.

pub(super) mod composite;
pub(super) mod contraction;
pub(super) mod control;
pub(super) mod elementwise;
pub(super) mod indexed;
pub(super) mod movement;
pub(super) mod order;
pub(super) mod reduction;
pub(super) mod source;
pub(super) mod types;
pub(super) mod winograd;

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Attr, Graph, Op};
use crate::MAX_ELEMENTS;
use crate::dim::{Dim, Ranges};
use crate::dtype::DType;
use crate::shape::{MAX_RANK, Shape, TensorType};
use crate::tensor::Tensor;

/// The types of a node's results.
pub type Types = SmallVec<[TensorType; 2]>;

/// A rule of inference.
pub type InferFn = fn(&Typing<'_>) -> Result<Types, Violation>;

/// A constraint that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The label of the constraint in the op's documentation, or what kind of rule was broken.
    pub label: &'static str,
    /// Expected …, got ….
    pub message: String,
}

impl Violation {
    /// A violation of the labelled constraint.
    pub fn new(label: &'static str, message: impl Into<String>) -> Violation {
        Violation { label, message: message.into() }
    }

    /// The same, naming the node it happened in.
    pub fn within(self, place: &str) -> Violation {
        Violation { message: format!("{place}: {}", self.message), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "constraint ({}) violated: {}", self.label, self.message)
    }
}

impl std::error::Error for Violation {}

/// What inference sees of a node.
#[derive(Clone, Copy)]
pub struct Typing<'a> {
    /// The op.
    pub op: Op,
    /// The types of the operands.
    pub operands: &'a [&'a TensorType],
    /// The attributes, in the order of the op's declaration.
    pub attrs: &'a [Attr],
    /// The regions, in the order of the op's declaration.
    pub regions: &'a [Graph],
    /// What is known of the symbols.
    pub ranges: &'a Ranges,
}

impl<'a> Typing<'a> {
    /// The types of the results, or the first constraint that does not hold.
    pub fn infer(&self) -> Result<Types, Violation> {
        let def = self.op.def();
        let (expected, got) = (def.operands.len(), self.operands.len());
        if got < expected || (got > expected && def.rest.is_none()) {
            let bound = if def.rest.is_some() { "at least " } else { "" };
            return Err(Violation::new("arity", format!("expected {bound}{expected} operands, got {got}")));
        }
        if self.regions.len() != def.regions.len() {
            let (expected, got) = (def.regions.len(), self.regions.len());
            return Err(Violation::new("regions", format!("expected {expected} regions, got {got}")));
        }
        if self.attrs.len() != def.attrs.len() {
            let (expected, got) = (def.attrs.len(), self.attrs.len());
            return Err(Violation::new("attributes", format!("expected {expected} attributes, got {got}")));
        }
        for (attr, declared) in self.attrs.iter().zip(def.attrs) {
            if attr.kind() != declared.kind {
                let message =
                    format!("expected `{}` to be {}, got {}", declared.name, declared.kind, attr.kind());
                return Err(Violation::new("attributes", message));
            }
        }
        let types = (def.infer)(self)?;
        for ty in &types {
            check_size(ty, self.ranges).map_err(|message| Violation::new("size", message))?;
        }
        Ok(types)
    }

    /// The type of an operand.
    pub fn ty(&self, operand: usize) -> &'a TensorType {
        self.operands[operand]
    }

    /// The shape of an operand.
    pub fn shape(&self, operand: usize) -> &'a Shape {
        &self.operands[operand].shape
    }

    /// The number of axes of an operand.
    pub fn rank(&self, operand: usize) -> usize {
        self.shape(operand).rank()
    }

    fn attr(&self, name: &str) -> &'a Attr {
        let at = self.op.def().attrs.iter().position(|a| a.name == name);
        &self.attrs[at.unwrap_or_else(|| panic!("`{}` declares no attribute `{name}`", self.op.name()))]
    }

    /// The rule that an op's attributes are of their declared kinds is checked before any of these is called.
    fn wrong_kind(&self, name: &str) -> ! {
        panic!("attribute `{name}` of `{}` is declared of another kind", self.op.name())
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> i64 {
        let Attr::Int(value) = self.attr(name) else { self.wrong_kind(name) };
        *value
    }

    /// A number attribute.
    pub fn float(&self, name: &str) -> f64 {
        let Attr::Float(value) = self.attr(name) else { self.wrong_kind(name) };
        *value
    }

    /// A choice attribute.
    pub fn flag(&self, name: &str) -> bool {
        let Attr::Bool(value) = self.attr(name) else { self.wrong_kind(name) };
        *value
    }

    /// A text attribute.
    pub fn text(&self, name: &str) -> &'a str {
        let Attr::Text(value) = self.attr(name) else { self.wrong_kind(name) };
        value
    }

    /// A list attribute.
    pub fn ints(&self, name: &str) -> &'a [i64] {
        let Attr::Ints(value) = self.attr(name) else { self.wrong_kind(name) };
        value
    }

    /// An expression attribute.
    pub fn dim(&self, name: &str) -> &'a Dim {
        let Attr::Dim(value) = self.attr(name) else { self.wrong_kind(name) };
        value
    }

    /// An expression list attribute.
    pub fn dims(&self, name: &str) -> &'a Shape {
        let Attr::Dims(value) = self.attr(name) else { self.wrong_kind(name) };
        value
    }

    /// An element type attribute.
    pub fn dtype(&self, name: &str) -> DType {
        let Attr::DType(value) = self.attr(name) else { self.wrong_kind(name) };
        *value
    }

    /// A type list attribute.
    pub fn types(&self, name: &str) -> &'a Arc<[TensorType]> {
        let Attr::Types(value) = self.attr(name) else { self.wrong_kind(name) };
        value
    }

    /// A constant attribute.
    pub fn tensor(&self, name: &str) -> &'a Tensor {
        let Attr::Tensor(value) = self.attr(name) else { self.wrong_kind(name) };
        value
    }

    /// An attribute that is an axis of a tensor of this rank.
    pub(super) fn axis(&self, name: &str, rank: usize, label: &'static str) -> Result<usize, Violation> {
        let axis = self.int(name);
        usize::try_from(axis)
            .ok()
            .filter(|a| *a < rank)
            .ok_or_else(|| Violation::new(label, format!("expected `{name}` in 0..{rank}, got {axis}")))
    }

    /// An attribute that lists distinct axes of a tensor of this rank.
    pub(super) fn axes(
        &self,
        name: &str,
        rank: usize,
        label: &'static str,
    ) -> Result<SmallVec<[usize; 4]>, Violation> {
        let mut axes = SmallVec::new();
        for axis in self.ints(name) {
            match usize::try_from(*axis) {
                Ok(a) if a < rank && !axes.contains(&a) => axes.push(a),
                _ => {
                    let message = format!(
                        "expected `{name}` to be distinct axes in 0..{rank}, got {:?}",
                        self.ints(name)
                    );
                    return Err(Violation::new(label, message));
                }
            }
        }
        Ok(axes)
    }

    /// Requires a list attribute to have `count` entries.
    pub(super) fn entries(&self, names: &[&str], count: usize, label: &'static str) -> Result<(), Violation> {
        for name in names {
            let got = match self.attr(name) {
                Attr::Ints(list) => list.len(),
                Attr::Dims(list) => list.rank(),
                _ => self.wrong_kind(name),
            };
            if got != count {
                return Err(Violation::new(
                    label,
                    format!("expected {count} entries of `{name}`, got {got}"),
                ));
            }
        }
        Ok(())
    }

    /// Whether two extents may be equal for some values of the symbols.
    pub(super) fn can_equal(&self, a: &Dim, b: &Dim) -> bool {
        !self.ranges.differ(a, b)
    }
}

/// One result.
pub(super) fn one(ty: TensorType) -> Result<Types, Violation> {
    Ok(Types::from_iter([ty]))
}

/// Raises a violation unless a condition holds.
macro_rules! require {
    ($condition:expr, $label:literal, $($message:tt)*) => {
        if !$condition {
            return Err($crate::graph::Violation::new($label, format!($($message)*)));
        }
    };
}
pub(super) use require;

/// A tensor must be addressable: no extent that is negative for every value of its symbols, not too many
/// elements for every value, not too many axes.
pub(super) fn check_size(ty: &TensorType, ranges: &Ranges) -> Result<(), String> {
    if ty.shape.rank() > MAX_RANK {
        return Err(format!("expected at most {MAX_RANK} axes, got {}", ty.shape.rank()));
    }
    let mut least = 1i64;
    for dim in ty.shape.iter() {
        let (lo, hi) = match dim.as_const() {
            Some(c) => (c, c),
            None => {
                let bounds = ranges.bounds(dim);
                (bounds.lo.max(0), bounds.hi)
            }
        };
        if hi < 0 {
            return Err(format!("expected extents that are not negative, got {ty}"));
        }
        // An extent of zero must not hide that another one is out of all bounds.
        least = least.saturating_mul(lo.max(1));
        if least > MAX_ELEMENTS {
            return Err(format!("expected at most 2^47 elements, got {ty}"));
        }
    }
    Ok(())
}
