//! Conversions between types, and between narrow floats and the f32 that holds them.

use tcc_ir::dtype::DType;

use super::code::{Class, Virtual};
use super::{Emit, ins};

impl Emit<'_> {
    /// The 16 bits of the narrow float nearest to an f32.
    pub(super) fn narrowed(&mut self, value: Virtual, dtype: DType) -> Virtual {
        let raw = self.code.reg(Class::B16);
        match dtype {
            DType::F16 => ins!(self, "cvt.rn.f16.f32 {raw}, {value}"),
            _ if self.has(80) => ins!(self, "cvt.rn.bf16.f32 {raw}, {value}"),
            _ => self.round_to_bf16(raw, value),
        }
        raw
    }

    /// Adds just below half of the last place, and the last bit, so that ties go to even.
    fn round_to_bf16(&mut self, raw: Virtual, value: Virtual) {
        let nan = self.code.reg(Class::Pred);
        let [bits, low, bias, sum, rounded, high] = [(); 6].map(|()| self.code.reg(Class::B32));
        ins!(self, "mov.b32 {bits}, {value}");
        ins!(self, "bfe.u32 {low}, {bits}, 16, 1");
        ins!(self, "add.u32 {bias}, {low}, 32767");
        ins!(self, "add.u32 {sum}, {bits}, {bias}");
        ins!(self, "setp.nan.f32 {nan}, {value}, {value}");
        ins!(self, "selp.b32 {rounded}, 0x7FC00000, {sum}, {nan}");
        ins!(self, "shr.u32 {high}, {rounded}, 16");
        ins!(self, "cvt.u16.u32 {raw}, {high}");
    }

    pub(super) fn widened(&mut self, to: Virtual, raw: Virtual, dtype: DType) {
        match dtype {
            DType::F16 => ins!(self, "cvt.f32.f16 {to}, {raw}"),
            _ => self.widen_bf16(to, raw),
        }
    }

    pub(super) fn widen_bf16(&mut self, to: Virtual, raw: Virtual) {
        let [low, high] = [(); 2].map(|()| self.code.reg(Class::B32));
        ins!(self, "cvt.u32.u16 {low}, {raw}");
        ins!(self, "shl.b32 {high}, {low}, 16");
        ins!(self, "mov.b32 {to}, {high}");
    }

    /// Converts a value as the scalar table says.
    pub(super) fn convert(&mut self, to: Virtual, target: DType, from: Virtual, source: DType) {
        match (source, target) {
            (a, b) if a == b => self.copy(to, from),
            (DType::Bool, _) => self.bool_to(to, target, from),
            (_, DType::Bool) => {
                let ty = self.arithmetic_type(source);
                let compare = if source.is_float() { "neu" } else { "ne" };
                ins!(self, "setp.{compare}.{ty} {to}, {from}, {}", from.class.zero());
            }
            (a, b) if a.is_float() && b.is_float() => self.float_to_float(to, target, from),
            (a, _) if a.is_float() => self.float_to_integer(to, target, from),
            (_, b) if b.is_float() => self.integer_to_float(to, target, from, source),
            _ => self.integer_to_integer(to, target, from, source),
        }
    }

    fn bool_to(&mut self, to: Virtual, target: DType, from: Virtual) {
        let one = match to.class {
            Class::F32 => "0f3F800000",
            Class::F64 => "0d3FF0000000000000",
            _ => "1",
        };
        debug_assert!(target != DType::Bool, "a bool needs no conversion to itself");
        ins!(self, "selp.{} {to}, {one}, {}, {from}", to.class.untyped(), to.class.zero());
    }

    fn float_to_float(&mut self, to: Virtual, target: DType, from: Virtual) {
        match (from.class, target) {
            (Class::F32, DType::F64) => ins!(self, "cvt.f64.f32 {to}, {from}"),
            (Class::F32, DType::F32) => self.copy(to, from),
            (Class::F32, _) => {
                let raw = self.narrowed(from, target);
                self.widened(to, raw, target);
            }
            (_, DType::F32) => ins!(self, "cvt.rn.f32.f64 {to}, {from}"),
            _ => {
                let odd = self.rounded_to_odd(from);
                let raw = self.narrowed(odd, target);
                self.widened(to, raw, target);
            }
        }
    }

    /// The f32 towards zero from an f64, its last bit set if that is inexact: rounding on from it is rounding once.
    fn rounded_to_odd(&mut self, from: Virtual) -> Virtual {
        let [cut, odd] = [(); 2].map(|()| self.code.reg(Class::F32));
        let (back, inexact) = (self.code.reg(Class::F64), self.code.reg(Class::Pred));
        let [bits, sticky, joined] = [(); 3].map(|()| self.code.reg(Class::B32));
        ins!(self, "cvt.rz.f32.f64 {cut}, {from}");
        ins!(self, "cvt.f64.f32 {back}, {cut}");
        ins!(self, "setp.neu.f64 {inexact}, {back}, {from}");
        ins!(self, "mov.b32 {bits}, {cut}");
        ins!(self, "selp.b32 {sticky}, 1, 0, {inexact}");
        ins!(self, "or.b32 {joined}, {bits}, {sticky}");
        ins!(self, "mov.b32 {odd}, {joined}");
        odd
    }

    /// Truncates and saturates; NaN is zero.
    fn float_to_integer(&mut self, to: Virtual, target: DType, from: Virtual) {
        let source = if from.class == Class::F64 { "f64" } else { "f32" };
        let ty = self.arithmetic_type(target);
        let value = self.code.reg(to.class);
        ins!(self, "cvt.rzi.{ty}.{source} {value}, {from}");
        let mut value = value;
        if let (true, Some(lo), Some(hi)) = (target.bits() < 32, target.int_min(), target.int_max()) {
            let limited = self.code.reg(Class::B32);
            ins!(self, "min.{ty} {limited}, {value}, {hi}");
            value = limited;
            if lo < 0 {
                let limited = self.code.reg(Class::B32);
                ins!(self, "max.{ty} {limited}, {value}, {lo}");
                value = limited;
            }
        }
        // What the instruction gives for NaN depends on the types.
        let nan = self.code.reg(Class::Pred);
        ins!(self, "setp.nan.{source} {nan}, {from}, {from}");
        ins!(self, "selp.{} {to}, 0, {value}, {nan}", to.class.untyped());
    }

    fn integer_to_float(&mut self, to: Virtual, target: DType, from: Virtual, source: DType) {
        let ty = self.arithmetic_type(source);
        match target {
            DType::F64 | DType::F32 => ins!(self, "cvt.rn.{}.{ty} {to}, {from}", to.class.untyped()),
            DType::F16 => {
                let raw = self.code.reg(Class::B16);
                ins!(self, "cvt.rn.f16.{ty} {raw}, {from}");
                self.widened(to, raw, target);
            }
            _ => {
                let exact = self.code.reg(Class::F64);
                ins!(self, "cvt.rn.f64.{ty} {exact}, {from}");
                self.float_to_float(to, target, exact);
            }
        }
    }

    /// Keeps the low bits.
    fn integer_to_integer(&mut self, to: Virtual, target: DType, from: Virtual, source: DType) {
        match (from.class, to.class) {
            (Class::B64, Class::B64) => self.copy(to, from),
            (Class::B64, _) => {
                let low = self.code.reg(Class::B32);
                ins!(self, "cvt.u32.u64 {low}, {from}");
                self.wrap(to, low, target);
            }
            (_, Class::B64) if source.is_unsigned() => ins!(self, "cvt.u64.u32 {to}, {from}"),
            (_, Class::B64) => ins!(self, "cvt.s64.s32 {to}, {from}"),
            _ => self.wrap(to, from, target),
        }
    }

    /// The same bits under another type of as many.
    pub(super) fn bitcast(&mut self, to: Virtual, target: DType, from: Virtual, source: DType) {
        if source == target {
            return self.copy(to, from);
        }
        if source.bits() >= 32 {
            let bits = source.bits();
            ins!(self, "mov.b{bits} {to}, {from}");
            return;
        }
        let low = self.code.reg(Class::B32);
        match source {
            DType::F16 | DType::BF16 => {
                let raw = self.narrowed(from, source);
                ins!(self, "cvt.u32.u16 {low}, {raw}");
            }
            DType::Bool => ins!(self, "selp.b32 {low}, 1, 0, {from}"),
            _ => self.copy(low, from),
        }
        match target {
            DType::F16 | DType::BF16 => {
                let raw = self.code.reg(Class::B16);
                ins!(self, "cvt.u16.u32 {raw}, {low}");
                self.widened(to, raw, target);
            }
            DType::Bool => {
                let byte = self.code.reg(Class::B32);
                ins!(self, "and.b32 {byte}, {low}, 255");
                ins!(self, "setp.ne.u32 {to}, {byte}, 0");
            }
            _ => self.wrap(to, low, target),
        }
    }
}
