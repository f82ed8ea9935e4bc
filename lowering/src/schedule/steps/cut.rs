//! `cut`: cuts a loop into stretches, in each of which conditions are decided.
//!
//! ```tcc
//! nest @f(x: f32[6]) -> (y: f32[10]) {
//!   for i in 0..10 parallel {
//!     y[i] = (if -1 < i - 2 && i - 2 < 6 then x[i - 2] else f32(0.0))
//!   }
//! }
//! ```
//! ```steps
//! cut(i, [2, 8]) -> [i0, i1, i2]
//! ```
//! ```tcc
//! nest @f(x: f32[6]) -> (y: f32[10]) {
//!   for i0 in 0..2 parallel {
//!     y[i0] = f32(0.0)
//!   }
//!   for i1 in 0..6 parallel {
//!     y[i1 + 2] = x[i1]
//!   }
//!   for i2 in 0..2 parallel {
//!     y[i2 + 8] = f32(0.0)
//!   }
//! }
//! ```
//!
//! The cuts are in order and within the extent for every value of the symbols.

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::loops::{Cond, Expr, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::rewrite::{Rewrite, copied, with_index};
use crate::schedule::site::{Names, Site, limit};

step! {
    /// Cuts a loop into stretches.
    Cut = "cut"(
        /// The loop.
        var: Symbol,
        /// Where stretches but the first begin.
        at: Vec<Dim>,
    ) -> (
        /// The loop of each stretch.
        stretches: Vec<Symbol>,
    )
}

impl Cut {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = Site::of(nest, &self.var)?;
        site.expect_plain()?;
        if self.stretches.len() != self.at.len() + 1 {
            let expected = format!("{} names for stretches", self.at.len() + 1);
            return Err(Refusal::new(expected, self.stretches.len().to_string()));
        }
        let mut names = Names::with(nest, std::slice::from_ref(&self.var), &self.stretches)?;
        let moving = crate::schedule::site::declared(&nest.body);
        if let Some(dim) = self.at.iter().find(|d| d.symbols().iter().any(|s| moving.contains(s))) {
            return Err(Refusal::new("cuts at numbers or symbols of the nest", format!("`{dim}`")));
        }
        if let Some(unknown) =
            self.at.iter().flat_map(Dim::symbols).find(|s| !nest.symbols().contains(s) && !nest.ranges.contains(s))
        {
            return Err(Refusal::new("cuts at numbers or symbols of the nest", format!("`{unknown}`")));
        }
        let mut bounds = vec![Dim::ZERO];
        bounds.extend(self.at.iter().cloned());
        bounds.push(site.extent.clone());
        let mut stmts = Vec::new();
        for (i, (pair, var)) in bounds.windows(2).zip(&self.stretches).enumerate() {
            let (from, to) = (&pair[0], &pair[1]);
            if !site.ranges.at_most(from, to) {
                return Err(Refusal::new("cuts in order within the extent", format!("{from} before {to}")));
            }
            let extent = to - from;
            let mut ranges = site.ranges.clone();
            limit(&mut ranges, var, &extent);
            let at = &Dim::sym(var.clone()) + from;
            let copy = copied(&with_index(site.body, &self.var, at), &format!("s{i}"), &mut names);
            let body = Settle(&ranges).block(&copy);
            stmts.push(Stmt::For { var: var.clone(), extent, kind: site.kind, body });
        }
        Ok(site.put(stmts))
    }
}

/// Drops conditions that the ranges decide.
struct Settle<'a>(&'a Ranges);

impl Settle<'_> {
    /// The conditions that are open; nothing if one of them never holds.
    fn open(&self, conds: &[Cond]) -> Option<Vec<Cond>> {
        if conds.iter().any(|c| self.0.at_most(&c.right, &c.left)) {
            return None;
        }
        Some(conds.iter().filter(|c| !self.0.less(&c.left, &c.right)).cloned().collect())
    }
}

impl Rewrite for Settle<'_> {
    fn expr(&self, expr: &Expr) -> Expr {
        match expr {
            Expr::Guard { conds, then, otherwise } => match self.open(conds) {
                None => self.expr(otherwise),
                Some(open) if open.is_empty() => self.expr(then),
                Some(conds) => Expr::Guard {
                    conds,
                    then: Box::new(self.expr(then)),
                    otherwise: Box::new(self.expr(otherwise)),
                },
            },
            Expr::Op(op, args) => Expr::Op(*op, args.iter().map(|a| self.expr(a)).collect()),
            Expr::Cast { to, saturate, value } => {
                Expr::Cast { to: *to, saturate: *saturate, value: Box::new(self.expr(value)) }
            }
            Expr::Bitcast(to, value) => Expr::Bitcast(*to, Box::new(self.expr(value))),
            other => other.clone(),
        }
    }

    fn block(&self, body: &[Stmt]) -> Vec<Stmt> {
        let mut out = Vec::with_capacity(body.len());
        for stmt in body {
            match stmt {
                Stmt::If { conds, body } => match self.open(conds) {
                    None => {}
                    Some(open) if open.is_empty() => out.extend(self.block(body)),
                    Some(conds) => out.push(Stmt::If { conds, body: self.block(body) }),
                },
                other => out.push(self.stmt(other)),
            }
        }
        out
    }
}
