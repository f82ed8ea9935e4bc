//! Integer expressions over named symbols: the extents of shapes, the indices of loops, the offsets of memory.
//!
//! A [`Dim`] is always in normal form: a sum of monomials, each a coefficient times a sorted product of
//! [`Atom`]s. Two dims built by different routes that are equal as polynomials over their atoms are equal by
//! `==`. Floor division, remainder, minimum and maximum are atoms of their own, simplified where that needs no
//! knowledge of ranges; [`Ranges`] adds that knowledge.
//!
//! Arithmetic saturates at the ends of `i64`. No tensor may have a saturated extent (the verifier refuses
//! element counts beyond [`crate::MAX_ELEMENTS`]), so saturation is never silently wrong.

mod prove;
mod slots;
mod text;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use prove::{Range, Ranges};
pub use slots::SlotDim;
pub use text::{DimParseError, parse_dim, parse_dim_prefix};

use smallvec::{SmallVec, smallvec};

/// A named integer: a symbolic extent of a model, or a loop variable of a nest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The symbol of this name.
    pub fn new(name: &str) -> Self {
        Symbol(Arc::from(name))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Symbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Symbol {
    fn from(name: &str) -> Self {
        Symbol::new(name)
    }
}

/// An integer expression in normal form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Dim(Repr);

/// Constants are by far the most common dims, so they need no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Const(i64),
    Sum(Arc<[Term]>),
}

/// Longer quotients of sums are not looked for.
const MAX_QUOTIENT_TERMS: usize = 8;

/// One monomial of a sum.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Term {
    /// Never zero.
    pub coeff: i64,
    /// Sorted, with repetition for powers; empty for the constant term.
    pub atoms: SmallVec<[Atom; 1]>,
}

/// An indivisible factor of a monomial.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Atom {
    /// A named integer.
    Sym(Symbol),
    /// Quotient rounded towards minus infinity.
    FloorDiv(Box<(Dim, Dim)>),
    /// `a - b * floor(a / b)`, of the sign of `b`.
    Mod(Box<(Dim, Dim)>),
    /// The smaller.
    Min(Box<(Dim, Dim)>),
    /// The larger.
    Max(Box<(Dim, Dim)>),
}

impl PartialOrd for Dim {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A structural order, for canonical sorting; it says nothing of values.
impl Ord for Dim {
    fn cmp(&self, other: &Self) -> Ordering {
        let mut a = self.terms();
        let mut b = other.terms();
        loop {
            match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some(x), Some(y)) => {
                    let order = x.atoms.cmp(&y.atoms).then(x.coeff.cmp(&y.coeff));
                    if order != Ordering::Equal {
                        return order;
                    }
                }
            }
        }
    }
}

/// Values of symbols, for evaluation.
pub type Bindings = BTreeMap<Symbol, i64>;

impl Dim {
    /// The constant zero.
    pub const ZERO: Dim = Dim(Repr::Const(0));
    /// The constant one.
    pub const ONE: Dim = Dim(Repr::Const(1));

    /// The symbol `name`.
    pub fn sym(name: impl Into<Symbol>) -> Dim {
        Dim::atom(Atom::Sym(name.into()))
    }

    fn atom(atom: Atom) -> Dim {
        Dim(Repr::Sum(Arc::from([Term { coeff: 1, atoms: smallvec![atom] }])))
    }

    /// The value, if it depends on no symbol.
    pub fn as_const(&self) -> Option<i64> {
        match self.0 {
            Repr::Const(c) => Some(c),
            Repr::Sum(_) => None,
        }
    }

    /// The symbol, if that is all this is.
    pub fn as_symbol(&self) -> Option<&Symbol> {
        match &self.0 {
            Repr::Sum(terms) => match &**terms {
                [Term { coeff: 1, atoms }] => match atoms.as_slice() {
                    [Atom::Sym(s)] => Some(s),
                    _ => None,
                },
                _ => None,
            },
            Repr::Const(_) => None,
        }
    }

    /// Whether this is the constant `value`.
    pub fn is(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }

    /// The monomials; a zero has none.
    pub fn terms(&self) -> impl Iterator<Item = Term> + '_ {
        let (constant, sum): (Option<Term>, &[Term]) = match &self.0 {
            Repr::Const(0) => (None, &[]),
            Repr::Const(c) => (Some(Term { coeff: *c, atoms: SmallVec::new() }), &[]),
            Repr::Sum(terms) => (None, terms),
        };
        constant.into_iter().chain(sum.iter().cloned())
    }

    /// Builds the normal form of a sum.
    pub fn from_terms(terms: impl IntoIterator<Item = Term>) -> Dim {
        let mut by_atoms: BTreeMap<SmallVec<[Atom; 1]>, i64> = BTreeMap::new();
        for term in terms {
            let slot = by_atoms.entry(term.atoms).or_insert(0);
            *slot = slot.saturating_add(term.coeff);
        }
        by_atoms.retain(|_, coeff| *coeff != 0);
        rejoin_quotients(&mut by_atoms);
        match by_atoms.len() {
            0 => return Dim::ZERO,
            1 => {
                if let Some((atoms, coeff)) = by_atoms.first_key_value()
                    && atoms.is_empty()
                {
                    return Dim(Repr::Const(*coeff));
                }
            }
            _ => {}
        }
        Dim(Repr::Sum(by_atoms.into_iter().map(|(atoms, coeff)| Term { coeff, atoms }).collect()))
    }

    /// Quotient rounded towards minus infinity. Division by a constant zero is zero.
    pub fn floor_div(&self, by: &Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), by.as_const()) {
            return Dim::from(if b == 0 { 0 } else { a.div_euclid_floor(b) });
        }
        if by.is(1) || self.is(0) {
            return self.clone();
        }
        let Some(q) = by.as_const() else {
            return self
                .exact_div(by)
                .unwrap_or_else(|| Dim::atom(Atom::FloorDiv(Box::new((self.clone(), by.clone())))));
        };
        if q == 0 {
            return Dim::ZERO;
        }
        // floor((q*x + r) / q) = x + floor(r / q) for any integer x.
        let (whole, rest) = self.split_multiples(q);
        if rest.is(0) {
            return whole;
        }
        let rest_div = if let Some(c) = rest.as_const() {
            Dim::from(c.div_euclid_floor(q))
        } else if let Some(inner) = nested_quotient(&rest, q) {
            inner
        } else {
            Dim::atom(Atom::FloorDiv(Box::new((rest, by.clone()))))
        };
        &whole + &rest_div
    }

    /// Quotient rounded towards plus infinity.
    pub fn ceil_div(&self, by: &Dim) -> Dim {
        (&(self + by) - &Dim::ONE).floor_div(by)
    }

    /// Rounds up to a multiple.
    pub fn round_up(&self, to: &Dim) -> Dim {
        &self.ceil_div(to) * to
    }

    /// Remainder of the floor division.
    pub fn modulo(&self, by: &Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), by.as_const()) {
            return Dim::from(if b == 0 { 0 } else { a - b * a.div_euclid_floor(b) });
        }
        let Some(q) = by.as_const() else {
            return match self.exact_div(by) {
                Some(_) => Dim::ZERO,
                None => Dim::atom(Atom::Mod(Box::new((self.clone(), by.clone())))),
            };
        };
        if q == 0 || q == 1 {
            return Dim::ZERO;
        }
        let (_, rest) = self.split_multiples(q);
        match rest.as_const() {
            Some(c) => Dim::from(c - q * c.div_euclid_floor(q)),
            None => Dim::atom(Atom::Mod(Box::new((rest, by.clone())))),
        }
    }

    /// The smaller of two.
    pub fn minimum(&self, other: &Dim) -> Dim {
        self.extremum(other, true)
    }

    /// The larger of two.
    pub fn maximum(&self, other: &Dim) -> Dim {
        self.extremum(other, false)
    }

    fn extremum(&self, other: &Dim, smaller: bool) -> Dim {
        if let Some(difference) = (self - other).as_const() {
            return if (difference <= 0) == smaller { self.clone() } else { other.clone() };
        }
        for (outer, inner) in [(self, other), (other, self)] {
            if outer.absorbs_into(inner, smaller) {
                return inner.clone();
            }
        }
        let pair = if self <= other { (self.clone(), other.clone()) } else { (other.clone(), self.clone()) };
        Dim::atom(if smaller { Atom::Min(Box::new(pair)) } else { Atom::Max(Box::new(pair)) })
    }

    /// Whether `self` is `max(x, …)` and the minimum of it and `x` is asked for, which is `x`; or the other way
    /// round.
    fn absorbs_into(&self, x: &Dim, smaller: bool) -> bool {
        let mut terms = self.terms();
        let (Some(term), None) = (terms.next(), terms.next()) else { return false };
        match (term.atoms.as_slice(), smaller) {
            ([Atom::Max(pair)], true) | ([Atom::Min(pair)], false) => {
                term.coeff == 1 && (pair.0 == *x || pair.1 == *x)
            }
            _ => false,
        }
    }

    /// `self / by` where `self` is a multiple of `by` as a polynomial, however large the atoms are.
    pub fn exact_div(&self, by: &Dim) -> Option<Dim> {
        if self == by {
            return Some(Dim::ONE);
        }
        let lead = by.terms().last()?;
        let single = by.terms().nth(1).is_none();
        let (mut rest, mut quotient) = (self.clone(), Dim::ZERO);
        for _ in 0..MAX_QUOTIENT_TERMS {
            let Some(last) = rest.terms().last() else { return Some(quotient) };
            let part = if single { rest.over(&lead)? } else { Dim::from_terms([last]).over(&lead)? };
            rest = &rest - &(&part * by);
            quotient = &quotient + &part;
        }
        rest.is(0).then_some(quotient)
    }

    /// Every monomial divided by another.
    fn over(&self, divisor: &Term) -> Option<Dim> {
        let mut quotient = Vec::new();
        for mut term in self.terms() {
            if term.coeff % divisor.coeff != 0 {
                return None;
            }
            term.coeff /= divisor.coeff;
            for atom in &divisor.atoms {
                let at = term.atoms.iter().position(|a| a == atom)?;
                term.atoms.remove(at);
            }
            quotient.push(term);
        }
        Some(Dim::from_terms(quotient))
    }

    /// `(x, r)` with `self = q*x + r`, `x` taking every monomial whose coefficient `q` divides.
    fn split_multiples(&self, q: i64) -> (Dim, Dim) {
        let (whole, rest): (Vec<Term>, Vec<Term>) = self.terms().partition(|t| t.coeff % q == 0);
        let whole = whole.into_iter().map(|t| Term { coeff: t.coeff / q, ..t });
        (Dim::from_terms(whole), Dim::from_terms(rest))
    }

    /// The coefficient of `symbol` and the rest, if `self` is affine in it.
    pub fn affine_in(&self, symbol: &Symbol) -> Option<(Dim, Dim)> {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for mut term in self.terms() {
            match term.atoms.iter().position(|a| matches!(a, Atom::Sym(s) if s == symbol)) {
                Some(at) => {
                    term.atoms.remove(at);
                    with.push(term);
                }
                None => without.push(term),
            }
        }
        let (with, without) = (Dim::from_terms(with), Dim::from_terms(without));
        (!with.mentions(symbol) && !without.mentions(symbol)).then_some((with, without))
    }

    /// Every symbol, also inside atoms.
    pub fn symbols(&self) -> BTreeSet<Symbol> {
        let mut found = BTreeSet::new();
        self.each_symbol(&mut |s| {
            found.insert(s.clone());
        });
        found
    }

    /// Calls `visit` for every occurrence of a symbol.
    pub fn each_symbol(&self, visit: &mut dyn FnMut(&Symbol)) {
        let Repr::Sum(terms) = &self.0 else { return };
        for atom in terms.iter().flat_map(|t| &t.atoms) {
            match atom {
                Atom::Sym(s) => visit(s),
                Atom::FloorDiv(p) | Atom::Mod(p) | Atom::Min(p) | Atom::Max(p) => {
                    p.0.each_symbol(visit);
                    p.1.each_symbol(visit);
                }
            }
        }
    }

    /// Whether the symbol occurs.
    pub fn mentions(&self, symbol: &Symbol) -> bool {
        let mut found = false;
        self.each_symbol(&mut |s| found |= s == symbol);
        found
    }

    /// Replaces symbols by expressions; those for which `with` has none stay.
    pub fn substitute(&self, with: &dyn Fn(&Symbol) -> Option<Dim>) -> Dim {
        let Repr::Sum(terms) = &self.0 else { return self.clone() };
        let mut sum = Dim::ZERO;
        for term in terms.iter() {
            let mut product = Dim::from(term.coeff);
            for atom in &term.atoms {
                let factor = match atom {
                    Atom::Sym(s) => with(s).unwrap_or_else(|| Dim::atom(atom.clone())),
                    Atom::FloorDiv(p) => p.0.substitute(with).floor_div(&p.1.substitute(with)),
                    Atom::Mod(p) => p.0.substitute(with).modulo(&p.1.substitute(with)),
                    Atom::Min(p) => p.0.substitute(with).minimum(&p.1.substitute(with)),
                    Atom::Max(p) => p.0.substitute(with).maximum(&p.1.substitute(with)),
                };
                product = &product * &factor;
            }
            sum = &sum + &product;
        }
        sum
    }

    /// Replaces one symbol.
    pub fn replace(&self, symbol: &Symbol, by: &Dim) -> Dim {
        self.substitute(&|s| (s == symbol).then(|| by.clone()))
    }

    /// Replaces the symbols that have a value.
    pub fn bind(&self, values: &Bindings) -> Dim {
        self.substitute(&|s| values.get(s).map(|v| Dim::from(*v)))
    }

    /// The value under bindings of every symbol, or the first symbol that has none.
    pub fn eval(&self, values: &Bindings) -> Result<i64, Symbol> {
        let Repr::Sum(terms) = &self.0 else { return Ok(self.as_const().unwrap_or(0)) };
        let mut sum = 0i64;
        for term in terms.iter() {
            let mut product = term.coeff;
            for atom in &term.atoms {
                let factor = match atom {
                    Atom::Sym(s) => *values.get(s).ok_or_else(|| s.clone())?,
                    Atom::FloorDiv(p) => match (p.0.eval(values)?, p.1.eval(values)?) {
                        (_, 0) => 0,
                        (a, b) => a.div_euclid_floor(b),
                    },
                    Atom::Mod(p) => match (p.0.eval(values)?, p.1.eval(values)?) {
                        (_, 0) => 0,
                        (a, b) => a - b * a.div_euclid_floor(b),
                    },
                    Atom::Min(p) => p.0.eval(values)?.min(p.1.eval(values)?),
                    Atom::Max(p) => p.0.eval(values)?.max(p.1.eval(values)?),
                };
                product = product.saturating_mul(factor);
            }
            sum = sum.saturating_add(product);
        }
        Ok(sum)
    }
}

/// `c*(q*floor(x/q)) + c*(x mod q)` is `c*x`: splitting an index and joining it again gives it back.
fn rejoin_quotients(terms: &mut BTreeMap<SmallVec<[Atom; 1]>, i64>) {
    loop {
        let found = terms.iter().find_map(|(atoms, coeff)| {
            let at = atoms.iter().position(|a| matches!(a, Atom::Mod(_)))?;
            let Atom::Mod(pair) = &atoms[at] else { return None };
            let q = pair.1.as_const()?;
            let mut quotient = atoms.clone();
            quotient[at] = Atom::FloorDiv(pair.clone());
            quotient.sort();
            let wanted = coeff.checked_mul(q)?;
            (terms.get(&quotient) == Some(&wanted)).then(|| (atoms.clone(), quotient, at, *coeff))
        });
        let Some((remainder, quotient, at, coeff)) = found else { return };
        terms.remove(&quotient);
        let mut others = remainder.clone();
        let Atom::Mod(pair) = others.remove(at) else { return };
        terms.remove(&remainder);
        for term in pair.0.terms() {
            let mut atoms = others.clone();
            atoms.extend(term.atoms);
            atoms.sort();
            let slot = terms.entry(atoms.clone()).or_insert(0);
            *slot = slot.saturating_add(coeff.saturating_mul(term.coeff));
            if *slot == 0 {
                terms.remove(&atoms);
            }
        }
    }
}

/// `floor(floor(x / a) / b)` is `floor(x / (a*b))` for positive constants.
fn nested_quotient(rest: &Dim, q: i64) -> Option<Dim> {
    let mut terms = rest.terms();
    let (Some(term), None) = (terms.next(), terms.next()) else { return None };
    let [Atom::FloorDiv(pair)] = term.atoms.as_slice() else { return None };
    let inner = pair.1.as_const()?;
    if term.coeff != 1 || inner <= 0 || q <= 0 {
        return None;
    }
    Some(pair.0.floor_div(&Dim::from(inner.checked_mul(q)?)))
}

/// Floor division, which the standard library has only in unstable form.
trait FloorDiv {
    fn div_euclid_floor(self, by: Self) -> Self;
}

impl FloorDiv for i64 {
    fn div_euclid_floor(self, by: i64) -> i64 {
        let quotient = self.wrapping_div(by);
        if self.wrapping_rem(by) != 0 && ((self < 0) != (by < 0)) { quotient - 1 } else { quotient }
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Dim {
        Dim(Repr::Const(value))
    }
}

impl From<usize> for Dim {
    fn from(value: usize) -> Dim {
        Dim(Repr::Const(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl std::ops::Add for &Dim {
    type Output = Dim;
    fn add(self, other: &Dim) -> Dim {
        match (self.as_const(), other.as_const()) {
            (Some(a), Some(b)) => Dim::from(a.saturating_add(b)),
            (Some(0), None) => other.clone(),
            (None, Some(0)) => self.clone(),
            _ => Dim::from_terms(self.terms().chain(other.terms())),
        }
    }
}

impl std::ops::Sub for &Dim {
    type Output = Dim;
    fn sub(self, other: &Dim) -> Dim {
        match (self.as_const(), other.as_const()) {
            (Some(a), Some(b)) => Dim::from(a.saturating_sub(b)),
            (None, Some(0)) => self.clone(),
            _ => Dim::from_terms(
                self.terms().chain(other.terms().map(|t| Term { coeff: t.coeff.saturating_neg(), ..t })),
            ),
        }
    }
}

impl std::ops::Mul for &Dim {
    type Output = Dim;
    fn mul(self, other: &Dim) -> Dim {
        match (self.as_const(), other.as_const()) {
            (Some(a), Some(b)) => Dim::from(a.saturating_mul(b)),
            (Some(0), None) | (None, Some(0)) => Dim::ZERO,
            (Some(1), None) => other.clone(),
            (None, Some(1)) => self.clone(),
            _ => Dim::from_terms(self.terms().flat_map(|a| {
                other
                    .terms()
                    .map(|b| {
                        let mut atoms = a.atoms.clone();
                        atoms.extend(b.atoms);
                        atoms.sort();
                        Term { coeff: a.coeff.saturating_mul(b.coeff), atoms }
                    })
                    .collect::<Vec<_>>()
            })),
        }
    }
}

macro_rules! by_value {
    ($($op:ident $method:ident),*) => {$(
        impl std::ops::$op for Dim {
            type Output = Dim;
            fn $method(self, other: Dim) -> Dim { std::ops::$op::$method(&self, &other) }
        }
    )*};
}
by_value!(Add add, Sub sub, Mul mul);

impl std::iter::Product for Dim {
    fn product<I: Iterator<Item = Dim>>(dims: I) -> Dim {
        dims.fold(Dim::ONE, |a, b| &a * &b)
    }
}

impl std::iter::Sum for Dim {
    fn sum<I: Iterator<Item = Dim>>(dims: I) -> Dim {
        dims.fold(Dim::ZERO, |a, b| &a + &b)
    }
}

#[cfg(test)]
mod tests;
