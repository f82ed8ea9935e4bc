//! Kernels for x86-64 with tile registers: bytes with exact i32 sums, and bf16 with f32 sums.
//!
//! Four tiles of 16 × 16 sums make up the tile of C. Each step multiplies 64 bytes of 16 or 32 rows of A with 16
//! groups of k of 16 or 32 columns of B, or fewer if equal blocks make up the whole of k then; what is left at the end
//! is copied between zeros first. Tile
//! registers are set up for each call and given back at its end, so that nothing else on the thread meets them.

use std::arch::asm;

/// Rows of a tile, and its columns.
const SIDE: usize = 16;
/// Bytes of a row of a tile.
const ROW: usize = 64;
/// Rows and columns of the tile of C.
const WIDE: usize = 2 * SIDE;

/// What the processor is told of its tile registers.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Sums in 0 to 3 and A in 4 and 5 with so many rows above and below, B in 6 and 7; so many bytes of each row of A
    /// in a block.
    fn new(above: usize, below: usize, block: usize) -> Shapes {
        let (above, below, groups) = (above as u8, below.max(1) as u8, (block / 4) as u8);
        let mut rows = [0; 16];
        rows[..8].copy_from_slice(&[above, above, below, below, above, below, groups, groups]);
        let mut row_bytes = [0; 16];
        row_bytes[..8].fill(ROW as u16);
        row_bytes[4..6].fill(block as u16);
        Shapes { palette: 1, start: 0, reserved: [0; 14], row_bytes, rows }
    }
}

/// Copies of the ends of A and B between zeros.
#[repr(C, align(64))]
struct Ends {
    a: [[u8; ROW]; WIDE],
    b: [[u8; 2 * ROW]; SIDE],
}

/// The bytes of a row of A in a block, such that equal blocks make up the whole row if there is such a number.
fn even_block(bytes: usize) -> usize {
    let blocks = bytes.div_ceil(ROW).max(1);
    let even = bytes / blocks;
    if bytes > 0 && even * blocks == bytes && even.is_multiple_of(4) { even } else { ROW }
}

/// A matrix from some element on, and the bytes from one row or group to the next.
#[derive(Clone, Copy)]
struct Rows {
    start: *const u8,
    stride: isize,
}

macro_rules! amx {
    ($name:ident, $module:ident, $dot:literal, $bytes:literal, $sum:ty, $add:expr) => {
        #[doc = concat!("The micro-kernel `", stringify!($name), "`; see the contract of `MicroKernel`.")]
        ///
        /// # Safety
        /// As `MicroKernel` says, on a processor that has the instructions.
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $name(
            k: i64,
            a: *const u8,
            a_row_stride: i64,
            a_k_stride: i64,
            b: *const u8,
            b_k_stride: i64,
            c: *mut u8,
            c_row_stride: i64,
            m: i64,
            n: i64,
            accumulate: i64,
        ) {
            if m <= 0 || n <= 0 {
                return;
            }
            let (m, n, k) = (m as usize, n as usize, k.max(0) as usize);
            let call = Call {
                m,
                n,
                k,
                a,
                a_row: a_row_stride as isize * $bytes,
                a_step: a_k_stride as isize * $bytes,
                b: Rows { start: b, stride: b_k_stride as isize * $bytes },
                c,
                c_row: c_row_stride as isize * 4,
                accumulate: accumulate != 0,
            };
            // SAFETY: passed on from the caller.
            unsafe { $module::contract(&call) }
        }

        mod $module {
            use super::*;

            /// # Safety
            /// As for the micro-kernel.
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            pub(super) unsafe fn contract(call: &Call) {
                let in_place = call.a_step == $bytes;
                let width = if in_place { even_block(call.k * $bytes) } else { ROW };
                let shapes = Shapes::new(call.m.min(SIDE), call.m.saturating_sub(SIDE), width);
                // Sums go to and from C itself where whole tiles of it are there.
                let whole = call.n == SIDE || call.n == WIDE;
                // SAFETY: rows and columns stay inside of the matrices by the caller's promise; a block is read in
                // place only if all of it is there. No code in between uses tile registers.
                unsafe {
                    asm!("ldtilecfg [{0}]", in(reg) &shapes, options(nostack));
                    if whole && call.accumulate {
                        call.load();
                    } else {
                        asm!(
                            "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                            options(nomem, nostack)
                        );
                    }
                    let steps = width / $bytes;
                    let blocks = if in_place { call.k / steps } else { 0 };
                    let mut a = call.a;
                    let mut b = call.b;
                    for _ in 0..blocks {
                        block(call, Rows { start: a, stride: call.a_row }, b);
                        a = a.wrapping_add(width);
                        b.start = b.start.wrapping_offset((width / 4) as isize * b.stride);
                    }
                    let mut done = blocks * steps;
                    while done < call.k {
                        let ends = ends(call, done, (call.k - done).min(steps));
                        let a = Rows { start: ends.a.as_ptr().cast(), stride: ROW as isize };
                        block(call, a, Rows { start: ends.b.as_ptr().cast(), stride: 2 * ROW as isize });
                        done += steps;
                    }
                    if whole {
                        call.store(call.c, call.c_row);
                    } else {
                        let mut sums = [[<$sum>::default(); WIDE]; WIDE];
                        call.store(sums.as_mut_ptr().cast(), size_of_val(&sums[0]) as isize);
                        merge(call, &sums);
                    }
                    asm!("tilerelease", options(nomem, nostack));
                }
            }

            /// Adds the products of one block of k.
            ///
            /// # Safety
            /// The rows of A and groups of B must be readable, the tile registers set up.
            #[inline(always)]
            unsafe fn block(call: &Call, a: Rows, b: Rows) {
                let below = a.start.wrapping_offset(SIDE as isize * a.stride);
                // SAFETY: by the caller's promise.
                unsafe {
                    match (call.m > SIDE, call.n > SIDE) {
                        (true, true) => asm!(
                            "tileloadd tmm6, [{b} + {bs}]",
                            "tileloadd tmm4, [{a} + {ars}]",
                            concat!($dot, " tmm0, tmm4, tmm6"),
                            "tileloadd tmm7, [{b} + {bs} + 64]",
                            concat!($dot, " tmm1, tmm4, tmm7"),
                            "tileloadd tmm5, [{below} + {ars}]",
                            concat!($dot, " tmm2, tmm5, tmm6"),
                            concat!($dot, " tmm3, tmm5, tmm7"),
                            a = in(reg) a.start, below = in(reg) below, ars = in(reg) a.stride,
                            b = in(reg) b.start, bs = in(reg) b.stride, options(nostack, readonly)
                        ),
                        (false, true) => asm!(
                            "tileloadd tmm6, [{b} + {bs}]",
                            "tileloadd tmm4, [{a} + {ars}]",
                            concat!($dot, " tmm0, tmm4, tmm6"),
                            "tileloadd tmm7, [{b} + {bs} + 64]",
                            concat!($dot, " tmm1, tmm4, tmm7"),
                            a = in(reg) a.start, ars = in(reg) a.stride,
                            b = in(reg) b.start, bs = in(reg) b.stride, options(nostack, readonly)
                        ),
                        (true, false) => asm!(
                            "tileloadd tmm6, [{b} + {bs}]",
                            "tileloadd tmm4, [{a} + {ars}]",
                            concat!($dot, " tmm0, tmm4, tmm6"),
                            "tileloadd tmm5, [{below} + {ars}]",
                            concat!($dot, " tmm2, tmm5, tmm6"),
                            a = in(reg) a.start, below = in(reg) below, ars = in(reg) a.stride,
                            b = in(reg) b.start, bs = in(reg) b.stride, options(nostack, readonly)
                        ),
                        (false, false) => asm!(
                            "tileloadd tmm6, [{b} + {bs}]",
                            "tileloadd tmm4, [{a} + {ars}]",
                            concat!($dot, " tmm0, tmm4, tmm6"),
                            a = in(reg) a.start, ars = in(reg) a.stride,
                            b = in(reg) b.start, bs = in(reg) b.stride, options(nostack, readonly)
                        ),
                    }
                }
            }

            /// Copies `steps` steps of k from `done` on.
            ///
            /// # Safety
            /// They must be there.
            unsafe fn ends(call: &Call, done: usize, steps: usize) -> Ends {
                let mut ends = Ends { a: [[0; ROW]; WIDE], b: [[0; 2 * ROW]; SIDE] };
                let group = 4 / $bytes;
                let columns = if call.n > SIDE { 2 * ROW } else { ROW };
                // SAFETY: rows below m, steps below k, groups that hold such steps.
                unsafe {
                    for row in 0..call.m {
                        let from =
                            call.a.offset(row as isize * call.a_row + done as isize * call.a_step);
                        let to = ends.a[row].as_mut_ptr();
                        if call.a_step == $bytes {
                            from.copy_to_nonoverlapping(to, steps * $bytes);
                        } else {
                            for step in 0..steps {
                                let from = from.offset(step as isize * call.a_step);
                                from.copy_to_nonoverlapping(to.add(step * $bytes), $bytes);
                            }
                        }
                    }
                    for at in 0..steps.div_ceil(group) {
                        let from = call.b.start.offset((done / group + at) as isize * call.b.stride);
                        from.copy_to_nonoverlapping(ends.b[at].as_mut_ptr(), columns);
                    }
                }
                ends
            }

            /// Writes the sums that are there to C, or adds them.
            ///
            /// # Safety
            /// C must have its rows and columns.
            #[inline(always)]
            unsafe fn merge(call: &Call, sums: &[[$sum; WIDE]; WIDE]) {
                for (row, sums) in sums.iter().enumerate().take(call.m) {
                    // SAFETY: a row below m.
                    let to = unsafe { call.c.offset(row as isize * call.c_row) }.cast::<$sum>();
                    for (column, sum) in sums.iter().enumerate().take(call.n) {
                        // SAFETY: a column below n.
                        unsafe {
                            let to = to.add(column);
                            let old = if call.accumulate { to.read_unaligned() } else { <$sum>::default() };
                            to.write_unaligned(if call.accumulate { $add(old, *sum) } else { *sum });
                        }
                    }
                }
            }
        }
    };
}

/// The arguments of a micro-kernel, with strides in bytes.
struct Call {
    m: usize,
    n: usize,
    k: usize,
    a: *const u8,
    a_row: isize,
    a_step: isize,
    b: Rows,
    c: *mut u8,
    c_row: isize,
    accumulate: bool,
}

impl Call {
    /// Fills the sums from C.
    ///
    /// # Safety
    /// C must have whole tiles of columns, and the tile registers be set up.
    #[inline(always)]
    unsafe fn load(&self) {
        let below = self.c.wrapping_offset(SIDE as isize * self.c_row);
        // SAFETY: by the caller's promise.
        unsafe {
            asm!("tileloadd tmm0, [{0} + {1}]", in(reg) self.c, in(reg) self.c_row, options(nostack, readonly));
            if self.n > SIDE {
                asm!("tileloadd tmm1, [{0} + {1} + 64]", in(reg) self.c, in(reg) self.c_row, options(nostack, readonly));
            }
            if self.m > SIDE {
                asm!("tileloadd tmm2, [{0} + {1}]", in(reg) below, in(reg) self.c_row, options(nostack, readonly));
            }
            if self.m > SIDE && self.n > SIDE {
                asm!("tileloadd tmm3, [{0} + {1} + 64]", in(reg) below, in(reg) self.c_row, options(nostack, readonly));
            }
        }
    }

    /// Writes the sums to rows `stride` bytes apart.
    ///
    /// # Safety
    /// There must be room for `m` rows of whole tiles of columns.
    #[inline(always)]
    unsafe fn store(&self, to: *mut u8, stride: isize) {
        let below = to.wrapping_offset(SIDE as isize * stride);
        // SAFETY: by the caller's promise.
        unsafe {
            asm!("tilestored [{0} + {1}], tmm0", in(reg) to, in(reg) stride, options(nostack));
            if self.n > SIDE {
                asm!("tilestored [{0} + {1} + 64], tmm1", in(reg) to, in(reg) stride, options(nostack));
            }
            if self.m > SIDE {
                asm!("tilestored [{0} + {1}], tmm2", in(reg) below, in(reg) stride, options(nostack));
            }
            if self.m > SIDE && self.n > SIDE {
                asm!("tilestored [{0} + {1} + 64], tmm3", in(reg) below, in(reg) stride, options(nostack));
            }
        }
    }
}

amx!(tcc_mk_u8s8_amx, u8s8, "tdpbusd", 1, i32, i32::wrapping_add);
amx!(tcc_mk_s8s8_amx, s8s8, "tdpbssd", 1, i32, i32::wrapping_add);
amx!(tcc_mk_bf16_amx, bf16, "tdpbf16ps", 2, f32, std::ops::Add::add);
