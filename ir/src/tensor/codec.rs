//! Elements to and from bytes: one at a time, and in bulk loops specialised per type.

use super::runs::Runs;
use crate::dtype::{DType, Kind, Scalar};

/// The bits of one element.
#[inline]
pub(super) fn read_bits(bytes: &[u8], width: u32, index: usize) -> u64 {
    match width {
        8 => bytes[index].into(),
        16 => u16::from_le_bytes(nth(bytes, index)).into(),
        32 => u32::from_le_bytes(nth(bytes, index)).into(),
        64 => u64::from_le_bytes(nth(bytes, index)),
        _ => {
            let bit = index * width as usize;
            u64::from(bytes[bit / 8] >> (bit % 8)) & ((1 << width) - 1)
        }
    }
}

/// Writes the bits of one element; bits above the width must be 0.
#[inline]
pub(super) fn write_bits(bytes: &mut [u8], width: u32, index: usize, bits: u64) {
    if width >= 8 {
        let size = width as usize / 8;
        bytes[index * size..][..size].copy_from_slice(&bits.to_le_bytes()[..size]);
        return;
    }
    let bit = index * width as usize;
    let mask = ((1u8 << width) - 1) << (bit % 8);
    let byte = &mut bytes[bit / 8];
    *byte = (*byte & !mask) | ((bits as u8) << (bit % 8));
}

/// Fills packed bytes with `elements` copies of one element.
pub(super) fn fill(dtype: DType, bytes: &mut [u8], elements: usize, bits: u64) {
    if bits == 0 {
        return;
    }
    let width = dtype.bits();
    if width >= 8 {
        let size = width as usize / 8;
        let element = bits.to_le_bytes();
        bytes.chunks_exact_mut(size).for_each(|slot| slot.copy_from_slice(&element[..size]));
        return;
    }
    for index in 0..elements {
        write_bits(bytes, width, index, bits);
    }
}

/// Appends the elements of all runs as `f64`.
pub(super) fn decode_f64(dtype: DType, bytes: &[u8], runs: Runs, out: &mut Vec<f64>) {
    match dtype {
        DType::F64 => gather(bytes, runs, out, f64::from_le_bytes),
        DType::F32 => gather(bytes, runs, out, |b| f64::from(f32::from_le_bytes(b))),
        DType::BF16 => {
            gather(bytes, runs, out, |b| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)))
        }
        DType::I64 => gather(bytes, runs, out, |b| i64::from_le_bytes(b) as f64),
        DType::I32 => gather(bytes, runs, out, |b| i32::from_le_bytes(b).into()),
        DType::I16 => gather(bytes, runs, out, |b| i16::from_le_bytes(b).into()),
        DType::U64 => gather(bytes, runs, out, |b| u64::from_le_bytes(b) as f64),
        DType::U32 => gather(bytes, runs, out, |b| u32::from_le_bytes(b).into()),
        DType::U16 => gather(bytes, runs, out, |b| u16::from_le_bytes(b).into()),
        DType::F16 => gather(bytes, runs, out, |b| decode_f16(u16::from_le_bytes(b)).into()),
        _ if runs.len < 64 => out.extend(
            runs.into_indices().map(|at| dtype.decode_bits(read_bits(bytes, dtype.bits(), at)).to_f64()),
        ),
        // At most 8 bits are left: all their values fit in a table.
        _ => {
            let values: [f64; 256] = std::array::from_fn(|bits| dtype.decode_bits(bits as u64).to_f64());
            if dtype.is_sub_byte() {
                let value = |at| values[read_bits(bytes, dtype.bits(), at) as usize];
                out.extend(runs.into_indices().map(value));
            } else {
                gather(bytes, runs, out, |[byte]: [u8; 1]| values[usize::from(byte)]);
            }
        }
    }
}

/// An exact `f16` without branches over its kinds: its fields moved into an `f32` are off by the
/// difference of the biases, which a product corrects for subnormals too.
fn decode_f16(bits: u16) -> f32 {
    const BIAS_CORRECTION: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * BIAS_CORRECTION;
    let is_finite = magnitude < 65_536.0;
    let exponent = if is_finite { 0 } else { f32::INFINITY.to_bits() };
    f32::from_bits(magnitude.to_bits() | exponent | (u32::from(bits & 0x8000) << 16))
}

fn gather<const SIZE: usize>(bytes: &[u8], runs: Runs, out: &mut Vec<f64>, read: impl Fn([u8; SIZE]) -> f64) {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    let (len, stride) = (runs.len, runs.stride);
    for start in runs {
        if stride == 1 {
            out.extend(elements[start..start + len].iter().map(|element| read(*element)));
        } else {
            out.extend((0..len).map(|at| read(elements[start.wrapping_add_signed(at as isize * stride)])));
        }
    }
}

/// Encodes values in order until they or the bytes end; the number written.
pub(super) fn encode_f64(
    dtype: DType,
    out: &mut [u8],
    values: impl Iterator<Item = f64>,
    saturate: bool,
) -> usize {
    // Conversions of the language from floats to integers truncate, saturate and map NaN to 0.
    match dtype {
        DType::F64 => scatter(out, values, f64::to_le_bytes),
        DType::F32 => scatter(out, values, |v| (v as f32).to_le_bytes()),
        DType::I64 => scatter(out, values, |v| (v as i64).to_le_bytes()),
        DType::I32 => scatter(out, values, |v| (v as i32).to_le_bytes()),
        DType::I16 => scatter(out, values, |v| (v as i16).to_le_bytes()),
        DType::I8 => scatter(out, values, |v| (v as i8).to_le_bytes()),
        DType::U64 => scatter(out, values, |v| (v as u64).to_le_bytes()),
        DType::U32 => scatter(out, values, |v| (v as u32).to_le_bytes()),
        DType::U16 => scatter(out, values, |v| (v as u16).to_le_bytes()),
        DType::U8 => scatter(out, values, |v| (v as u8).to_le_bytes()),
        DType::Bool => scatter(out, values, |v| [u8::from(v != 0.0)]),
        _ => match (dtype.kind(), dtype.bits()) {
            (Kind::Float(format), 16) => {
                scatter(out, values, |v| (format.encode(v, false) as u16).to_le_bytes())
            }
            (Kind::Float(format), 8) => scatter(out, values, |v| [format.encode(v, saturate) as u8]),
            (_, width) => {
                let mut written = 0;
                for value in values {
                    write_bits(out, width, written, dtype.encode_bits(Scalar::Float(value)));
                    written += 1;
                }
                written
            }
        },
    }
}

fn scatter<const SIZE: usize>(
    out: &mut [u8],
    values: impl Iterator<Item = f64>,
    write: impl Fn(f64) -> [u8; SIZE],
) -> usize {
    let (slots, _) = out.as_chunks_mut::<SIZE>();
    let mut written = 0;
    for (slot, value) in slots.iter_mut().zip(values) {
        *slot = write(value);
        written += 1;
    }
    written
}

/// Copies the elements of all runs to packed bytes, which are zero before.
pub(super) fn pack(width: u32, bytes: &[u8], runs: Runs, out: &mut [u8]) {
    match width {
        8 => copy::<1>(bytes, runs, out),
        16 => copy::<2>(bytes, runs, out),
        32 => copy::<4>(bytes, runs, out),
        64 => copy::<8>(bytes, runs, out),
        _ => {
            for (position, at) in runs.into_indices().enumerate() {
                write_bits(out, width, position, read_bits(bytes, width, at));
            }
        }
    }
}

fn copy<const SIZE: usize>(bytes: &[u8], runs: Runs, out: &mut [u8]) {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    let (slots, _) = out.as_chunks_mut::<SIZE>();
    let (len, stride) = (runs.len, runs.stride);
    for (start, slots) in runs.zip(slots.chunks_exact_mut(len.max(1))) {
        if stride == 1 {
            slots.copy_from_slice(&elements[start..start + len]);
        } else {
            for (at, slot) in slots.iter_mut().enumerate() {
                *slot = elements[start.wrapping_add_signed(at as isize * stride)];
            }
        }
    }
}

/// Packs elements in bounded memory, handing out whole chunks and then the rest.
pub(super) fn pack_in_chunks(width: u32, elements: impl Iterator<Item = u64>, mut sink: impl FnMut(&[u8])) {
    let mut chunk = [0u8; 4096];
    let capacity = chunk.len() * 8 / width as usize;
    let mut used = 0;
    for bits in elements {
        write_bits(&mut chunk, width, used, bits);
        used += 1;
        if used == capacity {
            sink(&chunk);
            chunk = [0; 4096];
            used = 0;
        }
    }
    sink(&chunk[..(used * width as usize).div_ceil(8)]);
}

fn nth<const SIZE: usize>(bytes: &[u8], index: usize) -> [u8; SIZE] {
    let (elements, _) = bytes.as_chunks::<SIZE>();
    elements[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_f16_agrees_with_its_format() {
        for bits in 0..=u16::MAX {
            let expected = DType::F16.decode_bits(bits.into());
            assert_eq!(Scalar::Float(decode_f16(bits).into()), expected, "{bits:#06x}");
        }
    }
}
