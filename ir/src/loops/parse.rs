//! From text to nest.

use smallvec::SmallVec;

use super::print::INFIX;
use super::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};
use crate::diag::{Diag, Diags};
use crate::dim::{Dim, Symbol};
use crate::dtype::{DType, Scalar};
use crate::graph::{parse_ranges, parse_type};
use crate::scalar::ScalarOp;
use crate::text::Cursor;

/// Parses one nest and verifies it.
pub fn parse_nest(source: &str) -> Result<Nest, Diags> {
    let mut parser = Parser { cursor: Cursor::new(source), depth: 0 };
    let nest = parser.nest()?;
    if !parser.cursor.at_end() {
        return Err(parser.cursor.expected("the end of the text").into());
    }
    nest.verify()?;
    Ok(nest)
}

/// Nesting beyond this is refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 200;

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
}

impl Parser<'_> {
    fn nest(&mut self) -> Result<Nest, Diag> {
        let cursor = &mut self.cursor;
        cursor.expect("nest")?;
        let name = cursor.name("@", "`@` and a name")?;
        cursor.expect("(")?;
        let inputs = cursor.list(")", buffer)?;
        cursor.expect("->")?;
        cursor.expect("(")?;
        let outputs = cursor.list(")", buffer)?;
        let mut nest = Nest { name, inputs, outputs, ..Nest::default() };
        if cursor.accept("where") {
            parse_ranges(cursor, &mut nest.ranges)?;
        }
        nest.body = self.block()?;
        Ok(nest)
    }

    fn block(&mut self) -> Result<Vec<Stmt>, Diag> {
        self.enter()?;
        self.cursor.expect("{")?;
        let mut body = Vec::new();
        while !self.cursor.accept("}") {
            body.push(self.statement()?);
        }
        self.depth -= 1;
        Ok(body)
    }

    fn enter(&mut self) -> Result<(), Diag> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.cursor.expected(&format!("at most {MAX_DEPTH} levels of nesting")));
        }
        Ok(())
    }

    fn statement(&mut self) -> Result<Stmt, Diag> {
        if self.cursor.accept("for") {
            let var = Symbol::new(self.cursor.word("a loop variable")?);
            self.cursor.expect("in")?;
            self.cursor.expect("0..")?;
            let extent = self.cursor.dim()?;
            let kind = self.kind()?;
            return Ok(Stmt::For { var, extent, kind, body: self.block()? });
        }
        if self.cursor.accept("if") {
            let conds = conditions(&mut self.cursor)?;
            return Ok(Stmt::If { conds, body: self.block()? });
        }
        if self.cursor.accept("let") {
            let name = Symbol::new(self.cursor.word("the name of a scalar")?);
            self.cursor.expect("=")?;
            return Ok(Stmt::Let { name, value: self.expr()? });
        }
        if self.cursor.accept("alloc") {
            let buffer = buffer(&mut self.cursor)?;
            self.cursor.expect("in")?;
            return Ok(Stmt::Alloc { buffer, space: space(&mut self.cursor)? });
        }
        self.store()
    }

    fn kind(&mut self) -> Result<LoopKind, Diag> {
        for (word, kind) in [
            ("parallel", LoopKind::Parallel),
            ("vector", LoopKind::Vector),
            ("tile", LoopKind::Tile),
            ("unrolled", LoopKind::Unrolled),
        ] {
            if self.cursor.accept(word) {
                return Ok(kind);
            }
        }
        for (axis, name) in (0u8..).zip(["x", "y", "z"]) {
            if self.cursor.accept(&format!("block.{name}")) {
                return Ok(LoopKind::Block(axis));
            }
            if self.cursor.accept(&format!("thread.{name}")) {
                return Ok(LoopKind::Thread(axis));
            }
        }
        if self.cursor.peek("{") {
            Ok(LoopKind::Serial)
        } else {
            Err(self.cursor.expected("the kind of a loop or `{`"))
        }
    }

    fn store(&mut self) -> Result<Stmt, Diag> {
        let mut targets: SmallVec<[Access; 1]> = SmallVec::new();
        if self.cursor.accept("(") {
            targets.extend(self.cursor.list(")", access)?);
        } else {
            targets.push(access(&mut self.cursor)?);
        }
        let combine = if self.cursor.accept("+=") {
            Combine::With(ScalarOp::Add)
        } else if self.cursor.accept("=") {
            Combine::Replace
        } else if self.cursor.accept("by") {
            self.cursor.expect("|")?;
            let params = self.cursor.list("|", |c| c.word("a parameter").map(Symbol::new))?;
            self.cursor.expect("(")?;
            let results = self.exprs(")")?;
            self.cursor.expect("=")?;
            Combine::Tuple { params, results }
        } else {
            let start = self.cursor.here();
            let word = self.cursor.word("`=`, `+=`, `by` or the name of an operation and `=`")?;
            let op = ScalarOp::from_name(word).ok_or_else(|| {
                Diag::at(
                    self.cursor.since(start),
                    "syntax",
                    format!("expected the name of an operation, got `{word}`"),
                )
            })?;
            self.cursor.expect("=")?;
            Combine::With(op)
        };
        let mut values: SmallVec<[Expr; 1]> = SmallVec::new();
        if targets.len() > 1 {
            self.cursor.expect("(")?;
            values.extend(self.exprs(")")?);
        } else {
            values.push(self.expr()?);
        }
        Ok(Stmt::Store { targets, values, combine })
    }

    fn exprs(&mut self, close: &str) -> Result<Vec<Expr>, Diag> {
        let mut all = Vec::new();
        while !self.cursor.accept(close) {
            if !all.is_empty() {
                self.cursor.expect(",")?;
            }
            all.push(self.expr()?);
        }
        Ok(all)
    }

    /// `a` or `a + b`: longer chains are written with parentheses.
    fn expr(&mut self) -> Result<Expr, Diag> {
        self.enter()?;
        let mut left = self.primary()?;
        for (op, sign) in INFIX {
            if self.cursor.accept(sign) {
                left = Expr::binary(op, left, self.primary()?);
                break;
            }
        }
        self.depth -= 1;
        Ok(left)
    }

    fn primary(&mut self) -> Result<Expr, Diag> {
        if self.cursor.accept("(") {
            let inner = if self.cursor.accept("if") {
                let conds = conditions(&mut self.cursor)?;
                self.cursor.expect("then")?;
                let then = Box::new(self.expr()?);
                self.cursor.expect("else")?;
                Expr::Guard { conds, then, otherwise: Box::new(self.expr()?) }
            } else {
                self.expr()?
            };
            self.cursor.expect(")")?;
            return Ok(inner);
        }
        let start = self.cursor.here();
        let word = self.cursor.word("an expression")?;
        if self.cursor.accept("[") {
            let at = self.cursor.list("]", |c| c.dim())?;
            return Ok(Expr::Load(Access::new(word, at)));
        }
        if matches!(word, "cast" | "cast_overflowing" | "bitcast") && self.cursor.accept("<") {
            let to = dtype(&mut self.cursor)?;
            self.cursor.expect(">")?;
            self.cursor.expect("(")?;
            let value = Box::new(self.expr()?);
            self.cursor.expect(")")?;
            return Ok(match word {
                "bitcast" => Expr::Bitcast(to, value),
                _ => Expr::Cast { to, saturate: word == "cast", value },
            });
        }
        if !self.cursor.accept("(") {
            return Ok(Expr::Var(Symbol::new(word)));
        }
        if word == "index" {
            let dim = self.cursor.dim()?;
            self.cursor.expect(")")?;
            return Ok(Expr::Index(dim));
        }
        if let Ok(dtype) = word.parse::<DType>() {
            let start = self.cursor.here();
            let text = if dtype.is_bool() {
                self.cursor.word("`true` or `false`")?
            } else {
                self.cursor.number()?
            };
            let value = Scalar::parse(text, dtype)
                .map_err(|e| Diag::at(self.cursor.since(start), "constant", e.to_string()))?;
            self.cursor.expect(")")?;
            return Ok(Expr::Const(dtype, value));
        }
        let span = self.cursor.since(start);
        let op = ScalarOp::from_name(word).ok_or_else(|| {
            Diag::at(span, "syntax", format!("expected the name of an operation, got `{word}`"))
        })?;
        Ok(Expr::Op(op, self.exprs(")")?))
    }
}

/// Where a buffer lives.
pub(crate) fn space(cursor: &mut Cursor<'_>) -> Result<Space, Diag> {
    let all = [Space::Global, Space::Shared, Space::Stack, Space::Register];
    let found = all.into_iter().find(|space| cursor.accept(&space.to_string()));
    found.ok_or_else(|| cursor.expected("`global`, `shared`, `stack` or `register`"))
}

/// Conditions of which all must hold.
pub(crate) fn conditions(cursor: &mut Cursor<'_>) -> Result<Vec<Cond>, Diag> {
    let mut conds = Vec::new();
    loop {
        let left = cursor.dim()?;
        cursor.expect("<")?;
        conds.push(Cond { left, right: cursor.dim()? });
        if !cursor.accept("&&") {
            return Ok(conds);
        }
    }
}

fn buffer(cursor: &mut Cursor<'_>) -> Result<Buffer, Diag> {
    let name = Symbol::new(cursor.word("the name of a buffer")?);
    cursor.expect(":")?;
    Ok(Buffer { name, ty: parse_type(cursor)? })
}

fn access(cursor: &mut Cursor<'_>) -> Result<Access, Diag> {
    let name = cursor.word("a statement or `}`")?;
    cursor.expect("[")?;
    let at: Vec<Dim> = cursor.list("]", |c| c.dim())?;
    Ok(Access::new(name, at))
}

fn dtype(cursor: &mut Cursor<'_>) -> Result<DType, Diag> {
    let start = cursor.here();
    let word = cursor.word("an element type")?;
    word.parse().map_err(|_| {
        Diag::at(cursor.since(start), "syntax", format!("expected an element type, got `{word}`"))
    })
}
