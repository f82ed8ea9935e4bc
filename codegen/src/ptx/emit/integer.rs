//! Operations on integers: they wrap, and division by zero is zero.

use tcc_ir::dtype::DType;
use tcc_ir::scalar::ScalarOp::{self, *};

use super::code::{Class, Virtual};
use super::{Emit, ins};

impl Emit<'_> {
    /// Whether there is code for the operation.
    pub(super) fn integer(&mut self, to: Virtual, op: ScalarOp, dtype: DType, args: &[Virtual]) -> bool {
        let ty = self.arithmetic_type(dtype);
        let bits = if to.class == Class::B64 { 64 } else { 32 };
        let (x, y) = (args[0], *args.last().unwrap_or(&args[0]));
        match op {
            Add | Sub => ins!(self, "{}.s{bits} {to}, {x}, {y}", op.name()),
            Mul => ins!(self, "mul.lo.s{bits} {to}, {x}, {y}"),
            Neg => ins!(self, "neg.s{bits} {to}, {x}"),
            Abs if dtype.is_unsigned() => self.copy(to, x),
            Abs => ins!(self, "abs.s{bits} {to}, {x}"),
            Sign => self.integer_sign(to, x, ty, bits),
            Not => ins!(self, "not.b{bits} {to}, {x}"),
            And | Or | Xor => ins!(self, "{}.b{bits} {to}, {x}, {y}", op.name()),
            Min | Max => ins!(self, "{}.{ty} {to}, {x}, {y}", op.name()),
            Div | Rem | FloorMod => self.division(to, op, x, y, ty, bits),
            Shl | Shr => self.shift(to, op, x, y, dtype, bits),
            Pow => self.power(to, x, y, dtype, bits),
            _ => return false,
        }
        if dtype.bits() < 32 && !matches!(op, And | Or | Xor | Min | Max | Shr | Sign) {
            self.wrap(to, to, dtype);
        }
        true
    }

    /// A narrow integer extended to the register that holds it, from its low bits.
    pub(super) fn wrap(&mut self, to: Virtual, from: Virtual, dtype: DType) {
        match (dtype.bits(), dtype.is_unsigned()) {
            (32.., _) => self.copy(to, from),
            (bits, true) => ins!(self, "and.b32 {to}, {from}, {}", (1u32 << bits) - 1),
            (bits, false) => ins!(self, "bfe.s32 {to}, {from}, 0, {bits}"),
        }
    }

    fn integer_sign(&mut self, to: Virtual, x: Virtual, ty: &str, bits: u32) {
        let [above, below] = [(); 2].map(|()| self.code.reg(Class::Pred));
        let part = self.code.reg(x.class);
        ins!(self, "setp.gt.{ty} {above}, {x}, 0");
        ins!(self, "setp.lt.{ty} {below}, {x}, 0");
        ins!(self, "selp.b{bits} {part}, -1, 0, {below}");
        ins!(self, "selp.b{bits} {to}, 1, {part}, {above}");
    }

    fn division(&mut self, to: Virtual, op: ScalarOp, x: Virtual, y: Virtual, ty: &str, bits: u32) {
        let class = x.class;
        let zero = self.code.reg(Class::Pred);
        let [divisor, result] = [(); 2].map(|()| self.code.reg(class));
        ins!(self, "setp.eq.{ty} {zero}, {y}, 0");
        ins!(self, "selp.b{bits} {divisor}, 1, {y}, {zero}");
        let name = if op == Div { "div" } else { "rem" };
        ins!(self, "{name}.{ty} {result}, {x}, {divisor}");
        if op == FloorMod && ty.starts_with('s') {
            let [inexact, adjust] = [(); 2].map(|()| self.code.reg(Class::Pred));
            let [signs, moved] = [(); 2].map(|()| self.code.reg(class));
            ins!(self, "xor.b{bits} {signs}, {result}, {divisor}");
            ins!(self, "setp.ne.{ty} {inexact}, {result}, 0");
            ins!(self, "setp.lt.and.{ty} {adjust}, {signs}, 0, {inexact}");
            ins!(self, "add.{ty} {moved}, {result}, {divisor}");
            ins!(self, "selp.b{bits} {result}, {moved}, {result}, {adjust}");
        }
        ins!(self, "selp.b{bits} {to}, 0, {result}, {zero}");
    }

    /// Instructions treat amounts of the width or more as shifting everything out.
    fn shift(&mut self, to: Virtual, op: ScalarOp, x: Virtual, y: Virtual, dtype: DType, bits: u32) {
        let signed = !dtype.is_unsigned();
        let mut amount = y;
        if signed && op == Shr {
            let reg = self.code.reg(y.class);
            ins!(self, "max.s{bits} {reg}, {amount}, 0");
            amount = reg;
        }
        if bits == 64 {
            // A negative amount is a large one here.
            let [least, narrow] = [self.code.reg(Class::B64), self.code.reg(Class::B32)];
            ins!(self, "min.u64 {least}, {amount}, 64");
            ins!(self, "cvt.u32.u64 {narrow}, {least}");
            amount = narrow;
        }
        match op {
            Shl => ins!(self, "shl.b{bits} {to}, {x}, {amount}"),
            _ => ins!(self, "shr.{}{bits} {to}, {x}, {amount}", if signed { "s" } else { "u" }),
        }
    }

    /// Squares and multiplies; negative exponents leave only 1 and -1.
    fn power(&mut self, to: Virtual, x: Virtual, y: Virtual, dtype: DType, bits: u32) {
        let class = x.class;
        let [result, base, exponent, odd] = [(); 4].map(|()| self.code.reg(class));
        let [done, is_odd] = [(); 2].map(|()| self.code.reg(Class::Pred));
        let [again, after] = [(); 2].map(|()| self.code.label());
        ins!(self, "mov.b{bits} {result}, 1");
        ins!(self, "mov.b{bits} {base}, {x}");
        if dtype.is_unsigned() {
            ins!(self, "mov.b{bits} {exponent}, {y}");
        } else {
            ins!(self, "max.s{bits} {exponent}, {y}, 0");
        }
        self.code.place(&again);
        ins!(self, "setp.eq.u{bits} {done}, {exponent}, 0");
        ins!(self, "@{done} bra {after}");
        ins!(self, "and.b{bits} {odd}, {exponent}, 1");
        ins!(self, "setp.ne.u{bits} {is_odd}, {odd}, 0");
        ins!(self, "@{is_odd} mul.lo.s{bits} {result}, {result}, {base}");
        ins!(self, "mul.lo.s{bits} {base}, {base}, {base}");
        ins!(self, "shr.u{bits} {exponent}, {exponent}, 1");
        ins!(self, "bra {again}");
        self.code.place(&after);
        if dtype.is_unsigned() {
            self.copy(to, result);
            return;
        }
        let [negative, one, minus] = [(); 3].map(|()| self.code.reg(Class::Pred));
        let [low, twice, alternating, of_minus, of_one] = [(); 5].map(|()| self.code.reg(class));
        ins!(self, "setp.lt.s{bits} {negative}, {y}, 0");
        ins!(self, "setp.eq.s{bits} {one}, {x}, 1");
        ins!(self, "setp.eq.s{bits} {minus}, {x}, -1");
        ins!(self, "and.b{bits} {low}, {y}, 1");
        ins!(self, "shl.b{bits} {twice}, {low}, 1");
        ins!(self, "sub.s{bits} {alternating}, 1, {twice}");
        ins!(self, "selp.b{bits} {of_minus}, {alternating}, 0, {minus}");
        ins!(self, "selp.b{bits} {of_one}, 1, {of_minus}, {one}");
        ins!(self, "selp.b{bits} {to}, {of_one}, {result}, {negative}");
    }
}
