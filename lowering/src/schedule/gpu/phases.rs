//! Bodies that compute in steps on buffers of their own: a block for each body, whose threads share the iterations of
//! every loop that can run in any order; what must follow each other stays a loop around such phases.
//!
//! ```text
//! for i in 0..m parallel {
//!   alloc row: f32[n] in stack
//!   for k in 0..p { for j in 0..n { row[j] = f(k, i, j) }; for j1 in 0..n { y[i, j1] += row[j1] } }
//! }
//! ->
//! for block in 0..m block.x {
//!   alloc row: f32[n] in shared
//!   for k in 0..p {
//!     for thread in 0..n thread.x { row[thread] = f(k, block, thread) }
//!     for thread1 in 0..n thread.x { y[block, thread1] += row[thread1] }
//!   }
//! }
//! ```

use tcc_ir::dim::{Dim, Ranges};
use tcc_ir::loops::{LoopKind, Nest, Space, Stmt};

use super::GpuMachine;
use super::loops::{Loop, blocks, chain, digits, parallel_chain, ranges, replaced, total};
use super::sequence::spread;
use crate::schedule::independence::shared;
use crate::schedule::site::{Names, limit};

pub(super) fn schedule(nest: &Nest, machine: &GpuMachine) -> Option<Vec<Stmt>> {
    let (loops, body) = parallel_chain(nest);
    // Without buffers of its own, a body is as well done by one thread.
    if !body.iter().any(|s| matches!(s, Stmt::Alloc { space: Space::Stack, .. })) {
        return None;
    }
    let mut phases = Phases {
        nest,
        names: Names::of(nest),
        threads: machine.threads,
        free: machine.shared_bytes,
        known: ranges(nest, &loops),
    };
    let out = phases.block(body)?;
    let block = phases.names.fresh("block");
    let index = Dim::sym(block.clone());
    let at = if loops.is_empty() { Vec::new() } else { digits(&loops, &index) };
    Some(vec![blocks(&block, total(&loops), replaced(&out, &at))])
}

struct Phases<'n> {
    nest: &'n Nest,
    names: Names,
    threads: i64,
    /// The bytes of shared memory that are left.
    free: i64,
    known: Ranges,
}

impl Phases<'_> {
    /// Statements as phases; nothing if one of them is for a single thread.
    fn block(&mut self, body: &[Stmt]) -> Option<Vec<Stmt>> {
        let mut out = Vec::with_capacity(body.len());
        for stmt in body {
            out.push(match stmt {
                Stmt::Alloc { buffer, space: Space::Stack } => {
                    let bits = &buffer.ty.shape.elements() * &Dim::from(i64::from(buffer.ty.dtype.bits()));
                    let bytes = self.known.bounds(&bits.ceil_div(&Dim::from(8i64))).hi;
                    let fits = bytes <= self.free;
                    let space = if fits { Space::Shared } else { Space::Global };
                    self.free -= if fits { bytes } else { 0 };
                    Stmt::Alloc { buffer: buffer.clone(), space }
                }
                Stmt::Let { .. } => stmt.clone(),
                Stmt::For { kind: LoopKind::Serial, .. } => self.phase(stmt)?,
                _ => return None,
            });
        }
        Some(out)
    }

    fn phase(&mut self, stmt: &Stmt) -> Option<Stmt> {
        let (loops, _) = chain(std::slice::from_ref(stmt), LoopKind::Serial);
        let mut known = self.known.clone();
        let mut free: Vec<Loop> = Vec::new();
        let mut inner = std::slice::from_ref(stmt);
        for (var, extent) in loops {
            let [Stmt::For { body, .. }] = inner else { break };
            limit(&mut known, &var, &extent);
            // Loops are shared as one, so that their extents must hold for all of their iterations.
            let varies = free.iter().any(|(outer, _)| extent.mentions(outer));
            if varies || shared(self.nest, &var, body, &[], &known).is_some() {
                break;
            }
            free.push((var, extent));
            inner = body;
        }
        if !free.is_empty() {
            let (thread, step) = (self.names.fresh("thread"), self.names.fresh("step"));
            return Some(spread(&free, inner, &thread, &step, self.threads));
        }
        let Stmt::For { var, extent, kind, body } = stmt else { return None };
        let before = self.known.clone();
        limit(&mut self.known, var, extent);
        let body = self.block(body);
        self.known = before;
        Some(Stmt::For { var: var.clone(), extent: extent.clone(), kind: *kind, body: body? })
    }
}
