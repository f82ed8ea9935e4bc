//! Scalar operations and conversions, four lanes at a time where there is an instruction for it.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use cranelift_frontend::Variable;
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::mem::Reg;
use tcc_ir::scalar::{ScalarOp, Signature};

use super::lanes::scalar_type;
use super::program::Emit;
use super::program::memory_type;
use crate::EmitError;

impl Emit<'_> {
    pub(super) fn operation(&mut self, reg: Reg, op: ScalarOp, args: &[Reg]) -> Result<(), EmitError> {
        let operand = self.program.ty(args[args.len() - 1]).dtype;
        let (form, targets) = self.regs[reg.0 as usize].clone();
        let packed = form.packed && args.iter().all(|a| self.regs[a.0 as usize].0.packed);
        let narrow = matches!(operand, DType::F16 | DType::BF16) && op.def().signature == Signature::Same;
        if packed && !narrow && has_vector_form(op, operand) {
            for (i, target) in targets.iter().copied().enumerate() {
                let parts: Vec<Value> =
                    args.iter().map(|a| self.builder.use_var(self.regs[a.0 as usize].1[i])).collect();
                let value = self.vector(op, operand, &parts);
                self.builder.def_var(target, value);
            }
            return Ok(());
        }
        if packed && self.shift_by_number(op, operand, args, &targets) {
            return Ok(());
        }
        let lanes = self.program.ty(reg).lanes;
        let mut all = Vec::with_capacity(lanes as usize);
        for lane in 0..lanes {
            let scalars: Vec<Value> = args.iter().map(|a| self.lane(*a, lane)).collect();
            let value = self.scalar(op, operand, &scalars)?;
            all.push(if narrow { self.round_narrow(value, operand)? } else { value });
        }
        self.assemble(reg, &all);
        Ok(())
    }

    fn vector(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Value {
        if op == ScalarOp::Select {
            let mask = args[0];
            let ty = self.builder.func.dfg.value_type(args[1]);
            let mask = if ty == types::I32X4 { mask } else { self.reinterpret(mask, ty) };
            return self.builder.ins().bitselect(mask, args[1], args[2]);
        }
        if dtype.is_float() {
            return self.float(op, args).unwrap_or(args[0]);
        }
        self.int(op, dtype, args).unwrap_or(args[0])
    }

    /// The same bits of a vector as another vector type.
    fn reinterpret(&mut self, value: Value, ty: cranelift_codegen::ir::Type) -> Value {
        let flags = MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little);
        self.builder.ins().bitcast(ty, flags, value)
    }

    /// Float operations with an instruction, for scalars and vectors alike.
    fn float(&mut self, op: ScalarOp, args: &[Value]) -> Option<Value> {
        let x = args[0];
        let y = args.get(1).copied().unwrap_or(x);
        let ins = self.builder.ins();
        Some(match op {
            ScalarOp::Neg => ins.fneg(x),
            ScalarOp::Abs => ins.fabs(x),
            ScalarOp::Sqrt => ins.sqrt(x),
            ScalarOp::Floor => ins.floor(x),
            ScalarOp::Ceil => ins.ceil(x),
            ScalarOp::Trunc => ins.trunc(x),
            ScalarOp::Round => ins.nearest(x),
            ScalarOp::Add => ins.fadd(x, y),
            ScalarOp::Sub => ins.fsub(x, y),
            ScalarOp::Mul => ins.fmul(x, y),
            ScalarOp::Div => ins.fdiv(x, y),
            ScalarOp::Min => ins.fmin(x, y),
            ScalarOp::Max => ins.fmax(x, y),
            ScalarOp::Fma => ins.fma(x, y, args[2]),
            ScalarOp::Eq => ins.fcmp(FloatCC::Equal, x, y),
            ScalarOp::Ne => ins.fcmp(FloatCC::NotEqual, x, y),
            ScalarOp::Lt => ins.fcmp(FloatCC::LessThan, x, y),
            ScalarOp::Le => ins.fcmp(FloatCC::LessThanOrEqual, x, y),
            ScalarOp::Gt => ins.fcmp(FloatCC::GreaterThan, x, y),
            ScalarOp::Ge => ins.fcmp(FloatCC::GreaterThanOrEqual, x, y),
            ScalarOp::IsNan => ins.fcmp(FloatCC::NotEqual, x, x),
            _ => return None,
        })
    }

    /// Integer operations with an instruction, for scalars and vectors alike.
    fn int(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Option<Value> {
        let x = args[0];
        let y = args.get(1).copied().unwrap_or(x);
        let signed = dtype.is_signed();
        let pick = |s: IntCC, u: IntCC| if signed { s } else { u };
        let ins = self.builder.ins();
        Some(match op {
            ScalarOp::Neg => ins.ineg(x),
            ScalarOp::Abs if signed => ins.iabs(x),
            ScalarOp::Abs => x,
            ScalarOp::Add => ins.iadd(x, y),
            ScalarOp::Sub => ins.isub(x, y),
            ScalarOp::Mul => ins.imul(x, y),
            ScalarOp::And => ins.band(x, y),
            ScalarOp::Or => ins.bor(x, y),
            ScalarOp::Xor => ins.bxor(x, y),
            ScalarOp::Not if dtype != DType::Bool => ins.bnot(x),
            ScalarOp::Min if signed => ins.smin(x, y),
            ScalarOp::Max if signed => ins.smax(x, y),
            ScalarOp::Min => ins.umin(x, y),
            ScalarOp::Max => ins.umax(x, y),
            ScalarOp::Eq => ins.icmp(IntCC::Equal, x, y),
            ScalarOp::Ne => ins.icmp(IntCC::NotEqual, x, y),
            ScalarOp::Lt => ins.icmp(pick(IntCC::SignedLessThan, IntCC::UnsignedLessThan), x, y),
            ScalarOp::Le => {
                ins.icmp(pick(IntCC::SignedLessThanOrEqual, IntCC::UnsignedLessThanOrEqual), x, y)
            }
            ScalarOp::Gt => ins.icmp(pick(IntCC::SignedGreaterThan, IntCC::UnsignedGreaterThan), x, y),
            ScalarOp::Ge => {
                ins.icmp(pick(IntCC::SignedGreaterThanOrEqual, IntCC::UnsignedGreaterThanOrEqual), x, y)
            }
            _ => return None,
        })
    }

    fn scalar(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Result<Value, EmitError> {
        if op == ScalarOp::Select {
            return Ok(self.builder.ins().select(args[0], args[1], args[2]));
        }
        if dtype.is_float() {
            if let Some(value) = self.float(op, args) {
                return Ok(value);
            }
            return self.float_call(op, dtype, args);
        }
        if let Some(value) = self.int(op, dtype, args) {
            return Ok(value);
        }
        let (x, y) = (args[0], args.get(1).copied().unwrap_or(args[0]));
        let ty = scalar_type(dtype);
        match op {
            // Only bools reach here: the complement of every bit of other integers has an instruction.
            ScalarOp::Not => Ok(self.builder.ins().bxor_imm_s(x, 1)),
            ScalarOp::Sign => {
                let zero = self.builder.ins().iconst(ty, 0);
                let above = self.builder.ins().icmp(IntCC::SignedGreaterThan, x, zero);
                let below = self.builder.ins().icmp(IntCC::SignedLessThan, x, zero);
                let differs = self.builder.ins().icmp(IntCC::NotEqual, x, zero);
                let positive = if dtype.is_signed() { above } else { differs };
                let one = self.builder.ins().iconst(ty, 1);
                let minus = self.builder.ins().ineg(one);
                let low =
                    if dtype.is_signed() { self.builder.ins().select(below, minus, zero) } else { zero };
                Ok(self.builder.ins().select(positive, one, low))
            }
            ScalarOp::Div | ScalarOp::Rem | ScalarOp::FloorMod => Ok(self.divide_ints(op, dtype, x, y)),
            ScalarOp::Shl | ScalarOp::Shr => Ok(self.shift(op, dtype, x, y)),
            ScalarOp::Pow => Ok(self.int_power(dtype, x, y)),
            op => Err(self.unsupported(format!("expected an operation on {dtype}, got {}", op.name()))),
        }
    }

    /// Division by zero gives zero, and the least integer by minus one itself; neither may trap.
    fn divide_ints(&mut self, op: ScalarOp, dtype: DType, x: Value, y: Value) -> Value {
        let ty = scalar_type(dtype);
        let zero = self.builder.ins().iconst(ty, 0);
        let one = self.builder.ins().iconst(ty, 1);
        let by_zero = self.builder.ins().icmp(IntCC::Equal, y, zero);
        if !dtype.is_signed() {
            let divisor = self.builder.ins().select(by_zero, one, y);
            let value = match op {
                ScalarOp::Div => self.builder.ins().udiv(x, divisor),
                _ => self.builder.ins().urem(x, divisor),
            };
            return self.builder.ins().select(by_zero, zero, value);
        }
        let minus_one = self.builder.ins().ineg(one);
        let by_minus_one = self.builder.ins().icmp(IntCC::Equal, y, minus_one);
        let unsafe_divisor = self.builder.ins().bor(by_zero, by_minus_one);
        let divisor = self.builder.ins().select(unsafe_divisor, one, y);
        let quotient = self.builder.ins().sdiv(x, divisor);
        let product = self.builder.ins().imul(quotient, divisor);
        let rest = self.builder.ins().isub(x, product);
        if op == ScalarOp::Div {
            let negated = self.builder.ins().ineg(x);
            let value = self.builder.ins().select(by_minus_one, negated, quotient);
            return self.builder.ins().select(by_zero, zero, value);
        }
        let value = if op == ScalarOp::FloorMod {
            let signs = self.builder.ins().bxor(rest, y);
            let opposite = self.builder.ins().icmp(IntCC::SignedLessThan, signs, zero);
            let inexact = self.builder.ins().icmp(IntCC::NotEqual, rest, zero);
            let adjust = self.builder.ins().band(opposite, inexact);
            let moved = self.builder.ins().iadd(rest, y);
            self.builder.ins().select(adjust, moved, rest)
        } else {
            rest
        };
        self.builder.ins().select(unsafe_divisor, zero, value)
    }

    /// A shift of all lanes by one number below the width, which vectors have an instruction for.
    fn shift_by_number(&mut self, op: ScalarOp, dtype: DType, args: &[Reg], targets: &[Variable]) -> bool {
        let Some(Scalar::Int(count @ 0..32)) = args.get(1).and_then(|c| self.constants.get(c)).copied()
        else {
            return false;
        };
        if !matches!(op, ScalarOp::Shl | ScalarOp::Shr) || dtype.bits() != 32 {
            return false;
        }
        let count = count as i64;
        for (i, target) in targets.iter().enumerate() {
            let x = self.builder.use_var(self.regs[args[0].0 as usize].1[i]);
            let count = self.builder.ins().iconst(types::I32, count);
            let value = match (op, dtype.is_signed()) {
                (ScalarOp::Shl, _) => self.builder.ins().ishl(x, count),
                (_, true) => self.builder.ins().sshr(x, count),
                (_, false) => self.builder.ins().ushr(x, count),
            };
            self.builder.def_var(*target, value);
        }
        true
    }

    /// Shifts by the width or more give what shifting one by one would.
    fn shift(&mut self, op: ScalarOp, dtype: DType, x: Value, y: Value) -> Value {
        let ty = scalar_type(dtype);
        let width = i64::from(ty.bits());
        let limit = self.builder.ins().iconst(ty, width);
        // A negative count is huge when read as unsigned, as the table has it for shifts to the left.
        let beyond = self.builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, y, limit);
        let zero = self.builder.ins().iconst(ty, 0);
        if op == ScalarOp::Shl {
            let value = self.builder.ins().ishl(x, y);
            return self.builder.ins().select(beyond, zero, value);
        }
        let last = self.builder.ins().iconst(ty, width - 1);
        let count = if dtype.is_signed() {
            let clamped = self.builder.ins().smax(y, zero);
            self.builder.ins().smin(clamped, last)
        } else {
            self.builder.ins().umin(y, last)
        };
        if dtype.is_signed() {
            return self.builder.ins().sshr(x, count);
        }
        let value = self.builder.ins().ushr(x, count);
        self.builder.ins().select(beyond, zero, value)
    }

    /// Squares and multiplies; a negative exponent leaves only powers of 1 and -1.
    fn int_power(&mut self, dtype: DType, x: Value, y: Value) -> Value {
        let ty = scalar_type(dtype);
        let (base, left, result) =
            (self.builder.declare_var(ty), self.builder.declare_var(ty), self.builder.declare_var(ty));
        let zero = self.builder.ins().iconst(ty, 0);
        let one = self.builder.ins().iconst(ty, 1);
        self.builder.def_var(base, x);
        self.builder.def_var(left, y);
        self.builder.def_var(result, one);
        let [header, body, after] = [(); 3].map(|()| self.builder.create_block());
        self.builder.ins().jump(header, &[]);
        self.builder.switch_to_block(header);
        let now = self.builder.use_var(left);
        let done = if dtype.is_signed() { IntCC::SignedLessThanOrEqual } else { IntCC::Equal };
        let done = self.builder.ins().icmp(done, now, zero);
        self.builder.ins().brif(done, after, &[], body, &[]);
        self.builder.seal_block(body);
        self.builder.seal_block(after);
        self.builder.switch_to_block(body);
        let (b, r) = (self.builder.use_var(base), self.builder.use_var(result));
        let odd = self.builder.ins().band_imm_s(now, 1);
        let product = self.builder.ins().imul(r, b);
        let r = self.builder.ins().select(odd, product, r);
        self.builder.def_var(result, r);
        let square = self.builder.ins().imul(b, b);
        self.builder.def_var(base, square);
        let half = self.builder.ins().ushr_imm_s(now, 1);
        self.builder.def_var(left, half);
        self.builder.ins().jump(header, &[]);
        self.builder.seal_block(header);
        self.builder.switch_to_block(after);
        let value = self.builder.use_var(result);
        if !dtype.is_signed() {
            return value;
        }
        let minus = self.builder.ins().ineg(one);
        let odd = self.builder.ins().band_imm_s(y, 1);
        let alternating = self.builder.ins().select(odd, minus, one);
        let is_minus = self.builder.ins().icmp(IntCC::Equal, x, minus);
        let is_one = self.builder.ins().icmp(IntCC::Equal, x, one);
        let inverse = self.builder.ins().select(is_minus, alternating, zero);
        let inverse = self.builder.ins().select(is_one, one, inverse);
        let negative = self.builder.ins().icmp(IntCC::SignedLessThan, y, zero);
        self.builder.ins().select(negative, inverse, value)
    }

    /// Float operations that are a function of the C library, or made of some.
    fn float_call(&mut self, op: ScalarOp, dtype: DType, args: &[Value]) -> Result<Value, EmitError> {
        let ty = scalar_type(dtype);
        let (x, y) = (args[0], args.get(1).copied().unwrap_or(args[0]));
        let number = |emit: &mut Self, v: f64| {
            emit.constant(if ty == types::F64 { DType::F64 } else { DType::F32 }, Scalar::Float(v))
        };
        match op {
            ScalarOp::IsInf => {
                let magnitude = self.builder.ins().fabs(x);
                let infinity = number(self, f64::INFINITY);
                Ok(self.builder.ins().fcmp(FloatCC::Equal, magnitude, infinity))
            }
            ScalarOp::Sign => {
                let (one, zero) = (number(self, 1.0), number(self, 0.0));
                let signed = self.builder.ins().fcopysign(one, x);
                let above = self.builder.ins().fcmp(FloatCC::OrderedNotEqual, x, zero);
                Ok(self.builder.ins().select(above, signed, x))
            }
            ScalarOp::Rsqrt => {
                let root = self.builder.ins().sqrt(x);
                let one = number(self, 1.0);
                Ok(self.builder.ins().fdiv(one, root))
            }
            ScalarOp::FloorMod => {
                let rest = self.libm("fmod", ty, &[x, y])?;
                let zero = number(self, 0.0);
                let moved = self.builder.ins().fadd(rest, y);
                let product = self.builder.ins().fcmp(FloatCC::LessThan, rest, zero);
                let sign = self.builder.ins().fcmp(FloatCC::LessThan, y, zero);
                let opposite = self.builder.ins().bxor(product, sign);
                let inexact = self.builder.ins().fcmp(FloatCC::NotEqual, rest, zero);
                let adjust = self.builder.ins().band(opposite, inexact);
                Ok(self.builder.ins().select(adjust, moved, rest))
            }
            op => match crate::c_name(op) {
                Some(name) => self.libm(name, ty, args),
                None => Err(self.unsupported(format!("expected an operation on {dtype}, got {}", op.name()))),
            },
        }
    }

    fn libm(
        &mut self,
        name: &str,
        ty: cranelift_codegen::ir::Type,
        args: &[Value],
    ) -> Result<Value, EmitError> {
        let name = if ty == types::F32 { format!("{name}f") } else { name.to_owned() };
        self.call_one(&name, args, ty)
    }

    pub(super) fn cast(&mut self, reg: Reg, value: Reg, _saturate: bool) -> Result<(), EmitError> {
        let (to, from) = (self.program.ty(reg), self.program.ty(value).dtype);
        let (form, targets) = self.regs[reg.0 as usize].clone();
        let source = self.regs[value.0 as usize].clone();
        let narrow = matches!(to.dtype, DType::F16 | DType::BF16);
        if form.packed && source.0.packed && !narrow && from != DType::Bool && to.dtype != DType::Bool {
            for (target, part) in targets.into_iter().zip(source.1) {
                let x = self.builder.use_var(part);
                let value = match (from.is_float(), to.dtype.is_float()) {
                    (true, true) | (false, false) => x,
                    (true, false) if to.dtype == DType::I32 => {
                        self.builder.ins().fcvt_to_sint_sat(types::I32X4, x)
                    }
                    (true, false) => self.builder.ins().fcvt_to_uint_sat(types::I32X4, x),
                    (false, true) if from == DType::I32 => self.builder.ins().fcvt_from_sint(types::F32X4, x),
                    (false, true) => self.builder.ins().fcvt_from_uint(types::F32X4, x),
                };
                self.builder.def_var(target, value);
            }
            return Ok(());
        }
        let mut all = Vec::new();
        for lane in 0..to.lanes {
            let x = self.lane(value, lane);
            all.push(self.cast_scalar(x, from, to.dtype)?);
        }
        self.assemble(reg, &all);
        Ok(())
    }

    fn cast_scalar(&mut self, x: Value, from: DType, to: DType) -> Result<Value, EmitError> {
        let (a, b) = (scalar_type(from), scalar_type(to));
        if to == DType::Bool {
            if from == DType::Bool {
                return Ok(x);
            }
            return Ok(if from.is_float() {
                let zero =
                    self.constant(if a == types::F64 { DType::F64 } else { DType::F32 }, Scalar::Float(0.0));
                self.builder.ins().fcmp(FloatCC::NotEqual, x, zero)
            } else {
                let zero = self.builder.ins().iconst(a, 0);
                self.builder.ins().icmp(IntCC::NotEqual, x, zero)
            });
        }
        let value = match (from.is_float(), to.is_float()) {
            (true, true) => match (a.bits(), b.bits()) {
                (32, 64) => self.builder.ins().fpromote(b, x),
                (64, 32) => self.builder.ins().fdemote(b, x),
                _ => x,
            },
            (false, true) => {
                // Conversions exist from 32 and 64 bits.
                let wide = if a.bits() >= 32 {
                    x
                } else if from.is_signed() {
                    self.builder.ins().sextend(types::I32, x)
                } else {
                    self.builder.ins().uextend(types::I32, x)
                };
                if from.is_signed() {
                    self.builder.ins().fcvt_from_sint(b, wide)
                } else {
                    self.builder.ins().fcvt_from_uint(b, wide)
                }
            }
            (true, false) => {
                let wide = if b.bits() >= 32 { b } else { types::I32 };
                let value = if to.is_signed() {
                    self.builder.ins().fcvt_to_sint_sat(wide, x)
                } else {
                    self.builder.ins().fcvt_to_uint_sat(wide, x)
                };
                if b.bits() >= 32 { value } else { self.clamp_int(value, to) }
            }
            (false, false) => match a.bits().cmp(&b.bits()) {
                std::cmp::Ordering::Less if from.is_signed() => self.builder.ins().sextend(b, x),
                std::cmp::Ordering::Less => self.builder.ins().uextend(b, x),
                std::cmp::Ordering::Equal => x,
                std::cmp::Ordering::Greater => self.builder.ins().ireduce(b, x),
            },
        };
        self.round_narrow(value, to)
    }

    /// An i32 saturated to a narrower integer.
    fn clamp_int(&mut self, value: Value, to: DType) -> Value {
        let bound = |emit: &mut Self, b: Option<i128>| {
            let bits = b.unwrap_or(0) as i64 & 0xffff_ffff;
            emit.builder.ins().iconst(types::I32, bits)
        };
        let (lo, hi) = (bound(self, to.int_min()), bound(self, to.int_max()));
        let value = if to.is_signed() {
            let below = self.builder.ins().smin(value, hi);
            self.builder.ins().smax(below, lo)
        } else {
            self.builder.ins().umin(value, hi)
        };
        self.builder.ins().ireduce(scalar_type(to), value)
    }

    /// Bits are compared as they lie in memory, since narrow floats are held as wider ones.
    pub(super) fn bitcast(&mut self, reg: Reg, from: Reg) -> Result<(), EmitError> {
        let (to, source) = (self.program.ty(reg), self.program.ty(from).dtype);
        let ((form, targets), (held, sources)) =
            (self.regs[reg.0 as usize].clone(), self.regs[from.0 as usize].clone());
        if form.is_packed_memory(to.dtype) && held.is_packed_memory(source) {
            for (target, part) in targets.into_iter().zip(sources) {
                let value = self.builder.use_var(part);
                let value = if form.part == held.part { value } else { self.reinterpret(value, form.part) };
                self.builder.def_var(target, value);
            }
            return Ok(());
        }
        let mut all = Vec::new();
        for lane in 0..to.lanes {
            let x = self.lane(from, lane);
            let stored = self.as_stored(x, source)?;
            let (a, b) = (self.builder.func.dfg.value_type(stored), memory_type(to.dtype));
            let bits =
                if a == b { stored } else { self.builder.ins().bitcast(b, MemFlagsData::new(), stored) };
            all.push(self.as_held(bits, to.dtype)?);
        }
        self.assemble(reg, &all);
        Ok(())
    }
}

/// Whether four lanes of an operation are one instruction.
fn has_vector_form(op: ScalarOp, dtype: DType) -> bool {
    use ScalarOp::*;
    if op == Select {
        return true;
    }
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => matches!(
            op,
            Neg | Abs
                | Sqrt
                | Floor
                | Ceil
                | Trunc
                | Round
                | Add
                | Sub
                | Mul
                | Div
                | Min
                | Max
                | Fma
                | Eq
                | Ne
                | Lt
                | Le
                | Gt
                | Ge
                | IsNan
        ),
        DType::Bool => matches!(op, And | Or | Xor),
        _ => matches!(
            op,
            Neg | Abs | Add | Sub | Mul | Min | Max | And | Or | Xor | Not | Eq | Ne | Lt | Le | Gt | Ge
        ),
    }
}
