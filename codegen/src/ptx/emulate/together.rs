//! Instructions that lanes of a warp do together.

use super::super::isa::{Instruction, Shuffle, Type, Vote, WarpOp};
use super::fault::{FaultKind, Step, stop_lane};
use super::memory::combine;
use super::warp::{Row, Warp, lanes};

pub(super) fn run(warp: &mut Warp, instruction: &Instruction, op: WarpOp, mask: u32) -> Step {
    if op != WarpOp::Active {
        check_member(warp, instruction, mask)?;
    }
    match op {
        WarpOp::Shuffle(mode) => shuffle(warp, instruction, mode, mask)?,
        WarpOp::Vote(vote) => {
            let holds = lanes(mask).filter(|l| warp.predicate(instruction, 0, *l)).fold(0, |m, l| m | 1 << l);
            let value = match vote {
                Vote::Any => u32::from(holds != 0),
                Vote::All => u32::from(holds == mask),
                Vote::Uniform => u32::from(holds == mask || holds == 0),
                Vote::Ballot => holds,
            };
            broadcast(warp, instruction.written[0], mask, value);
        }
        WarpOp::Reduce { function, dtype } => {
            let row = *warp.row(instruction.one(0));
            let values = lanes(mask).map(|l| row[l]);
            let value = values.reduce(|a, b| combine(function, dtype, a, b, 0)).unwrap_or(0);
            broadcast(warp, instruction.written[0], mask, value as u32);
        }
        WarpOp::Active => broadcast(warp, instruction.written[0], mask, mask),
        WarpOp::Elect => {
            let leader = mask.trailing_zeros();
            broadcast(warp, instruction.written[0], mask, leader);
            if let Some(slot) = instruction.written.get(1) {
                for lane in lanes(mask) {
                    warp.row_mut(*slot)[lane] = u64::from(lane as u32 == leader);
                }
            }
        }
        WarpOp::Match { dtype } => {
            let row = *warp.row(instruction.one(0));
            let same = |a: u64, b: u64| dtype.zero_extend(a) == dtype.zero_extend(b);
            for lane in lanes(mask) {
                let equal = lanes(mask).filter(|l| same(row[*l], row[lane])).fold(0u32, |m, l| m | 1 << l);
                warp.row_mut(instruction.written[0])[lane] = u64::from(equal);
            }
        }
        WarpOp::Synchronise => warp.advance(),
    }
    Ok(())
}

/// That each lane names itself, and all name the same lanes.
fn check_member(warp: &Warp, instruction: &Instruction, mask: u32) -> Step {
    let operand = instruction.sources.len() - 1;
    let first = warp.value(instruction, operand, mask.trailing_zeros() as usize) as u32;
    for lane in lanes(mask) {
        let named = warp.value(instruction, operand, lane) as u32;
        if named >> lane & 1 == 0 || named != first {
            let message = format!("expected the lane to be named by one mask for all, got {named:#010x}");
            return stop_lane(FaultKind::DivergentCollective, lane, message);
        }
    }
    Ok(())
}

fn broadcast(warp: &mut Warp, slot: u32, mask: u32, value: u32) {
    for lane in lanes(mask) {
        warp.row_mut(slot)[lane] = u64::from(value);
    }
}

fn shuffle(warp: &mut Warp, instruction: &Instruction, mode: Shuffle, mask: u32) -> Step {
    let values: Row = *warp.row(instruction.one(0));
    for lane in lanes(mask) {
        let distance = warp.value(instruction, 1, lane) as i64 & 31;
        let bounds = warp.value(instruction, 2, lane);
        let (clamp, segments) = ((bounds & 31) as i64, (bounds >> 8 & 31) as i64);
        let here = lane as i64;
        let last = here & segments | clamp & !segments;
        let first = here & segments;
        let (source, inside) = match mode {
            Shuffle::Up => (here - distance, here - distance >= last),
            Shuffle::Down => (here + distance, here + distance <= last),
            Shuffle::Butterfly => (here ^ distance, here ^ distance <= last),
            Shuffle::Index => (first | distance & !segments, (first | distance & !segments) <= last),
        };
        let source = if inside { source as usize } else { lane };
        if mask >> source & 1 == 0 {
            let message = format!("expected lane {source}, which is read, to take part");
            return stop_lane(FaultKind::UninitialisedRegister, lane, message);
        }
        warp.row_mut(instruction.written[0])[lane] = Type::B32.zero_extend(values[source]);
        if let Some(slot) = instruction.written.get(1) {
            warp.row_mut(*slot)[lane] = u64::from(inside);
        }
    }
    Ok(())
}
