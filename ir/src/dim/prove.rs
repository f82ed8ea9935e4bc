//! What can be proven of dims whose symbols lie in known ranges: bounds, equality, divisibility, order.
//!
//! A proof is sound but not complete: `false` means "not proven", never "disproven".

use std::collections::BTreeMap;

use super::{Atom, Dim, Symbol, Term};

/// An inclusive interval; the ends of `i64` stand for "unbounded".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// Smallest value.
    pub lo: i64,
    /// Largest value.
    pub hi: i64,
}

impl Range {
    /// What an extent may be when nothing was said of it.
    pub const EXTENT: Range = Range { lo: 0, hi: (1 << 31) - 1 };
    const ANY: Range = Range { lo: i64::MIN, hi: i64::MAX };

    /// The interval of one value.
    pub fn point(value: i64) -> Range {
        Range { lo: value, hi: value }
    }

    fn corners(self, other: Range, f: impl Fn(i128, i128) -> i128) -> Range {
        let at = |a: i64, b: i64| f(i128::from(a), i128::from(b));
        let all =
            [at(self.lo, other.lo), at(self.lo, other.hi), at(self.hi, other.lo), at(self.hi, other.hi)];
        let clamp = |v: i128| v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
        Range { lo: clamp(all.into_iter().min().unwrap_or(0)), hi: clamp(all.into_iter().max().unwrap_or(0)) }
    }
}

/// The ranges of symbols; one that is not listed has [`Range::EXTENT`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<Symbol, Range>);

impl Ranges {
    /// Declares or narrows nothing: sets the range of a symbol.
    pub fn set(&mut self, symbol: Symbol, range: Range) {
        self.0.insert(symbol, range);
    }

    /// Forgets a symbol.
    pub fn remove(&mut self, symbol: &Symbol) {
        self.0.remove(symbol);
    }

    /// The range of a symbol.
    pub fn get(&self, symbol: &Symbol) -> Range {
        self.0.get(symbol).copied().unwrap_or(Range::EXTENT)
    }

    /// The declared symbols in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&Symbol, Range)> {
        self.0.iter().map(|(s, r)| (s, *r))
    }

    /// Whether the symbol was declared.
    pub fn contains(&self, symbol: &Symbol) -> bool {
        self.0.contains_key(symbol)
    }

    /// An interval that holds every value of `dim`.
    pub fn bounds(&self, dim: &Dim) -> Range {
        let mut sum = Range::point(0);
        for term in dim.terms() {
            let mut product = Range::point(term.coeff);
            for factor in factors(&term) {
                product = product.corners(self.power(factor.0, factor.1), |a, b| a.saturating_mul(b));
            }
            sum = Range { lo: sum.lo.saturating_add(product.lo), hi: sum.hi.saturating_add(product.hi) };
        }
        sum
    }

    fn power(&self, atom: &Atom, exponent: usize) -> Range {
        let base = self.atom(atom);
        let mut product = base;
        for _ in 1..exponent {
            product = product.corners(base, |a, b| a.saturating_mul(b));
        }
        if exponent.is_multiple_of(2) { Range { lo: product.lo.max(0), ..product } } else { product }
    }

    fn atom(&self, atom: &Atom) -> Range {
        match atom {
            Atom::Sym(s) => self.get(s),
            Atom::FloorDiv(p) => {
                let (a, b) = (self.bounds(&p.0), self.bounds(&p.1));
                if b.lo <= 0 { Range::ANY } else { a.corners(b, |x, y| x.div_euclid(y)) }
            }
            Atom::Mod(p) => {
                let (a, b) = (self.bounds(&p.0), self.bounds(&p.1));
                if b.lo <= 0 {
                    return Range::ANY;
                }
                let unchanged = a.lo >= 0 && a.hi < b.lo;
                if unchanged { a } else { Range { lo: 0, hi: b.hi.saturating_sub(1) } }
            }
            Atom::Min(p) => {
                let (a, b) = (self.bounds(&p.0), self.bounds(&p.1));
                Range { lo: a.lo.min(b.lo), hi: a.hi.min(b.hi) }
            }
            Atom::Max(p) => {
                let (a, b) = (self.bounds(&p.0), self.bounds(&p.1));
                Range { lo: a.lo.max(b.lo), hi: a.hi.max(b.hi) }
            }
        }
    }

    /// Rewrites atoms that the ranges decide: `x / q` and `x % q` of a small `x`, settled minima and maxima.
    pub fn simplify(&self, dim: &Dim) -> Dim {
        if dim.as_const().is_some() {
            return dim.clone();
        }
        let mut sum = Dim::ZERO;
        for term in dim.terms() {
            let mut product = Dim::from(term.coeff);
            for atom in &term.atoms {
                product = &product * &self.simplify_atom(atom);
            }
            sum = &sum + &product;
        }
        let bounds = self.bounds(&sum);
        if bounds.lo == bounds.hi { Dim::from(bounds.lo) } else { sum }
    }

    fn simplify_atom(&self, atom: &Atom) -> Dim {
        match atom {
            Atom::Sym(s) => {
                let range = self.get(s);
                if range.lo == range.hi { Dim::from(range.lo) } else { Dim::sym(s.clone()) }
            }
            Atom::FloorDiv(p) => {
                let (a, b) = (self.simplify(&p.0), self.simplify(&p.1));
                let (whole, rest) = self.split_below(&a, &b);
                if rest.is(0) || self.within(&rest, &b) {
                    return whole;
                }
                match self.coarser(&a, &b) {
                    Some((g, high, _)) => self.simplify(&high.floor_div(&b.floor_div(&g))),
                    None => a.floor_div(&b),
                }
            }
            Atom::Mod(p) => {
                let (a, b) = (self.simplify(&p.0), self.simplify(&p.1));
                let (_, rest) = self.split_below(&a, &b);
                if self.within(&rest, &b) {
                    return rest;
                }
                match self.coarser(&a, &b) {
                    Some((g, high, low)) => &(&g * &self.simplify(&high.modulo(&b.floor_div(&g)))) + &low,
                    None => a.modulo(&b),
                }
            }
            Atom::Min(p) => {
                let (a, b) = (self.simplify(&p.0), self.simplify(&p.1));
                if self.at_most(&a, &b) {
                    a
                } else if self.at_most(&b, &a) {
                    b
                } else {
                    a.minimum(&b)
                }
            }
            Atom::Max(p) => {
                let (a, b) = (self.simplify(&p.0), self.simplify(&p.1));
                if self.at_most(&a, &b) {
                    b
                } else if self.at_most(&b, &a) {
                    a
                } else {
                    a.maximum(&b)
                }
            }
        }
    }

    /// `(x, r)` with `a = b*x + r`, moving every monomial that is a multiple of `b` into `x`.
    fn split_below(&self, a: &Dim, b: &Dim) -> (Dim, Dim) {
        let (mut whole, mut rest) = (Dim::ZERO, Dim::ZERO);
        for term in a.terms() {
            let term = Dim::from_terms([term]);
            match term.exact_div(b) {
                Some(quotient) => whole = &whole + &quotient,
                None => rest = &rest + &term,
            }
        }
        (whole, rest)
    }

    /// `(g, high, low)` with `a = g*high + low`, `g` dividing `b` and `0 <= low < g`: then quotient and remainder
    /// by `b` depend on `low` in the simplest way. This is what a loop cut into vectors needs.
    fn coarser(&self, a: &Dim, b: &Dim) -> Option<(Dim, Dim, Dim)> {
        let q = b.as_const().filter(|q| *q > 1)?;
        let scaled = a.terms().filter(|t| !t.atoms.is_empty() && gcd(t.coeff, q) > 1);
        let g = scaled.fold(q, |g, t| gcd(g, t.coeff));
        if g <= 1 || g == q {
            return None;
        }
        let (high, low) = a.split_multiples(g);
        let g = Dim::from(g);
        self.within(&low, &g).then_some((g, high, low))
    }

    /// Whether `0 <= a < b` always.
    pub fn within(&self, a: &Dim, b: &Dim) -> bool {
        self.bounds(a).lo >= 0 && self.less(a, b)
    }

    /// Whether the two are equal for every value of the symbols.
    pub fn equal(&self, a: &Dim, b: &Dim) -> bool {
        a == b || self.simplify(&(a - b)).is(0)
    }

    /// Whether the two differ for every value of the symbols.
    pub fn differ(&self, a: &Dim, b: &Dim) -> bool {
        let difference = self.bounds(&(a - b));
        difference.lo > 0 || difference.hi < 0
    }

    /// Whether `a < b` always.
    pub fn less(&self, a: &Dim, b: &Dim) -> bool {
        self.bounds(&(b - a)).lo > 0
    }

    /// Whether `a <= b` always.
    pub fn at_most(&self, a: &Dim, b: &Dim) -> bool {
        self.bounds(&(b - a)).lo >= 0
    }

    /// Whether `a` divides `b` always.
    pub fn divides(&self, a: &Dim, b: &Dim) -> bool {
        match a.as_const() {
            Some(1) => true,
            Some(0) => b.is(0),
            _ => self.simplify(&b.modulo(a)).is(0) || b.exact_div(a).is_some(),
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    i64::try_from(a).unwrap_or(1)
}

/// The distinct factors of a monomial with their powers.
fn factors(term: &Term) -> Vec<(&Atom, usize)> {
    let mut found: Vec<(&Atom, usize)> = Vec::new();
    for atom in &term.atoms {
        match found.last_mut() {
            Some((last, power)) if *last == atom => *power += 1,
            _ => found.push((atom, 1)),
        }
    }
    found
}
