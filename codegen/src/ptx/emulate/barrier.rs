//! Barriers of the block, and fences.

use super::super::isa::{BarrierOp, FenceKind, Instruction};
use super::block::Block;
use super::fault::{FaultKind, Step, stop};
use super::shared::Clocks;
use super::warp::lanes;

/// One of the sixteen barriers of a block.
pub(super) struct BlockBarrier {
    /// The warps that have arrived, the waiting ones with `true`.
    arrived: Vec<(usize, bool)>,
    /// The warps that must arrive; None for all that have not ended.
    expected: Option<usize>,
    /// What those that arrived were ordered behind.
    clocks: Clocks,
    acquired: Vec<u32>,
}

impl BlockBarrier {
    pub(super) fn new(agents: usize) -> BlockBarrier {
        BlockBarrier {
            arrived: Vec::new(),
            expected: None,
            clocks: Clocks::new(agents),
            acquired: Vec::new(),
        }
    }
}

impl Block<'_> {
    pub(super) fn barrier(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        op: BarrierOp,
        mask: u32,
    ) -> Step {
        match op {
            BarrierOp::Block { waits } => self.arrive(warp, instruction, waits, mask),
            BarrierOp::Fence(kind) => {
                let state = &mut self.warps[warp];
                match kind {
                    FenceKind::Memory => state.fenced = true,
                    FenceKind::AsyncProxy => {
                        let seen = state.clocks.seen.clone();
                        let fenced = &mut state.clocks.fenced;
                        fenced.iter_mut().zip(seen).for_each(|(f, s)| *f = (*f).max(s));
                        // What comes later is not fenced; lanes are as little ordered as before.
                        let touched = state.touched;
                        state.advance();
                        state.touched = touched;
                        self.fence_mbarriers(warp);
                    }
                    FenceKind::MbarrierInit => self.fence_mbarriers(warp),
                }
                Ok(())
            }
            BarrierOp::Mbarrier(op) => self.mbarrier(warp, instruction, op, mask),
        }
    }

    fn arrive(&mut self, warp: usize, instruction: &Instruction, waits: bool, mask: u32) -> Step {
        let lane = mask.trailing_zeros() as usize;
        let number = self.warps[warp].value(instruction, 0, lane) as usize;
        if number >= self.barriers.len() {
            return stop(FaultKind::InvalidOperation, format!("expected a barrier below 16, got {number}"));
        }
        let mut expected = None;
        if instruction.sources.len() > 1 {
            let threads = self.warps[warp].value(instruction, 1, lane) as u32;
            if threads == 0 || !threads.is_multiple_of(32) || threads as usize > self.warps.len() * 32 {
                let most = self.warps.len() * 32;
                let message = format!("expected a multiple of 32 threads up to {most}, got {threads}");
                return stop(FaultKind::InvalidOperation, message);
            }
            expected = Some(threads as usize / 32);
        }
        let row = *self.warps[warp].row(instruction.one(0));
        if lanes(mask).any(|l| row[l] as usize != number) {
            return stop(FaultKind::DivergentCollective, "expected the same barrier in all lanes");
        }
        let barrier = &mut self.barriers[number];
        if barrier.arrived.is_empty() {
            barrier.expected = expected;
        } else if barrier.expected != expected {
            let message = format!("expected the number of threads that warp {} gave", barrier.arrived[0].0);
            return stop(FaultKind::InvalidOperation, message);
        }
        if barrier.arrived.iter().any(|(w, _)| *w == warp) {
            let message = format!("expected barrier {number} to complete before the warp arrives again");
            return stop(FaultKind::InvalidOperation, message);
        }
        let state = &mut self.warps[warp];
        barrier.arrived.push((warp, waits));
        barrier.clocks.join(&state.clocks);
        barrier.acquired.extend_from_slice(&state.acquired);
        if waits {
            state.waits_at = Some(number);
        } else {
            state.advance();
        }
        self.release_barrier(number);
        Ok(())
    }

    /// Lets warps go on if all have arrived.
    pub(super) fn release_barrier(&mut self, number: usize) {
        let alive = self.warps.iter().filter(|w| w.alive != 0).count();
        let agents = self.agents;
        let barrier = &mut self.barriers[number];
        if barrier.arrived.is_empty() || barrier.arrived.len() < barrier.expected.unwrap_or(alive) {
            return;
        }
        let done = std::mem::replace(barrier, BlockBarrier::new(agents));
        for (warp, _) in done.arrived.iter().filter(|(_, waits)| *waits) {
            let state = &mut self.warps[*warp];
            state.waits_at = None;
            state.clocks.join(&done.clocks);
            for block in &done.acquired {
                if !state.acquired.contains(block) {
                    state.acquired.push(*block);
                }
            }
            state.advance();
        }
    }
}
