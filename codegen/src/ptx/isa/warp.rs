//! Instructions that lanes of a warp do together.

use super::memory::ATOMICS;
use super::{AtomicFn, Entry, Form, Op, Type, entry};

/// Which lane a lane reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What is asked of a predicate over lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Vote {
    Any,
    All,
    Uniform,
    Ballot,
}

/// An instruction of a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WarpOp {
    Shuffle(Shuffle),
    Vote(Vote),
    Reduce {
        function: AtomicFn,
        dtype: Type,
    },
    /// The lanes that run together now.
    Active,
    /// One lane of those named.
    Elect,
    /// The lanes with the same value.
    Match {
        dtype: Type,
    },
    Synchronise,
}

pub(super) const TABLE: &[Entry] = &[
    entry("shfl.sync", "up down bfly idx", "dssss", shuffle),
    entry("vote.sync", "any all uni ballot", "dss", vote),
    entry("redux.sync", "add min max and or xor", "dss", reduce),
    entry("activemask", "", "d", |_| Ok(Op::Warp(WarpOp::Active))),
    entry("elect.sync", "", "ds", |_| Ok(Op::Warp(WarpOp::Elect))),
    entry("match.any.sync", "", "dss", |f| {
        Ok(Op::Warp(WarpOp::Match { dtype: f.type_of(&[Type::B32, Type::B64])? }))
    }),
    entry("bar.warp.sync", "", "s", |_| Ok(Op::Warp(WarpOp::Synchronise))),
];

fn shuffle(form: &Form<'_>) -> Result<Op, String> {
    form.type_of(&[Type::B32])?;
    let modes =
        [("up", Shuffle::Up), ("down", Shuffle::Down), ("bfly", Shuffle::Butterfly), ("idx", Shuffle::Index)];
    Ok(Op::Warp(WarpOp::Shuffle(form.choose(&modes)?)))
}

fn vote(form: &Form<'_>) -> Result<Op, String> {
    let modes = [("any", Vote::Any), ("all", Vote::All), ("uni", Vote::Uniform), ("ballot", Vote::Ballot)];
    let vote = form.choose(&modes)?;
    form.type_of(&[if vote == Vote::Ballot { Type::B32 } else { Type::Pred }])?;
    Ok(Op::Warp(WarpOp::Vote(vote)))
}

fn reduce(form: &Form<'_>) -> Result<Op, String> {
    let dtype = form.type_of(&[Type::U32, Type::S32, Type::B32])?;
    let function = form.choose(ATOMICS)?;
    let bits = matches!(function, AtomicFn::And | AtomicFn::Or | AtomicFn::Xor);
    if bits != (dtype == Type::B32) {
        return Err("expected b32 for and, or, xor, and an integer otherwise".into());
    }
    Ok(Op::Warp(WarpOp::Reduce { function, dtype }))
}
