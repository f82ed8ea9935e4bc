//! Micro-kernels for tile contractions, found by symbol name, and the table of their shapes.
//!
//! A micro-kernel computes one tile `C[m×n] (+)= A[m×k]·B[k×n]`. See `MicroKernel` for what it reads and writes,
//! `tile` for which one suits a processor, and `pack` for bringing B into the layout it wants.

mod contraction;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pack;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86_amx;
#[cfg(target_arch = "x86_64")]
mod x86_f32;
#[cfg(target_arch = "x86_64")]
mod x86_half;
#[cfg(target_arch = "x86_64")]
mod x86_int8;
#[cfg(target_arch = "x86_64")]
mod x86_sums;

pub use pack::{
    PackError, PackedLayout, pack_b_bf16, pack_b_f16, pack_b_f32, pack_b_s8, tcc_pack_b_bf16, tcc_pack_b_f16,
    tcc_pack_b_f32, tcc_pack_b_s8,
};

use crate::cpu::Isa;

/// The signature of every micro-kernel:
/// `(k, a, a_row_stride, a_k_stride, b, b_k_stride, c, c_row_stride, m, n, accumulate)`.
///
/// All strides count elements of the matrix they belong to.
///
/// - A has `m` rows of `k` elements at `a[row * a_row_stride + step * a_k_stride]`; any strides work, and nothing
///   beyond `m` and `k` is read. Kinds that take several steps of k at once are fast where `a_k_stride` is 1.
/// - B is a panel: `b_k_stride` elements after another come groups of `k_step` steps of k, each of which holds, for
///   each of `nr` columns, its `k_step` elements side by side. Steps beyond k that fill up the last group must
///   be zeros; columns from `n` on must be readable, and their contents do not matter.
/// - C has 32-bit elements (f32, or i32 for bytes), rows `c_row_stride` apart with adjacent columns. It is
///   overwritten if `accumulate` is 0, else added to. Nothing outside its `m` × `n` elements is touched.
///
/// # Safety
/// The memory must be accessible as described, `m` at most `mr`, `n` at most `nr`, and the processor must have what
/// the kernel needs.
pub type MicroKernel = unsafe extern "C" fn(
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
);

/// What a micro-kernel multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KernelKind {
    /// f32 by f32, summed in f32.
    F32,
    /// bf16 by bf16, summed in f32.
    Bf16,
    /// f16 by f16, summed in f32.
    F16,
    /// u8 (A) by s8 (B), summed exactly in i32 (modulo 2³²).
    U8S8,
    /// s8 by s8, summed exactly in i32 (modulo 2³²).
    S8S8,
}

impl KernelKind {
    /// Every kind.
    pub const ALL: [KernelKind; 5] =
        [KernelKind::F32, KernelKind::Bf16, KernelKind::F16, KernelKind::U8S8, KernelKind::S8S8];

    /// The size of one element of A, and of B, in bytes.
    pub fn element_bytes(self) -> usize {
        match self {
            KernelKind::F32 => 4,
            KernelKind::Bf16 | KernelKind::F16 => 2,
            KernelKind::U8S8 | KernelKind::S8S8 => 1,
        }
    }
}

/// The shape of a micro-kernel's tile and the symbol under which it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Rows at most.
    pub mr: usize,
    /// Columns at most; the width of a packed panel of B.
    pub nr: usize,
    /// Steps of k that lie side by side in B.
    pub k_step: usize,
    /// The symbol of the kernel.
    pub symbol: &'static str,
}

/// The best micro-kernel of a kind for a processor, be it this one or another.
pub fn tile(isa: Isa, kind: KernelKind) -> Tile {
    let best = TABLE.iter().find(|kernel| kernel.kind == kind && isa.contains(kernel.needs));
    best.expect("every kind has a portable kernel, which needs nothing").tile
}

/// The address of a micro-kernel or packing function, if it is known and the processor running this can execute it.
pub fn symbol(name: &str) -> Option<*const u8> {
    let kernel = TABLE.iter().find(|kernel| kernel.tile.symbol == name);
    match kernel {
        Some(kernel) => kernel.here().map(|address| address as *const u8),
        None => PACKERS.iter().find(|(symbol, _)| *symbol == name).map(|(_, address)| *address as *const u8),
    }
}

/// Every micro-kernel that the processor running this can execute.
pub fn available() -> impl Iterator<Item = (KernelKind, Tile, MicroKernel)> {
    TABLE.iter().filter_map(|kernel| Some((kernel.kind, kernel.tile, kernel.here()?)))
}

/// The signature of the packing functions, apart from the element types.
type Packer = unsafe extern "C" fn(i64, i64, *const u8, i64, i64, i64, *mut u8);

const PACKERS: [(&str, Packer); 4] = [
    ("tcc_pack_b_f32", tcc_pack_b_f32),
    ("tcc_pack_b_bf16", tcc_pack_b_bf16),
    ("tcc_pack_b_f16", tcc_pack_b_f16),
    ("tcc_pack_b_s8", tcc_pack_b_s8),
];

struct Kernel {
    kind: KernelKind,
    needs: Isa,
    tile: Tile,
    /// Absent where this crate is built for another architecture.
    address: Option<MicroKernel>,
}

impl Kernel {
    fn here(&self) -> Option<MicroKernel> {
        if Isa::detect().contains(self.needs) { self.address } else { None }
    }
}

macro_rules! table {
    ($($arch:tt $kind:ident $needs:expr, $mr:literal x $nr:literal by $step:literal, $module:ident :: $name:ident;)*) => {
        /// All kernels; the better of two of a kind comes first.
        static TABLE: &[Kernel] = &[$(Kernel {
            kind: KernelKind::$kind,
            needs: $needs,
            tile: Tile { mr: $mr, nr: $nr, k_step: $step, symbol: stringify!($name) },
            address: table!(@address $arch $module $name),
        }),*];
    };
    (@address any $module:ident $name:ident) => { Some($module::$name) };
    (@address $arch:tt $module:ident $name:ident) => {{
        #[cfg(target_arch = $arch)]
        { Some($module::$name) }
        #[cfg(not(target_arch = $arch))]
        { None }
    }};
}

const AVX512_F16C: Isa = Isa::AVX512.union(Isa::AVX2);

table! {
    "x86_64"  F32  Isa::AVX512,       14 x 32 by 1, x86_f32::tcc_mk_f32_avx512;
    "x86_64"  F32  Isa::AVX2,         6 x 16 by 1,  x86_f32::tcc_mk_f32_avx2;
    "x86_64"  F32  Isa::SSE2,         4 x 8 by 1,   x86_f32::tcc_mk_f32_sse;
    "aarch64" F32  Isa::NEON,         8 x 12 by 1,  neon::tcc_mk_f32_neon;
    any       F32  Isa::PORTABLE,     4 x 8 by 1,   portable::tcc_mk_f32_portable;
    "x86_64"  Bf16 Isa::AMX_BF16,     32 x 32 by 2, x86_amx::tcc_mk_bf16_amx;
    "x86_64"  Bf16 Isa::AVX512_BF16,  14 x 32 by 2, x86_half::tcc_mk_bf16_avx512bf16;
    "x86_64"  Bf16 Isa::AVX512,       14 x 32 by 2, x86_half::tcc_mk_bf16_avx512;
    "x86_64"  Bf16 Isa::AVX2,         6 x 16 by 2,  x86_half::tcc_mk_bf16_avx2;
    any       Bf16 Isa::PORTABLE,     4 x 8 by 2,   portable::tcc_mk_bf16_portable;
    "x86_64"  F16  AVX512_F16C,       14 x 32 by 1, x86_half::tcc_mk_f16_avx512;
    "x86_64"  F16  Isa::AVX2,         6 x 16 by 1,  x86_half::tcc_mk_f16_avx2;
    any       F16  Isa::PORTABLE,     4 x 8 by 1,   portable::tcc_mk_f16_portable;
    "x86_64"  U8S8 Isa::AMX_INT8,     32 x 32 by 4, x86_amx::tcc_mk_u8s8_amx;
    "x86_64"  U8S8 Isa::AVX512_VNNI,  14 x 32 by 4, x86_int8::tcc_mk_u8s8_avx512vnni;
    "x86_64"  U8S8 Isa::AVX_VNNI,     6 x 16 by 4,  x86_int8::tcc_mk_u8s8_avxvnni;
    "x86_64"  U8S8 Isa::AVX2,         6 x 8 by 4,   x86_int8::tcc_mk_u8s8_avx2;
    any       U8S8 Isa::PORTABLE,     4 x 8 by 4,   portable::tcc_mk_u8s8_portable;
    "x86_64"  S8S8 Isa::AMX_INT8,     32 x 32 by 4, x86_amx::tcc_mk_s8s8_amx;
    "x86_64"  S8S8 Isa::AVX512_VNNI,  14 x 32 by 4, x86_int8::tcc_mk_s8s8_avx512vnni;
    "x86_64"  S8S8 Isa::AVX_VNNI,     6 x 16 by 4,  x86_int8::tcc_mk_s8s8_avxvnni;
    "x86_64"  S8S8 Isa::AVX2,         6 x 8 by 4,   x86_int8::tcc_mk_s8s8_avx2;
    any       S8S8 Isa::PORTABLE,     4 x 8 by 4,   portable::tcc_mk_s8s8_portable;
}
