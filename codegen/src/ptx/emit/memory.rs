//! Buffers: where they lie, loads and stores of as many elements at once as their alignment allows.

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::mem::{self, Inst, Memory, Program, Reg, each};

use super::code::{Class, Int, Virtual};
use super::{Emit, ins};
use crate::EmitError;

/// The state spaces that elements lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Space {
    /// Global memory that nothing writes while the kernel runs.
    ReadOnly,
    Global,
    Shared,
    Local,
}

impl Space {
    fn load(self) -> &'static str {
        match self {
            Space::ReadOnly => "ld.global.nc",
            Space::Global => "ld.global",
            Space::Shared => "ld.shared",
            Space::Local => "ld.local",
        }
    }

    fn store(self) -> &'static str {
        match self {
            Space::ReadOnly | Space::Global => "st.global",
            Space::Shared => "st.shared",
            Space::Local => "st.local",
        }
    }
}

/// Where a buffer's first element is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) space: Space,
    pub(super) base: Int,
    /// The scope that the base belongs to.
    pub(super) depth: usize,
    pub(super) dtype: DType,
}

/// Every buffer and every block's memory starts at a multiple of this.
pub(super) const ALIGNMENT: i64 = 16;

/// So many floats of 16 bits are moved at once, as pairs: vectors have no more than four parts.
const HALVES: usize = 8;

/// Where the program's own buffers lie in the memory of their space.
pub(super) struct Layout {
    /// Offsets in shared or scratch memory.
    offsets: FxHashMap<Symbol, (Space, Dim)>,
    /// Buffers of a thread's own: how many bytes.
    local: Vec<(Symbol, i64)>,
    /// The bytes of shared memory of a block.
    pub(super) shared: Dim,
    /// The bytes of scratch memory of a block.
    pub(super) scratch: Dim,
    /// The address of the scratch memory of all blocks.
    pub(super) base: Option<Virtual>,
}

/// More than this of a thread's own goes to scratch memory.
const MOST_LOCAL: i64 = 64 << 10;

impl Layout {
    pub(super) fn of(program: &Program, threads: u32) -> Result<Layout, EmitError> {
        let tiles = super::fragment::of(program);
        let mut layout = Layout {
            offsets: FxHashMap::default(),
            local: Vec::new(),
            shared: Dim::ZERO,
            scratch: Dim::ZERO,
            base: None,
        };
        each(&program.body, &mut |inst| {
            let Inst::Alloc { memory, space } = inst else { return };
            if tiles.iter().any(|(name, ..)| *name == memory.name) {
                return;
            }
            if layout.offsets.contains_key(&memory.name)
                || layout.local.iter().any(|(n, _)| *n == memory.name)
            {
                return;
            }
            let bits = &memory.elements * &Dim::from(i64::from(memory.dtype.bits().max(8)));
            let bytes = bits.ceil_div(&Dim::from(8i64)).round_up(&Dim::from(ALIGNMENT));
            let name = memory.name.clone();
            match (space, bytes.as_const()) {
                (mem::Space::Shared, _) => {
                    layout.offsets.insert(name, (Space::Shared, layout.shared.clone()));
                    layout.shared = &layout.shared + &bytes;
                }
                (mem::Space::Stack | mem::Space::Register, Some(bytes)) if bytes <= MOST_LOCAL => {
                    layout.local.push((name, bytes.max(ALIGNMENT)));
                }
                (mem::Space::Global, _) => {
                    layout.offsets.insert(name, (Space::Global, layout.scratch.clone()));
                    layout.scratch = &layout.scratch + &bytes;
                }
                _ => {
                    // One after the other for the threads of a block.
                    layout.offsets.insert(name, (Space::Local, layout.scratch.clone()));
                    layout.scratch = &layout.scratch + &(&bytes * &Dim::from(i64::from(threads)));
                }
            }
        });
        Ok(layout)
    }

    pub(super) fn local_declarations(&self) -> String {
        let one = |(i, (_, bytes)): (usize, &(Symbol, i64))| {
            format!("    .local .align {ALIGNMENT} .b8 local{i}[{bytes}];\n")
        };
        self.local.iter().enumerate().map(one).collect()
    }
}

impl Emit<'_> {
    pub(super) fn alloc(&mut self, memory: &Memory, _: mem::Space) -> Result<(), EmitError> {
        let name = &memory.name;
        if self.fragment(name) {
            return Ok(());
        }
        let depth = self.code.depth();
        let (space, base) = if let Some(number) = self.layout.local.iter().position(|(n, _)| n == name) {
            let base = self.code.reg(Class::B64);
            ins!(self, "mov.u64 {base}, local{number}");
            (Space::Local, base)
        } else {
            match self.layout.offsets.get(name).cloned() {
                Some((Space::Shared, offset)) => {
                    let (start, base) = (self.code.reg(Class::B32), self.code.reg(Class::B32));
                    ins!(self, "mov.u32 {start}, shared_memory");
                    let offset = self.value(&offset, false);
                    ins!(self, "add.s32 {base}, {start}, {offset}");
                    (Space::Shared, base)
                }
                Some((space, offset)) => {
                    (Space::Global, self.scratch(memory, space == Space::Local, &offset))
                }
                None => return Err(self.unsupported(format!("expected a place for `{name}`, got none"))),
            }
        };
        self.code.forget(name);
        self.memories.insert(name.clone(), Place { space, base: Int::Reg(base), depth, dtype: memory.dtype });
        Ok(())
    }

    /// The address of a buffer in the block's part of scratch memory.
    fn scratch(&mut self, memory: &Memory, by_thread: bool, offset: &Dim) -> Virtual {
        let base = self.layout.base;
        let part = self.layout.scratch.clone();
        let part = self.value(&part, true);
        let block = self.linear("%ctaid", "%nctaid");
        let [start, at] = [(); 2].map(|()| self.code.reg(Class::B64));
        let base = base.map_or_else(|| "0".to_owned(), |b| b.to_string());
        ins!(self, "mad.lo.s64 {start}, {block}, {part}, {base}");
        let offset = self.value(offset, true);
        ins!(self, "add.s64 {at}, {start}, {offset}");
        if !by_thread {
            return at;
        }
        let bytes = i64::from(memory.dtype.bits().max(8) / 8);
        let size = (&memory.elements * &Dim::from(bytes)).round_up(&Dim::from(ALIGNMENT));
        let size = self.value(&size, true);
        let thread = self.linear("%tid", "%ntid");
        let own = self.code.reg(Class::B64);
        ins!(self, "mad.lo.s64 {own}, {thread}, {size}, {at}");
        own
    }

    /// The number of a block in the grid or of a thread in its block.
    fn linear(&mut self, at: &str, of: &str) -> Virtual {
        let [x, y, z, nx, ny] = [(); 5].map(|()| self.code.reg(Class::B32));
        for (reg, what) in [(x, "x"), (y, "y"), (z, "z")] {
            ins!(self, "mov.u32 {reg}, {at}.{what}");
        }
        ins!(self, "mov.u32 {nx}, {of}.x");
        ins!(self, "mov.u32 {ny}, {of}.y");
        let [plane, row] = [(); 2].map(|()| self.code.reg(Class::B32));
        ins!(self, "mad.lo.s32 {plane}, {z}, {ny}, {y}");
        ins!(self, "mad.lo.s32 {row}, {plane}, {nx}, {x}");
        let wide = self.code.reg(Class::B64);
        ins!(self, "cvt.u64.u32 {wide}, {row}");
        wide
    }

    pub(super) fn load(
        &mut self,
        reg: Reg,
        memory: &Symbol,
        offset: &Dim,
        stride: &Dim,
        active: Option<&Dim>,
    ) -> Result<(), EmitError> {
        let to = self.regs[reg.0 as usize].clone();
        if let Some(fragment) = self.fragments.get(memory) {
            let one = if to.len() == 1 { self.held(fragment, offset) } else { None };
            let Some(from) = one else {
                let message = format!("expected a lane to read what it holds of `{memory}`, got {offset}");
                return Err(self.unsupported(message));
            };
            self.copy(to[0], from);
            return Ok(());
        }
        let stays_raw = self.raw[reg.0 as usize];
        let place = self.memories[memory].clone();
        let dtype = place.dtype;
        let held = memory_register(dtype);
        let mut lane = 0;
        while lane < to.len() {
            let at = offset + &(stride * &Dim::from(lane));
            let width = self.width(&at, stride, to.len() - lane, dtype, active.is_some());
            let (address, immediate) = self.address(memory, &at);
            let raw: Vec<Virtual> = (lane..lane + width)
                .map(|l| if to[l].class == held && active.is_none() { to[l] } else { self.code.reg(held) })
                .collect();
            let guard = self.guard(active, lane, &raw);
            let (load, ty) = (place.space.load(), memory_type(dtype));
            match raw.as_slice() {
                [one] => ins!(self, "{guard}{load}.{ty} {one}, [{address}+{immediate}]"),
                halves if halves.len() == HALVES => {
                    let pairs = [(); HALVES / 2].map(|()| self.code.reg(Class::B32));
                    let list = pairs.map(|p| p.to_string()).join(", ");
                    ins!(self, "{load}.v4.b32 {{{list}}}, [{address}+{immediate}]");
                    for (pair, both) in pairs.iter().zip(halves.as_chunks::<2>().0) {
                        ins!(self, "mov.b32 {{{}, {}}}, {pair}", both[0], both[1]);
                    }
                }
                many => {
                    let list: Vec<String> = many.iter().map(ToString::to_string).collect();
                    ins!(self, "{load}.v{width}.{ty} {{{}}}, [{address}+{immediate}]", list.join(", "));
                }
            }
            for (l, raw) in raw.into_iter().enumerate() {
                if stays_raw {
                    self.copy(to[lane + l], raw);
                } else {
                    self.hold(to[lane + l], raw, dtype);
                }
            }
            lane += width;
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        memory: &Symbol,
        offset: &Dim,
        stride: &Dim,
        value: Reg,
        active: Option<&Dim>,
    ) -> Result<(), EmitError> {
        let from = self.regs[value.0 as usize].clone();
        if self.fragments.contains_key(memory) {
            return Err(self.unsupported(format!("expected only tiles to write `{memory}`, got a store")));
        }
        let stays_raw = self.raw[value.0 as usize];
        let place = self.memories[memory].clone();
        let dtype = place.dtype;
        let mut lane = 0;
        while lane < from.len() {
            let at = offset + &(stride * &Dim::from(lane));
            let width = self.width(&at, stride, from.len() - lane, dtype, active.is_some());
            let (address, immediate) = self.address(memory, &at);
            let raw: Vec<Virtual> = (lane..lane + width)
                .map(|l| if stays_raw { from[l] } else { self.released(from[l], dtype) })
                .collect();
            let guard = self.guard(active, lane, &[]);
            let (store, ty) = (place.space.store(), stored_type(dtype));
            match raw.as_slice() {
                [one] => ins!(self, "{guard}{store}.{ty} [{address}+{immediate}], {one}"),
                halves if halves.len() == HALVES => {
                    let pairs = [(); HALVES / 2].map(|()| self.code.reg(Class::B32));
                    for (pair, both) in pairs.iter().zip(halves.as_chunks::<2>().0) {
                        ins!(self, "mov.b32 {pair}, {{{}, {}}}", both[0], both[1]);
                    }
                    let list = pairs.map(|p| p.to_string()).join(", ");
                    ins!(self, "{store}.v4.b32 [{address}+{immediate}], {{{list}}}");
                }
                many => {
                    let list: Vec<String> = many.iter().map(ToString::to_string).collect();
                    ins!(self, "{store}.v{width}.{ty} [{address}+{immediate}], {{{}}}", list.join(", "));
                }
            }
            lane += width;
        }
        Ok(())
    }

    /// The predicate under which a lane is active; registers that would stay unset become zero.
    fn guard(&mut self, active: Option<&Dim>, lane: usize, unset: &[Virtual]) -> String {
        let Some(active) = active else { return String::new() };
        for reg in unset {
            ins!(self, "mov.{} {reg}, {}", reg.class.untyped(), reg.class.zero());
        }
        let (count, wide) = self.index(active);
        let count = self.in_register(count, wide);
        let holds = self.code.reg(Class::Pred);
        ins!(self, "setp.gt.s{} {holds}, {count}, {lane}", if wide { 64 } else { 32 });
        format!("@{holds} ")
    }

    /// How many of the next lanes are moved at once.
    fn width(&self, at: &Dim, stride: &Dim, left: usize, dtype: DType, guarded: bool) -> usize {
        if guarded || left == 1 || !stride.is(1) {
            return 1;
        }
        let bytes = i64::from(dtype.bits() / 8);
        let most = if memory_register(dtype) == Class::B16 { HALVES } else { 4 };
        [HALVES, 4, 2]
            .into_iter()
            .find(|w| {
                *w <= left && *w <= most && *w as i64 * bytes <= ALIGNMENT && self.is_multiple(at, *w as i64)
            })
            .unwrap_or(1)
    }

    /// An asynchronous copy, which is one instruction for 4, 8 or 16 bytes at a multiple of them.
    pub(super) fn copy_async(&mut self, copy: &mem::Copy) -> Result<(), EmitError> {
        if self.inside.is_none() && self.shape.threads() > 1 {
            let message = "expected copies inside of thread loops, got one by all threads";
            return Err(self.unsupported(message.to_owned()));
        }
        let bits = i64::from(self.memories[&copy.to].dtype.bits());
        let (elements, bytes) = (i64::from(copy.elements), i64::from(copy.elements) * bits / 8);
        let aligned = [&copy.to_offset, &copy.from_offset].iter().all(|at| self.is_multiple(at, elements));
        if bits % 8 != 0 || ![4, 8, 16].contains(&bytes) || !aligned {
            let message = format!(
                "expected a copy of 4, 8 or 16 bytes at a multiple of them, got {bytes} to `{}`",
                copy.to
            );
            return Err(self.unsupported(message));
        }
        let (to, to_immediate) = self.address(&copy.to, &copy.to_offset);
        let (from, from_immediate) = self.address(&copy.from, &copy.from_offset);
        let read = match &copy.active {
            None => String::new(),
            Some(active) => {
                let limited = active.maximum(&Dim::ZERO).minimum(&Dim::from(elements));
                format!(", {}", self.value(&(&limited * &Dim::from(bits / 8)), false))
            }
        };
        ins!(
            self,
            "cp.async.ca.shared.global [{to}+{to_immediate}], [{from}+{from_immediate}], {bytes}{read}"
        );
        Ok(())
    }

    fn is_multiple(&self, dim: &Dim, of: i64) -> bool {
        dim.terms().all(|t| t.coeff % of == 0) || self.ranges.divides(&Dim::from(of), dim)
    }

    /// How a scalar is held, from an element as it was loaded.
    fn hold(&mut self, to: Virtual, raw: Virtual, dtype: DType) {
        match dtype {
            DType::F16 => ins!(self, "cvt.f32.f16 {to}, {raw}"),
            DType::BF16 => self.widen_bf16(to, raw),
            // Any byte that is not zero is true.
            DType::Bool => ins!(self, "setp.ne.u32 {to}, {raw}, 0"),
            _ => self.copy(to, raw),
        }
    }

    /// An element as it is stored, from how a scalar is held.
    fn released(&mut self, value: Virtual, dtype: DType) -> Virtual {
        match dtype {
            DType::F16 | DType::BF16 => self.narrowed(value, dtype),
            DType::Bool => {
                let byte = self.code.reg(Class::B32);
                ins!(self, "selp.b32 {byte}, 1, 0, {value}");
                byte
            }
            _ => value,
        }
    }
}

/// The class of registers that elements are loaded into.
fn memory_register(dtype: DType) -> Class {
    match dtype {
        DType::F16 | DType::BF16 => Class::B16,
        DType::Bool => Class::B32,
        _ => Class::of(dtype),
    }
}

/// Loads extend narrow integers.
fn memory_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        DType::F32 => "f32",
        DType::I8 => "s8",
        DType::U8 | DType::Bool => "u8",
        DType::I16 => "s16",
        DType::U16 => "u16",
        d if d.bits() == 16 => "b16",
        d if d.bits() == 64 => "b64",
        _ => "b32",
    }
}

fn stored_type(dtype: DType) -> &'static str {
    match dtype {
        DType::I8 => "u8",
        DType::I16 => "u16",
        other => memory_type(other),
    }
}
