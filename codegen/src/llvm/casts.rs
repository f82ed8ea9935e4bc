//! Conversions between types, lane by lane.

use tcc_ir::dtype::DType;
use tcc_ir::mem::{Reg, RegType};

use super::forms::{held_scalar, number, spelled, splat_constant, stored_scalar, wide};
use super::function::Emit;

impl Emit<'_> {
    /// A conversion: floats to integers saturate, integers to narrower ones wrap.
    pub(super) fn cast(&mut self, value: Reg, to: RegType) -> String {
        let from = self.program.ty(value).dtype;
        let value = self.read(value);
        let lanes = to.lanes;
        let (a, b) = (held_scalar(from), held_scalar(to.dtype));
        let (source, target) = (wide(a, lanes), wide(b, lanes));
        if to.dtype == DType::Bool {
            return match from {
                DType::Bool => value,
                d if d.is_float() => {
                    let zero = number(a, 0.0, lanes);
                    self.line(format_args!("fcmp une {source} {value}, {zero}"))
                }
                _ => {
                    let zero = splat_constant(a, "0", lanes);
                    self.line(format_args!("icmp ne {source} {value}, {zero}"))
                }
            };
        }
        let instruction = match (from.is_float(), to.dtype.is_float()) {
            (true, false) => {
                if lanes > 1 && to.dtype.bits() <= 16 && a == "float" {
                    return self.cast_to_few_bits(&value, to);
                }
                let sign = if to.dtype.is_signed() { 's' } else { 'u' };
                let name = format!("llvm.fpto{sign}i.sat.{}.{}", spelled(b, lanes), spelled(a, lanes));
                return self.call(&name, &target, &[&source], &[&value], "");
            }
            (true, true) => match (a, b) {
                ("float", "double") => "fpext",
                ("double", "float") => "fptrunc",
                _ => return self.round_narrow(&value, to.dtype, lanes),
            },
            (false, true) if from.is_signed() => "sitofp",
            (false, true) => "uitofp",
            (false, false) => {
                let bits = |d: DType| if d == DType::Bool { 1 } else { d.bits() };
                match bits(from).cmp(&bits(to.dtype)) {
                    std::cmp::Ordering::Less if from.is_signed() => "sext",
                    std::cmp::Ordering::Less => "zext",
                    std::cmp::Ordering::Equal => return value,
                    std::cmp::Ordering::Greater => "trunc",
                }
            }
        };
        let value = self.line(format_args!("{instruction} {source} {value} to {target}"));
        self.round_narrow(&value, to.dtype, lanes)
    }

    /// Vectors are limited before they go through 32 bits, which processors convert to at once; what is no number
    /// becomes zero.
    fn cast_to_few_bits(&mut self, value: &str, to: RegType) -> String {
        let (bits, lanes) = (to.dtype.bits(), to.lanes);
        let (floats, ints, bools) = (wide("float", lanes), wide("i32", lanes), wide("i1", lanes));
        let (lo, hi) = match to.dtype.is_signed() {
            true => (-(1i64 << (bits - 1)), (1i64 << (bits - 1)) - 1),
            false => (0, (1i64 << bits) - 1),
        };
        let [zero, lo, hi] = [0, lo, hi].map(|n| number("float", n as f64, lanes));
        let mut value = value.to_owned();
        for (relation, limit, otherwise) in [("ord", &zero, &zero), ("ogt", &lo, &lo), ("olt", &hi, &hi)] {
            let keeps = self.line(format_args!("fcmp {relation} {floats} {value}, {limit}"));
            value = self.line(format_args!("select {bools} {keeps}, {floats} {value}, {floats} {otherwise}"));
        }
        let whole = self.line(format_args!("fptosi {floats} {value} to {ints}"));
        let target = wide(held_scalar(to.dtype), lanes);
        self.line(format_args!("trunc {ints} {whole} to {target}"))
    }

    /// The same bits, as they lie in memory, under another type.
    pub(super) fn bitcast(&mut self, from: Reg, to: RegType) -> String {
        let source = self.program.ty(from);
        let value = self.read(from);
        let stored = self.as_stored(&value, source.dtype, source.lanes);
        let (a, b) =
            (wide(stored_scalar(source.dtype), source.lanes), wide(stored_scalar(to.dtype), to.lanes));
        let bits = if a == b { stored } else { self.line(format_args!("bitcast {a} {stored} to {b}")) };
        self.as_held(&bits, to.dtype, to.lanes)
    }
}
