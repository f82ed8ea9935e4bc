//! Asynchronous copies: of a few bytes by a thread, of rows and boxes of tensors by the copy engine.

use super::{Entry, Form, Op, entry};

/// An asynchronous copy, or a wait for some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyOp {
    /// From global to shared memory.
    Thread {
        bytes: u32,
        /// Whether the bytes to read are fewer, as an operand says; zeros follow them.
        fills: bool,
    },
    Commit,
    /// Until at most so many groups of the thread are under way.
    Wait {
        pending: u32,
    },
    /// Until nothing of the thread is under way, in a group or not.
    WaitAll,
    /// Bytes in a row, from global to shared memory and to a barrier there, or from shared to global memory.
    Bulk {
        loads: bool,
    },
    /// A box of a tensor.
    Tensor {
        loads: bool,
        rank: usize,
    },
    BulkCommit,
    /// Until at most so many groups are under way; with `reads` until their sources have been read.
    BulkWait {
        pending: u32,
        reads: bool,
    },
}

const CACHED: &str = "shared shared::cta shared::cluster global L2::64B L2::128B L2::256B L2::cache_hint";
const BULK: &str =
    "shared::cta shared::cluster global mbarrier::complete_tx::bytes bulk_group L2::cache_hint";
const TENSOR: &str = "1d 2d 3d 4d 5d tile shared::cta shared::cluster global mbarrier::complete_tx::bytes \
                      bulk_group L2::cache_hint";

pub(super) const TABLE: &[Entry] = &[
    entry("cp.async.ca", CACHED, "aas?ss", |f| thread(f, &[4, 8, 16])),
    entry("cp.async.cg", CACHED, "aas?ss", |f| thread(f, &[16])),
    entry("cp.async.commit_group", "", "", |_| Ok(Op::Copy(CopyOp::Commit))),
    entry("cp.async.wait_group", "", "s", |f| Ok(Op::Copy(CopyOp::Wait { pending: pending(f)? }))),
    entry("cp.async.wait_all", "", "", |_| Ok(Op::Copy(CopyOp::WaitAll))),
    entry("cp.async.bulk", BULK, "aas?as", |f| Ok(Op::Copy(CopyOp::Bulk { loads: loads(f)? }))),
    entry("cp.async.bulk.tensor", TENSOR, "aa?as", tensor),
    entry("cp.async.bulk.commit_group", "", "", |_| Ok(Op::Copy(CopyOp::BulkCommit))),
    entry("cp.async.bulk.wait_group", "read", "s", |f| {
        Ok(Op::Copy(CopyOp::BulkWait { pending: pending(f)?, reads: f.has("read") }))
    }),
];

fn pending(form: &Form<'_>) -> Result<u32, String> {
    u32::try_from(form.immediate(0)?).map_err(|_| "expected a number of groups".into())
}

fn thread(form: &Form<'_>, sizes: &[u32]) -> Result<Op, String> {
    let bytes = form.immediate(2)?;
    let fills = form.operands.len() > 3 + usize::from(form.has("L2::cache_hint"));
    match sizes.iter().find(|s| i64::from(**s) == bytes) {
        Some(&bytes) => Ok(Op::Copy(CopyOp::Thread { bytes, fills })),
        None => Err(format!("expected a size of {sizes:?} bytes, got {bytes}")),
    }
}

/// Whether a bulk copy goes to shared memory.
fn loads(form: &Form<'_>) -> Result<bool, String> {
    let spaces: Vec<bool> = form
        .modifiers
        .iter()
        .filter(|m| m.starts_with("shared") || **m == "global")
        .map(|m| *m != "global")
        .collect();
    match (&spaces[..], form.has("mbarrier::complete_tx::bytes"), form.has("bulk_group")) {
        ([true, false], true, false) => Ok(true),
        ([false, true], false, true) => Ok(false),
        _ => Err("expected a copy to shared memory with a barrier or to global memory with a group".into()),
    }
}

fn tensor(form: &Form<'_>) -> Result<Op, String> {
    let rank = form.choose(&[("1d", 1), ("2d", 2), ("3d", 3), ("4d", 4), ("5d", 5)])?;
    let to_shared = form.modifiers.iter().find(|m| m.starts_with("shared") || **m == "global");
    let loads = to_shared.is_some_and(|m| *m != "global");
    let form_fits = if loads { form.operands.len() >= 3 } else { form.has("bulk_group") };
    if !form_fits {
        return Err("expected a barrier behind a load, and a group for a store".into());
    }
    let map = form.operands.get(usize::from(loads));
    match map {
        Some(super::Operand::Address { coordinates, .. }) if coordinates.len() == rank => {}
        _ => return Err(format!("expected a tensor map and {rank} coordinates")),
    }
    Ok(Op::Copy(CopyOp::Tensor { loads, rank }))
}
