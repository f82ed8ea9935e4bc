//! Relocations of AArch64, as the ELF supplement of its ABI numbers them.

use super::layout::Need;
use super::{Misfit, Patch};

/// `ldr x16, .+8; br x16`, with the address to follow.
pub(super) const JUMP_TO_NEXT_ADDRESS: [u8; 8] = [0x50, 0, 0, 0x58, 0, 0x02, 0x1f, 0xd6];

const NONE: u32 = 0;
const NULL: u32 = 256;
const ABS64: u32 = 257;
const ABS32: u32 = 258;
const PREL64: u32 = 260;
const PREL32: u32 = 261;
const MOVW_UABS_G0: u32 = 263;
const MOVW_UABS_G3: u32 = 269;
const LD_PREL_LO19: u32 = 273;
const ADR_PREL_LO21: u32 = 274;
const ADR_PREL_PG_HI21: u32 = 275;
const ADR_PREL_PG_HI21_NC: u32 = 276;
const ADD_ABS_LO12_NC: u32 = 277;
const LDST8_ABS_LO12_NC: u32 = 278;
const TSTBR14: u32 = 279;
const CONDBR19: u32 = 280;
const JUMP26: u32 = 282;
const CALL26: u32 = 283;
const LDST16_ABS_LO12_NC: u32 = 284;
const LDST32_ABS_LO12_NC: u32 = 285;
const LDST64_ABS_LO12_NC: u32 = 286;
const LDST128_ABS_LO12_NC: u32 = 299;
const ADR_GOT_PAGE: u32 = 311;
const LD64_GOT_LO12_NC: u32 = 312;

pub(super) fn need(kind: u32) -> Need {
    match kind {
        JUMP26 | CALL26 => Need::Stub,
        ADR_GOT_PAGE | LD64_GOT_LO12_NC => Need::Address,
        _ => Need::Nothing,
    }
}

pub(super) fn apply(patch: &mut Patch<'_>) -> Result<(), Misfit> {
    let relative = patch.value.wrapping_sub(patch.place) as i64;
    match patch.kind {
        NONE | NULL => Ok(()),
        ABS64 => patch.write(patch.value.to_le_bytes()),
        PREL64 => patch.write(relative.to_le_bytes()),
        PREL32 => patch.write_i32(relative),
        ABS32 => match u32::try_from(patch.value) {
            Ok(value) => patch.write(value.to_le_bytes()),
            Err(_) => Err(Misfit::Range(patch.value as i64)),
        },
        MOVW_UABS_G0..=MOVW_UABS_G3 => {
            // G0, G0_NC, G1, G1_NC, G2, G2_NC, G3: the forms that check follow the value's true size.
            let index = patch.kind - MOVW_UABS_G0;
            let (group, checked) = (index / 2, index.is_multiple_of(2) && patch.kind != MOVW_UABS_G3);
            let part = patch.value >> (16 * group);
            if checked && part > 0xffff {
                return Err(Misfit::Range(patch.value as i64));
            }
            insert(patch, (part & 0xffff) as u32, 5, 16)
        }
        CALL26 | JUMP26 => {
            let distance = match patch.stub {
                Some(stub) if !fits(relative, 28) => stub.wrapping_sub(patch.place) as i64,
                _ => relative,
            };
            branch(patch, distance, 0, 26)
        }
        CONDBR19 | LD_PREL_LO19 => branch(patch, relative, 5, 19),
        TSTBR14 => branch(patch, relative, 5, 14),
        ADR_PREL_LO21 => {
            if !fits(relative, 21) {
                return Err(Misfit::Range(relative));
            }
            address(patch, relative)
        }
        ADR_PREL_PG_HI21 => page(patch, patch.value, true),
        ADR_PREL_PG_HI21_NC => page(patch, patch.value, false),
        ADR_GOT_PAGE => page(patch, patch.table_entry.ok_or(Misfit::Unknown)?, true),
        LD64_GOT_LO12_NC => low_bits(patch, patch.table_entry.ok_or(Misfit::Unknown)?, 3),
        ADD_ABS_LO12_NC | LDST8_ABS_LO12_NC => low_bits(patch, patch.value, 0),
        LDST16_ABS_LO12_NC => low_bits(patch, patch.value, 1),
        LDST32_ABS_LO12_NC => low_bits(patch, patch.value, 2),
        LDST64_ABS_LO12_NC => low_bits(patch, patch.value, 3),
        LDST128_ABS_LO12_NC => low_bits(patch, patch.value, 4),
        _ => Err(Misfit::Unknown),
    }
}

/// Whether a signed value fits `bits` bits.
fn fits(value: i64, bits: u32) -> bool {
    value >> (bits - 1) == 0 || value >> (bits - 1) == -1
}

/// Replaces `width` bits of the instruction from bit `shift` on.
fn insert(patch: &mut Patch<'_>, value: u32, shift: u32, width: u32) -> Result<(), Misfit> {
    let mask = ((1 << width) - 1) << shift;
    let word = patch.word()? & !mask | value << shift & mask;
    patch.write(word.to_le_bytes())
}

/// A distance in whole instructions.
fn branch(patch: &mut Patch<'_>, distance: i64, shift: u32, width: u32) -> Result<(), Misfit> {
    if !fits(distance, width + 2) || distance % 4 != 0 {
        return Err(Misfit::Range(distance));
    }
    insert(patch, (distance >> 2) as u32, shift, width)
}

/// The split 21-bit immediate of `adr` and `adrp`.
fn address(patch: &mut Patch<'_>, value: i64) -> Result<(), Misfit> {
    insert(patch, value as u32 & 3, 29, 2)?;
    insert(patch, (value >> 2) as u32, 5, 19)
}

/// The distance between the 4 KiB pages of the field and of `target`.
fn page(patch: &mut Patch<'_>, target: u64, checked: bool) -> Result<(), Misfit> {
    let distance = (target & !0xfff).wrapping_sub(patch.place & !0xfff) as i64;
    if checked && !fits(distance, 33) {
        return Err(Misfit::Range(distance));
    }
    address(patch, distance >> 12)
}

/// The place of `target` in its page, counted in units of `1 << scale` bytes.
fn low_bits(patch: &mut Patch<'_>, target: u64, scale: u32) -> Result<(), Misfit> {
    let low = (target & 0xfff) as u32;
    if low & ((1 << scale) - 1) != 0 {
        return Err(Misfit::Range(i64::from(low)));
    }
    insert(patch, low >> scale, 10, 12)
}
