//! Barriers in shared memory: arrivals of threads and bytes of copies complete their phases.

use super::super::isa::{Instruction, MbarrierOp};
use super::block::Block;
use super::fault::{FaultKind, Step, stop, stop_lane};
use super::shared::{Agent, Clocks};
use super::warp::lanes;

/// A barrier in memory.
pub(super) struct Mbarrier {
    /// Its number, for its agent.
    number: usize,
    /// Who initialised it, and when.
    owner: (usize, u32),
    /// Whether the asynchronous units know that it is initialised.
    fenced: bool,
    expected: u32,
    /// Arrivals that the phase still waits for.
    pending: i64,
    /// Bytes that it still waits for; below zero if they came before they were expected.
    bytes: i64,
    /// The phases that are complete.
    phase: u32,
    /// What the arrivals of the phase were ordered behind.
    arriving: Clocks,
    /// The same of the last phase that is complete.
    complete: Clocks,
}

/// The most arrivals and bytes of a phase.
const MAX_COUNT: i64 = (1 << 20) - 1;

impl Block<'_> {
    pub(super) fn mbarrier(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        op: MbarrierOp,
        mask: u32,
    ) -> Step {
        // An arrival has its destination before the address; the address is the first source of all.
        for lane in lanes(mask) {
            let address = self.warps[warp].shared_address(instruction, 0, lane);
            self.shared.check_place(address, 8).map_err(|s| s.of_lane(lane))?;
            let address = address as u32;
            let operand = |block: &Self, index: usize| block.warps[warp].value(instruction, index, lane);
            match op {
                MbarrierOp::Init => {
                    let count = operand(self, 1) as u32;
                    self.init(warp, lane, address, count)?;
                }
                MbarrierOp::Invalidate => {
                    self.known(warp, lane, address)?;
                    self.mbarriers.remove(&address);
                }
                MbarrierOp::Expect => {
                    let bytes = i64::from(operand(self, 1) as u32);
                    self.known(warp, lane, address)?.bytes += bytes;
                }
                MbarrierOp::Arrive { expects, counted } => {
                    let value = if expects || counted { i64::from(operand(self, 1) as u32) } else { 0 };
                    self.known(warp, lane, address)?;
                    self.release(warp, mask, address);
                    let barrier = self.known(warp, lane, address)?;
                    if expects {
                        barrier.bytes += value;
                    }
                    barrier.pending -= if counted { value } else { 1 };
                    if barrier.pending < 0 || barrier.bytes.abs() > MAX_COUNT {
                        let message = format!(
                            "expected {} arrivals of a phase and at most {MAX_COUNT} bytes, got more",
                            barrier.expected
                        );
                        return stop_lane(FaultKind::InvalidOperation, lane, message);
                    }
                    let phase = barrier.phase;
                    if let Some(slot) = instruction.written.first() {
                        self.warps[warp].row_mut(*slot)[lane] = u64::from(phase);
                    }
                    self.complete_phase(address);
                }
                MbarrierOp::Wait => {
                    let parity = operand(self, 1) as u32;
                    if parity > 1 {
                        let message = format!("expected a parity of 0 or 1, got {parity}");
                        return stop_lane(FaultKind::InvalidOperation, lane, message);
                    }
                    let barrier = self.known(warp, lane, address)?;
                    let complete = barrier.phase & 1 != parity;
                    let clocks = complete.then(|| barrier.complete.clone());
                    let state = &mut self.warps[warp];
                    state.row_mut(instruction.written[0])[lane] = u64::from(complete);
                    match clocks {
                        Some(clocks) => state.clocks.join(&clocks),
                        None => {
                            self.waited = true;
                            let next = state.pc[lane];
                            state.passes_over = Some(next);
                        }
                    }
                }
            }
        }
        if matches!(op, MbarrierOp::Arrive { .. }) {
            let touched = self.warps[warp].touched & !mask;
            self.warps[warp].advance();
            self.warps[warp].touched = touched;
        }
        Ok(())
    }

    fn init(&mut self, warp: usize, lane: usize, address: u32, count: u32) -> Step {
        if count == 0 || i64::from(count) > MAX_COUNT {
            return stop_lane(
                FaultKind::InvalidOperation,
                lane,
                format!("expected 1 to {MAX_COUNT} arrivals"),
            );
        }
        let number = self.mbarriers.len();
        let barrier = Mbarrier {
            number,
            owner: (warp, self.warps[warp].clocks.seen[warp]),
            fenced: false,
            expected: count,
            pending: i64::from(count),
            bytes: 0,
            phase: 0,
            arriving: Clocks::new(self.agents),
            complete: Clocks::new(self.agents),
        };
        self.warps[warp].touched |= 1 << lane;
        if self.mbarriers.insert(address, barrier).is_some() {
            let message = format!("expected no barrier at {address} yet");
            return stop_lane(FaultKind::InvalidOperation, lane, message);
        }
        Ok(())
    }

    /// A barrier that is initialised, as far as the warp can know.
    fn known(&mut self, warp: usize, lane: usize, address: u32) -> Step<&mut Mbarrier> {
        let seen = &self.warps[warp].clocks.seen;
        let Some(barrier) = self.mbarriers.get_mut(&address) else {
            let message = format!("expected a barrier in shared memory at {address}");
            return stop_lane(FaultKind::UninitialisedMemory, lane, message);
        };
        let (owner, clock) = barrier.owner;
        if owner != warp && clock > seen[owner] {
            let message = format!("expected the barrier to be initialised by warp {owner} before");
            return stop_lane(FaultKind::Race, lane, message);
        }
        Ok(barrier)
    }

    /// Orders waiters behind the accesses of the lanes that arrive. Those of other lanes of the warp since lanes
    /// were last ordered are not the business of these.
    fn release(&mut self, warp: usize, mask: u32, address: u32) {
        let state = &self.warps[warp];
        let mut clocks = state.clocks.clone();
        if state.touched & !mask != 0 {
            clocks.seen[warp] -= 1;
        }
        if let Some(barrier) = self.mbarriers.get_mut(&address) {
            barrier.arriving.join(&clocks);
        }
    }

    /// The agent under which a copy that completes on a barrier writes, and the clock it writes at.
    pub(super) fn copy_agent(&mut self, warp: usize, lane: usize, address: u32) -> Step<Agent> {
        let barrier = self.known(warp, lane, address)?;
        if !barrier.fenced {
            let message = "expected fence.mbarrier_init or fence.proxy.async behind the initialisation";
            return stop_lane(FaultKind::MissingProxyFence, lane, message);
        }
        let (number, clock) = (barrier.number, barrier.phase + 1);
        let index = self.mbarrier_agent(number);
        Ok(Agent { index, clock, lane: None, asynchronous: true })
    }

    /// Bytes of a copy have come.
    pub(super) fn count_bytes(&mut self, address: u32, bytes: usize) -> Step<u32> {
        let Some(barrier) = self.mbarriers.get_mut(&address) else {
            return stop(FaultKind::UninitialisedMemory, format!("expected a barrier at {address}"));
        };
        barrier.bytes -= bytes as i64;
        if barrier.bytes.abs() > MAX_COUNT {
            return stop(
                FaultKind::InvalidOperation,
                format!("expected at most {MAX_COUNT} bytes of a phase"),
            );
        }
        let clock = barrier.phase + 1;
        self.complete_phase(address);
        Ok(clock)
    }

    fn complete_phase(&mut self, address: u32) {
        let number = self.mbarriers.get(&address).map_or(0, |b| b.number);
        let agent = self.mbarrier_agent(number);
        let agents = self.agents;
        let Some(barrier) = self.mbarriers.get_mut(&address) else { return };
        if barrier.pending != 0 || barrier.bytes != 0 {
            return;
        }
        barrier.phase += 1;
        barrier.pending = i64::from(barrier.expected);
        // Phases come after each other: the later one holds what the earlier one did.
        barrier.complete.join(&barrier.arriving);
        barrier.arriving = Clocks::new(agents);
        barrier.complete.seen[agent] = barrier.complete.seen[agent].max(barrier.phase);
    }

    pub(super) fn fence_mbarriers(&mut self, warp: usize) {
        for barrier in self.mbarriers.values_mut().filter(|b| b.owner.0 == warp) {
            barrier.fenced = true;
        }
    }
}
