//! Fragments of a warp: loads, stores and products. One formula places the elements of every product: with E
//! elements to a register, row r and column k of A lie in lane 4(r mod 8) + (k mod 4E)/E, register
//! r/8 + 2(k/4E), slot k mod E; B is the same with its columns for rows and one register for each 4E of k.

use super::super::isa::{Instruction, MatrixOp, MmaShape, Rounding, Slot, Type};
use super::block::Block;
use super::fault::Step;
use super::global::AccessKind;
use super::narrow::{narrow, widen};
use super::shared::Agent;
use super::warp::{Row, Warp};

impl Block<'_> {
    pub(super) fn matrix(&mut self, warp: usize, instruction: &Instruction, op: MatrixOp, pc: u32) -> Step {
        match op {
            MatrixOp::Load { count, transposed } => self.load_matrices(warp, instruction, count, transposed),
            MatrixOp::Store { count, transposed } => {
                self.store_matrices(warp, instruction, count, transposed)
            }
            MatrixOp::Multiply { shape } => {
                multiply(&mut self.warps[warp], instruction, shape);
                self.tally.counters.matrix_flops += (2 * 16 * shape.n * shape.k) as u64;
                Ok(())
            }
            MatrixOp::GroupMultiply { .. }
            | MatrixOp::GroupFence
            | MatrixOp::GroupCommit
            | MatrixOp::GroupWait { .. } => self.group_product(warp, instruction, op, pc),
        }
    }

    fn warp_agent(&mut self, warp: usize) -> Agent {
        let state = &mut self.warps[warp];
        state.touched = u32::MAX;
        Agent { index: warp, clock: state.clocks.seen[warp], lane: None, asynchronous: false }
    }

    fn load_matrices(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        count: usize,
        transposed: bool,
    ) -> Step {
        let agent = self.warp_agent(warp);
        for matrix in 0..count {
            let mut rows = [[0u8; 16]; 8];
            let mut addresses = [0; 8];
            for (r, row) in rows.iter_mut().enumerate() {
                let lane = 8 * matrix + r;
                let address = self.warps[warp].shared_address(instruction, 0, lane);
                addresses[r] = address;
                let clocks = &self.warps[warp].clocks;
                let found = self.shared.access(address, 16, AccessKind::Read, agent, clocks);
                row.copy_from_slice(found.map_err(|s| s.of_lane(lane))?);
            }
            self.tally.shared(&addresses, 16);
            let target = self.warps[warp].row_mut(instruction.written[matrix]);
            for (lane, value) in target.iter_mut().enumerate() {
                *value = (0..4).fold(0, |v, i| {
                    let (row, byte) = place(lane, i, transposed);
                    v | u64::from(rows[row][byte]) << (8 * i)
                });
            }
        }
        Ok(())
    }

    fn store_matrices(
        &mut self,
        warp: usize,
        instruction: &Instruction,
        count: usize,
        transposed: bool,
    ) -> Step {
        for matrix in 0..count {
            let values: Row = *self.warps[warp].row(instruction.source(1)[matrix]);
            let mut rows = [[0u8; 16]; 8];
            for (lane, value) in values.iter().enumerate() {
                for i in 0..4 {
                    let (row, byte) = place(lane, i, transposed);
                    rows[row][byte] = (value >> (8 * i)) as u8;
                }
            }
            let agent = self.warp_agent(warp);
            let mut addresses = [0; 8];
            for (r, row) in rows.iter().enumerate() {
                let lane = 8 * matrix + r;
                let address = self.warps[warp].shared_address(instruction, 0, lane);
                addresses[r] = address;
                // Each row has its own lane here, so that two rows at one address are a race.
                let agent = Agent { lane: Some(lane), ..agent };
                let clocks = &self.warps[warp].clocks;
                let found = self.shared.access(address, 16, AccessKind::Write, agent, clocks);
                found.map_err(|s| s.of_lane(lane))?.copy_from_slice(row);
            }
            self.tally.shared(&addresses, 16);
        }
        Ok(())
    }
}

/// The row and the byte of a matrix of eight rows of sixteen bytes that byte `i` of a lane's register holds.
fn place(lane: usize, i: usize, transposed: bool) -> (usize, usize) {
    if transposed { (2 * (lane % 4) + i / 2, 2 * (lane / 4) + i % 2) } else { (lane / 4, 4 * (lane % 4) + i) }
}

/// The elements of an operand in registers, row by row. B's columns count as rows.
pub(super) fn fragment(warp: &Warp, slots: &[Slot], rows: usize, k: usize, t: Type) -> Vec<f64> {
    let per_register = 32 / t.bits() as usize;
    let span = 4 * per_register;
    let halves = rows / 8;
    let mut elements = Vec::with_capacity(rows * k);
    for row in 0..rows {
        for column in 0..k {
            let lane = 4 * (row % 8) + column % span / per_register;
            let register = row / 8 + halves * (column / span);
            let shift = t.bits() as usize * (column % per_register);
            elements.push(element(t, warp.row(slots[register])[lane] >> shift));
        }
    }
    elements
}

/// The value of an element, of an integer too.
pub(super) fn element(t: Type, bits: u64) -> f64 {
    let bits = t.zero_extend(bits);
    match t {
        Type::S8 => f64::from(bits as u8 as i8),
        Type::U8 => f64::from(bits as u8),
        _ => widen(t, bits),
    }
}

/// The accumulator with the products added, in its own type.
pub(super) fn accumulate(t: Type, old: u64, products: impl Iterator<Item = f64>) -> u64 {
    match t {
        // Sums of products of bytes are exact in f64.
        Type::S32 => (old as i32).wrapping_add(products.sum::<f64>() as i64 as i32) as u32 as u64,
        _ => narrow(t, products.fold(widen(t, old), |s, p| s + p), Rounding::NearestEven, false),
    }
}

/// The lane, the register and the bit of an element of the accumulators of sixteen rows.
pub(super) fn accumulator(t: Type, row: usize, column: usize) -> (usize, usize, usize) {
    let lane = 4 * (row % 8) + column % 8 / 2;
    let register = 4 * (column / 8) + 2 * (row / 8) + column % 2;
    if t == Type::F16 { (lane, register / 2, 16 * (column % 2)) } else { (lane, register, 0) }
}

fn multiply(warp: &mut Warp, instruction: &Instruction, shape: MmaShape) {
    let MmaShape { n, k, a, b, c } = shape;
    let left = fragment(warp, instruction.source(0), 16, k, a);
    let right = fragment(warp, instruction.source(1), n, k, b);
    let old: Vec<Row> = instruction.source(2).iter().map(|s| *warp.row(*s)).collect();
    for row in 0..16 {
        for column in 0..n {
            let (lane, register, shift) = accumulator(c, row, column);
            let pairs = left[row * k..][..k].iter().zip(&right[column * k..][..k]);
            let value = accumulate(c, c.zero_extend(old[register][lane] >> shift), pairs.map(|(x, y)| x * y));
            let target = &mut warp.row_mut(instruction.written[register])[lane];
            *target = *target & !(c.mask() << shift) | value << shift;
            if c.bits() == 32 {
                *target = value;
            }
        }
    }
}
