//! From text to program: what a program prints parses back to it.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{Copy, Inst, LoopKind, Memory, Panel, Program, Reg, RegType, Rhs, Tile};
use crate::diag::{Diag, Diags};
use crate::dim::{Dim, Symbol};
use crate::dtype::{DType, Scalar};
use crate::graph::parse_ranges;
use crate::loops::{conditions, space};
use crate::scalar::ScalarOp;
use crate::text::Cursor;

/// Parses one program and verifies it.
pub fn parse_program(source: &str) -> Result<Program, Diags> {
    let mut parser = Parser { cursor: Cursor::new(source), depth: 0, regs: BTreeMap::new() };
    let program = parser.program()?;
    if !parser.cursor.at_end() {
        return Err(parser.cursor.expected("the end of the text").into());
    }
    program.verify()?;
    Ok(program)
}

/// Nesting beyond this is refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 200;

struct Parser<'a> {
    cursor: Cursor<'a>,
    depth: usize,
    /// The types of the registers seen so far; numbers in a text are not trusted as lengths of a list.
    regs: BTreeMap<u32, RegType>,
}

impl Parser<'_> {
    fn program(&mut self) -> Result<Program, Diag> {
        let cursor = &mut self.cursor;
        cursor.expect("program")?;
        let name = cursor.name("@", "`@` and a name")?;
        cursor.expect("(")?;
        let inputs = cursor.list(")", memory)?;
        cursor.expect("->")?;
        cursor.expect("(")?;
        let outputs = cursor.list(")", memory)?;
        let mut program = Program { name, inputs, outputs, ..Program::default() };
        if cursor.accept("where") {
            parse_ranges(cursor, &mut program.ranges)?;
        }
        cursor.expect("{")?;
        if cursor.accept("unused") {
            loop {
                let start = self.cursor.here();
                let reg = register(&mut self.cursor)?;
                self.declare(reg, start)?;
                if !self.cursor.accept(",") {
                    break;
                }
            }
        }
        program.body = self.rest_of_block()?;
        for (i, (number, ty)) in (0u32..).zip(&self.regs) {
            if i != *number {
                let message =
                    format!("expected `%{i}` to be assigned or listed as unused before `%{number}`");
                return Err(Diag::of(format!("program @{}", program.name), "register", message));
            }
            program.regs.push(*ty);
        }
        Ok(program)
    }

    /// The type behind a register, which is the same everywhere.
    fn declare(&mut self, reg: Reg, start: usize) -> Result<RegType, Diag> {
        self.cursor.expect(":")?;
        let ty = reg_type(&mut self.cursor)?;
        let known = *self.regs.entry(reg.0).or_insert(ty);
        if known != ty {
            let message = format!("expected {reg} to be {known} everywhere, got {ty}");
            return Err(Diag::at(self.cursor.since(start), "type", message));
        }
        Ok(ty)
    }

    fn block(&mut self) -> Result<Vec<Inst>, Diag> {
        self.cursor.expect("{")?;
        self.rest_of_block()
    }

    fn rest_of_block(&mut self) -> Result<Vec<Inst>, Diag> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.cursor.expected(&format!("at most {MAX_DEPTH} levels of nesting")));
        }
        let mut body = Vec::new();
        while !self.cursor.accept("}") {
            body.push(self.instruction()?);
        }
        self.depth -= 1;
        Ok(body)
    }

    fn instruction(&mut self) -> Result<Inst, Diag> {
        if self.cursor.peek("%") {
            let start = self.cursor.here();
            let reg = register(&mut self.cursor)?;
            let ty = self.declare(reg, start)?;
            self.cursor.expect("=")?;
            return Ok(Inst::Set { reg, value: self.value(ty)? });
        }
        let start = self.cursor.here();
        match self.cursor.word("an instruction or `}`")? {
            "bind" => {
                let name = Symbol::new(self.cursor.word("a name")?);
                self.cursor.expect("=")?;
                Ok(Inst::Bind { name, reg: register(&mut self.cursor)? })
            }
            "store" => {
                let Place { memory, offset, stride, active } = self.place()?;
                self.cursor.expect("=")?;
                Ok(Inst::Store { memory, offset, stride, value: register(&mut self.cursor)?, active })
            }
            "alloc" => {
                let memory = memory(&mut self.cursor)?;
                self.cursor.expect("in")?;
                Ok(Inst::Alloc { memory, space: space(&mut self.cursor)? })
            }
            "for" => {
                let var = Symbol::new(self.cursor.word("a loop variable")?);
                self.cursor.expect("in")?;
                self.cursor.expect("0..")?;
                let extent = self.cursor.dim()?;
                let kind = self.kind()?;
                Ok(Inst::For { var, extent, kind, body: self.block()? })
            }
            "if" => {
                // A lowering may leave no condition.
                let none = self.cursor.peek("{");
                let conds = if none { Vec::new() } else { conditions(&mut self.cursor)? };
                let then = self.block()?;
                let otherwise = if self.cursor.accept("else") { self.block()? } else { Vec::new() };
                Ok(Inst::If { conds, then, otherwise })
            }
            "tile" => Ok(Inst::Tile(Box::new(self.tile()?))),
            "barrier" => Ok(Inst::Barrier),
            "copy" => Ok(Inst::Copy(Box::new(self.copy()?))),
            "commit" => Ok(Inst::Commit),
            "wait" => Ok(Inst::Wait { pending: self.count("groups")? }),
            word => {
                let message = format!("expected an instruction or `}}`, got `{word}`");
                Err(Diag::at(self.cursor.since(start), "syntax", message))
            }
        }
    }

    fn kind(&mut self) -> Result<LoopKind, Diag> {
        if self.cursor.peek("{") {
            return Ok(LoopKind::Serial);
        }
        let axes = |kind: fn(u8) -> LoopKind| (0..3).map(kind);
        let kinds =
            [LoopKind::Parallel].into_iter().chain(axes(LoopKind::Block)).chain(axes(LoopKind::Thread));
        for kind in kinds {
            if self.cursor.accept(kind.to_string().trim_start()) {
                return Ok(kind);
            }
        }
        Err(self.cursor.expected("the kind of a loop or `{`"))
    }

    fn place(&mut self) -> Result<Place, Diag> {
        let memory = Symbol::new(self.cursor.word("the name of a buffer")?);
        self.cursor.expect("[")?;
        let offset = self.cursor.dim()?;
        let stride = if self.cursor.accept("stride") { self.cursor.dim()? } else { Dim::ONE };
        let active = if self.cursor.accept("active") { Some(self.cursor.dim()?) } else { None };
        self.cursor.expect("]")?;
        Ok(Place { memory, offset, stride, active })
    }

    /// What stands behind `copy`: `4 s[…] = x[… active …]`.
    fn copy(&mut self) -> Result<Copy, Diag> {
        let elements = self.count("elements")?;
        let start = self.cursor.here();
        let to = self.place()?;
        if to.active.is_some() {
            let message = "expected `active` where a copy reads, got it where it writes";
            return Err(Diag::at(self.cursor.since(start), "syntax", message));
        }
        self.cursor.expect("=")?;
        let start = self.cursor.here();
        let from = self.place()?;
        if !to.stride.is(1) || !from.stride.is(1) {
            let message = "expected a copy of neighbouring elements, got a stride";
            return Err(Diag::at(self.cursor.since(start), "syntax", message));
        }
        Ok(Copy {
            elements,
            to: to.memory,
            to_offset: to.offset,
            from: from.memory,
            from_offset: from.offset,
            active: from.active,
        })
    }

    /// What stands behind `tile`: `4x8 m=4 n=8 k=K : c[…] += a[…] * b[…]`, with `by 4` in front of `m` where steps of
    /// `k` lie side by side.
    fn tile(&mut self) -> Result<Tile, Diag> {
        let rows = self.count("the rows of a tile")?;
        let start = self.cursor.here();
        let columns = self.cursor.word("`x` and the columns of a tile")?;
        let columns = columns.strip_prefix('x').and_then(|c| c.parse().ok()).ok_or_else(|| {
            let message = format!("expected `x` and the columns of a tile, got `{columns}`");
            Diag::at(self.cursor.since(start), "syntax", message)
        })?;
        let group = if self.cursor.accept("by") { self.count("the steps of a group")? } else { 1 };
        let (m, n, k) = (self.named("m")?, self.named("n")?, self.named("k")?);
        self.cursor.expect(":")?;
        let c = self.panel()?;
        let accumulate = self.cursor.accept("+=");
        if !accumulate {
            self.cursor.expect("=").map_err(|_| self.cursor.expected("`=` or `+=`"))?;
        }
        let a = self.panel()?;
        self.cursor.expect("*")?;
        let b = self.panel()?;
        Ok(Tile { m, n, k, a, b, group, c, accumulate, shape: (rows, columns) })
    }

    fn named(&mut self, name: &str) -> Result<Dim, Diag> {
        self.cursor.expect(name)?;
        self.cursor.expect("=")?;
        self.cursor.dim()
    }

    fn panel(&mut self) -> Result<Panel, Diag> {
        let memory = Symbol::new(self.cursor.word("the name of a buffer")?);
        self.cursor.expect("[")?;
        let offset = self.cursor.dim()?;
        self.cursor.expect(";")?;
        let row = self.cursor.dim()?;
        self.cursor.expect(",")?;
        let column = self.cursor.dim()?;
        self.cursor.expect("]")?;
        Ok(Panel { memory, offset, row, column })
    }

    fn count(&mut self, what: &str) -> Result<u32, Diag> {
        let start = self.cursor.here();
        let value = self.cursor.int()?;
        u32::try_from(value).map_err(|_| {
            Diag::at(self.cursor.since(start), "syntax", format!("expected {what} below 2^32, got {value}"))
        })
    }

    /// What stands behind `=` in an assignment to a register of a type.
    fn value(&mut self, ty: RegType) -> Result<Rhs, Diag> {
        if self.cursor.peek("%") {
            return Ok(Rhs::Copy(register(&mut self.cursor)?));
        }
        let start = self.cursor.here();
        let number = if ty.dtype.is_bool() && (self.cursor.peek("true") || self.cursor.peek("false")) {
            Some(self.cursor.word("`true` or `false`")?)
        } else if self.cursor.peek("inf")
            || self.cursor.peek("nan")
            || self.cursor.peek("-")
            || (0..10).any(|digit| self.cursor.peek(&digit.to_string()))
        {
            Some(self.cursor.number()?)
        } else {
            None
        };
        if let Some(text) = number {
            return Scalar::parse(text, ty.dtype)
                .map(Rhs::Const)
                .map_err(|e| Diag::at(self.cursor.since(start), "constant", e.to_string()));
        }
        match self.cursor.word("a value")? {
            "index" => {
                self.cursor.expect("(")?;
                let base = self.cursor.dim()?;
                let step = if self.cursor.accept("step") { self.cursor.dim()? } else { Dim::ZERO };
                self.cursor.expect(")")?;
                Ok(Rhs::Index { base, step })
            }
            "load" => {
                let Place { memory, offset, stride, active } = self.place()?;
                Ok(Rhs::Load { memory, offset, stride, active })
            }
            word @ ("cast" | "cast_overflowing") => {
                Ok(Rhs::Cast { value: register(&mut self.cursor)?, saturate: word == "cast" })
            }
            "bitcast" => Ok(Rhs::Bitcast(register(&mut self.cursor)?)),
            word @ ("lane" | "lanes") => {
                let lane = self.count("a lane")?;
                self.cursor.expect("of")?;
                let from = register(&mut self.cursor)?;
                Ok(if word == "lane" { Rhs::Extract(from, lane) } else { Rhs::Lanes(from, lane) })
            }
            word => {
                let span = self.cursor.since(start);
                let op = ScalarOp::from_name(word)
                    .ok_or_else(|| Diag::at(span, "syntax", format!("expected a value, got `{word}`")))?;
                let mut args: SmallVec<[Reg; 3]> = SmallVec::new();
                while args.len() < op.arity() {
                    if !args.is_empty() {
                        self.cursor.expect(",")?;
                    }
                    args.push(register(&mut self.cursor)?);
                }
                Ok(Rhs::Op(op, args))
            }
        }
    }
}

/// The lanes of a load or store.
struct Place {
    memory: Symbol,
    offset: Dim,
    stride: Dim,
    active: Option<Dim>,
}

fn memory(cursor: &mut Cursor<'_>) -> Result<Memory, Diag> {
    let name = Symbol::new(cursor.word("the name of a buffer")?);
    cursor.expect(":")?;
    let dtype = typed(cursor, "an element type", |word| word.parse::<DType>().ok())?;
    cursor.expect("[")?;
    let elements = cursor.dim()?;
    cursor.expect("]")?;
    Ok(Memory { name, dtype, elements })
}

fn register(cursor: &mut Cursor<'_>) -> Result<Reg, Diag> {
    let start = cursor.here();
    let name = cursor.name("%", "a register")?;
    name.parse().map(Reg).map_err(|_| {
        let shown: String = name.chars().take(40).collect();
        let message = format!("expected the number of a register, got `{shown}`");
        Diag::at(cursor.since(start), "syntax", message)
    })
}

/// `f32` or, with lanes, `f32x8`.
fn reg_type(cursor: &mut Cursor<'_>) -> Result<RegType, Diag> {
    typed(cursor, "the type of a register", |word| match word.rsplit_once('x') {
        Some((dtype, lanes)) => Some(RegType { dtype: dtype.parse().ok()?, lanes: lanes.parse().ok()? }),
        None => Some(RegType { dtype: word.parse().ok()?, lanes: 1 }),
    })
}

fn typed<T>(cursor: &mut Cursor<'_>, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Diag> {
    let start = cursor.here();
    let word = cursor.word(what)?;
    parse(word)
        .ok_or_else(|| Diag::at(cursor.since(start), "syntax", format!("expected {what}, got `{word}`")))
}
