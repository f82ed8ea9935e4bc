//! How values are written in LLVM's text: types of registers and of memory, constants, vectors of one value.
//!
//! A register of n lanes is a vector of n lanes, whatever n is, and a scalar for one lane. Narrow floats are held
//! as the f32 of the same value; truth values as single bits, and as bytes in memory.

use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::mem::{Reg, RegType};

use super::function::Emit;

/// How a scalar is held in registers.
pub(super) fn held_scalar(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::Bool => "i1",
        d if d.is_float() => "float",
        d => integer(d.bits()),
    }
}

/// How an element lies in memory.
pub(super) fn stored_scalar(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "double",
        DType::F32 => "float",
        d => integer(d.bits()),
    }
}

fn integer(bits: u32) -> &'static str {
    match bits {
        64 => "i64",
        32 => "i32",
        16 => "i16",
        _ => "i8",
    }
}

/// A type of so many lanes.
pub(super) fn wide(scalar: &str, lanes: u32) -> String {
    if lanes == 1 { scalar.to_owned() } else { format!("<{lanes} x {scalar}>") }
}

/// A type as the names of intrinsics spell it.
pub(super) fn spelled(scalar: &str, lanes: u32) -> String {
    let scalar = match scalar {
        "float" => "f32",
        "double" => "f64",
        "half" => "f16",
        integer => integer,
    };
    if lanes == 1 { scalar.to_owned() } else { format!("v{lanes}{scalar}") }
}

/// Whether a type is held wider than it lies in memory, so that results must be rounded to it.
pub(super) fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// How a register is held.
pub(super) fn held(ty: RegType) -> String {
    wide(held_scalar(ty.dtype), ty.lanes)
}

/// A constant in every lane of a type that is held like `dtype`.
pub(super) fn constant(dtype: DType, value: Scalar, lanes: u32) -> String {
    let scalar = held_scalar(dtype);
    let text = match scalar {
        "double" => double(value.to_f64()),
        "float" => double(f64::from(value.to_f64() as f32)),
        "i1" => value.is_truthy().to_string(),
        // Unsigned 64-bit numbers are written as the signed ones of the same bits.
        _ => (value.to_i128() as i64).to_string(),
    };
    splat_constant(scalar, &text, lanes)
}

/// A float in every lane; `scalar` is `float` or `double`.
pub(super) fn number(scalar: &str, value: f64, lanes: u32) -> String {
    splat_constant(scalar, &double(value), lanes)
}

/// The text of a constant in every lane.
pub(super) fn splat_constant(scalar: &str, text: &str, lanes: u32) -> String {
    if lanes == 1 { text.to_owned() } else { format!("splat ({scalar} {text})") }
}

/// Floats are written as the bits of a double, whatever their own type.
fn double(value: f64) -> String {
    format!("0x{:016X}", value.to_bits())
}

impl Emit<'_> {
    /// A scalar in every lane.
    pub(super) fn splat(&mut self, scalar: &str, value: &str, lanes: u32) -> String {
        if lanes == 1 {
            return value.to_owned();
        }
        let ty = wide(scalar, lanes);
        let first = self.line(format_args!("insertelement {ty} poison, {scalar} {value}, i64 0"));
        self.line(format_args!("shufflevector {ty} {first}, {ty} poison, <{lanes} x i32> zeroinitializer"))
    }

    /// One lane of a value.
    pub(super) fn lane(&mut self, scalar: &str, value: &str, lanes: u32, lane: u32) -> String {
        if lanes == 1 {
            return value.to_owned();
        }
        self.line(format_args!("extractelement <{lanes} x {scalar}> {value}, i64 {lane}"))
    }

    /// A vector from its lanes.
    pub(super) fn assemble(&mut self, scalar: &str, all: &[String]) -> String {
        if let [one] = all {
            return one.clone();
        }
        let ty = wide(scalar, all.len() as u32);
        let mut vector = "poison".to_owned();
        for (i, lane) in all.iter().enumerate() {
            vector = self.line(format_args!("insertelement {ty} {vector}, {scalar} {lane}, i64 {i}"));
        }
        vector
    }

    /// What a register holds.
    pub(super) fn read(&mut self, reg: Reg) -> String {
        let ty = held(self.program.ty(reg));
        self.line(format_args!("load {ty}, ptr %r{}", reg.0))
    }

    /// Assigns a register.
    pub(super) fn write(&mut self, reg: Reg, value: &str) {
        let ty = held(self.program.ty(reg));
        self.effect(format_args!("store {ty} {value}, ptr %r{}", reg.0));
    }

    /// How elements are held, from how they lie in memory.
    pub(super) fn as_held(&mut self, raw: &str, dtype: DType, lanes: u32) -> String {
        let (narrow, float) = (wide("i16", lanes), wide("float", lanes));
        match dtype {
            DType::F16 if self.target.has("avx2") || self.target.arch == "aarch64" => {
                let half = wide("half", lanes);
                let half_value = self.line(format_args!("bitcast {narrow} {raw} to {half}"));
                self.line(format_args!("fpext {half} {half_value} to {float}"))
            }
            DType::F16 => {
                let int = wide("i32", lanes);
                let bits = self.line(format_args!("zext {narrow} {raw} to {int}"));
                self.each_lane("tcc_f32_from_f16", "i32", "float", &[bits], lanes)
            }
            DType::BF16 => {
                let int = wide("i32", lanes);
                let bits = self.line(format_args!("zext {narrow} {raw} to {int}"));
                let sixteen = splat_constant("i32", "16", lanes);
                let bits = self.line(format_args!("shl {int} {bits}, {sixteen}"));
                self.line(format_args!("bitcast {int} {bits} to {float}"))
            }
            // Any byte that is not zero is true.
            DType::Bool => {
                let bytes = wide("i8", lanes);
                let zero = splat_constant("i8", "0", lanes);
                self.line(format_args!("icmp ne {bytes} {raw}, {zero}"))
            }
            _ => raw.to_owned(),
        }
    }

    /// Elements as they lie in memory, from how they are held.
    pub(super) fn as_stored(&mut self, value: &str, dtype: DType, lanes: u32) -> String {
        let (narrow, float, int) = (wide("i16", lanes), wide("float", lanes), wide("i32", lanes));
        match dtype {
            DType::F16 if self.target.has("avx2") || self.target.arch == "aarch64" => {
                let half = wide("half", lanes);
                let half_value = self.line(format_args!("fptrunc {float} {value} to {half}"));
                self.line(format_args!("bitcast {half} {half_value} to {narrow}"))
            }
            DType::F16 => {
                let bits = self.each_lane("tcc_f16_from_f32", "float", "i32", &[value.to_owned()], lanes);
                self.line(format_args!("trunc {int} {bits} to {narrow}"))
            }
            DType::BF16 => self.round_to_bf16(value, lanes),
            DType::Bool => {
                let (bits, bytes) = (wide("i1", lanes), wide("i8", lanes));
                self.line(format_args!("zext {bits} {value} to {bytes}"))
            }
            _ => value.to_owned(),
        }
    }

    /// The upper half of an f32, rounded to the nearest with ties to even; NaN stays NaN.
    fn round_to_bf16(&mut self, value: &str, lanes: u32) -> String {
        let (narrow, float, int) = (wide("i16", lanes), wide("float", lanes), wide("i32", lanes));
        let bit = |value: &str| splat_constant("i32", value, lanes);
        let bits = self.line(format_args!("bitcast {float} {value} to {int}"));
        let upper = self.line(format_args!("lshr {int} {bits}, {}", bit("16")));
        let odd = self.line(format_args!("and {int} {upper}, {}", bit("1")));
        let half = self.line(format_args!("add {int} {bits}, {}", bit("32767")));
        let rounded = self.line(format_args!("add {int} {half}, {odd}"));
        let rounded = self.line(format_args!("lshr {int} {rounded}, {}", bit("16")));
        let quiet = self.line(format_args!("or {int} {upper}, {}", bit("64")));
        let is_nan = self.line(format_args!("fcmp uno {float} {value}, {value}"));
        let mask = wide("i1", lanes);
        let chosen = self.line(format_args!("select {mask} {is_nan}, {int} {quiet}, {int} {rounded}"));
        self.line(format_args!("trunc {int} {chosen} to {narrow}"))
    }

    /// Rounds the f32 that holds a narrow float to that float.
    pub(super) fn round_narrow(&mut self, value: &str, dtype: DType, lanes: u32) -> String {
        if !is_narrow(dtype) {
            return value.to_owned();
        }
        let raw = self.as_stored(value, dtype, lanes);
        self.as_held(&raw, dtype, lanes)
    }
}
