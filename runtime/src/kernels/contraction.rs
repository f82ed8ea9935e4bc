//! The one contraction loop behind every micro-kernel: written over `Lanes`, instantiated for each row count.
//!
//! Rows of A are read by broadcast, a panel of B by whole vectors, and the tile of C stays in registers. Whatever
//! the loop cannot read in place (elements that must be converted, groups of k that are not contiguous, the last
//! incomplete group) is first staged into a small buffer on the stack.

use std::mem::MaybeUninit;

/// Repeats a body for constant indices below a constant count of at most `MAX_ROWS`.
///
/// The optimiser gives up on loops of this size, and sums that are indexed by a loop variable live in memory
/// instead of registers.
macro_rules! unrolled {
    ($count:expr, $index:ident, $body:block) => {
        unrolled!(@ $count, $index, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $count:expr, $index:ident, $body:block, $($value:literal)*) => {
        $(if $value < $count {
            let $index: usize = $value;
            $body
        })*
    };
}

/// A vector of 32-bit partial sums.
///
/// All functions of this and the next trait must be inlined into a function that enables the instructions used.
pub(super) trait Sums: Copy {
    /// Sums that add nothing.
    unsafe fn zero() -> Self;
    /// The sum of both.
    unsafe fn add(self, other: Self) -> Self;
    /// What the first `columns` elements of C hold, and zero beyond; touches nothing else.
    unsafe fn load(c: *const u8, columns: usize) -> Self;
    /// Writes the first `columns` sums to C; touches nothing else.
    unsafe fn store(self, c: *mut u8, columns: usize);
}

/// One way of multiplying a group of `STEP` steps of k into one vector of columns.
pub(super) trait Lanes {
    /// An element of A as the caller stores it.
    type Source: Copy;
    /// An element of A as `row` reads it; the default must be zero.
    type Staged: Copy + Default;
    /// Partial sums of one vector of columns.
    type Sums: Sums;
    /// One group of k of one vector of columns of B.
    type Column: Copy;
    /// One group of k of one row of A, broadcast.
    type Row: Copy;

    /// Steps of k in a group.
    const STEP: usize;
    /// Columns in a vector.
    const COLUMNS: usize;
    /// Bytes of one vector of columns of one group of B.
    const COLUMN_BYTES: usize;
    /// How many times the loop goes over a group: kinds that widen B need fewer registers if each goes over the
    /// group for one of its steps.
    const PARTS: usize = 1;
    /// Whether `Source` and `Staged` are the same, so that A can be read in place.
    const IN_PLACE: bool = true;

    /// What the sums of a row start from; the row has `groups` groups, contiguous if `STEP > 1`.
    #[inline(always)]
    unsafe fn start(_row: *const u8, _groups: usize) -> Self::Sums {
        // SAFETY: passed on from the caller.
        unsafe { Self::Sums::zero() }
    }
    /// Reads part `PART` of `COLUMN_BYTES` bytes.
    unsafe fn column<const PART: usize>(b: *const u8) -> Self::Column;
    /// Reads part `PART` of one group of A.
    unsafe fn row<const PART: usize>(a: *const u8) -> Self::Row;
    /// `sums + row * column`.
    unsafe fn step(sums: Self::Sums, row: Self::Row, column: Self::Column) -> Self::Sums;
    /// Converts one element.
    unsafe fn convert(source: Self::Source) -> Self::Staged;
    /// Converts `count` elements, `stride` elements apart, into contiguous ones.
    #[inline(always)]
    unsafe fn stage(source: *const Self::Source, stride: isize, count: usize, staged: *mut Self::Staged) {
        for index in 0..count {
            // SAFETY: the caller promises `count` elements on both sides.
            unsafe {
                let element = source.offset(index as isize * stride).read_unaligned();
                staged.add(index).write(Self::convert(element));
            }
        }
    }
}

/// The arguments of a micro-kernel, as they come.
pub(super) struct Call {
    pub k: i64,
    pub a: *const u8,
    pub a_row_stride: i64,
    pub a_k_stride: i64,
    pub b: *const u8,
    pub b_k_stride: i64,
    pub c: *mut u8,
    pub c_row_stride: i64,
    pub m: i64,
    pub n: i64,
    pub accumulate: i64,
}

/// What the loop itself reads: whole groups of staged elements. Strides are in bytes.
pub(super) struct Panels {
    pub groups: usize,
    pub a: *const u8,
    pub a_row: isize,
    pub a_group: isize,
    pub b: *const u8,
    pub b_group: isize,
    pub c: *mut u8,
    pub c_row: isize,
    pub columns: usize,
    pub accumulate: bool,
}

/// Steps of k that are staged at once; the buffer for the tallest tile stays well inside L1.
const STAGED_STEPS: usize = 256;
/// Staged elements from one row to the next: not a power of two, so that rows do not compete for cache sets.
const STAGED_ROW: usize = STAGED_STEPS + 16;
const MAX_ROWS: usize = 16;

/// Splits a call into pieces the loop can take: `dispatch(rows, vectors, panels)` runs one of them.
///
/// # Safety
/// The matrices must be as the micro-kernel contract in the module above says, and `m` at most `MAX_ROWS`.
#[inline(always)]
pub(super) unsafe fn contract<L: Lanes>(call: &Call, dispatch: impl Fn(usize, usize, &Panels)) {
    if call.m <= 0 || call.n <= 0 {
        return;
    }
    let (rows, k) = (call.m as usize, call.k.max(0) as usize);
    let b_element = (L::COLUMN_BYTES / (L::COLUMNS * L::STEP)) as isize;
    let a_element = size_of::<L::Source>() as isize;
    let vectors = (call.n as usize).div_ceil(L::COLUMNS);
    let mut panels = Panels {
        groups: k / L::STEP,
        a: call.a,
        a_row: call.a_row_stride as isize * a_element,
        a_group: call.a_k_stride as isize * a_element * L::STEP as isize,
        b: call.b,
        b_group: call.b_k_stride as isize * b_element,
        c: call.c,
        // Every kind accumulates in 32 bits.
        c_row: call.c_row_stride as isize * 4,
        columns: call.n as usize,
        accumulate: call.accumulate != 0,
    };
    let in_place = L::IN_PLACE && (L::STEP == 1 || call.a_k_stride == 1);
    let mut done = 0;
    if in_place {
        done = panels.groups * L::STEP;
        if done > 0 || k == 0 {
            dispatch(rows, vectors, &panels);
            panels.accumulate = true;
        }
    } else if k == 0 {
        dispatch(rows, vectors, &panels);
    }
    let b_step_group = panels.b_group;
    while done < k {
        let steps = (k - done).min(STAGED_STEPS);
        let groups = steps.div_ceil(L::STEP);
        let mut buffer = MaybeUninit::<[[L::Staged; STAGED_ROW]; MAX_ROWS]>::uninit();
        let staged = buffer.as_mut_ptr().cast::<L::Staged>();
        for row in 0..rows {
            // SAFETY: `row` is below `m` and `done..done + steps` within k, so the source is readable; a row of
            // the buffer holds more than STAGED_STEPS elements, and that is a multiple of every STEP.
            unsafe {
                let source = call.a.cast::<L::Source>().offset(
                    row as isize * call.a_row_stride as isize + done as isize * call.a_k_stride as isize,
                );
                let target = staged.add(row * STAGED_ROW);
                L::stage(source, call.a_k_stride as isize, steps, target);
                for step in steps..groups * L::STEP {
                    target.add(step).write(L::Staged::default());
                }
            }
        }
        panels.groups = groups;
        panels.a = staged.cast_const().cast();
        panels.a_row = (STAGED_ROW * size_of::<L::Staged>()) as isize;
        panels.a_group = (L::STEP * size_of::<L::Staged>()) as isize;
        // SAFETY: `done` is a multiple of STEP below k, so the group lies inside the panel.
        panels.b = unsafe { call.b.offset((done / L::STEP) as isize * b_step_group) };
        dispatch(rows, vectors, &panels);
        panels.accumulate = true;
        done += steps;
    }
}

/// Where the current group of each row of A is.
///
/// x86 addresses add a register, once, twice, four or eight times: with the strides of one, three and five rows in
/// registers, a pointer reaches rows 0 to 6. So few pointers are to be advanced for each group that the additions
/// leave the units of the vector instructions alone.
struct Rows {
    pointers: [*const u8; MAX_ROWS.div_ceil(ROWS_PER_POINTER)],
    one: isize,
    three: isize,
    five: isize,
}

const ROWS_PER_POINTER: usize = 7;

impl Rows {
    #[inline(always)]
    fn new(a: *const u8, stride: isize) -> Rows {
        let pointer = |index: usize| opaque(a.wrapping_offset((index * ROWS_PER_POINTER) as isize * stride));
        Rows {
            pointers: [pointer(0), pointer(1), pointer(2)],
            one: stride,
            three: opaque_stride(3 * stride),
            five: opaque_stride(5 * stride),
        }
    }

    #[inline(always)]
    fn at(&self, row: usize) -> *const u8 {
        let offset = match row % ROWS_PER_POINTER {
            0 => 0,
            1 => self.one,
            2 => 2 * self.one,
            3 => self.three,
            4 => 4 * self.one,
            5 => self.five,
            _ => 2 * self.three,
        };
        self.pointers[row / ROWS_PER_POINTER].wrapping_offset(offset)
    }

    #[inline(always)]
    fn advance(&mut self, rows: usize, bytes: isize) {
        for pointer in &mut self.pointers[..rows.div_ceil(ROWS_PER_POINTER)] {
            *pointer = opaque(pointer.wrapping_offset(bytes));
        }
    }
}

/// Computes `M` rows of `V` vectors; `U` independent sums for each hide latency where rows are few.
///
/// # Safety
/// All `M` rows of A, `V` vectors of every group of B and `columns` columns of C must be accessible.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "constant indices keep the sums in registers")]
pub(super) unsafe fn tile<L: Lanes, const M: usize, const V: usize, const U: usize>(panels: &Panels) {
    const { assert!(M <= MAX_ROWS) };
    let Panels { groups, a, a_row, a_group, b, b_group, c, c_row, columns, accumulate } = *panels;
    // SAFETY: every address is inside the matrices by the caller's promise: rows below M, groups below `groups`,
    // and columns below `columns` for C. Prefetches may go beyond, since they never fault.
    unsafe {
        let mut sums = [[[L::Sums::zero(); V]; M]; U];
        unrolled!(M, row, {
            sums[0][row] = [L::start(a.offset(row as isize * a_row), groups); V];
            prefetch::<true>(c.wrapping_offset(row as isize * c_row));
            if accumulate {
                for vector in 0..V {
                    let first = vector * L::COLUMNS;
                    let before = c.offset(row as isize * c_row).add(first * 4);
                    let before = L::Sums::load(before, (columns - first).min(L::COLUMNS));
                    sums[0][row][vector] = before.add(sums[0][row][vector]);
                }
            }
        });
        let mut rows = Rows::new(a, a_row);
        let mut b = b;
        let mut rounds = groups / U;
        while rounds > 0 {
            for lane in 0..U {
                multiply::<L, M, V>(&mut sums[lane], &rows, b);
                prefetch::<false>(b.wrapping_offset(PREFETCH_GROUPS * b_group));
                if L::COLUMN_BYTES * V > 64 {
                    prefetch::<false>(b.wrapping_offset(PREFETCH_GROUPS * b_group + 64));
                }
                rows.advance(M, a_group);
                b = b.wrapping_offset(b_group);
            }
            rounds -= 1;
        }
        for _ in 0..groups % U {
            multiply::<L, M, V>(&mut sums[0], &rows, b);
            rows.advance(M, a_group);
            b = b.wrapping_offset(b_group);
        }
        unrolled!(M, row, {
            for vector in 0..V {
                let mut sum = sums[0][row][vector];
                for lane in 1..U {
                    sum = sum.add(sums[lane][row][vector]);
                }
                let first = vector * L::COLUMNS;
                let target = c.offset(row as isize * c_row).add(first * 4);
                sum.store(target, (columns - first).min(L::COLUMNS));
            }
        });
    }
}

/// How many groups ahead B is fetched.
const PREFETCH_GROUPS: isize = 32;

/// Adds the products of one group.
#[inline(always)]
unsafe fn multiply<L: Lanes, const M: usize, const V: usize>(
    sums: &mut [[L::Sums; V]; M],
    rows: &Rows,
    b: *const u8,
) {
    // SAFETY: as the caller promises for `tile`.
    unsafe {
        multiply_part::<L, M, V, 0>(sums, rows, b);
        if L::PARTS == 2 {
            // A second load of B is cheaper than keeping what was loaded in registers.
            multiply_part::<L, M, V, 1>(sums, rows, opaque(b));
        }
    }
}

#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "constant indices keep the sums in registers")]
unsafe fn multiply_part<L: Lanes, const M: usize, const V: usize, const PART: usize>(
    sums: &mut [[L::Sums; V]; M],
    rows: &Rows,
    b: *const u8,
) {
    // SAFETY: as the caller promises for `tile`.
    unsafe {
        let mut column = [MaybeUninit::<L::Column>::uninit(); V];
        for vector in 0..V {
            column[vector].write(L::column::<PART>(b.add(vector * L::COLUMN_BYTES)));
        }
        unrolled!(M, row, {
            let value = L::row::<PART>(rows.at(row));
            for vector in 0..V {
                sums[row][vector] = L::step(sums[row][vector], value, column[vector].assume_init());
            }
        });
    }
}

/// The same pointer, of which the optimiser knows nothing.
///
/// Otherwise it derives row pointers from each other, which makes loads wait for chains of additions, or keeps
/// one pointer for every row, more than there are registers.
#[inline(always)]
fn opaque(pointer: *const u8) -> *const u8 {
    pointer.with_addr(opaque_stride(pointer.addr() as isize) as usize)
}

/// The same number, of which the optimiser knows nothing.
#[inline(always)]
fn opaque_stride(stride: isize) -> isize {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut stride = stride;
        // SAFETY: no instruction is emitted.
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) stride, options(pure, nomem, nostack, preserves_flags))
        };
        stride
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    stride
}

/// Asks for a cache line, to be written if `WRITE`; never faults.
#[inline(always)]
fn prefetch<const WRITE: bool>(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is without effect on the program.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
        if WRITE {
            _mm_prefetch::<_MM_HINT_ET0>(address.cast());
        } else {
            _mm_prefetch::<_MM_HINT_T0>(address.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Reads `columns` elements of C, for vectors that cannot be loaded in part; the others are zero.
///
/// # Safety
/// `c` must be valid for `columns` elements of `T`.
#[inline(always)]
pub(super) unsafe fn load_some<T: Copy + Default, const N: usize>(c: *const u8, columns: usize) -> [T; N] {
    let mut full = [T::default(); N];
    for (column, value) in full.iter_mut().enumerate().take(columns) {
        // SAFETY: `column` is below `columns`.
        *value = unsafe { c.cast::<T>().add(column).read_unaligned() };
    }
    full
}

/// Writes `columns` of the sums in `full` to C, for vectors that cannot be stored in part.
///
/// # Safety
/// `c` must be valid for `columns` elements of `T`.
#[inline(always)]
pub(super) unsafe fn store_some<T: Copy>(full: &[T], c: *mut u8, columns: usize) {
    for (column, &value) in full.iter().enumerate().take(columns) {
        // SAFETY: `column` is below `columns`.
        unsafe { c.cast::<T>().add(column).write_unaligned(value) };
    }
}

/// Defines a micro-kernel: its name, lanes, instructions, and for each row count how many independent sums.
macro_rules! kernel {
    ($name:ident, $lanes:ty, $($features:literal)?, $vectors:tt, [$($rows:literal x $sums:literal)*]) => {
        #[doc = concat!("The micro-kernel `", stringify!($name), "`; see the contract of `MicroKernel`.")]
        ///
        /// # Safety
        /// As `MicroKernel` says, on a processor that has the instructions.
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $name(
            k: i64, a: *const u8, a_row_stride: i64, a_k_stride: i64, b: *const u8, b_k_stride: i64,
            c: *mut u8, c_row_stride: i64, m: i64, n: i64, accumulate: i64,
        ) {
            $(#[target_feature(enable = $features)])?
            unsafe fn run<const M: usize, const V: usize, const U: usize>(panels: &Panels) {
                // SAFETY: passed on from the caller.
                unsafe { tile::<$lanes, M, V, U>(panels) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn by_rows<const V: usize>(rows: usize, panels: &Panels) {
                // SAFETY: passed on from the caller.
                match rows { $($rows => unsafe { run::<$rows, V, $sums>(panels) },)* _ => {} }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn whole(call: &Call) {
                // SAFETY: passed on from the caller.
                unsafe {
                    contract::<$lanes>(call, |rows, vectors, panels| {
                        crate::kernels::contraction::by_vectors!($vectors, by_rows, rows, vectors, panels)
                    })
                }
            }
            let call =
                Call { k, a, a_row_stride, a_k_stride, b, b_k_stride, c, c_row_stride, m, n, accumulate };
            // SAFETY: passed on from the caller.
            unsafe { whole(&call) }
        }
    };
}

/// Turns a run-time number of vectors into a compile-time one.
macro_rules! by_vectors {
    ([$($vectors:literal)*], $by_rows:ident, $rows:expr, $count:expr, $panels:expr) => {
        match $count { $($vectors => $by_rows::<$vectors>($rows, $panels),)* _ => {} }
    };
}

pub(super) use {by_vectors, kernel};
