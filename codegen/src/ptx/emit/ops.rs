//! Scalar operations: numbers, selections, comparisons, logic; what floats and integers do is beside.

use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::scalar::ScalarOp::{self, *};
use tcc_ir::scalar::Signature;

use super::code::{Class, Virtual};
use super::{Emit, ins};
use crate::EmitError;

impl Emit<'_> {
    /// A number as a type holds it.
    pub(super) fn constant(&mut self, to: Virtual, dtype: DType, value: Scalar) {
        match to.class {
            Class::F32 => self.f32_constant(to, value.to_f64() as f32),
            Class::F64 => ins!(self, "mov.f64 {to}, 0d{:016X}", value.to_f64().to_bits()),
            Class::Pred if value.is_truthy() => ins!(self, "setp.eq.s32 {to}, 0, 0"),
            Class::Pred => ins!(self, "setp.ne.s32 {to}, 0, 0"),
            Class::B64 => ins!(self, "mov.b64 {to}, {}", value.to_i128() as i64),
            Class::B16 => ins!(self, "mov.b16 {to}, {}", dtype.encode_bits(value)),
            _ => ins!(self, "mov.b32 {to}, {}", value.round_to(dtype).to_i128() as u32 as i32),
        }
    }

    pub(super) fn f32_constant(&mut self, to: Virtual, value: f32) {
        ins!(self, "mov.f32 {to}, 0f{:08X}", value.to_bits());
    }

    /// One lane of an operation on operands of a type.
    pub(super) fn operation(
        &mut self,
        to: Virtual,
        op: ScalarOp,
        dtype: DType,
        args: &[Virtual],
    ) -> Result<(), EmitError> {
        if op == Select {
            self.select(to, args[0], args[1], args[2]);
            return Ok(());
        }
        if dtype == DType::Bool {
            return self.logic(to, op, args);
        }
        if op.def().signature == Signature::Test {
            return self.test(to, op, dtype, args);
        }
        let done = if dtype.is_float() {
            self.float(to, op, dtype, args)
        } else {
            self.integer(to, op, dtype, args)
        };
        if done { Ok(()) } else { Err(self.no_code(op, dtype)) }
    }

    fn no_code(&self, op: ScalarOp, dtype: DType) -> EmitError {
        self.unsupported(format!("expected an operation with device code, got `{}` of {dtype}", op.name()))
    }

    pub(super) fn select(&mut self, to: Virtual, cond: Virtual, yes: Virtual, no: Virtual) {
        if to.class != Class::Pred {
            ins!(self, "selp.{} {to}, {yes}, {no}, {cond}", to.class.untyped());
            return;
        }
        let [both, negated, other] = [(); 3].map(|()| self.code.reg(Class::Pred));
        ins!(self, "and.pred {both}, {cond}, {yes}");
        ins!(self, "not.pred {negated}, {cond}");
        ins!(self, "and.pred {other}, {negated}, {no}");
        ins!(self, "or.pred {to}, {both}, {other}");
    }

    fn logic(&mut self, to: Virtual, op: ScalarOp, args: &[Virtual]) -> Result<(), EmitError> {
        let (x, y) = (args[0], *args.last().unwrap_or(&args[0]));
        // As numbers false is 0 and true is 1, so every comparison is one operation on a complement.
        let (first, name, second) = match op {
            Not => {
                ins!(self, "not.pred {to}, {x}");
                return Ok(());
            }
            And | Min => (false, "and", false),
            Or | Max => (false, "or", false),
            Xor | Ne => (false, "xor", false),
            Eq => (true, "xor", false),
            Lt => (true, "and", false),
            Le => (true, "or", false),
            Gt => (false, "and", true),
            Ge => (false, "or", true),
            _ => return Err(self.no_code(op, DType::Bool)),
        };
        let mut complement = |value: Virtual, wanted: bool| {
            if !wanted {
                return value;
            }
            let reg = self.code.reg(Class::Pred);
            ins!(self, "not.pred {reg}, {value}");
            reg
        };
        let (x, y) = (complement(x, first), complement(y, second));
        ins!(self, "{name}.pred {to}, {x}, {y}");
        Ok(())
    }

    fn test(&mut self, to: Virtual, op: ScalarOp, dtype: DType, args: &[Virtual]) -> Result<(), EmitError> {
        let ty = self.arithmetic_type(dtype);
        let x = args[0];
        let compare = match op {
            IsNan => {
                ins!(self, "setp.nan.{ty} {to}, {x}, {x}");
                return Ok(());
            }
            IsInf => {
                let (magnitude, infinity) = (self.code.reg(x.class), infinity(x.class));
                ins!(self, "abs.{ty} {magnitude}, {x}");
                ins!(self, "setp.eq.{ty} {to}, {magnitude}, {infinity}");
                return Ok(());
            }
            Eq => "eq",
            // NaN differs from everything.
            Ne if dtype.is_float() => "neu",
            Ne => "ne",
            Lt => "lt",
            Le => "le",
            Gt => "gt",
            Ge => "ge",
            _ => return Err(self.no_code(op, dtype)),
        };
        ins!(self, "setp.{compare}.{ty} {to}, {x}, {}", args[1]);
        Ok(())
    }

    /// The type of instructions on how a type is held.
    pub(super) fn arithmetic_type(&self, dtype: DType) -> &'static str {
        match (Class::of(dtype), dtype.is_unsigned()) {
            (Class::F32, _) => "f32",
            (Class::F64, _) => "f64",
            (Class::B64, false) => "s64",
            (Class::B64, true) => "u64",
            (_, false) => "s32",
            (_, true) => "u32",
        }
    }
}

pub(super) fn infinity(class: Class) -> &'static str {
    if class == Class::F64 { "0d7FF0000000000000" } else { "0f7F800000" }
}

pub(super) fn nan(class: Class) -> &'static str {
    if class == Class::F64 { "0d7FF8000000000000" } else { "0f7FC00000" }
}
