//! Integer expressions.

use tcc_ir::dim::{Atom, Dim};

use super::function::Emit;

impl Emit<'_> {
    /// The value of an integer expression; the optimiser shares equal parts and hoists them out of loops.
    pub(super) fn index(&mut self, dim: &Dim) -> String {
        // Values that are known join the constant of the normal form, so that what is left is the same everywhere.
        if self.fixed.iter().any(|(var, _)| dim.mentions(var)) {
            let known =
                self.fixed.iter().fold(dim.clone(), |d, (var, value)| d.replace(var, &Dim::from(*value)));
            return self.index(&known);
        }
        let mut sum: Option<String> = None;
        let mut constant = 0i64;
        for term in dim.terms() {
            if term.atoms.is_empty() {
                constant = term.coeff;
                continue;
            }
            let mut product: Option<String> = None;
            for atom in &term.atoms {
                let factor = self.atom(atom);
                product = Some(match product {
                    None => factor,
                    Some(before) => self.line(format_args!("mul i64 {before}, {factor}")),
                });
            }
            let Some(mut product) = product else { continue };
            if term.coeff != 1 {
                product = self.line(format_args!("mul i64 {product}, {}", term.coeff));
            }
            sum = Some(match sum {
                None => product,
                Some(before) => self.line(format_args!("add i64 {before}, {product}")),
            });
        }
        match sum {
            None => constant.to_string(),
            Some(sum) if constant == 0 => sum,
            Some(sum) => self.line(format_args!("add i64 {sum}, {constant}")),
        }
    }

    fn atom(&mut self, atom: &Atom) -> String {
        match atom {
            Atom::Sym(symbol) => self.symbols[symbol].clone(),
            Atom::FloorDiv(pair) => self.divide(&pair.0, &pair.1).0,
            Atom::Mod(pair) => self.divide(&pair.0, &pair.1).1,
            Atom::Min(pair) => self.extremum("smin", pair),
            Atom::Max(pair) => self.extremum("smax", pair),
        }
    }

    fn extremum(&mut self, name: &str, pair: &(Dim, Dim)) -> String {
        let (a, b) = (self.index(&pair.0), self.index(&pair.1));
        self.intrinsic(name, "i64", 1, &[&a, &b])
    }

    /// Floor division and its remainder; division by zero is zero.
    fn divide(&mut self, left: &Dim, right: &Dim) -> (String, String) {
        let plain = self.ranges.bounds(left).lo >= 0 && self.ranges.bounds(right).lo > 0;
        let nonzero = right.as_const().is_some_and(|c| c != 0);
        let (a, b) = (self.index(left), self.index(right));
        if plain {
            let quotient = self.line(format_args!("udiv i64 {a}, {b}"));
            return (quotient, self.line(format_args!("urem i64 {a}, {b}")));
        }
        let is_zero = self.line(format_args!("icmp eq i64 {b}, 0"));
        let divisor =
            if nonzero { b } else { self.line(format_args!("select i1 {is_zero}, i64 1, i64 {b}")) };
        let truncated = self.line(format_args!("sdiv i64 {a}, {divisor}"));
        let rest = self.line(format_args!("srem i64 {a}, {divisor}"));
        let signs = self.line(format_args!("xor i64 {rest}, {divisor}"));
        let opposite = self.line(format_args!("icmp slt i64 {signs}, 0"));
        let inexact = self.line(format_args!("icmp ne i64 {rest}, 0"));
        let adjust = self.line(format_args!("and i1 {opposite}, {inexact}"));
        let down = self.line(format_args!("add i64 {truncated}, -1"));
        let up = self.line(format_args!("add i64 {rest}, {divisor}"));
        let quotient = self.line(format_args!("select i1 {adjust}, i64 {down}, i64 {truncated}"));
        let rest = self.line(format_args!("select i1 {adjust}, i64 {up}, i64 {rest}"));
        if nonzero {
            return (quotient, rest);
        }
        let quotient = self.line(format_args!("select i1 {is_zero}, i64 0, i64 {quotient}"));
        (quotient, self.line(format_args!("select i1 {is_zero}, i64 0, i64 {rest}")))
    }
}
