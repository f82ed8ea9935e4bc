//! Integer expressions with names replaced by slots, so that evaluating one looks nothing up.
//!
//! The value is that of [`Dim::eval`]: arithmetic saturates, and a division by zero is zero.

use super::{Atom, Dim, Symbol};

/// An expression over numbered slots: a sum of products.
#[derive(Clone, Debug)]
pub struct SlotDim(Vec<(i64, Vec<Factor>)>);

#[derive(Clone, Debug)]
enum Factor {
    Slot(usize),
    Div(Box<(SlotDim, SlotDim)>),
    Mod(Box<(SlotDim, SlotDim)>),
    Min(Box<(SlotDim, SlotDim)>),
    Max(Box<(SlotDim, SlotDim)>),
}

impl SlotDim {
    /// The expression with the slots that `slot_of` gives to names.
    pub fn new(dim: &Dim, slot_of: &mut dyn FnMut(&Symbol) -> usize) -> SlotDim {
        let terms = dim.terms().map(|term| {
            let factors = term.atoms.iter().map(|atom| Factor::new(atom, slot_of)).collect();
            (term.coeff, factors)
        });
        SlotDim(terms.collect())
    }

    /// The value where `value_of` gives what a slot holds.
    pub fn eval(&self, value_of: &impl Fn(usize) -> i64) -> i64 {
        self.0.iter().fold(0i64, |sum, (coeff, factors)| {
            sum.saturating_add(factors.iter().fold(*coeff, |p, f| p.saturating_mul(f.eval(value_of))))
        })
    }
}

impl Factor {
    fn new(atom: &Atom, slot_of: &mut dyn FnMut(&Symbol) -> usize) -> Factor {
        let mut pair = |p: &(Dim, Dim)| Box::new((SlotDim::new(&p.0, slot_of), SlotDim::new(&p.1, slot_of)));
        match atom {
            Atom::Sym(s) => Factor::Slot(slot_of(s)),
            Atom::FloorDiv(p) => Factor::Div(pair(p)),
            Atom::Mod(p) => Factor::Mod(pair(p)),
            Atom::Min(p) => Factor::Min(pair(p)),
            Atom::Max(p) => Factor::Max(pair(p)),
        }
    }

    fn eval(&self, value_of: &impl Fn(usize) -> i64) -> i64 {
        let both = |p: &(SlotDim, SlotDim)| (p.0.eval(value_of), p.1.eval(value_of));
        match self {
            Factor::Slot(slot) => value_of(*slot),
            Factor::Div(p) => floor_div(both(p)),
            Factor::Mod(p) => match both(p) {
                (_, 0) => 0,
                (a, b) => a.wrapping_sub(b.wrapping_mul(floor_div((a, b)))),
            },
            Factor::Min(p) => both(p).0.min(both(p).1),
            Factor::Max(p) => both(p).0.max(both(p).1),
        }
    }
}

fn floor_div((a, b): (i64, i64)) -> i64 {
    if b == 0 {
        return 0;
    }
    let (quotient, rest) = (a.wrapping_div(b), a.wrapping_rem(b));
    if rest != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dim::Bindings;

    #[test]
    fn slots_give_what_names_give() {
        let texts =
            ["3*N + M - 2", "(N - 7) / 3 * M", "(M - 9) % 4 + (N % (M - 5))", "min(N, M) * max(2, N - M)"];
        for text in texts {
            let dim: Dim = text.parse().unwrap();
            let slots = SlotDim::new(&dim, &mut |s| usize::from(s.name() == "M"));
            for (n, m) in [(0, 1), (5, 3), (12, 7), (-4, 9)] {
                let names: Bindings = [(Symbol::new("N"), n), (Symbol::new("M"), m)].into_iter().collect();
                assert_eq!(slots.eval(&|slot| [n, m][slot]), dim.eval(&names).unwrap(), "{text} of {n}, {m}");
            }
        }
    }
}
