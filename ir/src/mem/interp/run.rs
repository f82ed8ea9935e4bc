//! Runs instructions. A walk through the program is data, so that a thread can wait at a barrier.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::code::{Barrier, Code, Copy, Lanes, Matrix, Place, Tile, Value};
use super::elements::Moved;
use super::{Elements, InterpError, MAX_LANES, Thread};
use crate::dim::{SlotDim as Index, Symbol};
use crate::dtype::Scalar;
use crate::loops::Space;
use crate::mem::LoopKind;
use crate::scalar::ScalarOp;

/// More work than this is beyond what an interpreter is for: iterations, lanes and products of tiles.
const MAX_STEPS: u64 = 1 << 34;

/// One walk through the program: the main one, or that of a thread from its loop to the end of that loop.
pub(super) struct Context<'c> {
    frames: Vec<Frame<'c>>,
    pub(super) regs: Vec<Scalar>,
    pub(super) indices: Vec<i64>,
    pub(super) memories: Vec<usize>,
    thread: Thread,
    /// The threads of a loop of this walk that wait at a barrier, each with its iteration.
    waiting: Vec<(i64, Context<'c>)>,
    /// Of that loop.
    threads_of: Option<&'c Symbol>,
    /// The groups of copies of this walk that are under way, oldest first; the last one is not committed.
    copies: VecDeque<Vec<Moved>>,
}

/// A block of instructions that is being run.
struct Frame<'c> {
    body: &'c [Code],
    at: usize,
    looped: Option<Looped>,
    /// The buffers made in it.
    owned: Vec<usize>,
}

struct Looped {
    slot: usize,
    extent: i64,
    kind: LoopKind,
}

/// Why a walk stopped.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    Waits(Barrier),
    Ended,
}

impl<'c> Context<'c> {
    pub(super) fn new(body: &'c [Code], lanes: usize, indices: usize, memories: usize) -> Self {
        Context {
            frames: vec![Frame { body, at: 0, looped: None, owned: Vec::new() }],
            regs: vec![Scalar::Int(0); lanes],
            indices: vec![0; indices],
            memories: vec![0; memories],
            thread: [-1; 3],
            waiting: Vec::new(),
            threads_of: None,
            copies: VecDeque::from([Vec::new()]),
        }
    }

    fn thread(&self, body: &'c [Code], axis: u8, slot: usize, iteration: i64) -> Self {
        let mut thread = Context {
            frames: vec![Frame { body, at: 0, looped: None, owned: Vec::new() }],
            regs: self.regs.clone(),
            indices: self.indices.clone(),
            memories: self.memories.clone(),
            thread: self.thread,
            waiting: Vec::new(),
            threads_of: None,
            copies: VecDeque::from([Vec::new()]),
        };
        thread.indices[slot] = iteration;
        thread.thread[usize::from(axis).min(2)] = iteration;
        thread
    }

    /// Where nobody could wait for them any more.
    fn expect_no_copies(&self) -> Result<(), InterpError> {
        match self.copies.iter().filter(|group| !group.is_empty()).count() {
            0 => Ok(()),
            groups => Err(InterpError::LeftInFlight { groups }),
        }
    }

    fn eval(&self, index: &Index) -> i64 {
        index.eval(&|slot| self.indices[slot])
    }

    fn holds(&self, conds: &[(Index, Index)]) -> bool {
        conds.iter().all(|(left, right)| self.eval(left) < self.eval(right))
    }

    fn enter(&mut self, body: &'c [Code], looped: Option<Looped>) {
        self.frames.push(Frame { body, at: 0, looped, owned: Vec::new() });
    }
}

pub(super) struct Machine {
    pub(super) elements: Elements,
    steps: u64,
    /// The lanes of the threads that wait.
    held: usize,
}

impl Machine {
    pub(super) fn new(elements: Elements) -> Self {
        Machine { elements, steps: 0, held: 0 }
    }

    /// Runs the main walk; outside of threads there is nobody to wait for.
    pub(super) fn run(&mut self, mut context: Context<'_>) -> Result<(), InterpError> {
        while let Stop::Waits(_) = self.resume(&mut context)? {
            self.elements.end_phase();
        }
        Ok(())
    }

    fn spend(&mut self, steps: u64) -> Result<(), InterpError> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > MAX_STEPS {
            return Err(InterpError::Size(format!("expected at most {MAX_STEPS} steps, got more")));
        }
        Ok(())
    }

    /// Walks on to the next barrier or the end.
    fn resume<'c>(&mut self, context: &mut Context<'c>) -> Result<Stop, InterpError> {
        if let stop @ Stop::Waits(_) = self.resume_threads(context)? {
            return Ok(stop);
        }
        while let Some(frame) = context.frames.last_mut() {
            let Some(code) = frame.body.get(frame.at) else {
                self.leave(context)?;
                continue;
            };
            frame.at += 1;
            match code {
                Code::For { slot, var, extent, kind, body } => {
                    let extent = context.eval(extent);
                    self.spend(extent.max(0) as u64)?;
                    if let LoopKind::Thread(axis) = kind {
                        let stop = self.start_threads(context, body, (*axis, *slot, var), extent)?;
                        if stop != Stop::Ended {
                            return Ok(stop);
                        }
                    } else if extent > 0 {
                        if *kind != LoopKind::Serial {
                            self.elements.begin_concurrent(var);
                        }
                        if matches!(kind, LoopKind::Block(_)) {
                            self.elements.end_phase();
                        }
                        context.indices[*slot] = 0;
                        context.enter(body, Some(Looped { slot: *slot, extent, kind: *kind }));
                    }
                }
                Code::If { conds, then, otherwise } => {
                    let body = if context.holds(conds) { then } else { otherwise };
                    context.enter(body, None);
                }
                Code::Barrier(barrier) => return Ok(Stop::Waits(*barrier)),
                Code::Alloc { slot, name, dtype, elements, space } => {
                    let elements = context.eval(elements);
                    let shared = matches!(space, Space::Global | Space::Shared);
                    let buffer = self.elements.make(name, *dtype, elements, shared)?;
                    self.spend(elements.unsigned_abs())?;
                    context.memories[*slot] = buffer;
                    if let Some(frame) = context.frames.last_mut() {
                        frame.owned.push(buffer);
                    }
                }
                Code::Bind { slot, from } => {
                    context.indices[*slot] = context.regs[from.start].to_i128() as i64;
                }
                Code::Set { to, value } => self.set(context, *to, value)?,
                Code::Store { place, from } => self.store(context, place, *from)?,
                Code::Tile(tile) => self.tile(context, tile)?,
                Code::Copy(copy) => self.copy(context, copy)?,
                Code::Commit => context.copies.push_back(Vec::new()),
                Code::Wait { pending } => {
                    while context.copies.len() > pending.saturating_add(1) {
                        for moved in context.copies.pop_front().unwrap_or_default() {
                            self.elements.arrive(context.thread, &moved)?;
                        }
                    }
                }
            }
        }
        context.expect_no_copies()?;
        Ok(Stop::Ended)
    }

    /// At the end of a block: the next iteration, or what stands behind it.
    fn leave(&mut self, context: &mut Context<'_>) -> Result<(), InterpError> {
        self.spend(1)?;
        if context
            .frames
            .last()
            .is_some_and(|f| f.looped.as_ref().is_some_and(|l| l.kind != LoopKind::Serial))
        {
            context.expect_no_copies()?;
        }
        let Some(frame) = context.frames.last_mut() else { return Ok(()) };
        frame.owned.drain(..).for_each(|buffer| self.elements.release(buffer));
        if let Some(looped) = &frame.looped {
            let next = context.indices[looped.slot] + 1;
            let (more, kind) = (next < looped.extent, looped.kind);
            if matches!(kind, LoopKind::Block(_)) {
                self.elements.end_phase();
            }
            if more {
                context.indices[looped.slot] = next;
                frame.at = 0;
                if kind != LoopKind::Serial {
                    self.elements.set_iteration(next);
                }
                return Ok(());
            }
            if kind != LoopKind::Serial {
                self.elements.end_concurrent();
            }
        }
        context.frames.pop();
        Ok(())
    }

    /// Runs every iteration of a thread loop to its first barrier or its end; one that ends needs no memory.
    fn start_threads<'c>(
        &mut self,
        context: &mut Context<'c>,
        body: &'c [Code],
        (axis, slot, var): (u8, usize, &'c Symbol),
        extent: i64,
    ) -> Result<Stop, InterpError> {
        let mut all = None;
        for i in 0..extent {
            self.spend(context.regs.len() as u64)?;
            let mut thread = context.thread(body, axis, slot, i);
            let stop = self.resume(&mut thread)?;
            agree(&mut all, (i, stop), var)?;
            if stop != Stop::Ended {
                self.held += thread.regs.len() + thread.indices.len() + thread.memories.len();
                if self.held > MAX_LANES {
                    let message = format!("expected threads to hold at most {MAX_LANES} lanes, got more");
                    return Err(InterpError::Size(message));
                }
                context.waiting.push((i, thread));
            }
        }
        context.threads_of = Some(var);
        Ok(all.map_or(Stop::Ended, |(_, stop)| stop))
    }

    /// Runs the threads that wait to their next barrier or their end.
    fn resume_threads(&mut self, context: &mut Context<'_>) -> Result<Stop, InterpError> {
        let Some(var) = context.threads_of else { return Ok(Stop::Ended) };
        let mut all = None;
        for (i, thread) in &mut context.waiting {
            let stop = self.resume(thread)?;
            agree(&mut all, (*i, stop), var)?;
        }
        let stop = all.map_or(Stop::Ended, |(_, stop)| stop);
        if stop == Stop::Ended {
            for (_, thread) in context.waiting.drain(..) {
                self.held -= thread.regs.len() + thread.indices.len() + thread.memories.len();
            }
        }
        Ok(stop)
    }

    fn set(&mut self, context: &mut Context<'_>, to: Lanes, value: &Value) -> Result<(), InterpError> {
        self.spend(to.count as u64)?;
        match value {
            Value::Const(value) => context.regs[to.start..to.start + to.count].fill(*value),
            Value::Index { base, step } => {
                let (base, step) = (context.eval(base), context.eval(step));
                for lane in 0..to.count {
                    let value = base.wrapping_add(step.wrapping_mul(lane as i64));
                    context.regs[to.start + lane] = Scalar::from(value);
                }
            }
            Value::Load(place) => {
                let buffer = context.memories[place.memory];
                let (at, active) = lanes_of(context, place, to.count);
                for lane in 0..to.count {
                    context.regs[to.start + lane] = if lane < active {
                        self.elements.read(context.thread, buffer, at(lane))?
                    } else {
                        Scalar::zero(to.dtype)
                    };
                }
            }
            Value::Copy(from) => map(context, to, *from, |value| value),
            Value::Op(op, args, dtype) => {
                for lane in 0..to.count {
                    let operands: SmallVec<[Scalar; 3]> =
                        args.iter().map(|a| context.regs[a.start + lane]).collect();
                    context.regs[to.start + lane] = op.eval(&operands, *dtype);
                }
            }
            Value::Cast(from, saturate) => {
                map(context, to, *from, |value| value.cast(from.dtype, to.dtype, *saturate));
            }
            Value::Bitcast(from) => {
                map(context, to, *from, |value| to.dtype.decode_bits(from.dtype.encode_bits(value)));
            }
            Value::Extract(lane) => {
                let value = context.regs[*lane];
                context.regs[to.start..to.start + to.count].fill(value);
            }
            Value::Lanes(first) => context.regs.copy_within(*first..*first + to.count, to.start),
        }
        Ok(())
    }

    fn store(&mut self, context: &Context<'_>, place: &Place, from: Lanes) -> Result<(), InterpError> {
        self.spend(from.count as u64)?;
        let buffer = context.memories[place.memory];
        let (at, active) = lanes_of(context, place, from.count);
        for lane in 0..active {
            self.elements.write(context.thread, buffer, at(lane), context.regs[from.start + lane])?;
        }
        Ok(())
    }

    fn copy(&mut self, context: &mut Context<'_>, copy: &Copy) -> Result<(), InterpError> {
        self.spend(2 * copy.count as u64)?;
        let [(to, to_start), (from, from_start)] =
            [&copy.to, &copy.from].map(|(slot, offset)| (context.memories[*slot], context.eval(offset)));
        let active = active_of(context, copy.active.as_ref(), copy.count);
        for i in 0..copy.count {
            let source = (i < active).then(|| (from, from_start.saturating_add(i as i64)));
            let moved = Moved { to: (to, to_start.saturating_add(i as i64)), from: source };
            self.elements.depart(context.thread, &moved)?;
            if let Some(open) = context.copies.back_mut() {
                open.push(moved);
            }
        }
        Ok(())
    }

    /// A sum of products in the order of `k`, each rounded to the type of the result.
    fn tile(&mut self, context: &Context<'_>, tile: &Tile) -> Result<(), InterpError> {
        let [m, n, k] = [0, 1, 2].map(|i| context.eval(&tile.extents[i]).max(0));
        let (rows, columns) = tile.shape;
        if m > i64::from(rows) || n > i64::from(columns) {
            let message = format!("expected a tile of at most {rows}x{columns}, got {m}x{n}");
            return Err(InterpError::Size(message));
        }
        self.spend((m as u64).saturating_mul(n as u64).saturating_mul(1 + k as u64))?;
        let [a, b, c] = [&tile.a, &tile.b, &tile.c].map(|matrix| Located::new(context, matrix));
        let dtypes = [&a, &b, &c].map(|matrix| self.elements.dtype(matrix.buffer));
        let dtype = dtypes[2];
        for i in 0..m {
            for j in 0..n {
                let mut sum = match tile.accumulate {
                    true => self.elements.read(context.thread, c.buffer, c.at(i, j))?,
                    false => Scalar::zero(dtype),
                };
                for p in 0..k {
                    let left = self.elements.read(context.thread, a.buffer, a.at(i, p))?;
                    let place = b.at(p / tile.group, j).wrapping_add(p % tile.group);
                    let right = self.elements.read(context.thread, b.buffer, place)?;
                    let factors = [left.cast(dtypes[0], dtype, false), right.cast(dtypes[1], dtype, false)];
                    sum = ScalarOp::Add.eval(&[sum, ScalarOp::Mul.eval(&factors, dtype)], dtype);
                }
                self.elements.write(context.thread, c.buffer, c.at(i, j), sum)?;
            }
        }
        Ok(())
    }
}

/// All threads of a loop stop alike.
fn agree(all: &mut Option<(i64, Stop)>, one: (i64, Stop), var: &Symbol) -> Result<(), InterpError> {
    let (first, stop) = *all.get_or_insert(one);
    if stop == one.1 { Ok(()) } else { Err(InterpError::Diverged { var: var.clone(), first, second: one.0 }) }
}

/// The element of each lane, and how many first lanes are active.
fn lanes_of(context: &Context<'_>, place: &Place, count: usize) -> (impl Fn(usize) -> i64 + use<>, usize) {
    let (offset, stride) = (context.eval(&place.offset), context.eval(&place.stride));
    let active = active_of(context, place.active.as_ref(), count);
    (move |lane| offset.saturating_add(stride.saturating_mul(lane as i64)), active)
}

fn active_of(context: &Context<'_>, active: Option<&Index>, count: usize) -> usize {
    let limit = |active| usize::try_from(context.eval(active).max(0)).map_or(count, |n| n.min(count));
    active.map_or(count, limit)
}

/// Assigns lane by lane; a scalar fills every lane.
fn map(context: &mut Context<'_>, to: Lanes, from: Lanes, value: impl Fn(Scalar) -> Scalar) {
    for lane in 0..to.count {
        let source = from.start + if from.count == 1 { 0 } else { lane };
        context.regs[to.start + lane] = value(context.regs[source]);
    }
}

/// A matrix whose place is known.
struct Located {
    buffer: usize,
    offset: i64,
    row: i64,
    column: i64,
}

impl Located {
    fn new(context: &Context<'_>, matrix: &Matrix) -> Located {
        Located {
            buffer: context.memories[matrix.memory],
            offset: context.eval(&matrix.offset),
            row: context.eval(&matrix.row),
            column: context.eval(&matrix.column),
        }
    }

    fn at(&self, i: i64, j: i64) -> i64 {
        self.offset.saturating_add(self.row.saturating_mul(i)).saturating_add(self.column.saturating_mul(j))
    }
}
