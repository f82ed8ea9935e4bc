//! What the processor can do: instruction sets found at run time, cache sizes, core counts, measured ceilings.

mod denormals;
mod probe;
mod topology;

pub use denormals::Denormals;
pub use probe::{
    Ceilings, probe, recommended_isa, register_bf16_gflops, register_fma_gflops, register_int8_gops,
};
pub use topology::{Caches, Cpu};

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// A set of instruction set extensions. Its text form joins names with `+`, as in `sse2+avx2+avx512`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Isa(u32);

macro_rules! extensions {
    ($($bit:literal $constant:ident $name:literal $doc:literal;)*) => {
        impl Isa {
            $(#[doc = $doc] pub const $constant: Isa = Isa(1 << $bit);)*

            /// Every extension with its name, in the order in which sets are printed.
            const ALL: &[(&'static str, Isa)] = &[$(($name, Isa::$constant)),*];
        }
    };
}

extensions! {
    0 SSE2 "sse2" "x86-64 baseline.";
    1 SSE41 "sse4.1" "SSE4.1.";
    2 AVX2 "avx2" "AVX2 together with FMA and F16C.";
    3 AVX512 "avx512" "AVX-512 F, BW, DQ and VL.";
    4 AVX512_VNNI "avx512vnni" "Dot products of bytes in 512-bit registers.";
    5 AVX_VNNI "avxvnni" "Dot products of bytes in 256-bit registers.";
    6 AVX512_BF16 "avx512bf16" "Dot products of bf16 pairs.";
    7 AVX512_FP16 "avx512fp16" "Arithmetic in f16.";
    8 AMX_INT8 "amxint8" "Products of matrices of bytes in tile registers.";
    9 AMX_BF16 "amxbf16" "Products of matrices of bf16 in tile registers.";
    16 NEON "neon" "AArch64 baseline vectors.";
    17 DOTPROD "dotprod" "AArch64 dot products of bytes.";
    18 NEON_BF16 "neonbf16" "AArch64 bf16 dot products and matrix multiplication.";
}

impl Isa {
    /// No extension at all: what portable code may use.
    pub const PORTABLE: Isa = Isa(0);

    /// What the processor running this has; found once.
    pub fn detect() -> Isa {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(detect)
    }

    /// Whether everything in `needed` is here too.
    pub const fn contains(self, needed: Isa) -> bool {
        self.0 & needed.0 == needed.0
    }

    /// Everything in either set.
    pub const fn union(self, other: Isa) -> Isa {
        Isa(self.0 | other.0)
    }

    /// Everything here that is not in `other`.
    pub const fn without(self, other: Isa) -> Isa {
        Isa(self.0 & !other.0)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, isa) in Isa::ALL {
            if self.contains(*isa) {
                write!(f, "{separator}{name}")?;
                separator = "+";
            }
        }
        if *self == Isa::PORTABLE { write!(f, "portable") } else { Ok(()) }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({self})")
    }
}

/// A name that is not an extension.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an instruction set extension such as avx2 or neon, found {found:?}")]
pub struct UnknownExtension {
    /// The offending name.
    pub found: String,
}

impl FromStr for Isa {
    type Err = UnknownExtension;

    fn from_str(text: &str) -> Result<Isa, UnknownExtension> {
        if text == "portable" {
            return Ok(Isa::PORTABLE);
        }
        text.split('+').try_fold(Isa::PORTABLE, |set, part| {
            let known = Isa::ALL.iter().find(|(name, _)| *name == part);
            known.map(|(_, isa)| set.union(*isa)).ok_or_else(|| UnknownExtension { found: part.to_owned() })
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Isa {
    macro_rules! has {
        ($($feature:tt),*) => { true $(&& std::arch::is_x86_feature_detected!($feature))* };
    }
    let avx512 = has!("avx512f", "avx512bw", "avx512dq", "avx512vl");
    let (amx_int8, amx_bf16) = tiles();
    collect(&[
        (Isa::SSE2, true),
        (Isa::SSE41, has!("sse4.1")),
        (Isa::AVX2, has!("avx2", "fma", "f16c")),
        (Isa::AVX512, avx512),
        (Isa::AVX512_VNNI, avx512 && has!("avx512vnni")),
        (Isa::AVX_VNNI, has!("avx2", "avxvnni")),
        (Isa::AVX512_BF16, avx512 && has!("avx512bf16")),
        (Isa::AVX512_FP16, avx512 && has!("avx512fp16")),
        (Isa::AMX_INT8, avx512 && amx_int8),
        (Isa::AMX_BF16, avx512 && amx_bf16),
    ])
}

/// Whether tile registers multiply bytes, and bf16: the processor must have them, and the system must let this process
/// use them, for which it has to be asked.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles() -> (bool, bool) {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const REQUEST_PERMISSION: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    if __cpuid(0).eax < 7 {
        return (false, false);
    }
    let found = __cpuid_count(7, 0).edx;
    // SAFETY: asks for a permission; the process is unchanged if it is refused.
    let granted = || unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) } == 0;
    let usable = found & TILE != 0 && granted();
    (usable && found & INT8 != 0, usable && found & BF16 != 0)
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn tiles() -> (bool, bool) {
    (false, false)
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Isa {
    use std::arch::is_aarch64_feature_detected as has;
    collect(&[(Isa::NEON, has!("neon")), (Isa::DOTPROD, has!("dotprod")), (Isa::NEON_BF16, has!("bf16"))])
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Isa {
    Isa::PORTABLE
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn collect(found: &[(Isa, bool)]) -> Isa {
    found.iter().filter(|(_, here)| *here).fold(Isa::PORTABLE, |set, (isa, _)| set.union(*isa))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_print_and_parse_back() {
        for isa in [Isa::PORTABLE, Isa::SSE2.union(Isa::AVX512), Isa::detect(), Isa::NEON] {
            assert_eq!(isa.to_string().parse(), Ok(isa));
        }
        let error = "sse2+mmx".parse::<Isa>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected an instruction set extension such as avx2 or neon, found \"mmx\""
        );
    }

    #[test]
    fn sets_compare_by_contents() {
        let both = Isa::AVX2.union(Isa::AVX512);
        assert!(both.contains(Isa::AVX2) && both.contains(Isa::PORTABLE));
        assert!(!both.contains(Isa::AVX_VNNI) && !both.without(Isa::AVX2).contains(Isa::AVX2));
    }
}
