//! Products of warpgroups. A product reads shared memory, and writes its accumulators, until somebody waits for
//! its group: until then it counts as under way, whatever has been computed.

use super::super::isa::{Instruction, MatrixOp, MmaShape, Op, Type};
use super::block::Block;
use super::descriptor::Descriptor;
use super::fault::{FaultKind, Step, stop};
use super::global::AccessKind;
use super::matrix::{accumulate, accumulator, element, fragment};
use super::memory::uniform;
use super::shared::Agent;
use super::warp::{PendingUse, Row};

impl Block<'_> {
    pub(super) fn group_product(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        op: MatrixOp,
        pc: u32,
    ) -> Step {
        match op {
            MatrixOp::GroupFence => self.warps[warp].unfenced.fill(false),
            MatrixOp::GroupCommit => self.warps[warp].product_group += 1,
            MatrixOp::GroupWait { pending } => self.wait_products(warp, pending, pc),
            _ => self.group_multiply(warp, instruction, op)?,
        }
        Ok(())
    }

    /// A product is one operation of four warps: it is complete only once all of them have issued it.
    fn wait_products(&mut self, warp: usize, pending: u32, pc: u32) {
        let done = (self.warps[warp].product_group - 1).saturating_sub(pending);
        let first = warp / 4 * 4;
        let last = (first + 4).min(self.warps.len());
        let late = |w: &super::warp::Warp| w.alive != 0 && w.product_group <= done;
        if self.warps[first..last].iter().any(late) {
            self.warps[warp].pc = [pc; 32];
            self.waited = true;
            return;
        }
        let agent = self.product_agent(warp);
        let state = &mut self.warps[warp];
        state.clocks.seen[agent] = state.clocks.seen[agent].max(done);
        state.pending.retain(|_, pending| pending.group > done);
    }

    /// That an instruction leaves alone the registers of products under way.
    pub(super) fn check_pending(&self, warp: usize, instruction: &Instruction) -> Step {
        let pending = &self.warps[warp].pending;
        let product = matches!(instruction.op, Op::Matrix(MatrixOp::GroupMultiply { .. }));
        let written = |slot: &u32| pending.get(slot).is_some_and(|p| p.written);
        let read = instruction.read.iter().any(written);
        let overwritten = instruction.written.iter().any(|s| {
            let used = pending.get(s);
            // Products may follow each other on the same accumulators.
            used.is_some_and(|p| !(product && p.written))
        });
        if read || overwritten {
            return stop(
                FaultKind::MissingWait,
                "expected wgmma.wait_group before a register of a product under way is used",
            );
        }
        Ok(())
    }

    fn group_multiply(&mut self, warp: usize, instruction: &Instruction, op: MatrixOp) -> Step {
        let MatrixOp::GroupMultiply { shape, a_in_registers, negate_a, negate_b, a_transposed, b_transposed } =
            op
        else {
            return Ok(());
        };
        if !self.warps.len().is_multiple_of(4) {
            return stop(FaultKind::DivergentCollective, "expected a block of whole warpgroups");
        }
        let MmaShape { n, k, a, b, c } = shape;
        let own_registers = if a_in_registers { instruction.source(0) } else { &[] };
        let used = || instruction.written.iter().chain(own_registers);
        if used().any(|s| self.warps[warp].unfenced[*s as usize]) {
            let message = "expected wgmma.fence behind the last write of the product's registers";
            return stop(FaultKind::MissingWait, message);
        }
        let adds = self.warps[warp].predicate(instruction, 2, 0);
        if adds {
            for slot in &instruction.written {
                self.check_ready(warp, *slot, u32::MAX)?;
            }
        }
        let left = if a_in_registers {
            fragment(&self.warps[warp], own_registers, 16, k, a)
        } else {
            let descriptor = uniform(self, warp, instruction.one(0), u32::MAX)?;
            self.shared_operand(warp, descriptor, warp % 4 * 16, 16, k, a, a_transposed)?
        };
        let descriptor = uniform(self, warp, instruction.one(1), u32::MAX)?;
        let right = self.shared_operand(warp, descriptor, 0, n, k, b, b_transposed)?;
        let sign = if negate_a != negate_b { -1.0 } else { 1.0 };
        let old: Vec<Row> = instruction.written.iter().map(|s| *self.warps[warp].row(*s)).collect();
        for row in 0..16 {
            for column in 0..n {
                let (lane, register, shift) = accumulator(c, row, column);
                let pairs = left[row * k..][..k].iter().zip(&right[column * k..][..k]);
                let before = if adds { c.zero_extend(old[register][lane] >> shift) } else { 0 };
                let value = accumulate(c, before, pairs.map(|(x, y)| sign * x * y));
                let target = &mut self.warps[warp].row_mut(instruction.written[register])[lane];
                *target =
                    if c.bits() == 32 { value } else { *target & !(c.mask() << shift) | value << shift };
            }
        }
        let group = self.warps[warp].product_group;
        for (slots, written) in [(own_registers, false), (&instruction.written[..], true)] {
            for slot in slots {
                self.warps[warp].pending.insert(*slot, PendingUse { group, written });
            }
        }
        self.tally.counters.matrix_flops += (2 * 16 * n * k) as u64;
        Ok(())
    }

    /// The elements of an operand in shared memory, rows (or columns) one after the other.
    #[expect(clippy::too_many_arguments, reason = "an operand has a place, two sizes, a type and a layout")]
    fn shared_operand(
        &mut self,
        warp: usize,
        descriptor: u64,
        first: usize,
        rows: usize,
        k: usize,
        t: Type,
        transposed: bool,
    ) -> Step<Vec<f64>> {
        let Some(layout) = Descriptor::decode(descriptor) else {
            return stop(FaultKind::InvalidOperation, "expected a matrix descriptor without a base offset");
        };
        let agent = Agent {
            index: self.product_agent(warp),
            clock: self.warps[warp].product_group,
            lane: None,
            asynchronous: true,
        };
        let size = t.bytes();
        let many = 16 / size;
        let mut elements = vec![0.0; rows * k];
        let (outer_step, k_step) = if transposed { (many, 1) } else { (1, many) };
        for outer in (0..rows).step_by(outer_step) {
            for column in (0..k).step_by(k_step) {
                let address = layout.chunk((first + outer) as u64, column as u64, size as u64, transposed);
                let clocks = &self.warps[warp].clocks;
                let bytes = self.shared.access(address, 16, AccessKind::Read, agent, clocks)?;
                for (i, part) in bytes.chunks(size).enumerate() {
                    let value = part.iter().rev().fold(0, |v, byte| v << 8 | u64::from(*byte));
                    let (row, column) = if transposed { (outer + i, column) } else { (outer, column + i) };
                    elements[row * k + column] = element(t, value);
                }
            }
        }
        Ok(elements)
    }
}
