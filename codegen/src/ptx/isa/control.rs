//! Branches, ends, and what tells the machine how to run.

use super::{Entry, Op, entry};

/// An instruction that decides what runs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlOp {
    Branch,
    Exit,
    Trap,
    /// All warps of the warpgroup give up or ask for registers.
    SetMaxRegisters,
    Nothing,
}

pub(super) const TABLE: &[Entry] = &[
    entry("bra", "uni", "l", |_| Ok(Op::Control(ControlOp::Branch))),
    entry("ret", "uni", "", |_| Ok(Op::Control(ControlOp::Exit))),
    entry("exit", "", "", |_| Ok(Op::Control(ControlOp::Exit))),
    entry("trap", "", "", |_| Ok(Op::Control(ControlOp::Trap))),
    entry("nanosleep", "", "s", |_| Ok(Op::Control(ControlOp::Nothing))),
    entry("griddepcontrol", "wait launch_dependents", "", |_| Ok(Op::Control(ControlOp::Nothing))),
    entry("setmaxnreg.inc.sync.aligned", "", "s", |_| Ok(Op::Control(ControlOp::SetMaxRegisters))),
    entry("setmaxnreg.dec.sync.aligned", "", "s", |_| Ok(Op::Control(ControlOp::SetMaxRegisters))),
];
