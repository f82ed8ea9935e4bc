//! Walks over statements and expressions that many passes share.

use super::{Access, Combine, Cond, Expr, Stmt};
use crate::dim::{Dim, Symbol};
use crate::shape::{Shape, TensorType};

/// The symbols of integer expressions that no loop or scalar of these statements names.
pub fn free_symbols(body: &[Stmt]) -> std::collections::BTreeSet<Symbol> {
    let found = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let mut named = std::collections::BTreeSet::new();
    for stmt in body {
        stmt.map_dims(&|d| {
            found.borrow_mut().extend(d.symbols());
            d.clone()
        });
        stmt.each(&mut |s| match s {
            Stmt::For { var: name, .. } | Stmt::Let { name, .. } => {
                named.insert(name.clone());
            }
            _ => {}
        });
    }
    found.into_inner().difference(&named).cloned().collect()
}

impl Stmt {
    /// Calls `visit` for this statement and all inside it.
    pub fn each(&self, visit: &mut dyn FnMut(&Stmt)) {
        visit(self);
        for inner in self.body() {
            inner.each(visit);
        }
    }

    /// The statements inside a loop or condition.
    pub fn body(&self) -> &[Stmt] {
        match self {
            Stmt::For { body, .. } | Stmt::If { body, .. } => body,
            _ => &[],
        }
    }

    /// The statements inside a loop or condition, to change them.
    pub fn body_mut(&mut self) -> Option<&mut Vec<Stmt>> {
        match self {
            Stmt::For { body, .. } | Stmt::If { body, .. } => Some(body),
            _ => None,
        }
    }

    /// Calls `visit` for every expression of this statement alone, outermost ones.
    pub fn each_expr(&self, visit: &mut dyn FnMut(&Expr)) {
        match self {
            Stmt::Let { value, .. } => visit(value),
            Stmt::Store { values, combine, .. } => {
                values.iter().for_each(&mut *visit);
                if let Combine::Tuple { results, .. } = combine {
                    results.iter().for_each(visit);
                }
            }
            Stmt::For { .. } | Stmt::If { .. } | Stmt::Alloc { .. } => {}
        }
    }

    /// The same with every integer expression mapped, inside too.
    pub fn map_dims(&self, map: &dyn Fn(&Dim) -> Dim) -> Stmt {
        let many = |body: &[Stmt]| body.iter().map(|s| s.map_dims(map)).collect();
        match self {
            Stmt::For { var, extent, kind, body } => {
                Stmt::For { var: var.clone(), extent: map(extent), kind: *kind, body: many(body) }
            }
            Stmt::If { conds, body } => {
                Stmt::If { conds: conds.iter().map(|c| c.map_dims(map)).collect(), body: many(body) }
            }
            Stmt::Let { name, value } => Stmt::Let { name: name.clone(), value: value.map_dims(map) },
            Stmt::Alloc { buffer, space } => {
                let shape: Shape = buffer.ty.shape.iter().map(map).collect();
                let ty = TensorType::new(buffer.ty.dtype, shape);
                Stmt::Alloc { buffer: super::Buffer { name: buffer.name.clone(), ty }, space: *space }
            }
            Stmt::Store { targets, values, combine } => Stmt::Store {
                targets: targets.iter().map(|t| t.map_dims(map)).collect(),
                values: values.iter().map(|v| v.map_dims(map)).collect(),
                combine: match combine {
                    Combine::Tuple { params, results } => Combine::Tuple {
                        params: params.clone(),
                        results: results.iter().map(|r| r.map_dims(map)).collect(),
                    },
                    other => other.clone(),
                },
            },
        }
    }

    /// The same with one symbol replaced in every integer expression.
    pub fn replace(&self, symbol: &Symbol, by: &Dim) -> Stmt {
        self.map_dims(&|d| d.replace(symbol, by))
    }
}

impl Access {
    /// The same with every index mapped.
    pub fn map_dims(&self, map: &dyn Fn(&Dim) -> Dim) -> Access {
        Access { buffer: self.buffer.clone(), at: self.at.iter().map(map).collect() }
    }
}

impl Cond {
    /// The same with both sides mapped.
    pub fn map_dims(&self, map: &dyn Fn(&Dim) -> Dim) -> Cond {
        Cond { left: map(&self.left), right: map(&self.right) }
    }
}

impl Expr {
    /// Calls `visit` for this expression and all inside it.
    pub fn each(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        match self {
            Expr::Op(_, args) => args.iter().for_each(|a| a.each(visit)),
            Expr::Cast { value, .. } | Expr::Bitcast(_, value) => value.each(visit),
            Expr::Guard { then, otherwise, .. } => {
                then.each(visit);
                otherwise.each(visit);
            }
            Expr::Const(..) | Expr::Index(_) | Expr::Var(_) | Expr::Load(_) => {}
        }
    }

    /// The same with every integer expression mapped.
    pub fn map_dims(&self, map: &dyn Fn(&Dim) -> Dim) -> Expr {
        self.map_leaves(
            &|leaf| match leaf {
                Expr::Index(dim) => Expr::Index(map(dim)),
                Expr::Load(access) => Expr::Load(access.map_dims(map)),
                other => other.clone(),
            },
            map,
        )
    }

    /// The same with leaves and the sides of conditions mapped.
    pub fn map_leaves(&self, leaf: &dyn Fn(&Expr) -> Expr, dims: &dyn Fn(&Dim) -> Dim) -> Expr {
        let inner = |e: &Expr| Box::new(e.map_leaves(leaf, dims));
        match self {
            Expr::Op(op, args) => Expr::Op(*op, args.iter().map(|a| a.map_leaves(leaf, dims)).collect()),
            Expr::Cast { to, saturate, value } => {
                Expr::Cast { to: *to, saturate: *saturate, value: inner(value) }
            }
            Expr::Bitcast(to, value) => Expr::Bitcast(*to, inner(value)),
            Expr::Guard { conds, then, otherwise } => Expr::Guard {
                conds: conds.iter().map(|c| c.map_dims(dims)).collect(),
                then: inner(then),
                otherwise: inner(otherwise),
            },
            Expr::Const(..) | Expr::Index(_) | Expr::Var(_) | Expr::Load(_) => leaf(self),
        }
    }
}
