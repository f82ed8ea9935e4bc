//! Brings B into the panels that micro-kernels read.
//!
//! A packed matrix is a sequence of panels of `nr` columns, each a sequence of groups of `k_step` steps of k, each
//! holding for every column its `k_step` elements side by side. Missing columns and steps are zeros.

/// Where things lie in a packed matrix. Sizes count elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedLayout {
    /// Columns of a panel.
    pub nr: usize,
    /// Steps of k of a group.
    pub k_step: usize,
    /// Groups of a panel.
    pub groups: usize,
    /// Panels.
    pub panels: usize,
}

impl PackedLayout {
    /// The layout of a `k` × `n` matrix, unless it is too large to exist.
    pub fn new(k: usize, n: usize, nr: usize, k_step: usize) -> Option<PackedLayout> {
        if nr == 0 || k_step == 0 {
            return None;
        }
        let layout = PackedLayout { nr, k_step, groups: k.div_ceil(k_step), panels: n.div_ceil(nr) };
        let panel = layout.groups.checked_mul(nr)?.checked_mul(k_step)?;
        panel.checked_mul(layout.panels).filter(|&size| size <= isize::MAX as usize).map(|_| layout)
    }

    /// Elements of one group: the `b_k_stride` of micro-kernels.
    pub fn group_size(&self) -> usize {
        self.nr * self.k_step
    }

    /// Elements of one panel.
    pub fn panel_size(&self) -> usize {
        self.groups * self.group_size()
    }

    /// Elements of the whole matrix.
    pub fn size(&self) -> usize {
        self.panels * self.panel_size()
    }
}

/// Why a matrix could not be packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The extents cannot be those of a matrix in memory.
    #[error("expected extents of a matrix in memory, found {k} × {n} in panels of {nr}")]
    Extents {
        /// Rows.
        k: usize,
        /// Columns.
        n: usize,
        /// Columns of a panel.
        nr: usize,
    },
    /// The source does not hold the matrix that the strides describe.
    #[error("expected a source of at least {expected} elements, found {found}")]
    Source {
        /// The least number of elements.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The destination has another size than the packed matrix.
    #[error("expected a destination of {expected} elements, found {found}")]
    Destination {
        /// The size of the packed matrix.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

macro_rules! packers {
    ($($safe:ident $symbol:ident $element:ty, $step:literal, $text:literal;)*) => {$(
        #[doc = concat!("Packs a `k` × `n` matrix of ", $text, ".")]
        ///
        /// Element (row, column) is `source[row * row_stride + column * column_stride]`.
        #[allow(clippy::too_many_arguments, reason = "the extents and strides of a matrix")]
        pub fn $safe(
            k: usize, n: usize, source: &[$element], row_stride: usize, column_stride: usize, nr: usize,
            destination: &mut [$element],
        ) -> Result<(), PackError> {
            pack::<$element, $step>(k, n, source, [row_stride, column_stride], nr, destination)
        }

        #[doc = concat!("`", stringify!($safe), "` for compiled code: `(k, n, source, row_stride, column_stride, nr, destination)`.")]
        ///
        /// # Safety
        /// Extents and strides must not be negative, the source must hold every element they describe, and the
        /// destination must have room for the packed matrix.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $symbol(
            k: i64, n: i64, source: *const u8, row_stride: i64, column_stride: i64, nr: i64, destination: *mut u8,
        ) {
            let [k, n, rows, columns, nr] = [k, n, row_stride, column_stride, nr].map(|v| v.max(0) as usize);
            let Some(layout) = PackedLayout::new(k, n, nr, $step) else { return };
            // SAFETY: passed on from the caller.
            unsafe { pack_raw::<$element, $step>(k, n, source.cast(), [rows, columns], &layout, destination.cast()) }
        }
    )*};
}

packers! {
    pack_b_f32  tcc_pack_b_f32  f32, 1, "f32";
    pack_b_bf16 tcc_pack_b_bf16 u16, 2, "bf16, in pairs along k";
    pack_b_f16  tcc_pack_b_f16  u16, 1, "f16";
    pack_b_s8   tcc_pack_b_s8   i8, 4, "bytes, in quads along k";
}

fn pack<T: Copy + Default, const STEP: usize>(
    k: usize,
    n: usize,
    source: &[T],
    strides: [usize; 2],
    nr: usize,
    destination: &mut [T],
) -> Result<(), PackError> {
    let layout = PackedLayout::new(k, n, nr, STEP).ok_or(PackError::Extents { k, n, nr })?;
    let expected = extent(k, n, strides).ok_or(PackError::Extents { k, n, nr })?;
    if source.len() < expected {
        return Err(PackError::Source { expected, found: source.len() });
    }
    if destination.len() != layout.size() {
        return Err(PackError::Destination { expected: layout.size(), found: destination.len() });
    }
    // SAFETY: both sizes were checked just now.
    unsafe { pack_raw::<T, STEP>(k, n, source.as_ptr(), strides, &layout, destination.as_mut_ptr()) };
    Ok(())
}

/// One more than the largest index of a `k` × `n` matrix with these strides.
fn extent(k: usize, n: usize, [row_stride, column_stride]: [usize; 2]) -> Option<usize> {
    let (Some(rows), Some(columns)) = (k.checked_sub(1), n.checked_sub(1)) else { return Some(0) };
    rows.checked_mul(row_stride)?.checked_add(columns.checked_mul(column_stride)?)?.checked_add(1)
}

/// Groups that are packed before the next column is read, where columns are contiguous: few enough for the cache
/// lines being written to stay in L1, enough to use whole lines of the source.
const GROUPS_PER_BLOCK: usize = 16;

/// # Safety
/// The source must hold `k` × `n` elements with these strides, the destination `layout.size()`.
unsafe fn pack_raw<T: Copy + Default, const STEP: usize>(
    k: usize,
    n: usize,
    source: *const T,
    [row_stride, column_stride]: [usize; 2],
    layout: &PackedLayout,
    destination: *mut T,
) {
    for panel in 0..layout.panels {
        let first = panel * layout.nr;
        let columns = (n - first).min(layout.nr);
        let whole_groups = k / STEP;
        // SAFETY: columns stay below n, rows below k; groups and panels below those of the layout.
        unsafe {
            let from = source.add(first * column_stride);
            let to = destination.add(panel * layout.panel_size());
            if columns < layout.nr || whole_groups < layout.groups {
                for index in 0..layout.panel_size() {
                    to.add(index).write(T::default());
                }
            }
            let place = Placement { group_size: layout.group_size(), columns, row_stride, column_stride };
            if column_stride == 1 && STEP == 1 {
                for row in 0..k {
                    let line = from.add(row * row_stride);
                    line.copy_to_nonoverlapping(to.add(row * layout.nr), columns);
                }
            } else if column_stride == 1 {
                for group in 0..whole_groups {
                    place.group_across::<T, STEP>(from, to, group);
                }
            } else {
                for block in (0..whole_groups).step_by(GROUPS_PER_BLOCK) {
                    let end = (block + GROUPS_PER_BLOCK).min(whole_groups);
                    place.groups_down::<T, STEP>(from, to, block..end);
                }
            }
            for row in whole_groups * STEP..k {
                for column in 0..columns {
                    let value = from.add(row * row_stride + column * column_stride).read_unaligned();
                    to.add(row / STEP * layout.group_size() + column * STEP + row % STEP).write(value);
                }
            }
        }
    }
}

/// How the elements of one panel lie in the source.
struct Placement {
    group_size: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl Placement {
    /// Packs one group of a source with adjacent columns by walking along its rows.
    ///
    /// # Safety
    /// The group must be whole and exist on both sides.
    unsafe fn group_across<T: Copy, const STEP: usize>(&self, from: *const T, to: *mut T, group: usize) {
        // SAFETY: by the caller's promise.
        unsafe {
            let rows: [*const T; STEP] =
                std::array::from_fn(|step| from.add((group * STEP + step) * self.row_stride));
            let to = to.add(group * self.group_size).cast::<[T; STEP]>();
            for column in 0..self.columns {
                to.add(column).write(std::array::from_fn(|step| rows[step].add(column).read_unaligned()));
            }
        }
    }

    /// Packs some groups of any source by walking down its columns.
    ///
    /// # Safety
    /// The groups must be whole and exist on both sides.
    unsafe fn groups_down<T: Copy, const STEP: usize>(
        &self,
        from: *const T,
        to: *mut T,
        groups: std::ops::Range<usize>,
    ) {
        for column in 0..self.columns {
            for group in groups.clone() {
                // SAFETY: by the caller's promise.
                unsafe {
                    let source = from.add(column * self.column_stride + group * STEP * self.row_stride);
                    let elements: [T; STEP] =
                        std::array::from_fn(|step| source.add(step * self.row_stride).read_unaligned());
                    to.add(group * self.group_size).cast::<[T; STEP]>().add(column).write(elements);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs by the definition.
    fn naive(k: usize, n: usize, source: &[i8], strides: [usize; 2], nr: usize, step: usize) -> Vec<i8> {
        let layout = PackedLayout::new(k, n, nr, step).unwrap();
        let mut packed = vec![0; layout.size()];
        for row in 0..k {
            for column in 0..n {
                let at = column / nr * layout.panel_size() + row / step * layout.group_size();
                packed[at + column % nr * step + row % step] = source[row * strides[0] + column * strides[1]];
            }
        }
        packed
    }

    #[test]
    fn packing_agrees_with_its_definition() {
        for k in [0, 1, 2, 3, 4, 7, 33, 70] {
            for (n, nr) in [(0, 8), (1, 8), (8, 8), (19, 8), (33, 32), (5, 1)] {
                for strides in [[n, 1], [n + 3, 1], [1, k], [1, k + 2], [2 * n, 2]] {
                    let source: Vec<i8> = (0..4 * (k + 3) * (n + 3)).map(|i| (i * 31 % 251) as i8).collect();
                    let mut bytes = vec![99; naive(k, n, &source, strides, nr, 4).len()];
                    pack_b_s8(k, n, &source, strides[0], strides[1], nr, &mut bytes).unwrap();
                    assert_eq!(bytes, naive(k, n, &source, strides, nr, 4));

                    let halves: Vec<u16> = source.iter().map(|&v| v as u8 as u16).collect();
                    let expected = naive(k, n, &source, strides, nr, 2);
                    let mut packed = vec![99; expected.len()];
                    pack_b_bf16(k, n, &halves, strides[0], strides[1], nr, &mut packed).unwrap();
                    assert!(packed.iter().zip(&expected).all(|(&a, &b)| a == b as u8 as u16));

                    let floats: Vec<f32> = source.iter().map(|&v| f32::from(v)).collect();
                    let expected = naive(k, n, &source, strides, nr, 1);
                    let mut packed = vec![99.0; expected.len()];
                    pack_b_f32(k, n, &floats, strides[0], strides[1], nr, &mut packed).unwrap();
                    assert!(packed.iter().zip(&expected).all(|(&a, &b)| a == f32::from(b)));
                }
            }
        }
    }

    #[test]
    fn wrong_sizes_are_errors() {
        let error = pack_b_f32(2, 3, &[0.0; 5], 3, 1, 8, &mut [0.0; 16]).unwrap_err();
        assert_eq!(error.to_string(), "expected a source of at least 6 elements, found 5");
        let error = pack_b_f32(2, 3, &[0.0; 6], 3, 1, 8, &mut [0.0; 15]).unwrap_err();
        assert_eq!(error.to_string(), "expected a destination of 16 elements, found 15");
        assert!(pack_b_f32(usize::MAX, 3, &[], 1, 1, 8, &mut []).is_err());
        assert!(pack_b_f32(2, 3, &[0.0; 6], 3, 1, 0, &mut []).is_err());
    }
}
