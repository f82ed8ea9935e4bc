//! `reorder`: puts loops that stand directly around each other into another order.
//!
//! ```tcc
//! nest @f(x: f32[8, 4]) -> (y: f32[4, 8]) {
//!   for i in 0..4 parallel {
//!     for j in 0..8 {
//!       y[i, j] = x[j, i]
//!     }
//!   }
//! }
//! ```
//! ```steps
//! reorder([j, i])
//! ```
//! ```tcc
//! nest @f(x: f32[8, 4]) -> (y: f32[4, 8]) {
//!   for j in 0..8 {
//!     for i in 0..4 parallel {
//!       y[i, j] = x[j, i]
//!     }
//!   }
//! }
//! ```
//!
//! A loop can move inside of another if its iterations are apart, if those of the other are whatever this one
//! does, or if all that happens inside is combining, whose order changes nothing but rounding.

use tcc_ir::dim::Symbol;
use tcc_ir::loops::{LoopKind, Nest, Stmt};

use crate::schedule::Refusal;
use crate::schedule::independence::{only_combines, shared};
use crate::schedule::site::{Chain, Site, expect_plain, nested};

step! {
    /// Puts loops into another order.
    Reorder = "reorder"(
        /// The loops in their new order.
        loops: Vec<Symbol>,
    )
}

impl Reorder {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let site = self.outermost(nest)?;
        let chain = site.chain(&self.present_order(&site)?)?;
        chain.loops.iter().try_for_each(|l| expect_plain(l.var, l.kind))?;
        let place = |var: &Symbol| self.loops.iter().position(|v| v == var).unwrap_or(usize::MAX);
        for (i, outer) in chain.loops.iter().enumerate() {
            for (j, inner) in chain.loops.iter().enumerate().skip(i + 1) {
                if place(outer.var) > place(inner.var) {
                    exchange(nest, &chain, i, j)?;
                }
            }
        }
        let mut loops = chain.loops.clone();
        loops.sort_by_key(|l| place(l.var));
        for (i, l) in loops.iter().enumerate() {
            if let Some(later) = loops[i..].iter().find(|later| l.extent.mentions(later.var)) {
                let expected = format!("an extent of `{}` that does not depend on `{}`", l.var, later.var);
                return Err(Refusal::new(expected, l.extent.to_string()));
            }
        }
        Ok(site.put(nested(&loops, chain.body.to_vec())))
    }

    /// The loop that is the outermost one at present.
    fn outermost<'n>(&self, nest: &'n Nest) -> Result<Site<'n>, Refusal> {
        let mut outermost: Option<Site<'n>> = None;
        for var in &self.loops {
            let site = Site::of(nest, var)?;
            if outermost.as_ref().is_none_or(|o| site.around.len() < o.around.len()) {
                outermost = Some(site);
            }
        }
        outermost.ok_or_else(|| Refusal::new("loops to reorder", "none"))
    }

    /// The names as the loops stand at present.
    fn present_order(&self, site: &Site<'_>) -> Result<Vec<Symbol>, Refusal> {
        let mut order = vec![site.var.clone()];
        let mut body = site.body;
        while order.len() < self.loops.len() {
            match body {
                [Stmt::For { var, body: inner, .. }] if self.loops.contains(var) => {
                    order.push(var.clone());
                    body = inner;
                }
                _ => {
                    let list: Vec<String> = self.loops.iter().map(|v| format!("`{v}`")).collect();
                    let expected = format!("{} directly around each other", list.join(", "));
                    let found = format!("only {} of them from `{}` on", order.len(), site.var);
                    return Err(Refusal::new(expected, found));
                }
            }
        }
        Ok(order)
    }
}

/// Refuses unless the loop at `outer` can move inside of the one at `inner`.
fn exchange(nest: &Nest, chain: &Chain<'_>, outer: usize, inner: usize) -> Result<(), Refusal> {
    let (x, y) = (chain.loops[outer], chain.loops[inner]);
    if x.kind == LoopKind::Parallel || only_combines(chain.body) {
        return Ok(());
    }
    let within = |at: usize| -> Vec<Symbol> {
        chain.loops.iter().enumerate().filter(|(i, _)| *i > at).map(|(_, l)| l.var.clone()).collect()
    };
    let others: Vec<Symbol> = chain.loops[outer..]
        .iter()
        .map(|l| l.var.clone())
        .filter(|v| v != y.var)
        .collect();
    let x_apart = shared(nest, x.var, chain.body, &within(outer), &chain.ranges).is_none();
    if x_apart || shared(nest, y.var, chain.body, &others, &chain.ranges).is_none() {
        return Ok(());
    }
    Err(Refusal::new(
        format!("iterations of `{}` or `{}` that are apart, or nothing but combinations inside", x.var, y.var),
        "neither",
    ))
}
