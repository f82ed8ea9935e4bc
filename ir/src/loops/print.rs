//! From nest to text.

use std::fmt::{self, Display, Formatter, Write};

use super::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};
use crate::scalar::ScalarOp;

impl Display for Nest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "nest ")?;
        crate::text::write_name(f, "@", &self.name)?;
        f.write_char('(')?;
        list(f, &self.inputs)?;
        f.write_str(") -> (")?;
        list(f, &self.outputs)?;
        f.write_char(')')?;
        for (i, (symbol, range)) in self.ranges.iter().enumerate() {
            write!(f, "{}{symbol} in {}..={}", if i == 0 { " where " } else { ", " }, range.lo, range.hi)?;
        }
        f.write_str(" {\n")?;
        block(f, &self.body, 1)?;
        f.write_str("}\n")
    }
}

fn list(f: &mut Formatter<'_>, items: &[impl Display]) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

fn block(f: &mut Formatter<'_>, body: &[Stmt], depth: usize) -> fmt::Result {
    for stmt in body {
        write!(f, "{:1$}", "", 2 * depth)?;
        statement(f, stmt, depth)?;
    }
    Ok(())
}

fn statement(f: &mut Formatter<'_>, stmt: &Stmt, depth: usize) -> fmt::Result {
    match stmt {
        Stmt::For { var, extent, kind, body } => {
            writeln!(f, "for {var} in 0..{extent}{kind} {{")?;
            block(f, body, depth + 1)?;
            writeln!(f, "{:1$}}}", "", 2 * depth)
        }
        Stmt::If { conds, body } => {
            write!(f, "if ")?;
            conditions(f, conds)?;
            f.write_str(" {\n")?;
            block(f, body, depth + 1)?;
            writeln!(f, "{:1$}}}", "", 2 * depth)
        }
        Stmt::Let { name, value } => writeln!(f, "let {name} = {value}"),
        Stmt::Alloc { buffer, space } => writeln!(f, "alloc {buffer} in {space}"),
        Stmt::Store { targets, values, combine } => {
            if let [target] = targets.as_slice() {
                write!(f, "{target}")?;
            } else {
                f.write_char('(')?;
                list(f, targets)?;
                f.write_char(')')?;
            }
            match combine {
                Combine::Replace => f.write_str(" = ")?,
                Combine::With(ScalarOp::Add) => f.write_str(" += ")?,
                Combine::With(op) => write!(f, " {}= ", op.name())?,
                Combine::Tuple { params, results } => {
                    f.write_str(" by |")?;
                    list(f, params)?;
                    f.write_str("| (")?;
                    list(f, results)?;
                    f.write_str(") = ")?;
                }
            }
            if let [value] = values.as_slice() {
                writeln!(f, "{value}")
            } else {
                f.write_char('(')?;
                list(f, values)?;
                f.write_str(")\n")
            }
        }
    }
}

fn conditions(f: &mut Formatter<'_>, conds: &[Cond]) -> fmt::Result {
    for (i, cond) in conds.iter().enumerate() {
        write!(f, "{}{} < {}", if i == 0 { "" } else { " && " }, cond.left, cond.right)?;
    }
    Ok(())
}

impl Display for Buffer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.ty)
    }
}

impl Display for Space {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Global => "global",
            Space::Shared => "shared",
            Space::Stack => "stack",
            Space::Register => "register",
        })
    }
}

impl Display for LoopKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LoopKind::Serial => Ok(()),
            LoopKind::Parallel => f.write_str(" parallel"),
            LoopKind::Vector => f.write_str(" vector"),
            LoopKind::Tile => f.write_str(" tile"),
            LoopKind::Unrolled => f.write_str(" unrolled"),
            LoopKind::Block(axis) => write!(f, " block.{}", ["x", "y", "z"][usize::from(*axis).min(2)]),
            LoopKind::Thread(axis) => write!(f, " thread.{}", ["x", "y", "z"][usize::from(*axis).min(2)]),
        }
    }
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.buffer)?;
        list(f, &self.at)?;
        f.write_char(']')
    }
}

/// The operations that are written between their operands.
pub(super) const INFIX: [(ScalarOp, &str); 4] =
    [(ScalarOp::Add, "+"), (ScalarOp::Sub, "-"), (ScalarOp::Mul, "*"), (ScalarOp::Div, "/")];

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Const(dtype, value) => write!(f, "{dtype}({})", value.text(*dtype)),
            Expr::Index(dim) => write!(f, "index({dim})"),
            Expr::Var(name) => write!(f, "{name}"),
            Expr::Load(access) => write!(f, "{access}"),
            Expr::Op(op, args) => match (INFIX.iter().find(|(o, _)| o == op), args.as_slice()) {
                (Some((_, sign)), [left, right]) => {
                    operand(f, left)?;
                    write!(f, " {sign} ")?;
                    operand(f, right)
                }
                _ => {
                    write!(f, "{}(", op.name())?;
                    list(f, args)?;
                    f.write_char(')')
                }
            },
            Expr::Cast { to, saturate, value } => {
                write!(f, "{}<{to}>({value})", if *saturate { "cast" } else { "cast_overflowing" })
            }
            Expr::Bitcast(to, value) => write!(f, "bitcast<{to}>({value})"),
            Expr::Guard { conds, then, otherwise } => {
                f.write_str("(if ")?;
                conditions(f, conds)?;
                write!(f, " then {then} else {otherwise})")
            }
        }
    }
}

/// Operands of an infix operation are parenthesised if they are infix themselves.
fn operand(f: &mut Formatter<'_>, expr: &Expr) -> fmt::Result {
    match expr {
        Expr::Op(op, _) if INFIX.iter().any(|(o, _)| o == op) => write!(f, "({expr})"),
        _ => write!(f, "{expr}"),
    }
}
