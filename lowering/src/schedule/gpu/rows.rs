//! Rows that are walked along their neighbours: a block for each row, whose threads share the walk and then combine
//! what each of them has.
//!
//! ```text
//! for i in 0..m parallel { acc[] = 0; for k in 0..n { acc[] += x[i, k] }; y[i] = acc[] }
//! ->
//! for block in 0..m block.x {
//!   acc[] = 0
//!   for thread in 0..T thread.x {
//!     own[] = 0; for step in 0..(n - thread + T - 1) / T { own[] += x[block, T*step + thread] }; part[thread] = own[]
//!   }
//!   for thread1 in 0..T/2 thread.x { part[thread1] += part[thread1 + T/2] }
//!   …
//!   acc[] += part[0]
//!   for thread2 in 0..1 thread.x { y[block] = acc[] }
//! }
//! ```

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};

use super::GpuMachine;
use super::loops::{
    Loop, accesses, blocks, chain, digits, parallel_chain, ranges, redirected, replaced, threads, total,
};
use super::sequence::spread;
use crate::graph_to_loops::identity;
use crate::schedule::site::Names;

/// Shorter walks than this are left to one thread.
const SHORT: i64 = 32;

pub(super) fn schedule(nest: &Nest, machine: &GpuMachine) -> Option<Vec<Stmt>> {
    let (loops, body) = parallel_chain(nest);
    let walk = Walk::of(nest, body)?;
    if !walk.is_long() || (!loops.is_empty() && reads_across(nest, &loops, body)) {
        return None;
    }
    let mut rows = Rows {
        names: Names::of(nest),
        count: walk.threads(machine),
        known: ranges(nest, &loops),
        shared: machine.shared_bytes / 2,
        walk,
        out: Vec::new(),
    };
    for stmt in body {
        rows.statement(stmt);
    }
    let block = rows.names.fresh("block");
    let inner = replaced(&rows.out, &digits(&loops, &Dim::sym(block.clone())));
    Some(vec![blocks(&block, total(&loops), inner)])
}

/// What the walks of a row work with.
struct Walk {
    /// Accumulators in registers, with their types.
    kept: FxHashMap<Symbol, DType>,
    /// Buffers of one row.
    rows: Vec<Symbol>,
    /// How many iterations each walk has.
    extents: Vec<Dim>,
}

impl Walk {
    /// The body's parts, if every loop of it can be shared among threads.
    fn of(nest: &Nest, body: &[Stmt]) -> Option<Walk> {
        let mut walk = Walk { kept: FxHashMap::default(), rows: Vec::new(), extents: Vec::new() };
        for stmt in body {
            match stmt {
                Stmt::Alloc { buffer, space: Space::Register } if buffer.ty.shape.rank() == 0 => {
                    walk.kept.insert(buffer.name.clone(), buffer.ty.dtype);
                }
                Stmt::Alloc { buffer, space: Space::Stack } if buffer.ty.shape.rank() == 1 => {
                    walk.rows.push(buffer.name.clone());
                }
                Stmt::Let { .. } | Stmt::Store { combine: Combine::Replace, .. } => {}
                Stmt::For { kind: LoopKind::Serial, .. } => {
                    let (loops, inner) = chain(std::slice::from_ref(stmt), LoopKind::Serial);
                    walk.extents.push(total(&loops));
                    if !walk.is_shareable(nest, &loops, inner) {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        (!walk.extents.is_empty()).then_some(walk)
    }

    /// Whether iterations meet only in accumulators that combine them.
    fn is_shareable(&self, nest: &Nest, loops: &[Loop], body: &[Stmt]) -> bool {
        let combined = self.combined(body);
        let is_output = |name: &Symbol| nest.outputs.iter().any(|b| b.name == *name);
        let mut own = Vec::new();
        for stmt in body {
            stmt.each(&mut |s| {
                if let Stmt::Alloc { buffer, .. } = s {
                    own.push(buffer.name.clone());
                }
            });
        }
        // A combined accumulator is touched by its combination alone, which reads and writes it once.
        let touched = accesses(body);
        let touches = |name: &Symbol| touched.iter().filter(|(a, _)| a.buffer == *name).count();
        let mut direct = true;
        let mut stores_outputs = true;
        for stmt in body {
            stmt.each(&mut |s| {
                let Stmt::Store { targets, combine, .. } = s else { return };
                for target in targets {
                    if self.kept.contains_key(&target.buffer) {
                        direct &= matches!(combine, Combine::With(op) if is_associative(*op));
                    }
                    if is_output(&target.buffer) {
                        stores_outputs &= matches!(combine, Combine::Replace);
                    }
                }
            });
        }
        direct
            && stores_outputs
            && combined.iter().all(|(name, _)| touches(name) == 2)
            && touched.iter().all(|(access, writes)| {
                let name = &access.buffer;
                if own.contains(name) || self.kept.contains_key(name) {
                    return true;
                }
                if self.rows.contains(name) {
                    // What is written here is an iteration's own; what was written before, anyone reads.
                    let written = touched.iter().any(|(a, w)| *w && a.buffer == *name);
                    let at = loops.first().map(|(v, _)| Dim::sym(v.clone()));
                    return !written || (loops.len() == 1 && access.at.first() == at.as_ref());
                }
                is_output(name) == *writes
            })
    }

    /// The accumulators that a body combines into, with how.
    fn combined(&self, body: &[Stmt]) -> Vec<(Symbol, ScalarOp)> {
        let mut found: Vec<(Symbol, ScalarOp)> = Vec::new();
        for stmt in body {
            stmt.each(&mut |s| {
                if let Stmt::Store { targets, combine: Combine::With(op), .. } = s
                    && let [target] = targets.as_slice()
                    && self.kept.contains_key(&target.buffer)
                {
                    found.push((target.buffer.clone(), *op));
                }
            });
        }
        found
    }

    fn is_long(&self) -> bool {
        self.extents.iter().any(|e| e.as_const().is_none_or(|n| n >= SHORT))
    }

    /// As many threads as the longest walk keeps busy.
    fn threads(&self, machine: &GpuMachine) -> i64 {
        let longest = self.extents.iter().map(|e| e.as_const().unwrap_or(512)).max().unwrap_or(1);
        let wanted = (longest / 2).max(1) as u64;
        (wanted.next_power_of_two() as i64).clamp(32, machine.threads)
    }
}

fn is_associative(op: ScalarOp) -> bool {
    use ScalarOp::*;
    matches!(op, Add | Mul | Max | Min | And | Or | Xor)
}

/// Whether neighbouring rows are neighbours in memory, so that a thread for each row reads side by side.
fn reads_across(nest: &Nest, loops: &[Loop], body: &[Stmt]) -> bool {
    let Some((var, extent)) = loops.last() else { return false };
    if extent.is(1) {
        return false;
    }
    let (mut across, mut along) = (false, false);
    for (access, writes) in accesses(body) {
        let Some(buffer) = nest.inputs.iter().find(|b| b.name == access.buffer).filter(|_| !writes) else {
            continue;
        };
        let flat = access.at.iter().zip(buffer.ty.shape.iter()).fold(Dim::ZERO, |f, (i, e)| &(&f * e) + i);
        match flat.affine_in(var) {
            Some((step, _)) if step.is(1) => across = true,
            Some((step, _)) if step.is(0) => {}
            _ => along = true,
        }
    }
    across && !along
}

struct Rows {
    names: Names,
    count: i64,
    known: Ranges,
    /// The most bytes of a row that is shared.
    shared: i64,
    walk: Walk,
    out: Vec<Stmt>,
}

impl Rows {
    fn statement(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Alloc { buffer, space: Space::Stack } => {
                let bytes = &buffer.ty.shape.elements() * &Dim::from(i64::from(buffer.ty.dtype.bits() / 8));
                let fits = self.known.bounds(&bytes).hi <= self.shared;
                let space = if fits { Space::Shared } else { Space::Global };
                self.out.push(Stmt::Alloc { buffer: buffer.clone(), space });
            }
            Stmt::Store { targets, .. } if !self.walk.kept.contains_key(&targets[0].buffer) => {
                let thread = self.names.fresh("thread");
                self.out.push(threads(&thread, 1, vec![stmt.clone()]));
            }
            Stmt::For { .. } => self.shared_walk(stmt),
            other => self.out.push(other.clone()),
        }
    }

    fn shared_walk(&mut self, stmt: &Stmt) {
        let (loops, body) = chain(std::slice::from_ref(stmt), LoopKind::Serial);
        let combined = self.walk.combined(body);
        let (thread, step) = (self.names.fresh("thread"), self.names.fresh("step"));
        let mut own = FxHashMap::default();
        let mut parts = Vec::new();
        let mut before = Vec::new();
        for (name, op) in &combined {
            let dtype = self.walk.kept[name];
            let mine = self.names.fresh(&format!("{name}_own"));
            let part = self.names.fresh(&format!("{name}_part"));
            let buffer = Buffer { name: mine.clone(), ty: TensorType::scalar(dtype) };
            before.push(Stmt::Alloc { buffer, space: Space::Register });
            before.push(Stmt::store(Access::new(mine.clone(), []), identity(*op, dtype)));
            let shape: Shape = [Dim::from(self.count)].into_iter().collect();
            let buffer = Buffer { name: part.clone(), ty: TensorType::new(dtype, shape) };
            self.out.push(Stmt::Alloc { buffer, space: Space::Shared });
            own.insert(name.clone(), mine.clone());
            parts.push((name.clone(), *op, mine, part));
        }
        let mine = |access: &Access| match own.get(&access.buffer) {
            Some(mine) => Access::new(mine.clone(), []),
            None => access.clone(),
        };
        let body: Vec<Stmt> = body.iter().map(|s| redirected(s, &mine)).collect();
        let walk = spread(&loops, &body, &thread, &step, self.count);
        let Stmt::For { extent, body, .. } = walk else { return };
        let active = extent.as_const().unwrap_or(self.count);
        if parts.is_empty() {
            self.out.push(threads(&thread, active, body));
            return;
        }
        // Every thread has a part, also one that has nothing to walk.
        let t = Dim::sym(thread.clone());
        let mut inner = before;
        if active == self.count {
            inner.extend(body);
        } else {
            let conds = vec![tcc_ir::loops::Cond::less(t.clone(), Dim::from(active))];
            inner.push(Stmt::If { conds, body });
        }
        for (_, _, mine, part) in &parts {
            let value = Expr::Load(Access::new(mine.clone(), []));
            inner.push(Stmt::store(Access::new(part.clone(), [t.clone()]), value));
        }
        self.out.push(threads(&thread, self.count, inner));
        self.combine(&parts);
    }

    /// Halves the parts until one is left, and combines it into the accumulator.
    fn combine(&mut self, parts: &[(Symbol, ScalarOp, Symbol, Symbol)]) {
        let mut half = self.count / 2;
        while half >= 1 {
            let thread = self.names.fresh("thread");
            let t = Dim::sym(thread.clone());
            let body = parts.iter().map(|(_, op, _, part)| {
                let other = Access::new(part.clone(), [&t + &Dim::from(half)]);
                Stmt::combine(Access::new(part.clone(), [t.clone()]), Expr::Load(other), Combine::With(*op))
            });
            let body = body.collect();
            self.out.push(threads(&thread, half, body));
            half /= 2;
        }
        for (name, op, _, part) in parts {
            let first = Expr::Load(Access::new(part.clone(), [Dim::ZERO]));
            self.out.push(Stmt::combine(Access::new(name.clone(), []), first, Combine::With(*op)));
        }
    }
}
