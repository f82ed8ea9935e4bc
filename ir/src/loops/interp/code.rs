//! A nest with names replaced by slots, so that running it looks nothing up.

use rustc_hash::FxHashMap;

use crate::dim::{Dim, SlotDim as Index, Symbol};
use crate::dtype::{DType, Scalar};
use crate::loops::{Access, Combine, Cond, Expr, LoopKind, Stmt};
use crate::scalar::ScalarOp;

/// A statement.
pub(super) enum Code {
    For { var: usize, name: Symbol, extent: Index, concurrent: bool, body: Vec<Code> },
    If { conds: Vec<(Index, Index)>, body: Vec<Code> },
    Let { slot: usize, value: Value },
    Alloc { slot: usize, name: Symbol, dtype: DType, extents: Vec<Index> },
    Store { targets: Vec<Place>, values: Vec<Value>, combine: Merge },
}

pub(super) enum Merge {
    Replace,
    With(ScalarOp),
    Tuple { params: Vec<usize>, results: Vec<Value> },
}

pub(super) struct Place {
    pub(super) buffer: usize,
    pub(super) at: Vec<Index>,
}

pub(super) enum Value {
    Const(Scalar),
    Index(Index),
    Var(usize),
    Load(Place),
    /// The type is that of the last operand.
    Op(ScalarOp, Vec<Value>, DType),
    Cast {
        from: DType,
        to: DType,
        saturate: bool,
        value: Box<Value>,
    },
    Bitcast {
        from: DType,
        to: DType,
        value: Box<Value>,
    },
    Guard {
        conds: Vec<(Index, Index)>,
        then: Box<Value>,
        otherwise: Box<Value>,
    },
}

/// Gives names their slots; names are distinct in a nest, so a slot never means two things.
#[derive(Default)]
pub(super) struct Names {
    pub(super) scalars: FxHashMap<Symbol, usize>,
    pub(super) buffers: FxHashMap<Symbol, usize>,
    pub(super) types: FxHashMap<Symbol, DType>,
}

impl Names {
    pub(super) fn scalar(&mut self, name: &Symbol) -> usize {
        let next = self.scalars.len();
        *self.scalars.entry(name.clone()).or_insert(next)
    }

    pub(super) fn buffer(&mut self, name: &Symbol) -> usize {
        let next = self.buffers.len();
        *self.buffers.entry(name.clone()).or_insert(next)
    }

    pub(super) fn block(&mut self, body: &[Stmt]) -> Vec<Code> {
        body.iter().map(|s| self.statement(s)).collect()
    }

    fn statement(&mut self, stmt: &Stmt) -> Code {
        match stmt {
            Stmt::For { var, extent, kind, body } => {
                let extent = self.index(extent);
                let slot = self.scalar(var);
                let concurrent = !matches!(kind, LoopKind::Serial | LoopKind::Unrolled | LoopKind::Tile);
                Code::For { var: slot, name: var.clone(), extent, concurrent, body: self.block(body) }
            }
            Stmt::If { conds, body } => Code::If { conds: self.conds(conds), body: self.block(body) },
            Stmt::Let { name, value } => {
                let (value, dtype) = self.value(value);
                self.types.insert(name.clone(), dtype);
                Code::Let { slot: self.scalar(name), value }
            }
            Stmt::Alloc { buffer, .. } => {
                self.types.insert(buffer.name.clone(), buffer.ty.dtype);
                Code::Alloc {
                    slot: self.buffer(&buffer.name),
                    name: buffer.name.clone(),
                    dtype: buffer.ty.dtype,
                    extents: buffer.ty.shape.iter().map(|d| self.index(d)).collect(),
                }
            }
            Stmt::Store { targets, values, combine } => {
                let values: Vec<(Value, DType)> = values.iter().map(|v| self.value(v)).collect();
                let dtypes: Vec<DType> = values.iter().map(|(_, t)| *t).collect();
                let combine = match combine {
                    Combine::Replace => Merge::Replace,
                    Combine::With(op) => Merge::With(*op),
                    Combine::Tuple { params, results } => {
                        for (param, dtype) in params.iter().zip(dtypes.iter().chain(&dtypes)) {
                            self.types.insert(param.clone(), *dtype);
                        }
                        let params = params.iter().map(|p| self.scalar(p)).collect();
                        Merge::Tuple { params, results: results.iter().map(|r| self.value(r).0).collect() }
                    }
                };
                let targets = targets.iter().map(|t| self.place(t)).collect();
                Code::Store { targets, values: values.into_iter().map(|(v, _)| v).collect(), combine }
            }
        }
    }

    fn conds(&mut self, conds: &[Cond]) -> Vec<(Index, Index)> {
        conds.iter().map(|c| (self.index(&c.left), self.index(&c.right))).collect()
    }

    fn place(&mut self, access: &Access) -> Place {
        Place { buffer: self.buffer(&access.buffer), at: access.at.iter().map(|d| self.index(d)).collect() }
    }

    fn index(&mut self, dim: &Dim) -> Index {
        Index::new(dim, &mut |name| self.scalar(name))
    }

    fn value(&mut self, expr: &Expr) -> (Value, DType) {
        match expr {
            Expr::Const(dtype, value) => (Value::Const(value.round_to(*dtype)), *dtype),
            Expr::Index(dim) => (Value::Index(self.index(dim)), DType::I64),
            Expr::Var(name) => {
                let dtype = self.types.get(name).copied().unwrap_or(DType::I64);
                (Value::Var(self.scalar(name)), dtype)
            }
            Expr::Load(access) => {
                let dtype = self.types.get(&access.buffer).copied().unwrap_or(DType::F32);
                (Value::Load(self.place(access)), dtype)
            }
            Expr::Op(op, args) => {
                let (args, types): (Vec<Value>, Vec<DType>) = args.iter().map(|a| self.value(a)).unzip();
                let result = op.result(&types).unwrap_or(DType::F32);
                let dtype = types.last().copied().unwrap_or(DType::F32);
                (Value::Op(*op, args, dtype), result)
            }
            Expr::Cast { to, saturate, value } => {
                let (value, from) = self.value(value);
                (Value::Cast { from, to: *to, saturate: *saturate, value: Box::new(value) }, *to)
            }
            Expr::Bitcast(to, value) => {
                let (value, from) = self.value(value);
                (Value::Bitcast { from, to: *to, value: Box::new(value) }, *to)
            }
            Expr::Guard { conds, then, otherwise } => {
                let conds = self.conds(conds);
                let (then, dtype) = self.value(then);
                let (otherwise, _) = self.value(otherwise);
                (Value::Guard { conds, then: Box::new(then), otherwise: Box::new(otherwise) }, dtype)
            }
        }
    }
}
