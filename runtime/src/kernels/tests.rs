//! Every kernel this processor can run, against the definition of matrix multiplication, in memory that ends at an
//! inaccessible page so that a read or write too far is a crash.

use proptest::prelude::*;

use super::portable::{bf16_to_f32, f16_to_f32};
use super::*;

/// Bytes that end where an inaccessible page begins.
struct Guarded {
    base: *mut libc::c_void,
    mapped: usize,
    len: usize,
}

/// A multiple of every page size in use.
const PAGE: usize = 1 << 16;

impl Guarded {
    fn new(len: usize) -> Guarded {
        let mapped = len.next_multiple_of(PAGE) + PAGE;
        // SAFETY: a fresh anonymous mapping, the last page of which is then made inaccessible.
        let base = unsafe {
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let base = libc::mmap(std::ptr::null_mut(), mapped, protection, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(base.add(mapped - PAGE), PAGE, libc::PROT_NONE), 0);
            base
        };
        Guarded { base, mapped, len }
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: the last page of the mapping is the guard, and `len` bytes fit before it.
        unsafe { self.base.cast::<u8>().add(self.mapped - PAGE - self.len) }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped, initialised by the system, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`.
        unsafe { libc::munmap(self.base, self.mapped) };
    }
}

/// Where the elements of A lie.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    RowMajor,
    Panel,
    Strided,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    m: usize,
    n: usize,
    k: usize,
    order: Order,
    accumulate: bool,
    seed: u64,
}

/// The same numbers every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// An element of a kind as bits, with its value: small numbers that are exact in every kind, so that sums are
    /// exact in f32 too.
    fn element(&mut self, kind: KernelKind, signed: bool) -> (u32, f64) {
        let small = (self.next() % 17) as f32 - 8.0;
        match kind {
            KernelKind::F32 => (small.to_bits(), f64::from(small)),
            KernelKind::Bf16 => {
                (small.to_bits() >> 16, f64::from(bf16_to_f32((small.to_bits() >> 16) as u16)))
            }
            KernelKind::F16 => {
                // Powers of two from a quarter to 64, either sign, and zero.
                let exponent = self.next() % 9;
                let bits = if exponent == 0 { 0 } else { (self.next() & 1) << 15 | (exponent + 12) << 10 };
                (bits as u32, f64::from(f16_to_f32(bits as u16)))
            }
            KernelKind::U8S8 | KernelKind::S8S8 => {
                let byte = self.next() as u8;
                (u32::from(byte), if signed { f64::from(byte as i8) } else { f64::from(byte) })
            }
        }
    }
}

fn check(kind: KernelKind, tile: Tile, kernel: MicroKernel, case: Case) {
    let Case { m, n, k, order, accumulate, seed } = case;
    let size = kind.element_bytes();
    let mut numbers = Numbers(seed);
    let (a_row, a_k) = match order {
        Order::RowMajor => (k + 3, 1),
        Order::Panel => (1, m),
        Order::Strided => (2 * k + 1, 2),
    };
    let a_len = if k == 0 { 0 } else { (m - 1) * a_row + (k - 1) * a_k + 1 };
    let mut a = Guarded::new(a_len * size);
    a.bytes().fill(0xff);
    let mut a_values = vec![0.0; m * k];
    for (index, value) in a_values.iter_mut().enumerate() {
        let (bits, exact) = numbers.element(kind, kind == KernelKind::S8S8);
        let at = (index / k * a_row + index % k * a_k) * size;
        a.bytes()[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
        *value = exact;
    }
    let layout = PackedLayout::new(k, n, tile.nr, tile.k_step).unwrap();
    let mut b = Guarded::new(layout.size() * size);
    // Columns beyond n must not matter, be they not numbers; steps beyond k are zeros by contract.
    for (index, byte) in b.bytes().iter_mut().enumerate() {
        let (group, within) = (index / size / layout.group_size(), index / size % layout.group_size());
        let row = group % layout.groups * tile.k_step + within % tile.k_step;
        *byte = if row < k { 0xff } else { 0 };
    }
    let mut b_values = vec![0.0; k * n];
    for (index, value) in b_values.iter_mut().enumerate() {
        let (bits, exact) = numbers.element(kind, true);
        let (row, column) = (index / n, index % n);
        let at = (row / tile.k_step * layout.group_size() + column * tile.k_step + row % tile.k_step) * size;
        b.bytes()[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
        *value = exact;
    }
    let float = !matches!(kind, KernelKind::U8S8 | KernelKind::S8S8);
    let c_row = n + 2;
    let mut c = Guarded::new(((m - 1) * c_row + n) * 4);
    let old = if float { 3f32.to_bits() } else { 3 };
    c.bytes().chunks_exact_mut(4).for_each(|element| element.copy_from_slice(&old.to_le_bytes()));
    // SAFETY: the three matrices were laid out as the contract says; the processor has the instructions.
    unsafe {
        let (a_row, a_k, b_k, c_row) = (a_row as i64, a_k as i64, layout.group_size() as i64, c_row as i64);
        let (m, n, k) = (m as i64, n as i64, k as i64);
        kernel(k, a.start(), a_row, a_k, b.start(), b_k, c.start(), c_row, m, n, i64::from(accumulate));
    }
    for (index, element) in c.bytes().chunks_exact(4).enumerate() {
        let (row, column) = (index / c_row, index % c_row);
        let bits = u32::from_le_bytes(element.try_into().unwrap());
        let found = if float { f64::from(f32::from_bits(bits)) } else { f64::from(bits as i32) };
        let expected = if column < n {
            let sum: f64 = (0..k).map(|step| a_values[row * k + step] * b_values[step * n + column]).sum();
            sum + if accumulate { 3.0 } else { 0.0 }
        } else {
            3.0
        };
        assert_eq!(found, expected, "{} at ({row}, {column}) of {case:?}", tile.symbol);
    }
}

#[test]
fn every_kernel_is_right_for_every_tail() {
    for (kind, tile, kernel) in available() {
        for m in 1..=tile.mr {
            for n in 1..=tile.nr {
                for (index, k) in [0, 1, 2, 5, 19, 28, 76].into_iter().enumerate() {
                    let order = [Order::RowMajor, Order::Panel, Order::Strided][(m + n + index) % 3];
                    let accumulate = (m + n + index) % 2 == 0;
                    check(kind, tile, kernel, Case { m, n, k, order, accumulate, seed: (m * n * k) as u64 });
                }
            }
        }
    }
}

#[test]
fn sums_of_extreme_bytes_are_exact() {
    for (kind, tile, kernel) in available() {
        let (KernelKind::S8S8 | KernelKind::U8S8) = kind else { continue };
        for a_byte in [0x80u8, 0x7f, 0xff] {
            let (k, nr) = (1000, tile.nr);
            let (a, b) = (vec![a_byte; k], vec![0x80u8; k * nr]);
            let mut c = vec![0i32; nr];
            let b_k = (nr * tile.k_step) as i64;
            // SAFETY: one row of `k` bytes, a whole panel, one row of C.
            unsafe {
                kernel(
                    k as i64,
                    a.as_ptr(),
                    k as i64,
                    1,
                    b.as_ptr(),
                    b_k,
                    c.as_mut_ptr().cast(),
                    0,
                    1,
                    nr as i64,
                    0,
                )
            };
            let value = if kind == KernelKind::S8S8 { i32::from(a_byte as i8) } else { i32::from(a_byte) };
            assert!(c.iter().all(|&sum| sum == value * -128 * 1000), "{}: {c:?}", tile.symbol);
        }
    }
}

#[test]
fn halves_widen_to_their_values() {
    let cases = [
        (0u16, 0.0),
        (0x3c00, 1.0),
        (0xc000, -2.0),
        (1, 2f32.powi(-24)),
        (0x7bff, 65504.0),
        (0x7c00, f32::INFINITY),
    ];
    for (bits, value) in cases {
        assert_eq!(f16_to_f32(bits), value);
    }
    assert!(f16_to_f32(0x7e00).is_nan());
    assert_eq!(bf16_to_f32(0xc040), -3.0);
}

#[test]
fn each_processor_gets_its_best_kernel() {
    let avx512 = Isa::SSE2.union(Isa::AVX2).union(Isa::AVX512);
    assert_eq!(tile(avx512, KernelKind::F32).symbol, "tcc_mk_f32_avx512");
    assert_eq!(tile(avx512, KernelKind::S8S8).symbol, "tcc_mk_s8s8_avx2");
    assert_eq!(tile(Isa::NEON, KernelKind::F32).symbol, "tcc_mk_f32_neon");
    for kind in KernelKind::ALL {
        assert!(tile(Isa::PORTABLE, kind).symbol.ends_with("_portable"));
        assert!(symbol(tile(Isa::detect(), kind).symbol).is_some());
    }
    assert!(symbol("tcc_pack_b_s8").is_some());
    assert!(symbol("tcc_mk_f32_abacus").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn kernels_multiply(
        (rows, columns) in (1usize..=16, 1usize..=64),
        k in prop_oneof![0usize..10, 100usize..300],
        order in prop_oneof![Just(Order::RowMajor), Just(Order::Panel), Just(Order::Strided)],
        accumulate: bool,
        seed: u64,
    ) {
        for (kind, tile, kernel) in available() {
            let (m, n) = (rows.min(tile.mr), columns.min(tile.nr));
            check(kind, tile, kernel, Case { m, n, k, order, accumulate, seed });
        }
    }
}
