//! Relocations of x86-64, as the System V ABI numbers them.

use super::layout::Need;
use super::{Misfit, Patch};

/// `jmp [rip]`, padded to eight bytes, with the address to follow.
pub(super) const JUMP_TO_NEXT_ADDRESS: [u8; 8] = [0xff, 0x25, 2, 0, 0, 0, 0xcc, 0xcc];

const NONE: u32 = 0;
const ABS64: u32 = 1;
const PC32: u32 = 2;
const PLT32: u32 = 4;
const GOTPCREL: u32 = 9;
const ABS32: u32 = 10;
const ABS32S: u32 = 11;
const PC64: u32 = 24;
const GOTPCRELX: u32 = 41;
const REX_GOTPCRELX: u32 = 42;

pub(super) fn need(kind: u32) -> Need {
    match kind {
        PC32 | PLT32 => Need::Stub,
        GOTPCREL | GOTPCRELX | REX_GOTPCRELX => Need::Address,
        _ => Need::Nothing,
    }
}

pub(super) fn apply(patch: &mut Patch<'_>) -> Result<(), Misfit> {
    let relative = patch.value.wrapping_sub(patch.place) as i64;
    match patch.kind {
        NONE => Ok(()),
        ABS64 => patch.write(patch.value.to_le_bytes()),
        PC64 => patch.write(relative.to_le_bytes()),
        PC32 | PLT32 if i32::try_from(relative).is_ok() => patch.write_i32(relative),
        PC32 | PLT32 => match patch.stub {
            Some(stub) if patch.kind == PLT32 || is_branch(patch.before) => {
                patch.write_i32(stub.wrapping_add_signed(patch.addend).wrapping_sub(patch.place) as i64)
            }
            _ => Err(Misfit::Range(relative)),
        },
        GOTPCREL | GOTPCRELX | REX_GOTPCRELX => {
            let entry = patch.table_entry.ok_or(Misfit::Unknown)?;
            patch.write_i32(entry.wrapping_add_signed(patch.addend).wrapping_sub(patch.place) as i64)
        }
        ABS32 => match u32::try_from(patch.value) {
            Ok(value) => patch.write(value.to_le_bytes()),
            Err(_) => Err(Misfit::Range(patch.value as i64)),
        },
        ABS32S => patch.write_i32(patch.value as i64),
        _ => Err(Misfit::Unknown),
    }
}

/// Whether these bytes, right before a field, make it the target of a call or jump rather than an address of data.
fn is_branch(before: [u8; 2]) -> bool {
    matches!(before, [_, 0xe8 | 0xe9] | [0x0f, 0x80..=0x8f])
}
