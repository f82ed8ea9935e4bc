//! Where elements lie: row-major offsets, runs of neighbours, and axes moved out of the way.

use smallvec::SmallVec;

use super::EvalError;
use super::number::room;
use crate::shape::Extents;
use crate::tensor::{Tensor, checked_size};

/// The distance between neighbours along each axis of a packed tensor.
pub(super) fn row_major(shape: &[usize]) -> Extents {
    let mut strides: Extents = SmallVec::from_elem(0, shape.len());
    let mut stride = 1usize;
    for (slot, extent) in strides.iter_mut().zip(shape).rev() {
        *slot = stride;
        // A tensor's extents, with those of 0 taken for 1, have a product that fits.
        stride *= (*extent).max(1);
    }
    strides
}

/// The offsets of all indices of a shape in row-major order, under strides.
pub(super) fn offsets(shape: &[usize], strides: &[usize]) -> impl Iterator<Item = usize> {
    let shape: Extents = shape.into();
    let strides: Extents = strides.into();
    let mut index: Extents = SmallVec::from_elem(0, shape.len());
    let mut remaining: usize = shape.iter().product();
    let mut offset = 0;
    std::iter::from_fn(move || {
        remaining = remaining.checked_sub(1)?;
        let current = offset;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
        Some(current)
    })
}

/// A tensor of runs of `run` neighbours of `x`, from each of `starts` on, which must lie within `x`.
pub(super) fn take(
    x: &Tensor,
    shape: &[usize],
    run: usize,
    starts: impl Iterator<Item = usize>,
) -> Result<Tensor, EvalError> {
    let mut out = Bytes::with_room_for(x, shape)?;
    let from = Bytes::of(x)?;
    for start in starts {
        out.extend(&from, start, run);
    }
    out.into_tensor(x, shape)
}

/// Elements as whole bytes each, those narrower than a byte unpacked.
pub(super) struct Bytes<'a> {
    bytes: std::borrow::Cow<'a, [u8]>,
    size: usize,
}

impl<'a> Bytes<'a> {
    /// The elements of a tensor in row-major order.
    pub(super) fn of(x: &'a Tensor) -> Result<Bytes<'a>, EvalError> {
        let bits = x.dtype().bits() as usize;
        let packed = x.to_bytes()?;
        if bits >= 8 {
            return Ok(Bytes { bytes: packed, size: bits / 8 });
        }
        let mut bytes: Vec<u8> = room(x.dtype(), x.shape())?;
        let mask = (1u8 << bits) - 1;
        bytes.extend((0..x.len()).map(|i| (packed[i * bits / 8] >> (i * bits % 8)) & mask));
        Ok(Bytes { bytes: bytes.into(), size: 1 })
    }

    /// No elements yet, of the type of `x`.
    pub(super) fn with_room_for(x: &Tensor, shape: &[usize]) -> Result<Bytes<'static>, EvalError> {
        let size = (x.dtype().bits() as usize / 8).max(1);
        let (count, _) = checked_size(x.dtype(), shape)?;
        let mut bytes = Vec::new();
        // A type of `size` bytes had this product checked, a narrower one has `size` 1.
        bytes.try_reserve_exact(count * size).map_err(|_| super::number::too_large(x.dtype(), shape))?;
        Ok(Bytes { bytes: bytes.into(), size })
    }

    /// Appends a run of neighbours.
    pub(super) fn extend(&mut self, from: &Bytes<'_>, start: usize, run: usize) {
        let bytes = &from.bytes[start * self.size..][..run * self.size];
        self.bytes.to_mut().extend_from_slice(bytes);
    }

    /// Appends one element many times.
    pub(super) fn fill(&mut self, from: &Bytes<'_>, count: usize) {
        for _ in 0..count {
            self.extend(from, 0, 1);
        }
    }

    /// Overwrites one element.
    pub(super) fn set(&mut self, at: usize, from: &Bytes<'_>, start: usize) {
        let size = self.size;
        self.bytes.to_mut()[at * size..][..size].copy_from_slice(&from.bytes[start * size..][..size]);
    }

    /// The tensor of these elements, of the type of `x`.
    pub(super) fn into_tensor(self, x: &Tensor, shape: &[usize]) -> Result<Tensor, EvalError> {
        let bits = x.dtype().bits() as usize;
        if bits >= 8 {
            return Ok(Tensor::from_byte_slice(x.dtype(), shape, &self.bytes)?);
        }
        let per_byte = 8 / bits;
        let pack = |group: &[u8]| group.iter().rev().fold(0, |byte, element| (byte << bits) | element);
        Ok(Tensor::from_bytes(x.dtype(), shape, self.bytes.chunks(per_byte).map(pack).collect())?)
    }
}

/// A view with some axes moved behind the others, in the order given.
pub(super) fn with_last(x: &Tensor, axes: &[usize]) -> Result<Tensor, EvalError> {
    let kept = (0..x.rank()).filter(|a| !axes.contains(a));
    let perm: Extents = kept.chain(axes.iter().copied()).collect();
    Ok(x.transpose(&perm)?)
}

/// Undoes [`with_last`] of one axis.
pub(super) fn last_back(x: &Tensor, axis: usize) -> Result<Tensor, EvalError> {
    let last = x.rank() - 1;
    let perm: Extents = (0..x.rank())
        .map(|a| match a.cmp(&axis) {
            std::cmp::Ordering::Less => a,
            std::cmp::Ordering::Equal => last,
            std::cmp::Ordering::Greater => a - 1,
        })
        .collect();
    Ok(x.transpose(&perm)?)
}
