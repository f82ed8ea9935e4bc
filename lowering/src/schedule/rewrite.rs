//! Rewriting statements: other indices, other names, other buffers.

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Buffer, Combine, Cond, Expr, Stmt};
use tcc_ir::shape::{Shape, TensorType};

/// A change that is made everywhere in statements. What it does not say stays.
pub(super) trait Rewrite {
    /// An integer expression.
    fn dim(&self, dim: &Dim) -> Dim {
        dim.clone()
    }

    /// A name where it is declared.
    fn name(&self, name: &Symbol) -> Symbol {
        name.clone()
    }

    /// A scalar that is used by name.
    fn var(&self, name: &Symbol) -> Expr {
        Expr::Var(self.name(name))
    }

    /// An element that is read or written.
    fn access(&self, access: &Access) -> Access {
        Access { buffer: self.name(&access.buffer), at: access.at.iter().map(|d| self.dim(d)).collect() }
    }

    /// An element that is read.
    fn load(&self, access: &Access) -> Expr {
        Expr::Load(self.access(access))
    }

    /// An expression.
    fn expr(&self, expr: &Expr) -> Expr {
        let leaf = |leaf: &Expr| match leaf {
            Expr::Var(name) => self.var(name),
            Expr::Load(access) => self.load(access),
            Expr::Index(dim) => Expr::Index(self.dim(dim)),
            other => other.clone(),
        };
        expr.map_leaves(&leaf, &|d| self.dim(d))
    }

    /// A statement with all inside it.
    fn stmt(&self, stmt: &Stmt) -> Stmt {
        let cond = |c: &Cond| c.map_dims(&|d| self.dim(d));
        match stmt {
            Stmt::For { var, extent, kind, body } => Stmt::For {
                var: self.name(var),
                extent: self.dim(extent),
                kind: *kind,
                body: self.block(body),
            },
            Stmt::If { conds, body } => {
                Stmt::If { conds: conds.iter().map(cond).collect(), body: self.block(body) }
            }
            Stmt::Let { name, value } => Stmt::Let { name: self.name(name), value: self.expr(value) },
            Stmt::Alloc { buffer, space } => {
                let shape: Shape = buffer.ty.shape.iter().map(|d| self.dim(d)).collect();
                let ty = TensorType::new(buffer.ty.dtype, shape);
                Stmt::Alloc { buffer: Buffer { name: self.name(&buffer.name), ty }, space: *space }
            }
            Stmt::Store { targets, values, combine } => Stmt::Store {
                targets: targets.iter().map(|t| self.access(t)).collect(),
                values: values.iter().map(|v| self.expr(v)).collect(),
                combine: match combine {
                    Combine::Tuple { params, results } => Combine::Tuple {
                        params: params.iter().map(|p| self.name(p)).collect(),
                        results: results.iter().map(|r| self.expr(r)).collect(),
                    },
                    other => other.clone(),
                },
            },
        }
    }

    /// Statements.
    fn block(&self, body: &[Stmt]) -> Vec<Stmt> {
        body.iter().map(|s| self.stmt(s)).collect()
    }
}

/// Indices in place of loop variables, all at once.
pub(super) struct Substitute<'a>(pub(super) &'a [(Symbol, Dim)]);

impl Substitute<'_> {
    fn get(&self, name: &Symbol) -> Option<Dim> {
        self.0.iter().find(|(v, _)| v == name).map(|(_, d)| d.clone())
    }
}

impl Rewrite for Substitute<'_> {
    fn dim(&self, dim: &Dim) -> Dim {
        dim.substitute(&|s| self.get(s))
    }

    fn var(&self, name: &Symbol) -> Expr {
        self.get(name).map_or_else(|| Expr::Var(name.clone()), Expr::Index)
    }
}

/// Statements with one loop variable replaced by an index.
pub(super) fn with_index(body: &[Stmt], var: &Symbol, by: Dim) -> Vec<Stmt> {
    Substitute(&[(var.clone(), by)]).block(body)
}

/// Other names, where they are declared and where they are used.
pub(super) struct Rename(FxHashMap<Symbol, Symbol>);

impl Rewrite for Rename {
    fn dim(&self, dim: &Dim) -> Dim {
        dim.substitute(&|s| self.0.get(s).map(|n| Dim::sym(n.clone())))
    }

    fn name(&self, name: &Symbol) -> Symbol {
        self.0.get(name).unwrap_or(name).clone()
    }
}

/// A copy in which everything that is named inside has a name of its own: with a suffix, and more of it where
/// that is taken.
pub(super) fn copied(body: &[Stmt], suffix: &str, taken: &mut super::site::Names) -> Vec<Stmt> {
    let mut names = FxHashMap::default();
    for name in super::site::declared(body) {
        let new = taken.fresh(&format!("{name}{suffix}"));
        names.insert(name, new);
    }
    Rename(names).block(body)
}

/// Every access to a buffer, mapped.
pub(super) struct Redirect<'a> {
    /// The buffer.
    pub(super) buffer: &'a Symbol,
    /// Where its elements are now.
    pub(super) to: &'a dyn Fn(&Access) -> Access,
}

impl Rewrite for Redirect<'_> {
    fn access(&self, access: &Access) -> Access {
        if access.buffer == *self.buffer { (self.to)(access) } else { access.clone() }
    }
}
