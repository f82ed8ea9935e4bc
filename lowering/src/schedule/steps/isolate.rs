//! `isolate`: gives a loop its surrounding loops for itself, and those copies what stands before and behind it.
//!
//! ```tcc
//! nest @f(x: f32[4, 9]) -> (y: f32[4]) {
//!   alloc sums: f32[4] in stack
//!   for i in 0..4 parallel {
//!     sums[i] = f32(0.0)
//!     for k in 0..9 {
//!       sums[i] += x[i, k]
//!     }
//!     y[i] = sums[i]
//!   }
//! }
//! ```
//! ```steps
//! isolate(k, [i]) -> [before], [behind]
//! ```
//! ```tcc
//! nest @f(x: f32[4, 9]) -> (y: f32[4]) {
//!   alloc sums: f32[4] in stack
//!   for before in 0..4 parallel {
//!     sums[before] = f32(0.0)
//!   }
//!   for i in 0..4 parallel {
//!     for k in 0..9 {
//!       sums[i] += x[i, k]
//!     }
//!   }
//!   for behind in 0..4 parallel {
//!     y[behind] = sums[behind]
//!   }
//! }
//! ```
//!
//! The iterations of the surrounding loops are apart, and no part names what another one uses.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::independence::shared;
use crate::schedule::rewrite::{Rewrite, Substitute};
use crate::schedule::site::{Loop, Names, Site, declared, expect_plain, nested};

step! {
    /// Gives a loop its surrounding loops for itself.
    Isolate = "isolate"(
        /// The loop.
        var: Symbol,
        /// The loops around it, outermost first, directly around each other.
        loops: Vec<Symbol>,
    ) -> (
        /// Loops for what stands before.
        before: Vec<Symbol>,
        /// Loops for what stands behind.
        behind: Vec<Symbol>,
    )
}

impl Isolate {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let Some(first) = self.loops.first() else { return Err(Refusal::new("loops around", "none")) };
        let site = Site::of(nest, first)?;
        let chain = site.chain(&self.loops)?;
        let new: Vec<Symbol> = self.before.iter().chain(&self.behind).cloned().collect();
        if self.before.len() != self.loops.len() || self.behind.len() != self.loops.len() {
            return Err(Refusal::new(format!("twice {} names", self.loops.len()), new.len().to_string()));
        }
        Names::with(nest, &[], &new)?;
        for (i, l) in chain.loops.iter().enumerate() {
            expect_plain(l.var, l.kind)?;
            let inner: Vec<Symbol> = self.loops[i + 1..].to_vec();
            if l.kind != LoopKind::Parallel
                && let Some(buffer) = shared(nest, l.var, chain.body, &inner, &chain.ranges)
            {
                let expected = format!("iterations of `{}` that are apart", l.var);
                return Err(Refusal::new(expected, format!("`{buffer}`, which several of them may touch")));
            }
        }
        let at = chain.body.iter().position(|s| matches!(s, Stmt::For { var, .. } if *var == self.var));
        let Some(at) = at else {
            let expected = format!("loop `{}` directly inside of the others", self.var);
            return Err(Refusal::new(expected, "none"));
        };
        let (before, rest) = chain.body.split_at(at);
        let (alone, behind) = rest.split_at(1);
        for (part, later) in [(before, rest), (alone, behind)] {
            let names: Vec<Symbol> = part.iter().filter_map(names_for_the_rest).cloned().collect();
            if let Some(name) = names.iter().find(|n| uses(later, n)) {
                return Err(Refusal::new("names that are used within their part", format!("`{name}`")));
            }
        }
        let mut stmts = Vec::new();
        stmts.extend(under(&chain.loops, &self.before, before));
        stmts.extend(nested(&chain.loops, alone.to_vec()));
        stmts.extend(under(&chain.loops, &self.behind, behind));
        Ok(site.put(stmts))
    }
}

/// Statements under loops with other names; nothing if there are none.
fn under(loops: &[Loop<'_>], names: &[Symbol], body: &[Stmt]) -> Vec<Stmt> {
    if body.is_empty() {
        return Vec::new();
    }
    let other: Vec<(Symbol, Dim)> =
        loops.iter().zip(names).map(|(l, n)| (l.var.clone(), Dim::sym(n.clone()))).collect();
    let renamed = Substitute(&other);
    let body = renamed.block(body);
    loops.iter().zip(names).rev().fold(body, |body, (l, name)| {
        vec![Stmt::For { var: name.clone(), extent: renamed.dim(l.extent), kind: l.kind, body }]
    })
}

/// What a statement names for those behind it.
fn names_for_the_rest(stmt: &Stmt) -> Option<&Symbol> {
    match stmt {
        Stmt::Let { name, .. } => Some(name),
        Stmt::Alloc { buffer, .. } => Some(&buffer.name),
        _ => None,
    }
}

fn uses(body: &[Stmt], name: &Symbol) -> bool {
    struct Find<'a>(&'a Symbol, std::cell::Cell<bool>);
    impl Rewrite for Find<'_> {
        fn dim(&self, dim: &Dim) -> Dim {
            self.1.set(self.1.get() || dim.mentions(self.0));
            dim.clone()
        }
        fn name(&self, name: &Symbol) -> Symbol {
            self.1.set(self.1.get() || name == self.0);
            name.clone()
        }
    }
    let find = Find(name, std::cell::Cell::new(false));
    find.block(body);
    debug_assert!(!declared(body).contains(name), "names are distinct");
    find.1.get()
}
