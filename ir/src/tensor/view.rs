//! Views: other shapes and orders of the same storage, made without copying.

use smallvec::smallvec;

use super::{Extents, Strides, Tensor, TensorError, checked_size};

impl Tensor {
    /// The same elements in row-major order under another shape: a view where strides allow it,
    /// else of a packed copy.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        let (elements, _) = checked_size(self.dtype, shape)?;
        if elements != self.len() {
            return Err(TensorError::Reshape { from: self.shape.to_vec(), to: shape.to_vec() });
        }
        let strides = if self.is_contiguous() {
            Some(row_major_strides(shape))
        } else {
            reshaped_strides(&self.shape, &self.strides, shape)
        };
        match strides {
            Some(strides) => Ok(Tensor { shape: shape.into(), strides, ..self.clone() }),
            None => self.contiguous()?.reshape(shape),
        }
    }

    /// A view with reordered axes: axis `i` of the result is axis `perm[i]` of this tensor.
    pub fn transpose(&self, perm: &[usize]) -> Result<Tensor, TensorError> {
        let mut sorted: Extents = perm.into();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..self.rank()) {
            return Err(TensorError::NotAPermutation { rank: self.rank(), found: perm.to_vec() });
        }
        let shape = perm.iter().map(|&axis| self.shape[axis]).collect();
        let strides = perm.iter().map(|&axis| self.strides[axis]).collect();
        Ok(Tensor { shape, strides, ..self.clone() })
    }

    /// A view of a greater shape, aligned at the last axis: new axes and those of extent 1 repeat
    /// their elements, with stride 0.
    pub fn broadcast_to(&self, shape: &[usize]) -> Result<Tensor, TensorError> {
        checked_size(self.dtype, shape)?;
        let refused = || TensorError::Broadcast { from: self.shape.to_vec(), to: shape.to_vec() };
        let added = shape.len().checked_sub(self.rank()).ok_or_else(refused)?;
        let mut strides: Strides = smallvec![0; added];
        for ((&extent, &stride), &wanted) in self.shape.iter().zip(&self.strides).zip(&shape[added..]) {
            match extent {
                _ if extent == wanted => strides.push(stride),
                1 => strides.push(0),
                _ => return Err(refused()),
            }
        }
        Ok(Tensor { shape: shape.into(), strides, ..self.clone() })
    }

    /// A view of `sizes[a]` elements along each axis `a`, from `starts[a]` on, `steps[a]` apart;
    /// steps may be negative.
    pub fn slice(&self, starts: &[usize], sizes: &[usize], steps: &[isize]) -> Result<Tensor, TensorError> {
        let lists = [("starts", starts.len()), ("sizes", sizes.len()), ("steps", steps.len())];
        for (what, found) in lists {
            if found != self.rank() {
                return Err(TensorError::WrongRank { what, expected: self.rank(), found });
            }
        }
        let mut offset = self.offset;
        let mut strides = Strides::new();
        for axis in 0..self.rank() {
            let (start, size, step, extent) = (starts[axis], sizes[axis], steps[axis], self.shape[axis]);
            if !slice_fits(start, size, step, extent) {
                return Err(TensorError::Slice { axis, extent, start, size, step });
            }
            // An axis with no or one element is never walked; its stride must only be harmless.
            let is_walked = size > 1;
            strides.push(if is_walked { self.strides[axis] * step } else { self.strides[axis] });
            if size > 0 {
                offset = offset.wrapping_add_signed(start as isize * self.strides[axis]);
            }
        }
        let offset = if sizes.contains(&0) { self.offset } else { offset };
        Ok(Tensor { shape: sizes.into(), strides, offset, ..self.clone() })
    }
}

pub(super) fn row_major_strides(shape: &[usize]) -> Strides {
    let mut strides: Strides = smallvec![0; shape.len()];
    let mut stride = 1;
    for (slot, &extent) in strides.iter_mut().zip(shape).rev() {
        *slot = stride;
        // Bounded by `checked_size`, which takes extents of 0 for 1 as well.
        stride *= extent.max(1) as isize;
    }
    strides
}

fn slice_fits(start: usize, size: usize, step: isize, extent: usize) -> bool {
    let Some(walked) = size.checked_sub(1) else { return start <= extent && step != 0 };
    let last = isize::try_from(walked)
        .ok()
        .and_then(|walked| walked.checked_mul(step))
        .and_then(|distance| start.checked_add_signed(distance));
    step != 0 && start < extent && last.is_some_and(|last| last < extent)
}

/// Strides that walk a strided tensor in row-major order under another shape of as many elements,
/// if there are any: every group of new axes must split or merge axes that continue each other.
fn reshaped_strides(shape: &[usize], strides: &[isize], to: &[usize]) -> Option<Strides> {
    let walked: Vec<(usize, isize)> =
        shape.iter().copied().zip(strides.iter().copied()).filter(|(extent, _)| *extent != 1).collect();
    let mut result: Strides = smallvec![0; to.len()];
    let (mut old, mut new) = (0, 0);
    while old < walked.len() && new < to.len() {
        let (first_old, first_new) = (old, new);
        let (mut old_elements, mut new_elements) = (walked[old].0, to[new]);
        (old, new) = (old + 1, new + 1);
        while old_elements != new_elements {
            if old_elements < new_elements {
                old_elements *= walked.get(old)?.0;
                old += 1;
            } else {
                new_elements *= to.get(new)?;
                new += 1;
            }
        }
        let group = &walked[first_old..old];
        let continues = |pair: &[(usize, isize)]| pair[0].1 == pair[1].1 * pair[1].0 as isize;
        if !group.windows(2).all(continues) {
            return None;
        }
        let mut stride = group[group.len() - 1].1;
        for axis in (first_new..new).rev() {
            result[axis] = stride;
            stride *= to[axis] as isize;
        }
    }
    Some(result)
}
