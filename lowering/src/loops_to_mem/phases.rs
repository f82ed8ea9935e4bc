//! Phases of a block become one loop over its threads, with barriers where a phase reads what another one wrote.
//!
//! ```text
//! for b in 0..n block.x {
//!   alloc part: f32[64] in shared
//!   for t in 0..64 thread.x { part[t] = x[b, t] }
//!   for u in 0..32 thread.x { y[b, u] = part[u] + part[u + 32] }
//! }
//! ->
//! for b in 0..n block.x {
//!   alloc part: f32[64] shared
//!   for t in 0..64 thread.x { store part[t] = …; barrier; if t < 32 { store y[32*b + t] = … } }
//! }
//! ```
//!
//! What stands between the phases each thread does for itself, stores only the first. A register buffer whose first
//! axis is the thread becomes registers of each thread's own.

use std::collections::BTreeSet;

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::loops::{Access, Buffer, Combine, Cond, Expr, LoopKind as NestKind, Space, Stmt};
use tcc_ir::mem::{Inst, LoopKind, Memory};
use tcc_ir::shape::TensorType;

use super::{Lowering, Place};

/// The buffers that phases touched since the last barrier.
#[derive(Default)]
struct Touched {
    read: BTreeSet<Symbol>,
    written: BTreeSet<Symbol>,
}

impl Touched {
    fn meets(&self, next: &Touched) -> bool {
        let any = |a: &BTreeSet<Symbol>, b: &BTreeSet<Symbol>| a.intersection(b).next().is_some();
        any(&self.written, &next.read) || any(&self.written, &next.written) || any(&self.read, &next.written)
    }

    fn add(&mut self, more: Touched) {
        self.read.extend(more.read);
        self.written.extend(more.written);
    }
}

impl Lowering {
    /// The body of a block loop as one loop over threads, if it consists of phases.
    pub(super) fn phases(&mut self, body: &[Stmt], out: &mut Vec<Inst>) -> bool {
        let Some((thread, axis, count)) = threads(body) else { return false };
        for stmt in body {
            stmt.each(&mut |s| {
                if let Stmt::Alloc { buffer, space: space @ (Space::Shared | Space::Global) } = s {
                    self.block_memory(buffer, *space, out);
                }
            });
        }
        self.limit(&thread, &Dim::from(count));
        let mut inner = Vec::new();
        self.walk(body, &thread, count, &mut Touched::default(), &mut inner);
        out.push(Inst::For {
            var: thread,
            extent: Dim::from(count),
            kind: LoopKind::Thread(axis),
            body: inner,
        });
        true
    }

    fn block_memory(&mut self, buffer: &Buffer, space: Space, out: &mut Vec<Inst>) {
        let name = buffer.name.clone();
        let elements = self.ranges.simplify(&buffer.ty.shape.elements());
        let memory = Memory { name: name.clone(), dtype: buffer.ty.dtype, elements };
        out.push(Inst::Alloc { memory, space });
        self.buffers.insert(name, Place::Memory(buffer.clone()));
    }

    fn walk(&mut self, body: &[Stmt], thread: &Symbol, count: i64, since: &mut Touched, out: &mut Vec<Inst>) {
        for stmt in body {
            if matches!(stmt, Stmt::Alloc { space: Space::Shared | Space::Global, .. }) {
                continue;
            }
            let touches = self.touches(stmt);
            if let (Stmt::For { var, extent, kind: NestKind::Serial, body }, true) = (stmt, has_threads(stmt))
            {
                // What the last iteration touched, the next one meets.
                since.add(touches);
                self.limit(var, extent);
                let mut inner = Vec::new();
                self.walk(body, thread, count, since, &mut inner);
                let extent = self.ranges.simplify(extent);
                out.push(Inst::For { var: var.clone(), extent, kind: LoopKind::Serial, body: inner });
                continue;
            }
            if since.meets(&touches) {
                out.push(Inst::Barrier);
                *since = Touched::default();
            }
            let writes = !touches.written.is_empty();
            since.add(touches);
            match stmt {
                Stmt::For { var, extent, kind: NestKind::Thread(_), body } => {
                    let own: Vec<Stmt> =
                        body.iter().map(|s| s.replace(var, &Dim::sym(thread.clone()))).collect();
                    let extent = extent.as_const().unwrap_or(count);
                    self.limit(thread, &Dim::from(extent));
                    let mut inner = Vec::new();
                    self.block(&own, &mut inner);
                    self.limit(thread, &Dim::from(count));
                    self.for_threads(thread, extent, count, inner, out);
                }
                other => {
                    let mut inner = Vec::new();
                    self.statement(other, false, &mut inner);
                    let active = if writes { 1 } else { count };
                    self.for_threads(thread, active, count, inner, out);
                }
            }
        }
    }

    fn for_threads(
        &mut self,
        thread: &Symbol,
        active: i64,
        count: i64,
        inner: Vec<Inst>,
        out: &mut Vec<Inst>,
    ) {
        if active == count {
            out.extend(inner);
            return;
        }
        let conds = vec![Cond::less(Dim::sym(thread.clone()), Dim::from(active))];
        out.push(Inst::If { conds, then: inner, otherwise: Vec::new() });
    }

    /// The buffers that threads share and a statement touches.
    fn touches(&self, stmt: &Stmt) -> Touched {
        let mut touched = Touched::default();
        let mut own = BTreeSet::new();
        stmt.each(&mut |s| {
            if let Stmt::Alloc { buffer, .. } = s {
                own.insert(buffer.name.clone());
            }
            if let Stmt::Store { targets, combine, .. } = s {
                for target in targets {
                    touched.written.insert(target.buffer.clone());
                    if !matches!(combine, Combine::Replace) {
                        touched.read.insert(target.buffer.clone());
                    }
                }
            }
            s.each_expr(&mut |e| {
                e.each(&mut |inner| {
                    if let Expr::Load(access) = inner {
                        touched.read.insert(access.buffer.clone());
                    }
                });
            });
        });
        let shared =
            |name: &Symbol| !own.contains(name) && matches!(self.buffers.get(name), Some(Place::Memory(_)));
        touched.read.retain(shared);
        touched.written.retain(shared);
        touched
    }
}

/// The name of the first thread loop that stands in no other one, its axis and the most threads; nothing if such
/// loops are of several axes, or there are none.
fn threads(body: &[Stmt]) -> Option<(Symbol, u8, i64)> {
    let mut found = None;
    outermost(body, &mut found).then_some(found?)
}

fn outermost(body: &[Stmt], found: &mut Option<(Symbol, u8, i64)>) -> bool {
    body.iter().all(|stmt| match stmt {
        Stmt::For { var, extent, kind: NestKind::Thread(axis), .. } => {
            let Some(extent) = extent.as_const() else { return false };
            let (_, first, most) = found.get_or_insert_with(|| (var.clone(), *axis, extent));
            *most = extent.max(*most);
            first == axis
        }
        Stmt::For { kind: NestKind::Block(_), .. } => false,
        other => outermost(other.body(), found),
    })
}

fn has_threads(stmt: &Stmt) -> bool {
    let mut found = false;
    stmt.each(&mut |s| found |= matches!(s, Stmt::For { kind: NestKind::Thread(_), .. }));
    found
}

/// The statements with register buffers of all threads made each thread's own: their first axis, which only ever is
/// the thread, is dropped.
pub(super) fn own_registers(body: &[Stmt]) -> Vec<Stmt> {
    let mut candidates = BTreeSet::new();
    body.iter().for_each(|stmt| outside(stmt, &mut candidates));
    let mut vars = Vec::new();
    body.iter().for_each(|stmt| check(stmt, &mut vars, &mut candidates));
    if candidates.is_empty() {
        return body.to_vec();
    }
    body.iter().map(|stmt| dropped(stmt, &candidates)).collect()
}

/// Register buffers with axes that are made inside of block loops and outside of thread loops.
fn outside(stmt: &Stmt, found: &mut BTreeSet<Symbol>) {
    match stmt {
        Stmt::For { kind: NestKind::Thread(_), .. } => {}
        Stmt::For { body, kind, .. } => {
            for inner in body {
                match inner {
                    Stmt::Alloc { buffer, space: Space::Register }
                        if matches!(kind, NestKind::Block(_)) && buffer.ty.shape.rank() > 1 =>
                    {
                        found.insert(buffer.name.clone());
                    }
                    other => outside(other, found),
                }
            }
        }
        _ => {}
    }
}

/// Keeps the candidates whose first index is the thread wherever they are used.
fn check(stmt: &Stmt, threads: &mut Vec<Symbol>, candidates: &mut BTreeSet<Symbol>) {
    match stmt {
        Stmt::For { var, kind, body, .. } => {
            let is_thread = matches!(kind, NestKind::Thread(_));
            if is_thread {
                threads.push(var.clone());
            }
            body.iter().for_each(|s| check(s, threads, candidates));
            if is_thread {
                threads.pop();
            }
        }
        Stmt::If { body, .. } => body.iter().for_each(|s| check(s, threads, candidates)),
        other => {
            let mut used = |access: &Access| {
                let by_thread =
                    access.at.first().and_then(Dim::as_symbol).is_some_and(|s| threads.contains(s));
                if !by_thread {
                    candidates.remove(&access.buffer);
                }
            };
            if let Stmt::Store { targets, .. } = other {
                targets.iter().for_each(&mut used);
            }
            other.each_expr(&mut |e| {
                e.each(&mut |inner| {
                    if let Expr::Load(access) = inner {
                        used(access);
                    }
                });
            });
        }
    }
}

fn dropped(stmt: &Stmt, buffers: &BTreeSet<Symbol>) -> Stmt {
    let keep = |d: &Dim| d.clone();
    let access = |a: &Access| match buffers.contains(&a.buffer) {
        true => Access::new(a.buffer.clone(), a.at[1..].iter().cloned()),
        false => a.clone(),
    };
    let expr = |e: &Expr| {
        let leaf = |leaf: &Expr| match leaf {
            Expr::Load(from) => Expr::Load(access(from)),
            other => other.clone(),
        };
        e.map_leaves(&leaf, &keep)
    };
    let many = |body: &[Stmt]| body.iter().map(|s| dropped(s, buffers)).collect();
    match stmt {
        Stmt::For { var, extent, kind, body } => {
            Stmt::For { var: var.clone(), extent: extent.clone(), kind: *kind, body: many(body) }
        }
        Stmt::If { conds, body } => Stmt::If { conds: conds.clone(), body: many(body) },
        Stmt::Let { name, value } => Stmt::Let { name: name.clone(), value: expr(value) },
        Stmt::Alloc { buffer, space } if buffers.contains(&buffer.name) => {
            let shape = buffer.ty.shape.iter().skip(1).cloned().collect();
            let ty = TensorType::new(buffer.ty.dtype, shape);
            Stmt::Alloc { buffer: Buffer { name: buffer.name.clone(), ty }, space: *space }
        }
        Stmt::Alloc { .. } => stmt.clone(),
        Stmt::Store { targets, values, combine } => Stmt::Store {
            targets: targets.iter().map(access).collect(),
            values: values.iter().map(expr).collect(),
            combine: combine.clone(),
        },
    }
}
