//! Integer expressions.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use tcc_ir::dim::{Atom, Dim};

use super::program::Emit;

impl Emit<'_> {
    /// The value of an integer expression; the code generator shares equal parts and hoists them out of loops.
    pub(super) fn index(&mut self, dim: &Dim) -> Value {
        let mut sum: Option<Value> = None;
        let mut constant = 0i64;
        for term in dim.terms() {
            if term.atoms.is_empty() {
                constant = term.coeff;
                continue;
            }
            let mut product: Option<Value> = None;
            for atom in &term.atoms {
                let factor = self.atom(atom);
                product = Some(match product {
                    None => factor,
                    Some(before) => self.builder.ins().imul(before, factor),
                });
            }
            let Some(mut product) = product else { continue };
            if term.coeff != 1 {
                product = self.builder.ins().imul_imm_s(product, term.coeff);
            }
            sum = Some(match sum {
                None => product,
                Some(before) => self.builder.ins().iadd(before, product),
            });
        }
        match sum {
            None => self.builder.ins().iconst(types::I64, constant),
            Some(sum) if constant == 0 => sum,
            Some(sum) => self.builder.ins().iadd_imm_s(sum, constant),
        }
    }

    fn atom(&mut self, atom: &Atom) -> Value {
        match atom {
            Atom::Sym(symbol) => {
                let var = self.symbols[symbol];
                self.builder.use_var(var)
            }
            Atom::FloorDiv(pair) => self.divide(&pair.0, &pair.1).0,
            Atom::Mod(pair) => self.divide(&pair.0, &pair.1).1,
            Atom::Min(pair) => {
                let (a, b) = (self.index(&pair.0), self.index(&pair.1));
                self.builder.ins().smin(a, b)
            }
            Atom::Max(pair) => {
                let (a, b) = (self.index(&pair.0), self.index(&pair.1));
                self.builder.ins().smax(a, b)
            }
        }
    }

    /// Floor division and its remainder; division by zero is zero.
    fn divide(&mut self, left: &Dim, right: &Dim) -> (Value, Value) {
        let plain = self.ranges.bounds(left).lo >= 0 && self.ranges.bounds(right).lo > 0;
        let known = right.as_const();
        let (a, b) = (self.index(left), self.index(right));
        let ins = |emit: &mut Self| emit.builder.ins().iconst(types::I64, 0);
        if plain {
            let quotient = self.builder.ins().udiv(a, b);
            let product = self.builder.ins().imul(quotient, b);
            return (quotient, self.builder.ins().isub(a, product));
        }
        let zero = ins(self);
        let divisor = if known.is_some_and(|c| c != 0) {
            b
        } else {
            let one = self.builder.ins().iconst(types::I64, 1);
            let is_zero = self.builder.ins().icmp(IntCC::Equal, b, zero);
            self.builder.ins().select(is_zero, one, b)
        };
        let truncated = self.builder.ins().sdiv(a, divisor);
        let product = self.builder.ins().imul(truncated, divisor);
        let rest = self.builder.ins().isub(a, product);
        let signs = self.builder.ins().bxor(rest, divisor);
        let opposite = self.builder.ins().icmp(IntCC::SignedLessThan, signs, zero);
        let inexact = self.builder.ins().icmp(IntCC::NotEqual, rest, zero);
        let adjust = self.builder.ins().band(opposite, inexact);
        let down = self.builder.ins().iadd_imm_s(truncated, -1);
        let up = self.builder.ins().iadd(rest, divisor);
        let quotient = self.builder.ins().select(adjust, down, truncated);
        let rest = self.builder.ins().select(adjust, up, rest);
        if known.is_some_and(|c| c != 0) {
            return (quotient, rest);
        }
        let is_zero = self.builder.ins().icmp(IntCC::Equal, b, zero);
        (self.builder.ins().select(is_zero, zero, quotient), self.builder.ins().select(is_zero, zero, rest))
    }
}
