//! Seeded bugs: a pattern of a kernel's text, what replaces it, and what must be found.

use super::super::FaultKind::{self, *};
use super::super::Options;
use super::cases::CASES;
use super::{Case, Trouble};
use crate::ptx::Module;

/// What gives a bug away.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Finding {
    Fault(FaultKind),
    Wrong,
    /// The results are right, but accesses of shared memory conflict.
    Conflicts,
}

use Finding::{Conflicts, Wrong};

const fn fault(kind: FaultKind) -> Finding {
    Finding::Fault(kind)
}

/// Kernel, pattern, replacement, findings: one of them for each seed.
type Mutation = (&'static str, &'static str, &'static str, &'static [Finding]);

const MUTATIONS: &[Mutation] = &[
    // Bounds and addresses.
    ("vector_add", "setp.lt.u32 %p2", "setp.le.u32 %p2", &[fault(OutOfBounds)]),
    ("vector_add", "@%p1 bra TAIL;", "", &[fault(OutOfBounds)]),
    ("vector_add", "@%p0 bra DONE;", "", &[fault(OutOfBounds)]),
    ("vector_add", "shl.b32 %r4, %r4, 2", "shl.b32 %r4, %r4, 1", &[fault(Misaligned)]),
    ("vector_add", "add.rn.f32 %f11, %f3, %f7;", "", &[fault(UninitialisedRegister)]),
    ("vector_add", "{%f8, %f9, %f10, %f11}", "{%f9, %f8, %f10, %f11}", &[Wrong]),
    ("vector_add", "%r4, %r2, 64, %r3", "%r4, %r2, 63, %r3", &[fault(Race)]),
    ("vector_add", "st.global.v4.f32 [%rd3]", "st.global.v4.f32 [%rd1]", &[Wrong]),
    ("vector_add", "add.s64 %rd3, %rd3, 4;", "", &[Wrong]),
    // Barriers, fences and tickets.
    ("reduction", "bar.sync 0;\n    mov.u32 %r6", "mov.u32 %r6", &[fault(Race), fault(UninitialisedMemory)]),
    ("reduction", "JOIN:\n    bar.sync 0;", "JOIN:", &[fault(Race)]),
    ("reduction", "JOIN:\n    bar.sync 0;", "JOIN:\n    bar.sync 0, 64;", &[fault(Race), fault(Deadlock)]),
    (
        "reduction",
        "JOIN:\n    bar.sync 0;",
        "    bar.sync 0;\nJOIN:",
        &[fault(Race), fault(DivergentCollective)],
    ),
    (
        "reduction",
        "bar.sync 0;\n    shr",
        "bar.sync %r1;\n    shr",
        &[fault(DivergentCollective), fault(InvalidOperation)],
    ),
    ("reduction", "membar.gl;\n    atom", "atom", &[fault(Race)]),
    ("reduction", "mov.u32 %r6, 64", "mov.u32 %r6, 128", &[fault(OutOfBounds)]),
    ("reduction", "setp.ne.u32 %p1, %r6, 0", "setp.gt.u32 %p1, %r6, 1", &[Wrong]),
    ("reduction", "sub.u32 %r10, %r9, 1", "sub.u32 %r10, %r9, 2", &[fault(UninitialisedMemory)]),
    ("reduction", "@%p2 bra DONE;", "", &[fault(Race)]),
    ("transpose", "33", "32", &[Conflicts]),
    ("transpose", "%r13, %r3, 33, %r8", "%r13, %r3, 32, %r8", &[fault(UninitialisedMemory)]),
    ("transpose", "bar.sync 0;", "", &[fault(Race), fault(UninitialisedMemory)]),
    ("transpose", "tile[4224]", "tile[4096]", &[fault(OutOfBounds)]),
    ("transpose", "%r11, %r9, %r1, %r10", "%r11, %r9, %r2, %r10", &[fault(Race), fault(OutOfBounds)]),
    ("matmul_simt", "bar.sync 0;  // before the tiles are overwritten", "", &[fault(Race)]),
    ("matmul_simt", "bar.sync 0;\n    mov", "mov", &[fault(Race), fault(UninitialisedMemory)]),
    ("matmul_simt", "%r17, 16;", "%r17, 17;", &[fault(OutOfBounds)]),
    ("matmul_simt", "sub.u32 %r2, %r2, 16", "sub.u32 %r2, %r2, 8", &[fault(OutOfBounds)]),
    ("matmul_simt", "mov.f32 %f0, 0f00000000;", "", &[fault(UninitialisedRegister)]),
    // Lanes together.
    (
        "softmax",
        "%r10, %r9, %r8, 31, 0xffffffff",
        "%r10, %r9, %r8, 31, 0x0000ffff",
        &[fault(DivergentCollective)],
    ),
    ("softmax", "16;\nLARGEST", "8;\nLARGEST", &[Wrong]),
    ("softmax", "@%p0 bra DONE;", "", &[fault(OutOfBounds)]),
    ("softmax", "%r10, %r9, 0, 31", "%r10, %r9, 1, 31", &[Wrong]),
    ("softmax", "shfl.sync.idx", "@%p0 shfl.sync.idx", &[fault(UninitialisedRegister), Wrong]),
    (
        "softmax",
        "setp.ne.u32 %p1, %r8, 0;\n    @%p1 bra SUM",
        "setp.gt.u32 %p1, %r8, %r6;\n    @%p1 bra SUM",
        &[fault(DivergentCollective), Wrong],
    ),
    // Atomics.
    ("histogram", "red.global.add.u32", "st.global.u32", &[fault(Race)]),
    ("histogram", "@%p0 st.shared.u32 [%r5], 0;", "", &[fault(UninitialisedMemory)]),
    ("histogram", "0;\n    bar.sync 0;", "0;", &[fault(Race), fault(UninitialisedMemory)]),
    (
        "histogram",
        "atom.shared.add.u32 %r8, [%r7], 1;",
        "ld.shared.u32 %r8, [%r7];\n    st.shared.u32 [%r7], %r8;",
        &[fault(Race)],
    ),
    ("histogram", "@%p1 bra COUNTED;", "@%p1 bra DONE;", &[fault(DivergentCollective)]),
    // Copies, fragments and swizzles.
    ("matmul_mma bf16", "bar.sync 0;  // the tile is there", "", &[fault(MissingWait), fault(Race)]),
    ("matmul_mma bf16", "bar.sync 0;  // the tile is read", "", &[fault(Race), fault(MissingWait)]),
    ("matmul_mma bf16", "wait_group 1", "wait_group 2", &[fault(MissingWait)]),
    ("matmul_mma bf16", "COPIED:\n    cp.async.commit_group;", "COPIED:", &[fault(MissingWait)]),
    ("matmul_mma bf16", "xor.b32 %r11, %r11, %r7;", "mov.b32 %r11, %r7;", &[Wrong]),
    ("matmul_mma bf16", ", 1;\n    xor.b32", ", 0;\n    xor.b32", &[Conflicts]),
    ("matmul_mma bf16", "{%a0, %a1, %a2, %a3}, {%b0", "{%a0, %a2, %a1, %a3}, {%b0", &[Wrong]),
    ("matmul_mma bf16", "x4.trans", "x4", &[Wrong]),
    ("matmul_mma bf16", "{%b2, %b3}", "{%b0, %b1}", &[Wrong]),
    (
        "matmul_mma bf16",
        "xor.b32 %r34, %r32, 2048",
        "xor.b32 %r34, %r32, 0",
        &[fault(MissingWait), fault(Race)],
    ),
    ("matmul_mma bf16", "setp.ge.u32 %p2", "setp.gt.u32 %p2", &[fault(OutOfBounds)]),
    ("matmul_mma bf16", "mul.wide.u32 %rd9, %r1, 32", "mul.wide.u32 %rd9, %r1, 16", &[fault(Race)]),
    ("matmul_mma bf16", "shl.b32 %r11, %r11, 4", "shl.b32 %r11, %r11, 3", &[fault(Misaligned)]),
    ("matmul_mma bf16", "cp.async.wait_group 1;", "", &[fault(MissingWait)]),
    // Barriers in memory, tensor maps and products of warpgroups.
    ("matmul_wgmma", "@!%p2 bra FULL;", "", &[fault(MissingWait), fault(UninitialisedMemory), fault(Race)]),
    ("matmul_wgmma", "@!%p2 bra FREE;", "", &[fault(Race), fault(InvalidOperation), fault(MissingWait)]),
    ("matmul_wgmma", "wgmma.fence.sync.aligned;", "", &[fault(MissingWait)]),
    ("matmul_wgmma", "wgmma.wait_group.sync.aligned 0;", "", &[fault(MissingWait), fault(Race)]),
    (
        "matmul_wgmma",
        "0;\n    @%p5 mbarrier.arrive",
        "1;\n    @%p5 mbarrier.arrive",
        &[fault(MissingWait), fault(Race)],
    ),
    ("matmul_wgmma", "0x4000004000010000", "0x4000002000010000", &[Wrong]),
    ("matmul_wgmma", "0x4000004000010000", "0x8000004000010000", &[Wrong]),
    (
        "matmul_wgmma",
        "[%r13], 12288;",
        "[%r13], 8192;",
        &[fault(MissingWait), fault(Deadlock), fault(InvalidOperation)],
    ),
    ("matmul_wgmma", "[%r7+16], 1;", "[%r7+16], 2;", &[fault(Deadlock)]),
    ("matmul_wgmma", "READY:\n    bar.sync 0;", "READY:", &[fault(Race), fault(UninitialisedMemory)]),
    ("matmul_wgmma", "fence.mbarrier_init.release.cluster;", "", &[fault(MissingProxyFence)]),
    ("matmul_wgmma", "mov.u32 %r11, 1;", "mov.u32 %r11, 0;", &[fault(Deadlock)]),
    ("matmul_wgmma", "@%p3 xor.b32 %r10, %r10, 1;", "", &[fault(MissingWait), fault(Race), fault(Deadlock)]),
    ("matmul_wgmma", "add.s64 %rd8, %rd6, 2;", "add.s64 %rd8, %rd6, 4;", &[Wrong]),
    ("matmul_wgmma", "@%p5 mbarrier.arrive", "mbarrier.arrive", &[fault(Race), fault(Deadlock)]),
    // The two proxies.
    ("bulk_store", "fence.proxy.async.shared::cta;", "", &[fault(MissingProxyFence)]),
    ("bulk_store", "bar.sync 0;", "", &[fault(Race), fault(UninitialisedMemory)]),
    ("bulk_store", "cp.async.bulk.wait_group 0;", "", &[fault(MissingWait)]),
    ("bulk_store", "cp.async.bulk.commit_group;", "", &[fault(MissingWait)]),
    ("bulk_store", "[%r4], 256;", "[%r4], 272;", &[fault(OutOfBounds)]),
];

fn find(case: &Case, text: &str, seed: u64) -> Option<Finding> {
    let module = Module::parse(text).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    // A mutant that hangs need not hang for long.
    let options = Options { seed, max_steps: 1_000_000, ..Options::default() };
    match (case.run)(&module, options) {
        Err(Trouble::Fault(fault)) => Some(Finding::Fault(fault.kind)),
        Err(Trouble::Wrong) => Some(Wrong),
        Ok(counters) if counters.shared_wavefronts > counters.shared_ideal => Some(Conflicts),
        Ok(_) => None,
    }
}

#[test]
fn every_seeded_bug_is_found_for_what_it_is() {
    let mut problems = Vec::new();
    for (name, pattern, replacement, findings) in MUTATIONS {
        let case = CASES.iter().find(|c| c.name == *name).unwrap();
        assert!(case.text.contains(pattern), "{name}: expected `{pattern}` in the kernel");
        let text = case.text.replace(pattern, replacement);
        for seed in 1..4 {
            let found = find(case, &text, seed);
            if !found.is_some_and(|f| findings.contains(&f)) {
                problems.push(format!("{name}: `{pattern}` to `{replacement}`, seed {seed}: {found:?}"));
            }
        }
    }
    assert!(problems.is_empty(), "{} of {}\n{}", problems.len(), MUTATIONS.len(), problems.join("\n"));
}
