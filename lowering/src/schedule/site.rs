//! Where in a nest a step works: finding loops by name, what holds there, and putting something in their place.

use std::collections::BTreeSet;

use tcc_ir::dim::{Dim, Range, Ranges, Symbol};
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Stmt};

use super::Refusal;

/// A loop of a nest.
pub(super) struct Site<'n> {
    pub(super) var: &'n Symbol,
    pub(super) extent: &'n Dim,
    pub(super) kind: LoopKind,
    pub(super) body: &'n [Stmt],
    /// Of the symbols and of the loops around, without this one.
    pub(super) ranges: Ranges,
    /// The loops around, outermost first.
    pub(super) around: Vec<(&'n Symbol, LoopKind)>,
    nest: &'n Nest,
    path: Vec<usize>,
}

impl<'n> Site<'n> {
    /// The one loop of a name.
    pub(super) fn of(nest: &'n Nest, var: &Symbol) -> Result<Site<'n>, Refusal> {
        let mut count = 0;
        for stmt in &nest.body {
            stmt.each(&mut |s| count += usize::from(matches!(s, Stmt::For { var: v, .. } if v == var)));
        }
        if count != 1 {
            return Err(Refusal::new(format!("one loop `{var}`"), count_text(count)));
        }
        let mut walk = Walk { ranges: nest.ranges.clone(), around: Vec::new(), path: Vec::new() };
        match walk.find(&nest.body, var) {
            Some(Stmt::For { var, extent, kind, body }) => {
                let Walk { ranges, around, path } = walk;
                Ok(Site { var, extent, kind: *kind, body, ranges, around, nest, path })
            }
            _ => Err(Refusal::new(format!("one loop `{var}`"), "none")),
        }
    }

    /// The nest with other statements in place of the loop.
    pub(super) fn put(&self, stmts: Vec<Stmt>) -> Nest {
        self.put_block(self.path.len() - 1, |block, at| {
            block.splice(at..=at, stmts);
        })
    }

    /// The nest with a block around the loop edited: that at `depth` blocks from the outermost; the edit is told
    /// the position of what holds the loop.
    pub(super) fn put_block(&self, depth: usize, edit: impl FnOnce(&mut Vec<Stmt>, usize)) -> Nest {
        let mut nest = self.nest.clone();
        let mut block = &mut nest.body;
        for at in &self.path[..depth] {
            block = block[*at].body_mut().expect("the path was made from statements with bodies");
        }
        edit(block, self.path[depth]);
        nest
    }

    /// The blocks that hold the loop, outermost first, each with the position of what holds it.
    pub(super) fn blocks(&self) -> Vec<(&'n [Stmt], usize)> {
        let mut block = self.nest.body.as_slice();
        let mut blocks = Vec::new();
        for at in &self.path {
            blocks.push((block, *at));
            block = block[*at].body();
        }
        blocks
    }

    /// The ranges inside of the loop.
    pub(super) fn inner_ranges(&self) -> Ranges {
        let mut ranges = self.ranges.clone();
        limit(&mut ranges, self.var, self.extent);
        ranges
    }

    /// The loops of these names, which must stand directly around each other, this one first.
    pub(super) fn chain(&self, vars: &[Symbol]) -> Result<Chain<'n>, Refusal> {
        let mut ranges = self.inner_ranges();
        let mut loops = vec![Loop { var: self.var, extent: self.extent, kind: self.kind }];
        let mut body = self.body;
        for want in &vars[1..] {
            match body {
                [Stmt::For { var, extent, kind, body: inner }] if var == want => {
                    limit(&mut ranges, var, extent);
                    loops.push(Loop { var, extent, kind: *kind });
                    body = inner;
                }
                _ => {
                    let outer = loops[loops.len() - 1].var;
                    let expected = format!("loop `{want}` alone inside of `{outer}`");
                    return Err(Refusal::new(expected, contents(body)));
                }
            }
        }
        Ok(Chain { loops, body, ranges })
    }

    /// Refuses unless the loop is still free to be made something of.
    pub(super) fn expect_plain(&self) -> Result<(), Refusal> {
        expect_plain(self.var, self.kind)
    }
}

/// One of several loops around each other.
#[derive(Clone, Copy)]
pub(super) struct Loop<'n> {
    pub(super) var: &'n Symbol,
    pub(super) extent: &'n Dim,
    pub(super) kind: LoopKind,
}

impl Loop<'_> {
    /// The loop with a body.
    pub(super) fn around(&self, body: Vec<Stmt>) -> Stmt {
        Stmt::For { var: self.var.clone(), extent: self.extent.clone(), kind: self.kind, body }
    }
}

/// Loops directly around each other, outermost first, and what they stand around.
pub(super) struct Chain<'n> {
    pub(super) loops: Vec<Loop<'n>>,
    pub(super) body: &'n [Stmt],
    /// Inside of all of them.
    pub(super) ranges: Ranges,
}

/// Refuses unless a loop is serial or parallel.
pub(super) fn expect_plain(var: &Symbol, kind: LoopKind) -> Result<(), Refusal> {
    match kind {
        LoopKind::Serial | LoopKind::Parallel => Ok(()),
        other => Err(Refusal::new(
            format!("`{var}` to be a serial or parallel loop"),
            format!("one that is{other}"),
        )),
    }
}

/// Gives a loop variable its range.
pub(super) fn limit(ranges: &mut Ranges, var: &Symbol, extent: &Dim) {
    let hi = ranges.bounds(extent).hi.saturating_sub(1).max(0);
    ranges.set(var.clone(), Range { lo: 0, hi });
}

/// A loop, or statements in its place if there are several.
pub(super) fn nested(loops: &[Loop<'_>], body: Vec<Stmt>) -> Vec<Stmt> {
    loops.iter().rev().fold(body, |body, l| vec![l.around(body)])
}

fn count_text(count: usize) -> String {
    if count == 0 { "none".to_owned() } else { format!("{count} of them") }
}

fn contents(body: &[Stmt]) -> String {
    match body {
        [Stmt::For { var, .. }] => format!("loop `{var}`"),
        [_] => "a statement that is no loop".to_owned(),
        many => format!("{} statements", many.len()),
    }
}

struct Walk<'n> {
    ranges: Ranges,
    around: Vec<(&'n Symbol, LoopKind)>,
    path: Vec<usize>,
}

impl<'n> Walk<'n> {
    fn find(&mut self, body: &'n [Stmt], wanted: &Symbol) -> Option<&'n Stmt> {
        for (i, stmt) in body.iter().enumerate() {
            self.path.push(i);
            match stmt {
                Stmt::For { var, .. } if var == wanted => return Some(stmt),
                Stmt::For { var, extent, kind, body } => {
                    let before = self.ranges.clone();
                    limit(&mut self.ranges, var, extent);
                    self.around.push((var, *kind));
                    if let Some(found) = self.find(body, wanted) {
                        return Some(found);
                    }
                    self.around.pop();
                    self.ranges = before;
                }
                Stmt::If { body, .. } => {
                    if let Some(found) = self.find(body, wanted) {
                        return Some(found);
                    }
                }
                _ => {}
            }
            self.path.pop();
        }
        None
    }
}

/// The names that statements declare, in order.
pub(super) fn declared(body: &[Stmt]) -> Vec<Symbol> {
    let mut names = Vec::new();
    for stmt in body {
        stmt.each(&mut |s| match s {
            Stmt::For { var, .. } => names.push(var.clone()),
            Stmt::Let { name, .. } => names.push(name.clone()),
            Stmt::Alloc { buffer, .. } => names.push(buffer.name.clone()),
            Stmt::Store { combine: Combine::Tuple { params, .. }, .. } => {
                names.extend(params.iter().cloned())
            }
            _ => {}
        });
    }
    names
}

/// The names that a nest uses up.
pub(super) struct Names(BTreeSet<Symbol>);

impl Names {
    /// Those of a nest.
    pub(super) fn of(nest: &Nest) -> Names {
        let mut names: BTreeSet<Symbol> = nest.symbols().into_iter().collect();
        names.extend(nest.ranges.iter().map(|(s, _)| s.clone()));
        names.extend(nest.params().map(|b| b.name.clone()));
        names.extend(declared(&nest.body));
        Names(names)
    }

    /// Those of a nest in which a step gives `new` names and gives up `old` ones.
    pub(super) fn with(nest: &Nest, old: &[Symbol], new: &[Symbol]) -> Result<Names, Refusal> {
        let mut names = Names::of(nest);
        for name in old {
            names.0.remove(name);
        }
        for name in new {
            if !names.0.insert(name.clone()) {
                return Err(Refusal::new(format!("a new name in place of `{name}`"), "one that is taken"));
            }
        }
        Ok(names)
    }

    /// A name that is not taken, which then is.
    pub(super) fn fresh(&mut self, base: &str) -> Symbol {
        let mut name = Symbol::new(base);
        let mut number = 1;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = Symbol::new(&format!("{base}_{number}"));
        }
        name
    }
}

/// The buffer of a name, wherever it is made.
pub(super) fn buffer_of(nest: &Nest, name: &Symbol) -> Option<Buffer> {
    if let Some(found) = nest.params().find(|b| b.name == *name) {
        return Some(found.clone());
    }
    let mut found = None;
    for stmt in &nest.body {
        stmt.each(&mut |s| {
            if let Stmt::Alloc { buffer, .. } = s
                && buffer.name == *name
            {
                found = Some(buffer.clone());
            }
        });
    }
    found
}

/// Calls `visit` for every element that statements read or write, the latter with `true`. A combination reads
/// and writes; it is seen as a write.
pub(super) fn each_access(body: &[Stmt], visit: &mut dyn FnMut(&Access, bool)) {
    for stmt in body {
        stmt.each(&mut |s| {
            if let Stmt::Store { targets, .. } = s {
                targets.iter().for_each(|t| visit(t, true));
            }
            s.each_expr(&mut |e| {
                e.each(&mut |inner| {
                    if let Expr::Load(access) = inner {
                        visit(access, false);
                    }
                });
            });
        });
    }
}

/// Whether statements read or write a buffer.
pub(super) fn touches(body: &[Stmt], buffer: &Symbol) -> bool {
    let mut found = false;
    each_access(body, &mut |a, _| found |= a.buffer == *buffer);
    found
}

/// The flat index of an element.
pub(super) fn flat(buffer: &Buffer, access: &Access) -> Dim {
    access.at.iter().zip(buffer.ty.shape.iter()).fold(Dim::ZERO, |f, (at, e)| &(&f * e) + at)
}
