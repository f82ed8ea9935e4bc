//! Operations on floats. Narrow ones are computed in f32 and rounded, which for sums, products, quotients and
//! roots is the same as rounding once.

use tcc_ir::dtype::DType;
use tcc_ir::scalar::ScalarOp::{self, *};

use super::code::{Class, Virtual};
use super::ops::{infinity, nan};
use super::{Emit, ins};

impl Emit<'_> {
    /// Whether there is code for the operation; functions have been expanded before.
    pub(super) fn float(&mut self, to: Virtual, op: ScalarOp, dtype: DType, args: &[Virtual]) -> bool {
        let ty = self.arithmetic_type(dtype);
        let narrow = dtype.bits() < 32;
        let (x, y) = (args[0], *args.last().unwrap_or(&args[0]));
        let rounded = match op {
            Add | Sub | Mul | Div => {
                let name = op.name();
                ins!(self, "{name}.rn.{ty} {to}, {x}, {y}");
                narrow
            }
            Fma => {
                ins!(self, "fma.rn.{ty} {to}, {x}, {}, {}", args[1], args[2]);
                narrow
            }
            Sqrt => {
                ins!(self, "sqrt.rn.{ty} {to}, {x}");
                narrow
            }
            Neg | Abs => {
                ins!(self, "{}.{ty} {to}, {x}", op.name());
                false
            }
            Floor | Ceil | Round | Trunc => {
                let mode = match op {
                    Floor => "rmi",
                    Ceil => "rpi",
                    Round => "rni",
                    _ => "rzi",
                };
                ins!(self, "cvt.{mode}.{ty}.{ty} {to}, {x}");
                false
            }
            Sign => {
                self.sign(to, x, ty);
                false
            }
            Min | Max => {
                self.extremum(to, op.name(), x, y, ty);
                false
            }
            Rem => {
                self.remainder(to, x, y, ty);
                false
            }
            FloorMod => {
                self.floor_mod(to, x, y, ty);
                narrow
            }
            _ => return false,
        };
        if rounded {
            let raw = self.narrowed(to, dtype);
            self.widened(to, raw, dtype);
        }
        true
    }

    fn sign(&mut self, to: Virtual, x: Virtual, ty: &str) {
        let (one, minus) = match x.class {
            Class::F64 => ("0d3FF0000000000000", "0dBFF0000000000000"),
            _ => ("0f3F800000", "0fBF800000"),
        };
        let [above, below] = [(); 2].map(|()| self.code.reg(Class::Pred));
        let part = self.code.reg(x.class);
        let zero = x.class.zero();
        ins!(self, "setp.gt.{ty} {above}, {x}, {zero}");
        ins!(self, "setp.lt.{ty} {below}, {x}, {zero}");
        ins!(self, "selp.{ty} {part}, {minus}, {x}, {below}");
        ins!(self, "selp.{ty} {to}, {one}, {part}, {above}");
    }

    /// NaN if either is; `-0.0` is below `0.0`.
    fn extremum(&mut self, to: Virtual, name: &str, x: Virtual, y: Virtual, ty: &str) {
        if ty == "f32" && self.has(80) {
            ins!(self, "{name}.NaN.f32 {to}, {x}, {y}");
            return;
        }
        let (value, either) = (self.code.reg(x.class), self.code.reg(Class::Pred));
        ins!(self, "{name}.{ty} {value}, {x}, {y}");
        ins!(self, "setp.nan.{ty} {either}, {x}, {y}");
        ins!(self, "selp.{ty} {to}, {}, {value}, {either}", nan(x.class));
    }

    /// The remainder of the truncated division, exactly: the divisor is doubled up to the dividend, then subtracted
    /// where it fits while it is halved again.
    fn remainder(&mut self, to: Virtual, x: Virtual, y: Virtual, ty: &str) {
        let class = x.class;
        let (half, two) = match class {
            Class::F64 => ("0d3FE0000000000000", "0d4000000000000000"),
            _ => ("0f3F000000", "0f40000000"),
        };
        let [rest, step, least, limit] = [(); 4].map(|()| self.code.reg(class));
        let [finite, nonzero, valid, more, fits, last] = [(); 6].map(|()| self.code.reg(Class::Pred));
        let [up, down, raised, done] = [(); 4].map(|()| self.code.label());
        ins!(self, "abs.{ty} {rest}, {x}");
        ins!(self, "abs.{ty} {least}, {y}");
        ins!(self, "setp.lt.{ty} {finite}, {rest}, {}", infinity(class));
        ins!(self, "setp.gt.{ty} {nonzero}, {least}, {}", class.zero());
        ins!(self, "and.pred {valid}, {finite}, {nonzero}");
        ins!(self, "mov.{ty} {step}, {least}");
        ins!(self, "@!{valid} bra {done}");
        ins!(self, "mul.rn.{ty} {limit}, {rest}, {half}");
        self.code.place(&up);
        ins!(self, "setp.le.{ty} {more}, {step}, {limit}");
        ins!(self, "@!{more} bra {raised}");
        ins!(self, "mul.rn.{ty} {step}, {step}, {two}");
        ins!(self, "bra {up}");
        self.code.place(&raised);
        self.code.place(&down);
        ins!(self, "setp.ge.{ty} {fits}, {rest}, {step}");
        ins!(self, "@{fits} sub.rn.{ty} {rest}, {rest}, {step}");
        ins!(self, "setp.le.{ty} {last}, {step}, {least}");
        ins!(self, "@{last} bra {done}");
        ins!(self, "mul.rn.{ty} {step}, {step}, {half}");
        ins!(self, "bra {down}");
        self.code.place(&done);
        // The sign is that of the dividend.
        let bits_class = if class == Class::F64 { Class::B64 } else { Class::B32 };
        let (bits, mask) = match class {
            Class::F64 => ("b64", "0x8000000000000000"),
            _ => ("b32", "0x80000000"),
        };
        let [from, sign, magnitude, joined] = [(); 4].map(|()| self.code.reg(bits_class));
        let value = self.code.reg(class);
        ins!(self, "mov.{bits} {from}, {x}");
        ins!(self, "and.{bits} {sign}, {from}, {mask}");
        ins!(self, "mov.{bits} {magnitude}, {rest}");
        ins!(self, "or.{bits} {joined}, {magnitude}, {sign}");
        ins!(self, "mov.{bits} {value}, {joined}");
        ins!(self, "selp.{ty} {to}, {value}, {}, {valid}", nan(class));
    }

    fn floor_mod(&mut self, to: Virtual, x: Virtual, y: Virtual, ty: &str) {
        let class = x.class;
        let zero = class.zero();
        let [rest, moved] = [(); 2].map(|()| self.code.reg(class));
        self.remainder(rest, x, y, ty);
        let [inexact, below, negative, differ, adjust] = [(); 5].map(|()| self.code.reg(Class::Pred));
        ins!(self, "setp.neu.{ty} {inexact}, {rest}, {zero}");
        ins!(self, "setp.lt.{ty} {below}, {rest}, {zero}");
        ins!(self, "setp.lt.{ty} {negative}, {y}, {zero}");
        ins!(self, "xor.pred {differ}, {below}, {negative}");
        ins!(self, "and.pred {adjust}, {inexact}, {differ}");
        ins!(self, "add.rn.{ty} {moved}, {rest}, {y}");
        ins!(self, "selp.{ty} {to}, {moved}, {rest}, {adjust}");
    }
}
