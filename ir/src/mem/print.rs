//! From program to text.
//!
//! A register's type stands at each of its assignments; registers that are never assigned are listed as
//! `unused`. Offsets stand in brackets, since a `%` behind an expression would be a remainder.

use std::fmt::{self, Display, Formatter};

use super::{Inst, LoopKind, Memory, Panel, Program, Reg, RegType, Rhs, each};
use crate::dim::{Dim, Symbol};

impl Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "program ")?;
        crate::text::write_name(f, "@", &self.name)?;
        write!(f, "(")?;
        list(f, &self.inputs)?;
        write!(f, ") -> (")?;
        list(f, &self.outputs)?;
        write!(f, ")")?;
        for (i, (symbol, range)) in self.ranges.iter().enumerate() {
            write!(f, "{}{symbol} in {}..={}", if i == 0 { " where " } else { ", " }, range.lo, range.hi)?;
        }
        writeln!(f, " {{")?;
        unused(f, self)?;
        block(f, self, &self.body, 1)?;
        writeln!(f, "}}")
    }
}

fn list(f: &mut Formatter<'_>, items: &[Memory]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
    }
    Ok(())
}

fn unused(f: &mut Formatter<'_>, program: &Program) -> fmt::Result {
    let mut assigned = vec![false; program.regs.len()];
    each(&program.body, &mut |inst| {
        if let Inst::Set { reg, .. } = inst
            && let Some(flag) = assigned.get_mut(reg.0 as usize)
        {
            *flag = true;
        }
    });
    let mut lead = "  unused ";
    for (i, _) in assigned.iter().enumerate().filter(|(_, assigned)| !**assigned) {
        write!(f, "{lead}%{i}: {}", program.regs[i])?;
        lead = ", ";
    }
    if lead == ", " { writeln!(f) } else { Ok(()) }
}

fn block(f: &mut Formatter<'_>, program: &Program, body: &[Inst], depth: usize) -> fmt::Result {
    let pad = "  ".repeat(depth);
    for inst in body {
        match inst {
            Inst::Set { reg, value } => {
                write!(f, "{pad}{reg}: {} = ", program.ty(*reg))?;
                rhs(f, program.ty(*reg), value)?;
                writeln!(f)?;
            }
            Inst::Bind { name, reg } => writeln!(f, "{pad}bind {name} = {reg}")?,
            Inst::Store { memory, offset, stride, value, active } => {
                write!(f, "{pad}store ")?;
                lanes(f, memory, offset, stride, active)?;
                writeln!(f, " = {value}")?;
            }
            Inst::Alloc { memory, space } => writeln!(f, "{pad}alloc {memory} in {space}")?,
            Inst::For { var, extent, kind, body } => {
                writeln!(f, "{pad}for {var} in 0..{extent}{kind} {{")?;
                block(f, program, body, depth + 1)?;
                writeln!(f, "{pad}}}")?;
            }
            Inst::If { conds, then, otherwise } => {
                write!(f, "{pad}if")?;
                for (i, cond) in conds.iter().enumerate() {
                    write!(f, "{}{} < {}", if i == 0 { " " } else { " && " }, cond.left, cond.right)?;
                }
                writeln!(f, " {{")?;
                block(f, program, then, depth + 1)?;
                if !otherwise.is_empty() {
                    writeln!(f, "{pad}}} else {{")?;
                    block(f, program, otherwise, depth + 1)?;
                }
                writeln!(f, "{pad}}}")?;
            }
            Inst::Tile(tile) => {
                let sign = if tile.accumulate { "+=" } else { "=" };
                let (rows, columns) = tile.shape;
                write!(f, "{pad}tile {rows}x{columns} ")?;
                if tile.group > 1 {
                    write!(f, "by {} ", tile.group)?;
                }
                writeln!(
                    f,
                    "m={} n={} k={} : {} {sign} {} * {}",
                    tile.m, tile.n, tile.k, tile.c, tile.a, tile.b
                )?;
            }
            Inst::Barrier => writeln!(f, "{pad}barrier")?,
            Inst::Copy(copy) => {
                write!(f, "{pad}copy {} ", copy.elements)?;
                lanes(f, &copy.to, &copy.to_offset, &Dim::ONE, &None)?;
                write!(f, " = ")?;
                lanes(f, &copy.from, &copy.from_offset, &Dim::ONE, &copy.active)?;
                writeln!(f)?;
            }
            Inst::Commit => writeln!(f, "{pad}commit")?,
            Inst::Wait { pending } => writeln!(f, "{pad}wait {pending}")?,
        }
    }
    Ok(())
}

fn lanes(
    f: &mut Formatter<'_>,
    memory: &Symbol,
    offset: &Dim,
    stride: &Dim,
    active: &Option<Dim>,
) -> fmt::Result {
    write!(f, "{memory}[{offset}")?;
    if !stride.is(1) {
        write!(f, " stride {stride}")?;
    }
    if let Some(active) = active {
        write!(f, " active {active}")?;
    }
    f.write_str("]")
}

fn rhs(f: &mut Formatter<'_>, ty: RegType, value: &Rhs) -> fmt::Result {
    match value {
        Rhs::Const(value) => write!(f, "{}", value.text(ty.dtype)),
        Rhs::Index { base, step } if step.is(0) => write!(f, "index({base})"),
        Rhs::Index { base, step } => write!(f, "index({base} step {step})"),
        Rhs::Load { memory, offset, stride, active } => {
            f.write_str("load ")?;
            lanes(f, memory, offset, stride, active)
        }
        Rhs::Copy(reg) => write!(f, "{reg}"),
        Rhs::Op(op, args) => {
            write!(f, "{}", op.name())?;
            for (i, arg) in args.iter().enumerate() {
                write!(f, "{}{arg}", if i == 0 { " " } else { ", " })?;
            }
            Ok(())
        }
        Rhs::Cast { value, saturate } => {
            write!(f, "{} {value}", if *saturate { "cast" } else { "cast_overflowing" })
        }
        Rhs::Bitcast(reg) => write!(f, "bitcast {reg}"),
        Rhs::Extract(reg, lane) => write!(f, "lane {lane} of {reg}"),
        Rhs::Lanes(reg, first) => write!(f, "lanes {first} of {reg}"),
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}[{}]", self.name, self.dtype, self.elements)
    }
}

impl Display for Reg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl Display for RegType {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.lanes {
            1 => write!(f, "{}", self.dtype),
            lanes => write!(f, "{}x{lanes}", self.dtype),
        }
    }
}

impl Display for LoopKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LoopKind::Serial => Ok(()),
            LoopKind::Parallel => f.write_str(" parallel"),
            LoopKind::Block(axis) => write!(f, " block.{}", ["x", "y", "z"][usize::from(*axis).min(2)]),
            LoopKind::Thread(axis) => write!(f, " thread.{}", ["x", "y", "z"][usize::from(*axis).min(2)]),
        }
    }
}

impl Display for Panel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}; {}, {}]", self.memory, self.offset, self.row, self.column)
    }
}
