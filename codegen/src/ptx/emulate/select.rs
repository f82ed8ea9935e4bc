//! Moves, comparisons and selections.

use std::cmp::Ordering;

use super::super::isa::{Comparison, Instruction, Logic, SelectOp, Type};
use super::narrow::{flush, widen};
use super::warp::{Warp, lanes};

pub(super) fn run(warp: &mut Warp, instruction: &Instruction, op: SelectOp, mask: u32) {
    match op {
        SelectOp::Move { dtype, destination: 1, source: 1 } => {
            if dtype == Type::Pred {
                warp.map(instruction, mask, |[a]| a & 1);
            } else {
                warp.map(instruction, mask, |[a]| dtype.zero_extend(a));
            }
        }
        SelectOp::Move { dtype, destination: 1, source } => {
            let bits = dtype.bits() as usize / source;
            for lane in lanes(mask) {
                let value = instruction.read.iter().enumerate().fold(0, |value, (i, slot)| {
                    value | (warp.row(*slot)[lane] & (u64::MAX >> (64 - bits))) << (bits * i)
                });
                warp.row_mut(instruction.written[0])[lane] = value;
            }
        }
        SelectOp::Move { dtype, destination, .. } => {
            let bits = dtype.bits() as usize / destination;
            for lane in lanes(mask) {
                let value = warp.row(instruction.read[0])[lane];
                for (i, slot) in instruction.written.iter().enumerate() {
                    warp.row_mut(*slot)[lane] = value >> (bits * i) & (u64::MAX >> (64 - bits));
                }
            }
        }
        SelectOp::Compare { comparison, unordered, dtype, logic, flush } => {
            for lane in lanes(mask) {
                let a = warp.value(instruction, 0, lane);
                let b = warp.value(instruction, 1, lane);
                let ordering = order(dtype, flush, a, b);
                let holds = ordering.map_or(unordered, |o| satisfies(comparison, o));
                let joined = |holds: bool| match logic {
                    None => holds,
                    Some(Logic::And) => holds & warp.predicate(instruction, 2, lane),
                    Some(Logic::Or) => holds | warp.predicate(instruction, 2, lane),
                    Some(Logic::Xor) => holds ^ warp.predicate(instruction, 2, lane),
                };
                let (first, second) = (joined(holds), joined(!holds));
                warp.row_mut(instruction.written[0])[lane] = u64::from(first);
                if let Some(slot) = instruction.written.get(1) {
                    warp.row_mut(*slot)[lane] = u64::from(second);
                }
            }
        }
        SelectOp::Select { dtype } => {
            let negated = instruction.sources[2].negated;
            warp.map(instruction, mask, |[a, b, p]| {
                dtype.zero_extend(if (p & 1 == 1) != negated { a } else { b })
            });
        }
    }
}

/// How two values are ordered, unless one is NaN.
fn order(dtype: Type, flushes: bool, a: u64, b: u64) -> Option<Ordering> {
    if dtype.is_float() {
        let value = |bits| if flushes { flush(widen(dtype, bits)) } else { widen(dtype, bits) };
        value(a).partial_cmp(&value(b))
    } else if dtype.is_signed() {
        Some(dtype.sign_extend(a).cmp(&dtype.sign_extend(b)))
    } else {
        Some(dtype.zero_extend(a).cmp(&dtype.zero_extend(b)))
    }
}

fn satisfies(comparison: Comparison, ordering: Ordering) -> bool {
    match comparison {
        Comparison::Eq => ordering == Ordering::Equal,
        Comparison::Ne => ordering != Ordering::Equal,
        Comparison::Lt => ordering == Ordering::Less,
        Comparison::Le => ordering != Ordering::Greater,
        Comparison::Gt => ordering == Ordering::Greater,
        Comparison::Ge => ordering != Ordering::Less,
        Comparison::Number => true,
        Comparison::Nan => false,
    }
}
