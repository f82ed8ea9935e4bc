//! Whether the processor has what a model's code was made for.

/// The bits of `needed` that the processor lacks; bit `n` is the `n`th feature of the list that the compiler has
/// beside its tables of plans.
#[cfg(target_arch = "x86_64")]
pub(crate) fn lacking(needed: u64) -> u64 {
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    #[target_feature(enable = "xsave")]
    fn saved_registers() -> u64 {
        // SAFETY: the caller found that the system uses XSAVE, so that the instruction is there.
        unsafe { _xgetbv(0) }
    }

    let bit = |word: u32, at: u32| word >> at & 1 == 1;
    if __cpuid(0).eax < 7 {
        return needed;
    }
    let (one, seven, more) = (__cpuid(1), __cpuid_count(7, 0), __cpuid_count(7, 1));
    // SAFETY: OSXSAVE says that the system has switched XSAVE on.
    let saved = if bit(one.ecx, 27) { unsafe { saved_registers() } } else { 0 };
    let (ymm, zmm) = (saved & 0x6 == 0x6, saved & 0xe6 == 0xe6);
    let avx2 = ymm && bit(seven.ebx, 5) && bit(one.ecx, 12) && bit(one.ecx, 29);
    let avx512 = zmm && [16, 17, 30, 31].iter().all(|at| bit(seven.ebx, *at));
    let have = [
        bit(one.ecx, 19),
        avx2,
        avx512,
        avx512 && bit(seven.ecx, 11),
        avx2 && bit(more.eax, 4),
        avx512 && bit(more.eax, 5),
        avx512 && bit(seven.edx, 23),
    ];
    let mut here = 0;
    for (at, there) in have.iter().enumerate() {
        here |= u64::from(*there) << at;
    }
    needed & !here
}

/// Every processor of other architectures has what code is made for.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn lacking(_needed: u64) -> u64 {
    0
}
