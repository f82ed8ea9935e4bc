//! Checks that a nest means something: names, scopes, types and ranks.

use std::collections::BTreeMap;

use super::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};
use crate::diag::{Diag, Diags};
use crate::dim::{Dim, Symbol};
use crate::dtype::DType;

/// Everything that must hold of a nest; all problems are collected.
pub(super) fn verify(nest: &Nest) -> Result<(), Diags> {
    let mut scope = Scope { names: BTreeMap::new(), diags: Diags::default(), nest };
    let declared = nest.ranges.iter().map(|(symbol, _)| symbol.clone());
    for symbol in nest.symbols().into_iter().chain(declared) {
        scope.names.insert(symbol, Name::Scalar(DType::I64));
    }
    for buffer in nest.params() {
        scope.declare(&buffer.name, Name::Buffer(buffer.clone()), "a parameter");
    }
    scope.block(&nest.body);
    scope.diags.into_result()
}

#[derive(Clone)]
enum Name {
    Buffer(Buffer),
    Scalar(DType),
}

struct Scope<'a> {
    names: BTreeMap<Symbol, Name>,
    diags: Diags,
    nest: &'a Nest,
}

impl Scope<'_> {
    fn error(&mut self, code: &'static str, message: String) {
        self.diags.push(Diag::of(format!("nest @{}", self.nest.name), code, message));
    }

    fn declare(&mut self, name: &Symbol, what: Name, role: &str) {
        if self.names.insert(name.clone(), what).is_some() {
            self.error("name", format!("expected a new name for {role}, got `{name}`"));
        }
    }

    fn block(&mut self, body: &[Stmt]) {
        let mut declared = Vec::new();
        for stmt in body {
            if self.diags.is_full() {
                return;
            }
            match stmt {
                Stmt::For { var, extent, kind, body } => {
                    self.dim(extent);
                    if matches!(kind, LoopKind::Vector | LoopKind::Unrolled) && extent.as_const().is_none() {
                        self.error(
                            "extent",
                            format!("expected a number as the extent of a loop that is{kind}, got {extent}"),
                        );
                    }
                    self.declare(var, Name::Scalar(DType::I64), "a loop");
                    self.block(body);
                    self.names.remove(var);
                }
                Stmt::If { conds, body } => {
                    self.conds(conds);
                    self.block(body);
                }
                Stmt::Let { name, value } => {
                    let dtype = self.expr(value).unwrap_or(DType::I64);
                    self.declare(name, Name::Scalar(dtype), "a scalar");
                    declared.push(name);
                }
                Stmt::Alloc { buffer, space } => {
                    buffer.ty.shape.iter().for_each(|d| self.dim(d));
                    if *space == Space::Register && buffer.ty.shape.as_fixed().is_none() {
                        self.error(
                            "extent",
                            format!("expected numbers as extents of registers, got {buffer}"),
                        );
                    }
                    self.declare(&buffer.name, Name::Buffer(buffer.clone()), "a buffer");
                    declared.push(&buffer.name);
                }
                Stmt::Store { targets, values, combine } => self.store(targets, values, combine),
            }
        }
        for name in declared {
            self.names.remove(name);
        }
    }

    fn store(&mut self, targets: &[Access], values: &[Expr], combine: &Combine) {
        let into: Vec<Option<DType>> = targets.iter().map(|t| self.access(t)).collect();
        let from: Vec<Option<DType>> = values.iter().map(|v| self.expr(v)).collect();
        for (target, _) in targets.iter().zip(&into) {
            if self.nest.inputs.iter().any(|b| b.name == target.buffer) {
                self.error(
                    "store",
                    format!("expected to write an output or a buffer, got input `{}`", target.buffer),
                );
            }
        }
        if into.len() != from.len() {
            self.error("type", format!("expected {} values to store, got {}", into.len(), from.len()));
            return;
        }
        for ((target, a), b) in targets.iter().zip(&into).zip(&from) {
            if let (Some(a), Some(b)) = (a, b)
                && a != b
            {
                self.error("type", format!("expected a value of type {a} for {target}, got {b}"));
            }
        }
        match combine {
            Combine::Replace => {}
            Combine::With(op) => {
                for dtype in into.into_iter().flatten() {
                    if op.result(&[dtype, dtype]) != Ok(dtype) {
                        self.error(
                            "type",
                            format!("expected an operation that combines two {dtype}, got {}", op.name()),
                        );
                    }
                }
            }
            Combine::Tuple { params, results } => {
                if params.len() != 2 * targets.len() || results.len() != targets.len() {
                    let (n, p, r) = (targets.len(), params.len(), results.len());
                    self.error(
                        "type",
                        format!("expected {} parameters and {n} results, got {p} and {r}", 2 * n),
                    );
                    return;
                }
                for (name, dtype) in params.iter().zip(into.iter().chain(&into)) {
                    self.declare(name, Name::Scalar(dtype.unwrap_or(DType::F32)), "a parameter");
                }
                for (result, expected) in results.iter().zip(&into) {
                    let got = self.expr(result);
                    if let (Some(got), Some(expected)) = (got, expected)
                        && got != *expected
                    {
                        self.error("type", format!("expected a result of type {expected}, got {got}"));
                    }
                }
                for name in params {
                    self.names.remove(name);
                }
            }
        }
    }

    fn conds(&mut self, conds: &[Cond]) {
        for cond in conds {
            self.dim(&cond.left);
            self.dim(&cond.right);
        }
    }

    fn dim(&mut self, dim: &Dim) {
        for symbol in dim.symbols() {
            match self.names.get(&symbol) {
                Some(Name::Scalar(dtype)) if dtype.is_int() => {}
                Some(_) => self.error("type", format!("expected an integer in `{dim}`, got `{symbol}`")),
                None => self.error("name", format!("expected a name in scope in `{dim}`, got `{symbol}`")),
            }
        }
    }

    fn access(&mut self, access: &Access) -> Option<DType> {
        access.at.iter().for_each(|d| self.dim(d));
        match self.names.get(&access.buffer).cloned() {
            Some(Name::Buffer(buffer)) => {
                if buffer.ty.shape.rank() != access.at.len() {
                    self.error(
                        "rank",
                        format!("expected {} indices of {buffer}, got {access}", buffer.ty.shape.rank()),
                    );
                }
                Some(buffer.ty.dtype)
            }
            Some(Name::Scalar(_)) => {
                self.error("type", format!("expected a buffer, got the scalar `{}`", access.buffer));
                None
            }
            None => {
                self.error("name", format!("expected a buffer in scope, got `{}`", access.buffer));
                None
            }
        }
    }

    /// The type of an expression; nothing if an error in it was reported.
    fn expr(&mut self, expr: &Expr) -> Option<DType> {
        match expr {
            Expr::Const(dtype, _) => Some(*dtype),
            Expr::Index(dim) => {
                self.dim(dim);
                Some(DType::I64)
            }
            Expr::Var(name) => match self.names.get(name) {
                Some(Name::Scalar(dtype)) => Some(*dtype),
                Some(Name::Buffer(_)) => {
                    self.error("type", format!("expected a scalar, got the buffer `{name}`"));
                    None
                }
                None => {
                    self.error("name", format!("expected a scalar in scope, got `{name}`"));
                    None
                }
            },
            Expr::Load(access) => self.access(access),
            Expr::Op(op, args) => {
                let types: Option<Vec<DType>> = args.iter().map(|a| self.expr(a)).collect();
                match op.result(&types?) {
                    Ok(dtype) => Some(dtype),
                    Err(message) => {
                        self.error("type", format!("{}: {message}", op.name()));
                        None
                    }
                }
            }
            Expr::Cast { to, value, .. } => {
                self.expr(value);
                Some(*to)
            }
            Expr::Bitcast(to, value) => {
                if let Some(from) = self.expr(value)
                    && from.bits() != to.bits()
                {
                    self.error("type", format!("expected a type of {} bits, got {to}", from.bits()));
                }
                Some(*to)
            }
            Expr::Guard { conds, then, otherwise } => {
                self.conds(conds);
                let (a, b) = (self.expr(then)?, self.expr(otherwise)?);
                if a != b {
                    self.error("type", format!("expected both values of one type, got {a} and {b}"));
                }
                Some(a)
            }
        }
    }
}
