//! Integer expressions and addresses.
//!
//! Sums and products wrap, so a sum whose value is known to fit 32 bits is computed in 32 whatever its parts are;
//! quotients, remainders and extrema need operands that fit. Terms are added from the outermost scope inwards, so
//! that each scope adds only what changes in it.

use tcc_ir::dim::{Atom, Dim, Range, Symbol};

use super::code::{Class, Int, Known, Virtual};
use super::{Emit, Space};

/// A name that integer expressions use.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) value: Virtual,
    /// The scope it belongs to.
    pub(super) depth: usize,
}

const NARROW: Range = Range { lo: i32::MIN as i64, hi: i32::MAX as i64 };

impl Emit<'_> {
    /// Whether every value fits 32 bits.
    pub(super) fn is_narrow(&self, dim: &Dim) -> bool {
        let bounds = self.ranges.bounds(dim);
        NARROW.lo <= bounds.lo && bounds.hi <= NARROW.hi
    }

    /// The outermost scope that has all symbols of an expression.
    fn depth_of(&self, dim: &Dim) -> usize {
        dim.symbols().iter().map(|s| self.names.get(s).map_or(0, |n| n.depth)).max().unwrap_or(0)
    }

    /// An integer expression, in as few bits as it needs; says whether these are 64.
    pub(super) fn index(&mut self, dim: &Dim) -> (Int, bool) {
        let wide = !self.is_narrow(dim);
        (self.value(dim, wide), wide)
    }

    /// An integer expression in 64 bits, or the low 32 of it.
    pub(super) fn value(&mut self, dim: &Dim, wide: bool) -> Int {
        if let Some(number) = dim.as_const() {
            return Int::Number(if wide { number } else { i64::from(number as i32) });
        }
        let depth = self.depth_of(dim);
        let what = Known::Value(dim.clone(), wide);
        if let Some(known) = self.code.known(depth, &what) {
            return known;
        }
        let value = self.sum(dim, wide, depth);
        self.code.remember(depth, what, value);
        value
    }

    fn sum(&mut self, dim: &Dim, wide: bool, depth: usize) -> Int {
        if wide && self.is_narrow(dim) {
            let Int::Reg(narrow) = self.value(dim, false) else { return self.value(dim, false) };
            let reg = self.code.reg(Class::B64);
            self.code.line_at(depth, format_args!("cvt.s64.s32 {reg}, {narrow}"));
            return Int::Reg(reg);
        }
        if let [term] = dim.terms().collect::<Vec<_>>().as_slice() {
            return self.product(term, wide, depth);
        }
        // What the outer scopes know is one value there.
        let mut parts: Vec<Dim> = self.by_depth(dim).into_iter().map(|(_, part)| part).collect();
        if parts.len() == 1 {
            parts = dim.terms().map(|t| Dim::from_terms([t])).collect();
        }
        let suffix = if wide { "s64" } else { "s32" };
        let class = if wide { Class::B64 } else { Class::B32 };
        let mut sum: Option<Int> = None;
        let mut at = 0;
        for part in parts {
            at = self.depth_of(&part).max(at);
            let value = self.value(&part, wide);
            sum = Some(match sum {
                None => value,
                Some(before) => {
                    let reg = self.code.reg(class);
                    self.code.line_at(at, format_args!("add.{suffix} {reg}, {before}, {value}"));
                    Int::Reg(reg)
                }
            });
        }
        debug_assert!(at <= depth, "a part of a sum belongs no deeper than the sum");
        sum.unwrap_or(Int::Number(0))
    }

    /// The parts of a sum that belong to each scope, outermost first; numbers come last, so that they meet
    /// addresses as offsets.
    fn by_depth(&self, dim: &Dim) -> Vec<(usize, Dim)> {
        let mut parts: Vec<(usize, Dim)> = Vec::new();
        let mut number = Dim::ZERO;
        for term in dim.terms() {
            let one = Dim::from_terms([term]);
            if one.as_const().is_some() {
                number = one;
                continue;
            }
            let depth = self.depth_of(&one);
            match parts.iter_mut().find(|(d, _)| *d == depth) {
                Some((_, part)) => *part = &*part + &one,
                None => parts.push((depth, one)),
            }
        }
        parts.sort_by_key(|(depth, _)| *depth);
        if !number.is(0) {
            let depth = parts.last().map_or(0, |(d, _)| *d);
            parts.push((depth, number));
        }
        parts
    }

    fn product(&mut self, term: &tcc_ir::dim::Term, wide: bool, depth: usize) -> Int {
        let (suffix, class) = if wide { ("s64", Class::B64) } else { ("s32", Class::B32) };
        let mut product: Option<Int> = None;
        for atom in &term.atoms {
            let factor = self.atom(atom, wide);
            product = Some(match product {
                None => factor,
                Some(before) => {
                    let reg = self.code.reg(class);
                    self.code.line_at(depth, format_args!("mul.lo.{suffix} {reg}, {before}, {factor}"));
                    Int::Reg(reg)
                }
            });
        }
        let Some(product) = product else { return Int::Number(term.coeff) };
        match term.coeff {
            1 => product,
            coeff => {
                let reg = self.code.reg(class);
                let power = coeff > 0 && coeff.count_ones() == 1;
                if power {
                    let (bits, shift) = (if wide { "b64" } else { "b32" }, coeff.trailing_zeros());
                    self.code.line_at(depth, format_args!("shl.{bits} {reg}, {product}, {shift}"));
                } else {
                    let coeff = if wide { coeff } else { i64::from(coeff as i32) };
                    self.code.line_at(depth, format_args!("mul.lo.{suffix} {reg}, {product}, {coeff}"));
                }
                Int::Reg(reg)
            }
        }
    }

    fn atom(&mut self, atom: &Atom, wide: bool) -> Int {
        let (left, right) = match atom {
            Atom::Sym(symbol) => return self.symbol(symbol, wide),
            Atom::FloorDiv(pair) | Atom::Mod(pair) | Atom::Min(pair) | Atom::Max(pair) => (&pair.0, &pair.1),
        };
        let dim =
            Dim::from_terms([tcc_ir::dim::Term { coeff: 1, atoms: [atom.clone()].into_iter().collect() }]);
        let depth = self.depth_of(&dim);
        // The operands must be exact, whatever is wanted of the result.
        let exact = !(self.is_narrow(left) && self.is_narrow(right));
        let what = Known::Value(dim, exact);
        let value = match self.code.known(depth, &what) {
            Some(known) => known,
            None => {
                let (a, b) = (self.value(left, exact), self.value(right, exact));
                let value = match atom {
                    Atom::Min(_) => self.binary_at(depth, "min.s", exact, a, b),
                    Atom::Max(_) => self.binary_at(depth, "max.s", exact, a, b),
                    Atom::FloorDiv(_) => self.divide(depth, (left, right), (a, b), exact, true),
                    _ => self.divide(depth, (left, right), (a, b), exact, false),
                };
                self.code.remember(depth, what, value);
                value
            }
        };
        self.resized(value, exact, wide, depth)
    }

    fn symbol(&mut self, symbol: &Symbol, wide: bool) -> Int {
        let Some(named) = self.names.get(symbol).copied() else { return Int::Number(0) };
        let is_wide = named.value.class == Class::B64;
        if is_wide == wide {
            return Int::Reg(named.value);
        }
        let what = Known::Value(Dim::sym(symbol.clone()), wide);
        if let Some(known) = self.code.known(named.depth, &what) {
            return known;
        }
        let value = self.resized(Int::Reg(named.value), is_wide, wide, named.depth);
        self.code.remember(named.depth, what, value);
        value
    }

    fn resized(&mut self, value: Int, from_wide: bool, to_wide: bool, depth: usize) -> Int {
        let Int::Reg(from) = value else { return value };
        match (from_wide, to_wide) {
            (false, true) => {
                let reg = self.code.reg(Class::B64);
                self.code.line_at(depth, format_args!("cvt.s64.s32 {reg}, {from}"));
                Int::Reg(reg)
            }
            (true, false) => {
                let reg = self.code.reg(Class::B32);
                self.code.line_at(depth, format_args!("cvt.u32.u64 {reg}, {from}"));
                Int::Reg(reg)
            }
            _ => value,
        }
    }

    fn binary_at(&mut self, depth: usize, op: &str, wide: bool, a: Int, b: Int) -> Int {
        let reg = self.code.reg(if wide { Class::B64 } else { Class::B32 });
        let bits = if wide { 64 } else { 32 };
        self.code.line_at(depth, format_args!("{op}{bits} {reg}, {a}, {b}"));
        Int::Reg(reg)
    }

    /// Floor division or its remainder; division by zero is zero.
    fn divide(
        &mut self,
        depth: usize,
        dims: (&Dim, &Dim),
        (a, b): (Int, Int),
        wide: bool,
        quotient: bool,
    ) -> Int {
        let (left, right) = (self.ranges.bounds(dims.0), self.ranges.bounds(dims.1));
        let bits = if wide { 64 } else { 32 };
        if left.lo >= 0 && right.lo > 0 {
            let power = dims.1.as_const().filter(|c| c.count_ones() == 1);
            return match (power, quotient) {
                (Some(c), true) => {
                    self.binary_at(depth, "shr.u", wide, a, Int::Number(i64::from(c.trailing_zeros())))
                }
                (Some(c), false) => self.binary_at(depth, "and.b", wide, a, Int::Number(c - 1)),
                (None, true) => self.binary_at(depth, "div.u", wide, a, b),
                (None, false) => self.binary_at(depth, "rem.u", wide, a, b),
            };
        }
        let class = if wide { Class::B64 } else { Class::B32 };
        let code = &mut self.code;
        let [zero, inexact, opposite] = [(); 3].map(|()| code.reg(Class::Pred));
        let [divisor, truncated, product, rest, signs, result] = [(); 6].map(|()| code.reg(class));
        code.line_at(depth, format_args!("setp.eq.s{bits} {zero}, {b}, 0"));
        code.line_at(depth, format_args!("selp.b{bits} {divisor}, 1, {b}, {zero}"));
        code.line_at(depth, format_args!("div.s{bits} {truncated}, {a}, {divisor}"));
        code.line_at(depth, format_args!("mul.lo.s{bits} {product}, {truncated}, {divisor}"));
        code.line_at(depth, format_args!("sub.s{bits} {rest}, {a}, {product}"));
        code.line_at(depth, format_args!("xor.b{bits} {signs}, {rest}, {divisor}"));
        code.line_at(depth, format_args!("setp.ne.s{bits} {inexact}, {rest}, 0"));
        code.line_at(depth, format_args!("setp.lt.and.s{bits} {opposite}, {signs}, 0, {inexact}"));
        if quotient {
            let (below, chosen) = (code.reg(class), code.reg(class));
            code.line_at(depth, format_args!("sub.s{bits} {below}, {truncated}, 1"));
            code.line_at(depth, format_args!("selp.b{bits} {chosen}, {below}, {truncated}, {opposite}"));
            code.line_at(depth, format_args!("selp.b{bits} {result}, 0, {chosen}, {zero}"));
        } else {
            let (above, chosen) = (code.reg(class), code.reg(class));
            code.line_at(depth, format_args!("add.s{bits} {above}, {rest}, {divisor}"));
            code.line_at(depth, format_args!("selp.b{bits} {chosen}, {above}, {rest}, {opposite}"));
            code.line_at(depth, format_args!("selp.b{bits} {result}, 0, {chosen}, {zero}"));
        }
        Int::Reg(result)
    }

    /// The address of an element: a register and the bytes to add to it.
    pub(super) fn address(&mut self, memory: &Symbol, offset: &Dim) -> (Int, i64) {
        let place = self.memories[memory].clone();
        let bytes = i64::from(place.dtype.bits() / 8);
        let mut at = (place.base, place.depth);
        let (mut known, mut immediate) = (Dim::ZERO, 0i64);
        for (depth, part) in self.by_depth(offset) {
            if let Some(number) = part.as_const() {
                let offset = number.saturating_mul(bytes);
                if i32::try_from(offset).is_ok() {
                    immediate = offset;
                    continue;
                }
            }
            known = &known + &part;
            let depth = depth.max(at.1);
            let what = Known::Address(memory.clone(), known.clone());
            let next = match self.code.known(depth, &what) {
                Some(next) => next,
                None => {
                    let next = self.advanced(place.space, at.0, &part, bytes, depth);
                    self.code.remember(depth, what, next);
                    next
                }
            };
            at = (next, depth);
        }
        (at.0, immediate)
    }

    /// An address moved by so many elements.
    fn advanced(&mut self, space: Space, base: Int, part: &Dim, bytes: i64, depth: usize) -> Int {
        if space == Space::Shared {
            let by = self.value(part, false);
            let reg = self.code.reg(Class::B32);
            self.code.line_at(depth, format_args!("mad.lo.s32 {reg}, {by}, {bytes}, {base}"));
            return Int::Reg(reg);
        }
        let reg = self.code.reg(Class::B64);
        match self.index(part) {
            (Int::Reg(by), false) => {
                self.code.line_at(depth, format_args!("mad.wide.s32 {reg}, {by}, {bytes}, {base}"));
            }
            (by, _) => self.code.line_at(depth, format_args!("mad.lo.s64 {reg}, {by}, {bytes}, {base}")),
        }
        Int::Reg(reg)
    }
}
