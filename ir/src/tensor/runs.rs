//! The order of a strided tensor's elements, as runs along one axis that tight loops can walk.
//!
//! Axes that continue each other are merged first, so that a contiguous tensor is a single run.

use smallvec::SmallVec;

/// The starts of the runs, in row-major order; every run has `len` elements, `stride` apart.
pub(super) struct Runs {
    /// The elements of each run.
    pub(super) len: usize,
    /// The distance between them.
    pub(super) stride: isize,
    start: usize,
    remaining: usize,
    /// The axes outside the run, innermost first.
    outer: SmallVec<[Axis; 4]>,
}

struct Axis {
    extent: usize,
    stride: isize,
    at: usize,
}

impl Runs {
    pub(super) fn new(shape: &[usize], strides: &[isize], offset: usize) -> Runs {
        let mut axes: SmallVec<[Axis; 4]> = SmallVec::new();
        for (&extent, &stride) in shape.iter().zip(strides).rev() {
            match axes.last_mut() {
                _ if extent == 1 => {}
                Some(inner) if stride == inner.stride * inner.extent as isize => inner.extent *= extent,
                _ => axes.push(Axis { extent, stride, at: 0 }),
            }
        }
        let (len, stride) = axes.first().map_or((1, 1), |run| (run.extent, run.stride));
        let outer: SmallVec<[Axis; 4]> = axes.into_iter().skip(1).collect();
        let is_empty = shape.contains(&0);
        let remaining = if is_empty { 0 } else { outer.iter().map(|axis| axis.extent).product() };
        Runs { len, stride, start: offset, remaining, outer }
    }

    /// The place of every element, one by one.
    pub(super) fn into_indices(self) -> impl Iterator<Item = usize> {
        let (len, stride) = (self.len, self.stride);
        self.flat_map(move |start| (0..len).map(move |at| start.wrapping_add_signed(at as isize * stride)))
    }
}

impl Iterator for Runs {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.remaining = self.remaining.checked_sub(1)?;
        let current = self.start;
        for axis in &mut self.outer {
            axis.at += 1;
            if axis.at < axis.extent {
                self.start = self.start.wrapping_add_signed(axis.stride);
                break;
            }
            self.start = self.start.wrapping_add_signed(-(axis.extent as isize - 1) * axis.stride);
            axis.at = 0;
        }
        Some(current)
    }
}
