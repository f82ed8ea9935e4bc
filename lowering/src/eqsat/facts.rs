//! What is known of every class: its type, whether it is one repeated number, whether it can be computed now.
//!
//! Types come from the inference that the builder uses. Classes are united only after their types were found
//! to be provably equal; should inference ever disagree, it is counted and the result is thrown away.

use egg::{Analysis, DidMerge, EGraph, Id};
use smallvec::SmallVec;
use tcc_ir::dim::{Bindings, Ranges};
use tcc_ir::dtype::Scalar;
use tcc_ir::graph::eval::Call;
use tcc_ir::graph::infer::Types;
use tcc_ir::graph::{Attr, Attrs, Op, Typing};
use tcc_ir::numerics::Numerics;
use tcc_ir::shape::TensorType;
use tcc_ir::tensor::Tensor;

use super::language::{AttrTable, ENode, Head};

/// The e-graph of a graph.
pub(super) type Egraph = EGraph<ENode, Knowledge>;

/// What the analysis knows beside the classes.
pub(super) struct Knowledge {
    pub(super) ranges: Ranges,
    pub(super) attrs: AttrTable,
    /// The types of parameters.
    pub(super) params: Vec<TensorType>,
    /// The types of the results of opaque nodes.
    pub(super) opaque: Vec<Types>,
    /// How often inference disagreed within a class; anything but zero is a mistake in a rule.
    pub(super) conflicts: u32,
}

/// What is known of a class.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    /// The number that every element is.
    pub(super) splat: Option<Scalar>,
    /// Whether it follows exactly from constants.
    pub(super) constant: bool,
}

/// What a class stands for.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Attr(u32),
    Value(TensorType),
    Tuple(Types),
}

/// Larger constants than this are not searched for being one number.
const SEARCHED: usize = 1 << 12;

/// Larger constants than this, in bytes, are not made.
const MAX_CONSTANT: u64 = 1 << 28;

impl Facts {
    fn of(kind: Kind) -> Facts {
        Facts { kind, splat: None, constant: false }
    }
}

impl Analysis<ENode> for Knowledge {
    type Data = Facts;

    fn make(egraph: &mut Egraph, node: &ENode, _: Id) -> Facts {
        match node.head {
            Head::Attr(number) => Facts::of(Kind::Attr(number)),
            Head::Param(i) => Facts::of(Kind::Value(egraph.analysis.params[i as usize].clone())),
            Head::Opaque(i) => match egraph.analysis.opaque[i as usize].as_slice() {
                [one] => Facts::of(Kind::Value(one.clone())),
                several => Facts::of(Kind::Tuple(several.iter().cloned().collect())),
            },
            Head::Project(i) => match &egraph[node.children[0]].data.kind {
                Kind::Tuple(types) => Facts::of(Kind::Value(types[i as usize].clone())),
                _ => conflict(egraph),
            },
            Head::Op(op) => {
                let attrs = attrs_of(egraph, node);
                let typed = |egraph: &Egraph| {
                    let operands: SmallVec<[&TensorType; 4]> =
                        node.operands().iter().filter_map(|id| type_of(egraph, *id)).collect();
                    infer(&egraph.analysis.ranges, op, &attrs, &operands)
                };
                match typed(egraph) {
                    Some(types) => facts_of(egraph, op, &attrs, node.operands(), types),
                    None => conflict(egraph),
                }
            }
        }
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        let agree = match (&a.kind, &b.kind) {
            (Kind::Value(x), Kind::Value(y)) => x.dtype == y.dtype && x.shape.rank() == y.shape.rank(),
            (Kind::Tuple(x), Kind::Tuple(y)) => x == y,
            (Kind::Attr(x), Kind::Attr(y)) => x == y,
            _ => false,
        };
        self.conflicts += u32::from(!agree);
        let a_learns = (a.splat.is_none() && b.splat.is_some()) || (b.constant && !a.constant);
        let b_learns = (b.splat.is_none() && a.splat.is_some()) || (a.constant && !b.constant);
        a.splat = a.splat.or(b.splat);
        a.constant |= b.constant;
        DidMerge(a_learns, b_learns)
    }
}

fn conflict(egraph: &mut Egraph) -> Facts {
    egraph.analysis.conflicts += 1;
    Facts::of(Kind::Tuple(Types::new()))
}

/// The type of a class that is a tensor.
pub(super) fn type_of(egraph: &Egraph, id: Id) -> Option<&TensorType> {
    match &egraph[id].data.kind {
        Kind::Value(ty) => Some(ty),
        _ => None,
    }
}

/// The attribute of a class that is one.
pub(super) fn attr_of(egraph: &Egraph, id: Id) -> Option<&Attr> {
    match egraph[id].data.kind {
        Kind::Attr(number) => Some(egraph.analysis.attrs.get(number)),
        _ => None,
    }
}

/// The attributes of a node.
pub(super) fn attrs_of(egraph: &Egraph, node: &ENode) -> Attrs {
    node.attrs().iter().filter_map(|id| attr_of(egraph, *id).cloned()).collect()
}

/// The types of a node's results, if it is well typed.
pub(super) fn infer(ranges: &Ranges, op: Op, attrs: &[Attr], operands: &[&TensorType]) -> Option<Types> {
    Typing { op, operands, attrs, regions: &[], ranges }.infer().ok()
}

fn facts_of(egraph: &Egraph, op: Op, attrs: &[Attr], operands: &[Id], types: Types) -> Facts {
    let [ty] = types.as_slice() else { return Facts::of(Kind::Tuple(types)) };
    let def = op.def();
    let of_constants = !operands.is_empty() && operands.iter().all(|id| egraph[*id].data.constant);
    let constant = op == Op::Const
        || (of_constants && def.numerics == Numerics::Exact && !def.binds && bytes(ty) <= Some(MAX_CONSTANT));
    let constant = constant && bytes(ty).is_some();
    let splat = splat(egraph, op, attrs, operands, ty);
    Facts { kind: Kind::Value(ty.clone()), splat, constant }
}

/// The one number that a node repeats.
fn splat(egraph: &Egraph, op: Op, attrs: &[Attr], operands: &[Id], ty: &TensorType) -> Option<Scalar> {
    match (op, attrs.first()) {
        (Op::Const, Some(Attr::Tensor(tensor))) => uniform(tensor),
        (Op::Broadcast | Op::Reshape | Op::Transpose | Op::Slice | Op::Reverse | Op::Copy, _) => {
            egraph[operands[0]].data.splat
        }
        (Op::Concat, _) => {
            let first = egraph[*operands.first()?].data.splat?;
            let same = |id: &Id| egraph[*id].data.splat.is_some_and(|s| identical(first, s));
            operands.iter().all(same).then_some(first)
        }
        (Op::Scalar(_) | Op::Cast, _) if op.def().numerics == Numerics::Exact => {
            let scalars: Option<SmallVec<[Tensor; 3]>> = operands
                .iter()
                .map(|id| Some(Tensor::scalar(type_of(egraph, *id)?.dtype, egraph[*id].data.splat?)))
                .collect();
            compute(op, attrs, &scalars?, &TensorType::scalar(ty.dtype))?.iter_scalars().next()
        }
        _ => None,
    }
}

fn uniform(tensor: &Tensor) -> Option<Scalar> {
    let stretched = tensor.strides().iter().zip(tensor.shape()).all(|(s, n)| *s == 0 || *n == 1);
    if tensor.is_empty() || (!stretched && tensor.len() > SEARCHED) {
        return None;
    }
    let first = tensor.get_flat(0);
    (!first.is_nan() && (stretched || tensor.iter_scalars().all(|s| identical(first, s)))).then_some(first)
}

/// Whether two numbers are the same bit for bit.
fn identical(a: Scalar, b: Scalar) -> bool {
    match (a, b) {
        (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// The only result of an op on known operands, by the op's own meaning.
pub(super) fn compute(op: Op, attrs: &[Attr], inputs: &[Tensor], result: &TensorType) -> Option<Tensor> {
    let types: SmallVec<[TensorType; 4]> =
        inputs.iter().map(|t| TensorType::fixed(t.dtype(), t.shape())).collect();
    let operands: SmallVec<[&TensorType; 4]> = types.iter().collect();
    let ranges = Ranges::default();
    let typing = Typing { op, operands: &operands, attrs, regions: &[], ranges: &ranges };
    let results = std::slice::from_ref(result);
    let call = Call { inputs, typing, bindings: &Bindings::new(), results };
    let value = (op.def().eval)(&call).ok()?.pop()?;
    (TensorType::fixed(value.dtype(), value.shape()) == *result).then_some(value)
}

/// The size of a tensor whose extents are numbers.
pub(super) fn bytes(ty: &TensorType) -> Option<u64> {
    let elements = ty.shape.elements().as_const().and_then(|n| u64::try_from(n).ok())?;
    Some(elements.saturating_mul(ty.dtype.bits() as u64).div_ceil(8))
}
