//! Checks that a program means something: names, scopes, registers, types and the places of loops.
//!
//! A register counts as assigned where every path to it assigns it; a loop that may run zero times assigns
//! nothing for what follows.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cond, Copy, Inst, LoopKind, Memory, Panel, Program, Reg, RegType, Rhs, Space, Tile, each};
use crate::diag::{Diag, Diags};
use crate::dim::{Dim, Range, Ranges, Symbol};
use crate::dtype::{DType, Scalar};
use crate::scalar::ScalarOp;

/// Everything that must hold of a program; all problems are collected.
pub(super) fn verify(program: &Program) -> Result<(), Diags> {
    let mut scope = Scope {
        program,
        names: BTreeMap::new(),
        diags: Diags::default(),
        assigned: vec![false; program.regs.len()],
        trail: Vec::new(),
        ranges: program.ranges.clone(),
        around: Vec::new(),
    };
    for (symbol, _) in program.ranges.iter() {
        scope.names.insert(symbol.clone(), Name::Index);
    }
    for symbol in program.params().flat_map(|m| m.elements.symbols()) {
        scope.names.insert(symbol, Name::Index);
    }
    for (i, ty) in program.regs.iter().enumerate() {
        if ty.lanes == 0 || ty.lanes > MAX_LANES {
            scope.error("lanes", format!("expected %{i} to have 1..={MAX_LANES} lanes, got {}", ty.lanes));
        }
    }
    for (i, memory) in program.params().enumerate() {
        let access = if i < program.inputs.len() { Access::Input } else { Access::Output };
        let name = Name::Buffer { dtype: memory.dtype, access, threads: 0 };
        if scope.names.insert(memory.name.clone(), name).is_some() {
            scope.error("name", format!("expected a new name for a parameter, got `{}`", memory.name));
        }
    }
    scope.block(&program.body);
    scope.diags.into_result()
}

/// Wider registers than this are beyond what any backend splits.
const MAX_LANES: u32 = 1 << 16;

/// No processor takes more steps at once.
const MOST_STEPS: u32 = 16;

#[derive(Clone, Copy, PartialEq)]
enum Access {
    Input,
    Output,
    Own(Space),
}

#[derive(Clone, Copy, PartialEq)]
enum Name {
    Buffer { dtype: DType, access: Access, threads: usize },
    Index,
    Loop,
}

struct Scope<'a> {
    program: &'a Program,
    names: BTreeMap<Symbol, Name>,
    diags: Diags,
    assigned: Vec<bool>,
    /// The registers in the order in which they became assigned, to take that back.
    trail: Vec<usize>,
    /// Of the symbols and of the loop variables around.
    ranges: Ranges,
    /// The kinds of the loops and, as nothing, the conditions around.
    around: Vec<Option<LoopKind>>,
}

impl Scope<'_> {
    fn error(&mut self, code: &'static str, message: String) {
        if !self.diags.is_full() {
            self.diags.push(Diag::of(format!("program @{}", self.program.name), code, message));
        }
    }

    fn threads(&self) -> usize {
        self.around.iter().filter(|k| matches!(k, Some(LoopKind::Thread(_)))).count()
    }

    fn block(&mut self, body: &[Inst]) {
        let mut declared = Vec::new();
        for (i, inst) in body.iter().enumerate() {
            if self.diags.is_full() {
                break;
            }
            inst.each_dim(&mut |dim| self.dim(dim));
            match inst {
                Inst::Set { reg, value } => self.set(*reg, value),
                Inst::Bind { name, reg } => {
                    if let Some(ty) = self.used(*reg)
                        && (ty.lanes != 1 || !ty.dtype.is_int())
                    {
                        self.error("type", format!("expected a scalar integer to bind, got {reg}: {ty}"));
                    }
                    self.declare(name, Name::Index, &mut declared);
                }
                Inst::Store { memory, stride, value, .. } => {
                    let (ty, dtype) = (self.used(*value), self.written(memory));
                    if let (Some(ty), Some(dtype)) = (ty, dtype)
                        && ty.dtype != dtype
                    {
                        self.error("type", format!("expected {dtype} to store in `{memory}`, got {ty}"));
                    }
                    if ty.is_some_and(|t| t.lanes > 1) && stride.is(0) {
                        self.error(
                            "stride",
                            format!("expected lanes to be stored apart in `{memory}`, got stride 0"),
                        );
                    }
                }
                Inst::Alloc { memory, space } => self.alloc(memory, *space, &mut declared),
                Inst::For { var, extent, kind, body: inner } => {
                    self.placed(*kind, i + 1 == body.len(), &body[..i]);
                    self.looped(var, extent, *kind, inner);
                }
                Inst::If { conds, then, otherwise } => self.branch(conds, then, otherwise),
                Inst::Tile(tile) => self.tile(tile),
                Inst::Barrier => {
                    if self.around.contains(&Some(LoopKind::Parallel)) {
                        self.error("barrier", "expected no barrier inside of a parallel loop".to_owned());
                    }
                }
                Inst::Copy(copy) => self.copy(copy),
                Inst::Commit | Inst::Wait { .. } => {}
            }
        }
        for name in declared {
            self.names.remove(&name);
        }
    }

    /// Within one block a name can be given again by what gave it before, as the copies of an unrolled body do;
    /// the newest counts.
    fn declare(&mut self, name: &Symbol, what: Name, declared: &mut Vec<Symbol>) {
        let known = self.names.insert(name.clone(), what);
        let alike = |k: Name| matches!(k, Name::Index) == matches!(what, Name::Index);
        if known.is_some_and(|k| !alike(k) || !declared.contains(name)) {
            self.error("name", format!("expected a new name, got `{name}`"));
        }
        if matches!(what, Name::Index) {
            self.ranges.set(name.clone(), Range { lo: i64::MIN, hi: i64::MAX });
        }
        if known.is_none() {
            declared.push(name.clone());
        }
    }

    fn alloc(&mut self, memory: &Memory, space: Space, declared: &mut Vec<Symbol>) {
        if space == Space::Shared && self.threads() > 0 {
            let message = format!("expected a shared buffer outside of thread loops, got `{}`", memory.name);
            self.error("space", message);
        }
        let name = Name::Buffer { dtype: memory.dtype, access: Access::Own(space), threads: self.threads() };
        self.declare(&memory.name, name, declared);
    }

    fn placed(&mut self, kind: LoopKind, last: bool, before: &[Inst]) {
        match kind {
            LoopKind::Serial => {}
            LoopKind::Parallel => {
                if !self.around.is_empty() || !last {
                    self.error("loop", "expected a parallel loop only outermost and last".to_owned());
                }
                each(before, &mut |inst| {
                    let target = match inst {
                        Inst::Store { memory, .. } => memory,
                        Inst::Tile(tile) => &tile.c.memory,
                        _ => return,
                    };
                    if self.program.outputs.iter().any(|m| m.name == *target) {
                        let message = format!(
                            "expected no store to `{target}` before a parallel loop: every worker does it"
                        );
                        self.error("store", message);
                    }
                });
            }
            LoopKind::Block(axis) | LoopKind::Thread(axis) => {
                if axis > 2 {
                    self.error("loop", format!("expected an axis below 3, got {axis}"));
                }
                if self.around.contains(&Some(kind)) {
                    self.error("loop", format!("expected one loop along an axis, got another{kind}"));
                }
                if matches!(kind, LoopKind::Block(_)) && self.threads() > 0 {
                    self.error("loop", format!("expected blocks outside of thread loops, got{kind} inside"));
                }
            }
        }
    }

    fn looped(&mut self, var: &Symbol, extent: &Dim, kind: LoopKind, body: &[Inst]) {
        let bounds = self.ranges.bounds(extent);
        let concurrent = kind != LoopKind::Serial;
        if concurrent {
            self.forget(body);
        }
        let before = self.trail.len();
        if self.names.insert(var.clone(), Name::Loop).is_some() {
            self.error("name", format!("expected a new name for a loop, got `{var}`"));
        }
        self.ranges.set(var.clone(), Range { lo: 0, hi: bounds.hi.saturating_sub(1).max(0) });
        self.around.push(Some(kind));
        self.block(body);
        self.around.pop();
        self.ranges.remove(var);
        self.names.remove(var);
        if concurrent || bounds.lo < 1 {
            self.take_back(before);
        }
    }

    /// Makes the registers unassigned that became assigned since the trail had a length, and gives them.
    fn take_back(&mut self, length: usize) -> BTreeSet<usize> {
        self.trail.split_off(length).into_iter().filter(|r| std::mem::take(&mut self.assigned[*r])).collect()
    }

    fn assign(&mut self, reg: usize) {
        if let Some(flag) = self.assigned.get_mut(reg)
            && !std::mem::replace(flag, true)
        {
            self.trail.push(reg);
        }
    }

    /// Registers that a concurrent loop assigns hold nothing when an iteration begins.
    fn forget(&mut self, body: &[Inst]) {
        each(body, &mut |inst| {
            if let Inst::Set { reg, .. } = inst
                && let Some(flag) = self.assigned.get_mut(reg.0 as usize)
            {
                *flag = false;
            }
        });
    }

    fn branch(&mut self, conds: &[Cond], then: &[Inst], otherwise: &[Inst]) {
        let before = self.trail.len();
        self.around.push(None);
        self.block(then);
        let by_then = self.take_back(before);
        self.block(otherwise);
        let by_otherwise = self.take_back(before);
        self.around.pop();
        // Without conditions only the first can run.
        by_then.iter().filter(|r| conds.is_empty() || by_otherwise.contains(r)).for_each(|r| self.assign(*r));
    }

    fn dim(&mut self, dim: &Dim) {
        for symbol in dim.symbols() {
            match self.names.get(&symbol) {
                Some(Name::Index | Name::Loop) => {}
                Some(_) => self.error("type", format!("expected an integer in `{dim}`, got `{symbol}`")),
                None => self.error("name", format!("expected a name in scope in `{dim}`, got `{symbol}`")),
            }
        }
    }

    fn ty(&mut self, reg: Reg) -> Option<RegType> {
        let ty = self.program.regs.get(reg.0 as usize).copied();
        if ty.is_none() {
            let count = self.program.regs.len();
            self.error("register", format!("expected a register below %{count}, got {reg}"));
        }
        ty
    }

    /// The type of a register that is read.
    fn used(&mut self, reg: Reg) -> Option<RegType> {
        let ty = self.ty(reg)?;
        if !self.assigned[reg.0 as usize] {
            self.error("unassigned", format!("expected {reg} to be assigned along every path to its use"));
        }
        Some(ty)
    }

    /// The element type of a buffer that is read.
    fn read(&mut self, memory: &Symbol) -> Option<DType> {
        match self.names.get(memory) {
            Some(Name::Buffer { dtype, .. }) => return Some(*dtype),
            Some(_) => self.error("type", format!("expected a buffer, got the integer `{memory}`")),
            None => self.error("name", format!("expected a buffer in scope, got `{memory}`")),
        }
        None
    }

    fn written(&mut self, memory: &Symbol) -> Option<DType> {
        match self.names.get(memory) {
            Some(Name::Buffer { access: Access::Input, .. }) => {
                self.error("store", format!("expected to write an output or a buffer, got input `{memory}`"));
            }
            Some(Name::Buffer { access: Access::Own(Space::Stack | Space::Register), threads, .. })
                if *threads < self.threads() =>
            {
                let message = format!(
                    "expected threads to write what they share, got `{memory}` of which each has its own"
                );
                self.error("store", message);
            }
            _ => {}
        }
        self.read(memory)
    }

    fn set(&mut self, reg: Reg, value: &Rhs) {
        let ty = self.ty(reg);
        let (got, fills) = match value {
            Rhs::Const(value) => (ty, self.constant(ty, *value)),
            Rhs::Index { .. } => (ty.map(|t| RegType { dtype: DType::I64, ..t }), true),
            Rhs::Load { memory, .. } => {
                let dtype = self.read(memory);
                (ty.zip(dtype).map(|(t, dtype)| RegType { dtype, ..t }), true)
            }
            Rhs::Copy(from) => (self.used(*from), true),
            Rhs::Op(op, args) => (self.operation(*op, args), false),
            Rhs::Cast { value, .. } => {
                let from = self.used(*value);
                (from.zip(ty).map(|(from, t)| RegType { dtype: t.dtype, ..from }), false)
            }
            Rhs::Bitcast(from) => {
                let from = self.used(*from);
                if let (Some(from), Some(ty)) = (from, ty)
                    && from.dtype.bits() != ty.dtype.bits()
                {
                    self.error("type", format!("expected a type of {} bits, got {ty}", from.dtype.bits()));
                }
                (from.zip(ty).map(|(from, t)| RegType { dtype: t.dtype, ..from }), false)
            }
            Rhs::Extract(from, lane) => {
                let from_ty = self.used(*from);
                if let Some(ty) = from_ty
                    && *lane >= ty.lanes
                {
                    self.error("lanes", format!("expected a lane of {from} below {}, got {lane}", ty.lanes));
                }
                (from_ty.map(|t| RegType { lanes: 1, ..t }), true)
            }
            Rhs::Lanes(from, first) => {
                let from_ty = self.used(*from);
                if let (Some(all), Some(ty)) = (from_ty, ty)
                    && first.checked_add(ty.lanes).is_none_or(|end| end > all.lanes)
                {
                    let message = format!(
                        "expected {} lanes of {from} below {}, got those from {first} on",
                        ty.lanes, all.lanes
                    );
                    self.error("lanes", message);
                }
                (from_ty.zip(ty).map(|(t, ty)| RegType { lanes: ty.lanes, ..t }), false)
            }
        };
        if let (Some(ty), Some(got)) = (ty, got) {
            if ty.dtype != got.dtype {
                self.error(
                    "type",
                    format!("expected a value of type {} for {reg}, got {}", ty.dtype, got.dtype),
                );
            }
            if ty.lanes != got.lanes && !(fills && got.lanes == 1) {
                self.error("lanes", format!("expected {} lanes for {reg}, got {}", ty.lanes, got.lanes));
            }
        }
        self.assign(reg.0 as usize);
    }

    /// Says whether lanes are filled, which a constant always does.
    fn constant(&mut self, ty: Option<RegType>, value: Scalar) -> bool {
        if let Some(ty) = ty
            && value.round_to(ty.dtype) != value
        {
            self.error("constant", format!("expected a value of type {}, got {value:?}", ty.dtype));
        }
        true
    }

    fn operation(&mut self, op: ScalarOp, args: &[Reg]) -> Option<RegType> {
        let types: Vec<Option<RegType>> = args.iter().map(|r| self.used(*r)).collect();
        let types: Vec<RegType> = types.into_iter().collect::<Option<_>>()?;
        let dtypes: Vec<DType> = types.iter().map(|t| t.dtype).collect();
        let lanes = types.first()?.lanes;
        if let Some(other) = types.iter().find(|t| t.lanes != lanes) {
            self.error(
                "lanes",
                format!("{}: expected operands of {lanes} lanes, got {}", op.name(), other.lanes),
            );
        }
        match op.result(&dtypes) {
            Ok(dtype) => Some(RegType { dtype, lanes }),
            Err(message) => {
                self.error("type", format!("{}: {message}", op.name()));
                None
            }
        }
    }

    fn copy(&mut self, copy: &Copy) {
        if copy.elements == 0 || copy.elements > MAX_LANES {
            let message = format!("expected a copy of 1..={MAX_LANES} elements, got {}", copy.elements);
            self.error("lanes", message);
        }
        let shared = |scope: &Self, name: &Symbol| {
            let access = Access::Own(Space::Shared);
            matches!(scope.names.get(name), Some(Name::Buffer { access: a, .. }) if *a == access)
        };
        let (to, from) = (self.written(&copy.to), self.read(&copy.from));
        if to.is_some() && !shared(self, &copy.to) {
            self.error("space", format!("expected a copy to a shared buffer, got `{}`", copy.to));
        }
        if shared(self, &copy.from) {
            self.error("space", format!("expected a copy from no shared buffer, got `{}`", copy.from));
        }
        if let (Some(to), Some(from)) = (to, from)
            && to != from
        {
            self.error("type", format!("expected {to} to copy to `{}`, got {from}", copy.to));
        }
    }

    fn tile(&mut self, tile: &Tile) {
        let [a, b] = [&tile.a, &tile.b].map(|p: &Panel| self.read(&p.memory));
        let c = self.written(&tile.c.memory);
        if tile.c.memory == tile.a.memory || tile.c.memory == tile.b.memory {
            let message =
                format!("expected the result apart from the operands, got `{}` as both", tile.c.memory);
            self.error("tile", message);
        }
        if !(1..=MOST_STEPS).contains(&tile.group) {
            let message = format!("expected groups of 1..={MOST_STEPS} steps, got {}", tile.group);
            self.error("tile", message);
        }
        for (panel, group, what) in [(&tile.b, tile.group, "right operand"), (&tile.c, 1, "result")] {
            if !panel.column.is(i64::from(group)) {
                let message =
                    format!("expected columns of the {what} to be neighbours, {group} apart, got {panel}");
                self.error("tile", message);
            }
        }
        let (Some(a), Some(b), Some(c)) = (a, b, c) else { return };
        for operand in [a, b] {
            let alike = (operand.is_float() && c.is_float()) || (operand.is_int() && c.is_int());
            if !alike || operand.bits() > c.bits() {
                self.error(
                    "type",
                    format!("expected a tile of floats or of integers no wider than its result, got {operand} and {c}"),
                );
            }
        }
    }
}
