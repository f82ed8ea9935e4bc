//! Barriers of threads, fences, and barriers in memory.

use super::{Entry, Form, Op, Type, entry};

/// What a fence orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FenceKind {
    /// Accesses of the thread, for others to see.
    Memory,
    /// Accesses of the thread, before those of the asynchronous units.
    AsyncProxy,
    /// Initialised barriers in memory, before the asynchronous units use them.
    MbarrierInit,
}

/// What is done with a barrier in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MbarrierOp {
    Init,
    Invalidate,
    /// Arrives, expecting bytes first where it says so.
    Arrive {
        expects: bool,
        counted: bool,
    },
    Expect,
    /// Whether the phase of a parity is complete.
    Wait,
}

/// An instruction that synchronises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BarrierOp {
    /// At a barrier of the block; whether it waits there.
    Block {
        waits: bool,
    },
    Fence(FenceKind),
    Mbarrier(MbarrierOp),
}

const ORDER: &str = "sc acq_rel acquire release cta gpu sys cluster";
const SHARED: &str = "shared shared::cta shared::cluster release acquire relaxed cta cluster";

pub(super) const TABLE: &[Entry] = &[
    entry("bar.sync", "", "s?s", |_| Ok(Op::Barrier(BarrierOp::Block { waits: true }))),
    entry("bar.cta.sync", "", "s?s", |_| Ok(Op::Barrier(BarrierOp::Block { waits: true }))),
    entry("barrier.sync", "aligned", "s?s", aligned_sync),
    entry("barrier.cta.sync", "aligned", "s?s", aligned_sync),
    entry("bar.arrive", "", "ss", |_| Ok(Op::Barrier(BarrierOp::Block { waits: false }))),
    entry("bar.cta.arrive", "", "ss", |_| Ok(Op::Barrier(BarrierOp::Block { waits: false }))),
    entry("membar.cta", "", "", |_| fence(FenceKind::Memory)),
    entry("membar.gl", "", "", |_| fence(FenceKind::Memory)),
    entry("membar.sys", "", "", |_| fence(FenceKind::Memory)),
    entry("fence", ORDER, "", |_| fence(FenceKind::Memory)),
    entry("fence.proxy.async", "global shared::cta shared::cluster", "", |_| fence(FenceKind::AsyncProxy)),
    entry("fence.mbarrier_init.release.cluster", "", "", |_| fence(FenceKind::MbarrierInit)),
    entry("mbarrier.init", SHARED, "as", |f| mbarrier(f, MbarrierOp::Init)),
    entry("mbarrier.inval", SHARED, "a", |f| mbarrier(f, MbarrierOp::Invalidate)),
    entry("mbarrier.arrive", SHARED, "da?s", |f| {
        mbarrier(f, MbarrierOp::Arrive { expects: false, counted: f.operands.len() > 2 })
    }),
    entry("mbarrier.arrive.expect_tx", SHARED, "das", |f| {
        mbarrier(f, MbarrierOp::Arrive { expects: true, counted: false })
    }),
    entry("mbarrier.expect_tx", SHARED, "as", |f| mbarrier(f, MbarrierOp::Expect)),
    entry("mbarrier.try_wait.parity", SHARED, "das?s", |f| mbarrier(f, MbarrierOp::Wait)),
    entry("mbarrier.test_wait.parity", SHARED, "das", |f| mbarrier(f, MbarrierOp::Wait)),
];

fn aligned_sync(form: &Form<'_>) -> Result<Op, String> {
    if !form.has("aligned") {
        return Err("expected `.aligned`: barriers that threads reach apart are not modelled".into());
    }
    Ok(Op::Barrier(BarrierOp::Block { waits: true }))
}

fn fence(kind: FenceKind) -> Result<Op, String> {
    Ok(Op::Barrier(BarrierOp::Fence(kind)))
}

fn mbarrier(form: &Form<'_>, op: MbarrierOp) -> Result<Op, String> {
    // The type may be left out of `expect_tx`.
    if op != MbarrierOp::Expect || !form.types().is_empty() {
        form.type_of(&[Type::B64])?;
    }
    if form.space() != super::Space::Shared {
        return Err("expected `.shared`: barriers elsewhere are not modelled".into());
    }
    Ok(Op::Barrier(BarrierOp::Mbarrier(op)))
}
