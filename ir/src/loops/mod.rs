//! The loop IR: a kernel as nested loops over elements of named buffers.
//!
//! A [`Nest`] says for every element of its outputs how it comes from elements of its inputs. Indices are
//! integer expressions over loop variables, symbolic extents and scalars read from buffers. Loops run from zero
//! to an extent in any order that their kind allows; a kind is a promise (`parallel`: no iteration touches what
//! another writes) that the interpreter checks.
//!
//! Names of buffers, loops and scalars share one space and are distinct within a nest, so that a schedule can
//! name each of them and a step can replace one name by an expression everywhere.

mod interp;
mod parse;
mod print;
mod verify;
mod visit;

use smallvec::SmallVec;

pub use interp::{InterpError, interpret, interpret_with};
pub use parse::parse_nest;
pub(crate) use parse::{conditions, space};
pub use visit::free_symbols;

use crate::diag::Diags;
use crate::dim::{Dim, Ranges, Symbol};
use crate::dtype::{DType, Scalar};
use crate::scalar::ScalarOp;
use crate::shape::TensorType;

/// A kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Nest {
    /// The name in text.
    pub name: String,
    /// What is known of the symbols; one that is no extent of a parameter must be declared here.
    pub ranges: Ranges,
    /// What is read.
    pub inputs: Vec<Buffer>,
    /// What is written, every element of it.
    pub outputs: Vec<Buffer>,
    /// How.
    pub body: Vec<Stmt>,
}

/// A tensor that elements are read from or written to.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Its name.
    pub name: Symbol,
    /// Its element type and extents.
    pub ty: TensorType,
}

/// Where a buffer of a nest's own lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// Main memory, from the arena of the call.
    Global,
    /// Memory that the threads of a block share.
    Shared,
    /// Memory of one thread, near it.
    Stack,
    /// Registers: after unrolling, every index is a number.
    Register,
}

/// How the iterations of a loop may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoopKind {
    /// One after the other.
    Serial,
    /// In any order, also at the same time.
    Parallel,
    /// As the lanes of vector instructions.
    Vector,
    /// As one axis of a micro-tile contraction: three such loops stand around one sum of products.
    Tile,
    /// As copies of the body.
    Unrolled,
    /// As blocks of a grid, along axis 0, 1 or 2.
    Block(u8),
    /// As threads of a block, along axis 0, 1 or 2.
    Thread(u8),
}

/// A step of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// Runs the body for `var` from zero to `extent`.
    For {
        /// The loop variable.
        var: Symbol,
        /// How often.
        extent: Dim,
        /// In which order.
        kind: LoopKind,
        /// What runs.
        body: Vec<Stmt>,
    },
    /// Runs the body if every condition holds.
    If {
        /// All must hold.
        conds: Vec<Cond>,
        /// What runs.
        body: Vec<Stmt>,
    },
    /// Names a scalar for the rest of the block. If it is an integer, indices may use it.
    Let {
        /// The name.
        name: Symbol,
        /// The value.
        value: Expr,
    },
    /// Makes a buffer for the rest of the block; its elements are not initialised.
    Alloc {
        /// The buffer.
        buffer: Buffer,
        /// Where it lives.
        space: Space,
    },
    /// Writes elements, or combines values into them.
    Store {
        /// The elements; several only with a combination of tuples.
        targets: SmallVec<[Access; 1]>,
        /// A value for each of them.
        values: SmallVec<[Expr; 1]>,
        /// How the values meet the elements' old values.
        combine: Combine,
    },
}

/// An element of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The buffer.
    pub buffer: Symbol,
    /// An index for each axis.
    pub at: SmallVec<[Dim; 4]>,
}

/// How a stored value meets the old one.
#[derive(Clone, Debug, PartialEq)]
pub enum Combine {
    /// It replaces it.
    Replace,
    /// `new = op(old, value)`, an operation that is associative and commutative.
    With(ScalarOp),
    /// Several elements at once, associatively: an accumulator of several parts, such as a running maximum with
    /// a sum relative to it.
    Tuple {
        /// Names for the old values, then for the given ones.
        params: Vec<Symbol>,
        /// The new values over those names.
        results: Vec<Expr>,
    },
}

/// `left < right`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cond {
    /// The smaller side.
    pub left: Dim,
    /// The larger side.
    pub right: Dim,
}

impl Cond {
    /// `left < right`.
    pub fn less(left: Dim, right: Dim) -> Cond {
        Cond { left, right }
    }

    /// `0 <= dim`.
    pub fn not_negative(dim: &Dim) -> Cond {
        Cond { left: Dim::from(-1i64), right: dim.clone() }
    }
}

/// A scalar.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A number of a type.
    Const(DType, Scalar),
    /// An index, as i64.
    Index(Dim),
    /// A scalar named before, or a parameter of a combination.
    Var(Symbol),
    /// An element of a buffer.
    Load(Access),
    /// An operation.
    Op(ScalarOp, Vec<Expr>),
    /// A conversion, saturating narrow floats if so said.
    Cast {
        /// The type converted to.
        to: DType,
        /// Whether values beyond the range of an 8-bit float give its largest.
        saturate: bool,
        /// What is converted.
        value: Box<Expr>,
    },
    /// The same bits under another type.
    Bitcast(DType, Box<Expr>),
    /// The first if every condition holds, else the second; only that one is evaluated.
    Guard {
        /// All must hold.
        conds: Vec<Cond>,
        /// The value if they do.
        then: Box<Expr>,
        /// The value if one does not.
        otherwise: Box<Expr>,
    },
}

impl Nest {
    /// Checks names, scopes, types and ranks; collects all problems.
    pub fn verify(&self) -> Result<(), Diags> {
        verify::verify(self)
    }

    /// The inputs, then the outputs.
    pub fn params(&self) -> impl Iterator<Item = &Buffer> {
        self.inputs.iter().chain(&self.outputs)
    }

    /// The symbols that are extents of parameters: what a caller must supply.
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut found = std::collections::BTreeSet::new();
        for buffer in self.params() {
            buffer.ty.shape.iter().for_each(|d| found.extend(d.symbols()));
        }
        found.into_iter().collect()
    }
}

impl Stmt {
    /// Writes one element.
    pub fn store(target: Access, value: Expr) -> Stmt {
        Stmt::combine(target, value, Combine::Replace)
    }

    /// Combines a value into one element.
    pub fn combine(target: Access, value: Expr, combine: Combine) -> Stmt {
        Stmt::Store { targets: SmallVec::from_iter([target]), values: SmallVec::from_iter([value]), combine }
    }

    /// A serial loop.
    pub fn serial(var: impl Into<Symbol>, extent: Dim, body: Vec<Stmt>) -> Stmt {
        Stmt::For { var: var.into(), extent, kind: LoopKind::Serial, body }
    }
}

impl Access {
    /// An element by the buffer's name and indices.
    pub fn new(buffer: impl Into<Symbol>, at: impl IntoIterator<Item = Dim>) -> Access {
        Access { buffer: buffer.into(), at: at.into_iter().collect() }
    }
}

impl Expr {
    /// A number of a type.
    pub fn number(dtype: DType, value: f64) -> Expr {
        let value = if dtype.is_float() { Scalar::Float(value) } else { Scalar::Int(value as i128) };
        Expr::Const(dtype, value.round_to(dtype))
    }

    /// An operation on two values.
    pub fn binary(op: ScalarOp, left: Expr, right: Expr) -> Expr {
        Expr::Op(op, vec![left, right])
    }

    /// A conversion; nothing if the type is the same.
    pub fn cast(self, from: DType, to: DType) -> Expr {
        if from == to { self } else { Expr::Cast { to, saturate: true, value: Box::new(self) } }
    }
}
