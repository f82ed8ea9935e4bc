//! Kernels in PTX text against plain Rust, each broken in many ways that must be found.

mod arithmetic;
mod cases;
mod golden;
mod mutations;
mod ptxas;

use super::{Counters, Fault, Options};
use crate::ptx::Module;

/// Why a kernel is not right.
#[derive(Debug)]
enum Trouble {
    Fault(Box<Fault>),
    /// It ended with other results than expected, or without some.
    Wrong,
}

/// A kernel with inputs and what it must make of them.
struct Case {
    name: &'static str,
    text: &'static str,
    run: fn(&Module, Options) -> Result<Counters, Trouble>,
    /// Whether its accesses of shared memory have no conflicts.
    free_of_conflicts: bool,
}

/// Numbers from 0 below a limit, the same in every run.
fn numbers(count: usize, below: u64, seed: u64) -> Vec<u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn kernels_compute_what_they_should_in_any_order() {
    for case in cases::CASES {
        let module = Module::parse(case.text).unwrap();
        for seed in 1..6 {
            let options = Options { seed, ..Options::default() };
            let counters = match (case.run)(&module, options) {
                Ok(counters) => counters,
                Err(Trouble::Fault(fault)) => panic!("{} with seed {seed}: {fault}", case.name),
                Err(Trouble::Wrong) => panic!("{} with seed {seed}: expected other results", case.name),
            };
            let conflicts = counters.shared_wavefronts - counters.shared_ideal;
            assert!(!case.free_of_conflicts || conflicts == 0, "{}: {conflicts} conflicts", case.name);
        }
    }
}

#[test]
fn counters_count_what_a_kernel_does() {
    let case = cases::CASES.iter().find(|c| c.name == "transpose").unwrap();
    let counters = (case.run)(&Module::parse(case.text).unwrap(), Options::default()).unwrap();
    // Six tiles of 32 × 32 words: each row is one request of four sectors, and one wavefront, both ways.
    assert_eq!((counters.global_requests, counters.global_sectors), (6 * 64, 6 * 64 * 4));
    assert_eq!((counters.shared_wavefronts, counters.global_ideal), (6 * 64, 6 * 64 * 4));
    assert_eq!(counters.count("bar.sync"), 6 * 8);
    let case = cases::CASES.iter().find(|c| c.name == "matmul_mma bf16").unwrap();
    let counters = (case.run)(&Module::parse(case.text).unwrap(), Options::default()).unwrap();
    assert_eq!(counters.matrix_flops, 2 * 64 * 48 * 96);
}
