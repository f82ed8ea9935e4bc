//! Windows that slide over an axis: which element a tap of the window reads at a position.
//!
//! Attributes are any integers that inference let through, so arithmetic is done where it cannot overflow.

use std::ops::Range;

/// One axis that a window slides over.
pub(super) struct WindowAxis {
    /// The elements of the axis.
    pub(super) extent: usize,
    /// The taps of the window.
    pub(super) window: i128,
    /// How often the window fits.
    pub(super) positions: usize,
    stride: i128,
    lo: i128,
    dilation: i128,
    base: i128,
}

/// How a window moves along an axis, with positive steps.
pub(super) struct Steps {
    pub(super) stride: i64,
    pub(super) lo: i64,
    pub(super) hi: i64,
    pub(super) dilation: i64,
    /// The distance that the elements are first spread to.
    pub(super) base: i64,
}

impl WindowAxis {
    pub(super) fn new(extent: usize, window: i128, steps: Steps) -> WindowAxis {
        let Steps { stride, lo, hi, dilation, base } = steps;
        let (stride, lo, hi) = (i128::from(stride), i128::from(lo), i128::from(hi));
        let (dilation, base) = (i128::from(dilation), i128::from(base));
        let spread = (extent as i128 - 1) * base + 1;
        let slack = spread + lo + hi - ((window - 1) * dilation + 1);
        let positions =
            usize::try_from(slack.div_euclid(stride) + 1).unwrap_or(if slack < 0 { 0 } else { usize::MAX });
        WindowAxis { extent, window, positions, stride, lo, dilation, base }
    }

    /// The element that a tap reads, none where there is padding or a gap between elements.
    pub(super) fn source(&self, position: usize, tap: i128) -> Option<usize> {
        let at = position as i128 * self.stride - self.lo + tap * self.dilation;
        if self.base == 1 {
            return usize::try_from(at).ok().filter(|at| *at < self.extent);
        }
        let element = usize::try_from(at / self.base).ok().filter(|e| at >= 0 && *e < self.extent);
        element.filter(|_| at % self.base == 0)
    }

    /// The taps that do not read padding, where elements are not spread.
    pub(super) fn taps(&self, position: usize) -> Range<i128> {
        let first = position as i128 * self.stride - self.lo;
        let reaching = |at: i128| (at - first + self.dilation - 1).div_euclid(self.dilation);
        reaching(0).clamp(0, self.window)..reaching(self.extent as i128).clamp(0, self.window)
    }
}

/// The coordinates of a row-major position, one for each axis.
pub(super) fn coordinates(axes: &[WindowAxis], mut position: usize, into: &mut [usize]) {
    for (slot, axis) in into.iter_mut().zip(axes).rev() {
        *slot = position % axis.positions;
        position /= axis.positions;
    }
}
