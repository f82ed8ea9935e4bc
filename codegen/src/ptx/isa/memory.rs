//! Loads, stores, atomics and conversions of addresses.

use super::{Entry, Form, Op, Space, Type, entry};

/// What an atomic operation makes of the old value and its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtomicFn {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Inc,
    Dec,
    Exchange,
    CompareAndSwap,
}

/// An instruction that accesses memory, or makes addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MemoryOp {
    Load {
        space: Space,
        dtype: Type,
        count: usize,
    },
    Store {
        space: Space,
        dtype: Type,
        count: usize,
    },
    Atomic {
        space: Space,
        function: AtomicFn,
        dtype: Type,
        returns: bool,
        count: usize,
        /// Whether it is its own fence.
        releases: bool,
    },
    /// Between an address of a space and a generic one.
    Address {
        space: Space,
        to_space: bool,
    },
    /// Something that changes only how fast the program runs.
    Hint,
}

pub(super) const ATOMICS: &[(&str, AtomicFn)] = &[
    ("add", AtomicFn::Add),
    ("min", AtomicFn::Min),
    ("max", AtomicFn::Max),
    ("and", AtomicFn::And),
    ("or", AtomicFn::Or),
    ("xor", AtomicFn::Xor),
    ("inc", AtomicFn::Inc),
    ("dec", AtomicFn::Dec),
    ("exch", AtomicFn::Exchange),
    ("cas", AtomicFn::CompareAndSwap),
];

const LOAD: &str = "param param::entry const global shared shared::cta shared::cluster local volatile relaxed \
                    acquire weak gpu cta sys cluster nc ca cg cs lu cv v2 v4 v8 L1::evict_normal \
                    L1::evict_unchanged L1::evict_first L1::evict_last L1::no_allocate L2::64B L2::128B \
                    L2::256B L2::cache_hint L2::evict_first L2::evict_last L2::evict_normal";
const STORE: &str = "global shared shared::cta shared::cluster local volatile relaxed release weak gpu cta sys \
                     cluster wb cg cs wt v2 v4 v8 L1::evict_normal L1::evict_unchanged L1::evict_first \
                     L1::evict_last L1::no_allocate L2::cache_hint L2::evict_first L2::evict_last \
                     L2::evict_normal";
const ATOMIC: &str = "global shared shared::cta shared::cluster relaxed acquire release acq_rel gpu cta sys \
                      cluster add min max and or xor inc dec exch cas noftz v2 v4 L2::cache_hint";
const SPACES: &str = "to global shared shared::cta shared::cluster param const local";

pub(super) const TABLE: &[Entry] = &[
    entry("ld", LOAD, "da?s", load),
    entry("st", STORE, "as?s", store),
    entry("atom", ATOMIC, "das?ss", |f| atomic(f, true)),
    entry("red", ATOMIC, "as?s", |f| atomic(f, false)),
    entry("cvta", SPACES, "ds", address),
    entry("prefetch", "global local L1 L2 L2::evict_last L2::evict_normal tensormap param", "a", hint),
    entry("prefetchu", "L1", "a", hint),
    entry("createpolicy.fractional", "L2::evict_first L2::evict_last L2::evict_normal", "d?ss", policy),
];

fn vector(form: &Form<'_>, operand: usize, dtype: Type) -> Result<usize, String> {
    let count = form.pick(&[("v2", 2), ("v4", 4), ("v8", 8)]).unwrap_or(1);
    form.expect_width(operand, count)?;
    if count * dtype.bytes() > 32 {
        return Err(format!("expected at most 32 bytes, got {count} × {}", dtype.name()));
    }
    Ok(count)
}

fn load(form: &Form<'_>) -> Result<Op, String> {
    let dtype = form.only_type()?;
    let count = vector(form, 0, dtype)?;
    Ok(Op::Memory(MemoryOp::Load { space: form.space(), dtype, count }))
}

fn store(form: &Form<'_>) -> Result<Op, String> {
    let dtype = form.only_type()?;
    let count = vector(form, 1, dtype)?;
    Ok(Op::Memory(MemoryOp::Store { space: form.space(), dtype, count }))
}

fn atomic(form: &Form<'_>, returns: bool) -> Result<Op, String> {
    let dtype = form.only_type()?;
    let function = form.choose(ATOMICS)?;
    let count = vector(form, if returns { 2 } else { 1 }, dtype)?;
    if dtype.half().is_some_and(|_| !matches!(dtype, Type::F16x2 | Type::Bf16x2)) {
        return Err(format!("expected no atomics on {}", dtype.name()));
    }
    let arguments = form.operands.len() - if returns { 2 } else { 1 };
    let hinted = usize::from(form.has("L2::cache_hint"));
    let wanted = 1 + usize::from(function == AtomicFn::CompareAndSwap) + hinted;
    if arguments != wanted {
        return Err(format!("expected {wanted} values behind the address, got {arguments}"));
    }
    let arithmetic = matches!(function, AtomicFn::Add | AtomicFn::Min | AtomicFn::Max);
    if dtype.is_float() && !arithmetic {
        return Err(format!("expected add, min or max on {}", dtype.name()));
    }
    let releases = form.has("release") || form.has("acq_rel");
    Ok(Op::Memory(MemoryOp::Atomic { space: form.space(), function, dtype, returns, count, releases }))
}

fn address(form: &Form<'_>) -> Result<Op, String> {
    form.type_of(&[Type::U64])?;
    match form.space() {
        Space::Generic => Err("expected a state space".into()),
        space => Ok(Op::Memory(MemoryOp::Address { space, to_space: form.has("to") })),
    }
}

fn hint(_: &Form<'_>) -> Result<Op, String> {
    Ok(Op::Memory(MemoryOp::Hint))
}

fn policy(form: &Form<'_>) -> Result<Op, String> {
    form.type_of(&[Type::B64])?;
    Ok(Op::Memory(MemoryOp::Hint))
}
