//! How registers of any width are held: scalars, vectors of 128 bits, or a scalar for each lane.
//!
//! f32 and 32-bit integers are packed four to a vector, bools as masks beside them, so that chains of
//! comparisons and selections stay in vectors. Other types are rare in wide registers and go lane by lane.
//! Narrow floats are held as the f32 of the same value.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::mem::{Reg, RegType};

use super::program::Emit;
use crate::EmitError;

/// How one register is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// The type of a part.
    pub(super) part: Type,
    /// How many parts there are.
    pub(super) parts: u32,
    /// Whether a part has four lanes.
    pub(super) packed: bool,
}

impl Form {
    pub(super) fn of(ty: RegType) -> Form {
        let packable =
            matches!(ty.dtype, DType::F32 | DType::F16 | DType::BF16 | DType::I32 | DType::U32 | DType::Bool);
        if packable && ty.lanes > 1 && ty.lanes.is_multiple_of(4) {
            let part = if ty.dtype.is_float() { types::F32X4 } else { types::I32X4 };
            return Form { part, parts: ty.lanes / 4, packed: true };
        }
        Form { part: scalar_type(ty.dtype), parts: ty.lanes, packed: false }
    }

    /// Whether consecutive elements in memory are the parts as they are held.
    pub(super) fn is_packed_memory(self, dtype: DType) -> bool {
        self.packed && matches!(dtype, DType::F32 | DType::I32 | DType::U32)
    }
}

/// How a scalar is held.
pub(super) fn scalar_type(dtype: DType) -> Type {
    match dtype {
        DType::F64 => types::F64,
        d if d.is_float() => types::F32,
        d => match d.bits() {
            64 => types::I64,
            32 => types::I32,
            16 => types::I16,
            _ => types::I8,
        },
    }
}

impl Emit<'_> {
    pub(super) fn constant(&mut self, dtype: DType, value: Scalar) -> Value {
        match scalar_type(dtype) {
            types::F64 => self.builder.ins().f64const(value.to_f64()),
            types::F32 => self.builder.ins().f32const(value.to_f64() as f32),
            ty => {
                let bits = value.to_i128() as i64;
                // Immediates are zero-extended from the width of their type.
                let masked = if ty.bits() == 64 { bits } else { bits & ((1i64 << ty.bits()) - 1) };
                self.builder.ins().iconst(ty, masked)
            }
        }
    }

    /// One lane as a scalar.
    pub(super) fn lane(&mut self, reg: Reg, lane: u32) -> Value {
        let (form, parts) = self.regs[reg.0 as usize].clone();
        if !form.packed {
            return self.builder.use_var(parts[lane as usize]);
        }
        let part = self.builder.use_var(parts[lane as usize / 4]);
        let value = self.builder.ins().extractlane(part, (lane % 4) as u8);
        if self.program.ty(reg).dtype == DType::Bool {
            let bit = self.builder.ins().band_imm_s(value, 1);
            return self.builder.ins().ireduce(types::I8, bit);
        }
        value
    }

    /// A register from scalars, one a lane.
    pub(super) fn assemble(&mut self, reg: Reg, lanes: &[Value]) {
        let (form, parts) = self.regs[reg.0 as usize].clone();
        if !form.packed {
            for (part, value) in parts.iter().zip(lanes) {
                self.builder.def_var(*part, *value);
            }
            return;
        }
        for (part, four) in parts.iter().zip(lanes.chunks(4)) {
            let first = self.mask_lane(reg, four[0]);
            let mut vector = self.builder.ins().splat(form.part, first);
            for (i, value) in four.iter().enumerate().skip(1) {
                let value = self.mask_lane(reg, *value);
                vector = self.builder.ins().insertlane(vector, value, i as u8);
            }
            self.builder.def_var(*part, vector);
        }
    }

    /// A truth value as a lane of a mask.
    fn mask_lane(&mut self, reg: Reg, value: Value) -> Value {
        if self.program.ty(reg).dtype != DType::Bool {
            return value;
        }
        let wide = self.builder.ins().uextend(types::I32, value);
        self.builder.ins().ineg(wide)
    }

    /// A register whose lanes all hold one scalar.
    pub(super) fn fill(&mut self, reg: Reg, value: Value) {
        let (form, parts) = self.regs[reg.0 as usize].clone();
        let value = if form.packed {
            let lane = self.mask_lane(reg, value);
            self.builder.ins().splat(form.part, lane)
        } else {
            value
        };
        for part in parts {
            self.builder.def_var(part, value);
        }
    }

    /// Copies a register of the same type, or a scalar into every lane.
    pub(super) fn copy(&mut self, to: Reg, from: Reg) {
        let (a, b) = (self.program.ty(to), self.program.ty(from));
        if a.lanes != b.lanes {
            let value = self.lane(from, 0);
            self.fill(to, value);
            return;
        }
        let (sources, targets) = (self.regs[from.0 as usize].1.clone(), self.regs[to.0 as usize].1.clone());
        for (source, target) in sources.into_iter().zip(targets) {
            let value = self.builder.use_var(source);
            self.builder.def_var(target, value);
        }
    }

    /// Neighbouring lanes of a register; whole parts are taken as they are.
    pub(super) fn some_lanes(&mut self, to: Reg, from: Reg, first: u32) {
        let ((form, targets), (held, sources)) =
            (self.regs[to.0 as usize].clone(), self.regs[from.0 as usize].clone());
        if form.packed && held.packed && first.is_multiple_of(4) {
            for (target, source) in targets.into_iter().zip(&sources[first as usize / 4..]) {
                let value = self.builder.use_var(*source);
                self.builder.def_var(target, value);
            }
            return;
        }
        let lanes = self.program.ty(to).lanes;
        let all: Vec<Value> = (first..first + lanes).map(|lane| self.lane(from, lane)).collect();
        self.assemble(to, &all);
    }

    /// An integer as an index.
    pub(super) fn widen_index(&mut self, value: Value, dtype: DType) -> Value {
        match (dtype.bits(), dtype.is_signed()) {
            (64, _) => value,
            (_, true) => self.builder.ins().sextend(types::I64, value),
            (_, false) => self.builder.ins().uextend(types::I64, value),
        }
    }

    /// An element as it lies in memory, from how a scalar of its type is held.
    pub(super) fn as_stored(&mut self, value: Value, dtype: DType) -> Result<Value, EmitError> {
        match dtype {
            DType::F16 | DType::BF16 => {
                let name = if dtype == DType::F16 { "tcc_f16_from_f32" } else { "tcc_bf16_from_f32" };
                let bits = self.call_one(name, &[value], types::I32)?;
                Ok(self.builder.ins().ireduce(types::I16, bits))
            }
            _ => Ok(value),
        }
    }

    /// How a scalar is held, from an element as it lies in memory.
    pub(super) fn as_held(&mut self, raw: Value, dtype: DType) -> Result<Value, EmitError> {
        match dtype {
            DType::F16 => {
                let bits = self.builder.ins().uextend(types::I32, raw);
                self.call_one("tcc_f32_from_f16", &[bits], types::F32)
            }
            DType::BF16 => {
                let bits = self.builder.ins().uextend(types::I32, raw);
                let bits = self.builder.ins().ishl_imm_s(bits, 16);
                Ok(self.builder.ins().bitcast(types::F32, MemFlagsData::new(), bits))
            }
            // Any byte that is not zero is true.
            DType::Bool => {
                let zero = self.builder.ins().iconst(types::I8, 0);
                Ok(self.builder.ins().icmp(IntCC::NotEqual, raw, zero))
            }
            _ => Ok(raw),
        }
    }

    /// Rounds the f32 that holds a narrow float to that float.
    pub(super) fn round_narrow(&mut self, value: Value, dtype: DType) -> Result<Value, EmitError> {
        match dtype {
            DType::F16 | DType::BF16 => {
                let raw = self.as_stored(value, dtype)?;
                self.as_held(raw, dtype)
            }
            _ => Ok(value),
        }
    }

    pub(super) fn call_one(&mut self, name: &str, args: &[Value], result: Type) -> Result<Value, EmitError> {
        let value = self.call(name, args, Some(result))?;
        value.ok_or_else(|| self.unsupported(format!("expected `{name}` to have a result")))
    }
}
