//! A block: its warps, their order, and one step of a warp.

use std::collections::BTreeMap;

use super::super::isa::{BarrierOp, ControlOp, Instruction, MatrixOp, Op, WarpOp};
use super::barrier::BlockBarrier;
use super::copy::BulkLoad;
use super::counters::Tally;
use super::fault::{FaultKind, Step, Stop, stop, stop_lane};
use super::global::GlobalMemory;
use super::mbarrier::Mbarrier;
use super::shared::{MAX_AGENTS, SharedMemory};
use super::warp::{Warp, lanes};
use super::{Launch, Releases, convert, float, integer, select, together};

/// The barriers in memory that have an agent of their own; more of them share.
const MBARRIER_AGENTS: usize = 32;
/// Steps of a warp before another one may run.
const TURN: u32 = 48;
/// A turn of at most so many steps that ends in a wait in vain has done nothing but wait.
const SPIN: u32 = 8;

/// A block while it runs.
pub(super) struct Block<'a> {
    pub(super) launch: &'a Launch<'a>,
    pub(super) memory: &'a mut GlobalMemory,
    pub(super) tally: &'a mut Tally,
    /// The blocks that released at an address.
    pub(super) releases: &'a mut Releases,
    /// Its number in the grid.
    pub(super) index: u32,
    pub(super) shared: SharedMemory,
    pub(super) warps: Vec<Warp>,
    pub(super) barriers: [BlockBarrier; 16],
    pub(super) mbarriers: BTreeMap<u32, Mbarrier>,
    pub(super) loads: Vec<BulkLoad>,
    /// Whether the step waited for something in vain.
    pub(super) waited: bool,
    pub(super) agents: usize,
    random: u64,
}

/// A fault with the instruction and the warp.
pub(super) type Failure = (Box<Stop>, usize, usize);

impl<'a> Block<'a> {
    pub(super) fn new(
        launch: &'a Launch<'a>,
        memory: &'a mut GlobalMemory,
        tally: &'a mut Tally,
        releases: &'a mut Releases,
        index: u32,
        place: [u32; 3],
    ) -> Block<'a> {
        let count = (launch.block.iter().product::<u32>() as usize).div_ceil(32);
        let agents = 2 * count + count.div_ceil(4) + MBARRIER_AGENTS;
        debug_assert!(agents <= MAX_AGENTS);
        let races = launch.options.races;
        Block {
            launch,
            memory,
            tally,
            releases,
            index,
            shared: SharedMemory::new(launch.shared_bytes, agents, count, launch.grain, races),
            warps: (0..count).map(|w| Warp::new(launch, place, w, agents)).collect(),
            barriers: std::array::from_fn(|_| BlockBarrier::new(agents)),
            mbarriers: BTreeMap::new(),
            loads: Vec::new(),
            waited: false,
            agents,
            random: launch.options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(index) << 17 | 1,
        }
    }

    /// The agent for the products of a warp's warpgroup.
    pub(super) fn product_agent(&self, warp: usize) -> usize {
        self.warps.len() + warp / 4
    }

    /// The agent for the bulk stores of a warp.
    pub(super) fn store_agent(&self, warp: usize) -> usize {
        self.warps.len() + self.warps.len().div_ceil(4) + warp
    }

    /// The agent for the copies that complete on a barrier in memory.
    pub(super) fn mbarrier_agent(&self, number: usize) -> usize {
        self.agents - MBARRIER_AGENTS + number % MBARRIER_AGENTS
    }

    fn draw(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % below.max(1)
    }

    /// Runs all warps to their ends.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        let mut steps = 0u64;
        let mut idle_turns = 0;
        loop {
            let can_run = |w: &&Warp| w.alive != 0 && w.waits_at.is_none();
            let ready: Vec<usize> = self.warps.iter().filter(can_run).map(|w| w.index).collect();
            let stuck = ready.is_empty() || idle_turns > 4 * (self.warps.len() + 1);
            if !self.loads.is_empty() && (stuck || self.draw(32) == 0) {
                let load = self.draw(self.loads.len());
                let (pc, warp) = (self.loads[load].pc, self.loads[load].warp);
                self.finish_load(load).map_err(|s| (s, pc, warp))?;
                idle_turns = 0;
                continue;
            }
            if ready.is_empty() {
                let Some(warp) = self.warps.iter().find(|w| w.alive != 0) else {
                    return self.end();
                };
                return Err(self.deadlock(warp.index, "every warp waits at a barrier"));
            }
            if idle_turns > 64 * (self.warps.len() + 1) {
                return Err(self.deadlock(ready[0], "every warp waits for something that never happens"));
            }
            let warp = ready[self.draw(ready.len())];
            let mut turn = 0;
            while turn < TURN && self.warps[warp].alive != 0 && self.warps[warp].waits_at.is_none() {
                self.waited = false;
                turn += 1;
                self.step(warp)?;
                if self.waited {
                    break;
                }
            }
            idle_turns = if self.waited && turn <= SPIN { idle_turns + 1 } else { 0 };
            steps += u64::from(turn);
            if steps > self.launch.options.max_steps {
                let message = format!("more than {} steps", self.launch.options.max_steps);
                return Err(self.deadlock(warp, &message));
            }
        }
    }

    /// What must hold when all threads have ended.
    fn end(&self) -> Result<(), Failure> {
        let last = self.launch.kernel.code.len().saturating_sub(1);
        for warp in &self.warps {
            let copies = !warp.copies.is_empty();
            let stores = !warp.stores.is_empty();
            if copies || stores || !warp.pending.is_empty() {
                let what = if copies {
                    "cp.async"
                } else if stores {
                    "cp.async.bulk"
                } else {
                    "wgmma"
                };
                let fault = stop::<()>(
                    FaultKind::MissingWait,
                    format!("expected a wait for {what} before the end of the block"),
                );
                return fault.map_err(|s| (s, last, warp.index));
            }
        }
        Ok(())
    }

    fn deadlock(&self, warp: usize, why: &str) -> Failure {
        let at: Vec<String> = self
            .warps
            .iter()
            .filter(|w| w.alive != 0)
            .map(|w| {
                let pc =
                    w.pc[w.alive.trailing_zeros() as usize].saturating_sub(u32::from(w.waits_at.is_some()));
                let line = self.launch.kernel.code.get(pc as usize).map_or(0, |i| i.line);
                format!("warp {} at line {line}", w.index)
            })
            .collect();
        let waiting = &self.warps[warp];
        let pc = waiting.pc[waiting.alive.trailing_zeros() as usize] as usize;
        let message = format!("{why}: {}", at.join(", "));
        let pc = pc.saturating_sub(usize::from(waiting.waits_at.is_some()));
        (Box::new(Stop { kind: FaultKind::Deadlock, lane: None, message }), pc, warp)
    }

    /// One instruction of one group of lanes.
    fn step(&mut self, warp: usize) -> Result<(), Failure> {
        let kernel = self.launch.kernel;
        let (pc, group) = self.choose(warp)?;
        let Some(instruction) = kernel.code.get(pc as usize) else {
            self.exit(warp, group);
            return Ok(());
        };
        let fail = |s| (s, pc as usize, warp);
        let mask = self.guarded(warp, instruction, group).map_err(fail)?;
        let executed = &mut self.tally.executed[pc as usize];
        executed.0 += 1;
        executed.1 += u64::from(mask.count_ones());
        let state = &mut self.warps[warp];
        let branches = matches!(instruction.op, Op::Control(ControlOp::Branch));
        if state.converged && (!branches || mask == 0 || mask == group) {
            state.pc = [if branches && mask != 0 { instruction.target } else { pc + 1 }; 32];
        } else {
            for lane in lanes(group) {
                let taken = branches && mask >> lane & 1 == 1;
                state.pc[lane] = if taken { instruction.target } else { pc + 1 };
            }
            let first = state.pc[state.alive.trailing_zeros() as usize];
            state.converged = lanes(state.alive).all(|l| state.pc[l] == first);
        }
        if mask == 0 || branches {
            return Ok(());
        }
        self.execute(warp, instruction, pc, mask).map_err(fail)
    }

    /// The group of lanes that runs next: the one at the lowest instruction that can run.
    fn choose(&mut self, warp: usize) -> Result<(u32, u32), Failure> {
        let state = &mut self.warps[warp];
        let passes_over = state.passes_over.take();
        let state = &self.warps[warp];
        let first = state.pc[state.alive.trailing_zeros() as usize];
        let mut pcs = smallvec::SmallVec::<[u32; 4]>::new();
        if state.converged {
            pcs.push(first);
        } else {
            pcs.extend(lanes(state.alive).map(|l| state.pc[l]));
            pcs.sort_unstable();
            pcs.dedup();
            if let Some(last) = passes_over.filter(|_| pcs.len() > 1) {
                pcs.retain(|pc| *pc != last);
            }
        }
        let mut refused = None;
        for pc in pcs {
            let group = if state.converged {
                state.alive
            } else {
                lanes(state.alive).filter(|l| state.pc[*l] == pc).fold(0, |m, l| m | 1 << l)
            };
            let Some(instruction) = self.launch.kernel.code.get(pc as usize) else {
                return Ok((pc, group));
            };
            let missing = needed(state, instruction, group) & !group;
            if missing == 0 {
                return Ok((pc, group));
            }
            refused.get_or_insert((pc, missing));
        }
        let (pc, missing) = refused.expect("a warp that runs has lanes, and they are somewhere");
        let message =
            format!("expected lanes {missing:#010x} at the same instruction, which they never reach");
        let fault = stop::<()>(FaultKind::DivergentCollective, message);
        Err((fault.expect_err("a stop is an error"), pc as usize, warp))
    }

    /// The lanes for which the guard holds.
    fn guarded(&self, warp: usize, instruction: &Instruction, group: u32) -> Step<u32> {
        let Some(guard) = instruction.guard else {
            return Ok(group);
        };
        self.check_ready(warp, guard.slot, group)?;
        let row = self.warps[warp].row(guard.slot);
        let holds = (0..32).fold(0, |m, l| m | ((row[l] & 1) as u32) << l);
        Ok(group & if guard.negated { !holds } else { holds })
    }

    pub(super) fn check_ready(&self, warp: usize, slot: u32, mask: u32) -> Step {
        let missing = mask & !self.warps[warp].ready[slot as usize];
        if missing == 0 {
            return Ok(());
        }
        let names = &self.launch.kernel.names;
        let name = names.iter().find(|(s, _)| *s == slot).map_or("_", |(_, n)| n);
        let lane = missing.trailing_zeros() as usize;
        stop_lane(FaultKind::UninitialisedRegister, lane, format!("expected a value in {name}"))
    }

    fn execute(&mut self, warp: usize, instruction: &'a Instruction, pc: u32, mask: u32) -> Step {
        let missing = needed(&self.warps[warp], instruction, mask) & !mask;
        if missing != 0 {
            let message = format!("expected lanes {missing:#010x} to execute it too");
            return stop(FaultKind::DivergentCollective, message);
        }
        for slot in &instruction.read {
            self.check_ready(warp, *slot, mask)?;
        }
        if !self.warps[warp].pending.is_empty() {
            self.check_pending(warp, instruction)?;
        }
        let state = &mut self.warps[warp];
        match &instruction.op {
            Op::Integer(op) => integer::run(state, instruction, *op, mask),
            Op::Float(op) => float::run(state, instruction, *op, mask),
            Op::Convert(op) => convert::run(state, instruction, *op, mask),
            Op::Select(op) => select::run(state, instruction, *op, mask),
            Op::Memory(op) => self.memory_access(warp, instruction, *op, mask)?,
            Op::Control(op) => match op {
                ControlOp::Exit => self.exit(warp, mask),
                ControlOp::Trap => return stop(FaultKind::Trap, "expected no trap"),
                ControlOp::Branch | ControlOp::SetMaxRegisters | ControlOp::Nothing => {}
            },
            Op::Barrier(op) => self.barrier(warp, instruction, *op, mask)?,
            Op::Copy(op) => self.copy(warp, instruction, *op, pc, mask)?,
            Op::Matrix(op) => self.matrix(warp, instruction, *op, pc)?,
            Op::Warp(op) => together::run(state, instruction, *op, mask)?,
        }
        let state = &mut self.warps[warp];
        for slot in &instruction.written {
            state.ready[*slot as usize] |= mask;
        }
        if self.launch.has_products && !matches!(instruction.op, Op::Matrix(MatrixOp::GroupMultiply { .. })) {
            for slot in &instruction.written {
                state.unfenced[*slot as usize] = true;
            }
        }
        Ok(())
    }

    /// Lanes end; barriers may be complete without them.
    fn exit(&mut self, warp: usize, mask: u32) {
        let state = &mut self.warps[warp];
        state.alive &= !mask;
        let first = state.pc[state.alive.trailing_zeros() as usize % 32];
        state.converged = lanes(state.alive).all(|l| state.pc[l] == first);
        if state.alive == 0 {
            for barrier in 0..self.barriers.len() {
                self.release_barrier(barrier);
            }
        }
    }
}

/// The lanes that must be at an instruction for it to run.
fn needed(warp: &Warp, instruction: &Instruction, group: u32) -> u32 {
    match &instruction.op {
        Op::Matrix(_) | Op::Control(ControlOp::SetMaxRegisters) => u32::MAX,
        Op::Barrier(BarrierOp::Block { .. }) => warp.launched,
        Op::Warp(op) => {
            let Some(operand) = mask_operand(*op, instruction) else { return 0 };
            warp.value(instruction, operand, group.trailing_zeros() as usize) as u32 & warp.alive
        }
        _ => 0,
    }
}

/// The operand that names the lanes.
fn mask_operand(op: WarpOp, instruction: &Instruction) -> Option<usize> {
    match op {
        WarpOp::Active => None,
        _ => Some(instruction.sources.len() - 1),
    }
}
