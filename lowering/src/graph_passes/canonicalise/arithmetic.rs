//! Rules for scalar operations: neutral elements, operations that undo or repeat themselves, known choices.

use tcc_ir::dtype::{DType, Kind, Scalar};
use tcc_ir::graph::{Attr, Graph, Op, Value};
use tcc_ir::scalar::ScalarOp;

use super::{Form, Simpler};

/// What a scalar operation or a conversion can be replaced by.
pub(super) fn simpler(graph: &Graph, form: &Form) -> Option<Simpler> {
    let value = match form.op {
        Op::Cast => cast_back(graph, form),
        Op::Scalar(ScalarOp::Select) => select(graph, form),
        Op::Scalar(op) => match form.operands[..] {
            [x] => undone(graph, op, x).or_else(|| repeated(graph, op, x)),
            [x, y] => neutral(graph, op, x, y).or_else(|| idempotent(op, x, y)),
            _ => None,
        },
        _ => None,
    };
    value.map(Simpler::Value)
}

/// The other operand of a neutral element.
fn neutral(graph: &Graph, op: ScalarOp, x: Value, y: Value) -> Option<Value> {
    let dtype = graph.ty(x).dtype;
    let is = |value: Value| uniform(graph, value).is_some_and(|s| is_neutral(op, dtype, s));
    let either_side =
        matches!(op, ScalarOp::Add | ScalarOp::Mul | ScalarOp::And | ScalarOp::Or | ScalarOp::Xor);
    if is(y) {
        Some(x)
    } else if either_side && is(x) {
        Some(y)
    } else {
        None
    }
}

fn is_neutral(op: ScalarOp, dtype: DType, value: Scalar) -> bool {
    let is_one = value == Scalar::one(dtype);
    match (op, value) {
        (ScalarOp::Add, Scalar::Float(v)) => v == 0.0 && v.is_sign_negative(),
        (ScalarOp::Sub, Scalar::Float(v)) => v == 0.0 && v.is_sign_positive(),
        (ScalarOp::Mul | ScalarOp::Div, _) => is_one,
        (
            ScalarOp::Add | ScalarOp::Sub | ScalarOp::Or | ScalarOp::Xor | ScalarOp::Shl | ScalarOp::Shr,
            Scalar::Int(v),
        ) => v == 0,
        (ScalarOp::And, Scalar::Int(_)) => match dtype {
            DType::Bool => is_one,
            _ => value == Scalar::Int(-1).round_to(dtype),
        },
        _ => false,
    }
}

fn idempotent(op: ScalarOp, x: Value, y: Value) -> Option<Value> {
    let holds = matches!(op, ScalarOp::Min | ScalarOp::Max | ScalarOp::And | ScalarOp::Or);
    (holds && x == y).then_some(x)
}

/// `neg(neg(x))`, `not(not(x))`.
fn undone(graph: &Graph, op: ScalarOp, x: Value) -> Option<Value> {
    let inner = graph.def_node(x).filter(|n| n.op == Op::Scalar(op))?;
    let signed = !matches!(graph.ty(x).dtype.kind(), Kind::Float(format) if !format.signed);
    let undoes = match op {
        // A type without negative numbers loses what it negates.
        ScalarOp::Neg => signed,
        ScalarOp::Not => true,
        _ => false,
    };
    undoes.then(|| inner.operands[0])
}

/// What is rounded to an integer, or made positive, needs it no second time.
fn repeated(graph: &Graph, op: ScalarOp, x: Value) -> Option<Value> {
    let Op::Scalar(inner) = graph.def_node(x)?.op else { return None };
    let rounds = |op| matches!(op, ScalarOp::Floor | ScalarOp::Ceil | ScalarOp::Round | ScalarOp::Trunc);
    let holds = (rounds(op) && rounds(inner)) || (op == ScalarOp::Abs && inner == ScalarOp::Abs);
    holds.then_some(x)
}

fn select(graph: &Graph, form: &Form) -> Option<Value> {
    let [c, x, y] = form.operands[..] else { return None };
    if x == y {
        return Some(x);
    }
    uniform(graph, c).map(|c| if c.is_truthy() { x } else { y })
}

/// A conversion back to where a wider type came from.
fn cast_back(graph: &Graph, form: &Form) -> Option<Value> {
    let inner = graph.def_node(form.operands[0]).filter(|n| n.op == Op::Cast)?;
    let x = inner.operands[0];
    let (narrow, wide) = (graph.ty(x).dtype, graph.ty(form.operands[0]).dtype);
    (form.attrs.first() == Some(&Attr::DType(narrow)) && holds_all(wide, narrow)).then_some(x)
}

/// Whether every value of one type is one of the other.
fn holds_all(wide: DType, narrow: DType) -> bool {
    match (narrow.kind(), wide.kind()) {
        (Kind::Float(_), Kind::Float(_)) => {
            matches!(wide, DType::F32 | DType::F64) && narrow.bits() < wide.bits()
        }
        (Kind::Int { bits: n, signed: false }, Kind::Int { bits: w, signed: true }) => n < w,
        (Kind::Int { bits: n, signed: a }, Kind::Int { bits: w, signed: b }) => a == b && n <= w,
        _ => false,
    }
}

/// The one number that a tensor repeats, if it is known.
fn uniform(graph: &Graph, value: Value) -> Option<Scalar> {
    let node = graph.def_node(value)?;
    match (node.op, node.attrs.first()) {
        (Op::Broadcast, _) => uniform(graph, node.operands[0]),
        (Op::Const, Some(Attr::Tensor(tensor))) if !tensor.is_empty() => {
            let stretched = tensor.strides().iter().zip(tensor.shape()).all(|(s, n)| *s == 0 || *n == 1);
            stretched.then(|| tensor.get_flat(0))
        }
        _ => None,
    }
}
