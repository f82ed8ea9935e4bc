//! Scalar operations, for all lanes at once wherever LLVM has them.

use smallvec::SmallVec;
use tcc_ir::dtype::DType;
use tcc_ir::mem::Reg;
use tcc_ir::scalar::ScalarOp::{self, *};
use tcc_ir::scalar::Signature;

use super::forms::{held_scalar, is_narrow, number, spelled, splat_constant, wide};
use super::function::Emit;
use crate::EmitError;

/// The operands of an operation and how they are held.
struct Operands<'a> {
    dtype: DType,
    scalar: &'static str,
    lanes: u32,
    ty: String,
    values: &'a [String],
    /// Whether one of them is the same number wherever it is read.
    constant: bool,
}

impl Emit<'_> {
    pub(super) fn operation(
        &mut self,
        op: ScalarOp,
        args: &SmallVec<[Reg; 3]>,
        lanes: u32,
    ) -> Result<String, EmitError> {
        let dtype = self.program.ty(args[args.len() - 1]).dtype;
        let values: Vec<String> = args.iter().map(|a| self.read(*a)).collect();
        let scalar = held_scalar(dtype);
        let constant = args.iter().any(|a| self.constants[a.0 as usize]);
        let operands = Operands { dtype, scalar, lanes, ty: wide(scalar, lanes), values: &values, constant };
        if op == Select {
            let (mask, ty) = (wide("i1", lanes), &operands.ty);
            let [c, x, y] = [0, 1, 2].map(|i| &values[i]);
            return Ok(self.line(format_args!("select {mask} {c}, {ty} {x}, {ty} {y}")));
        }
        let value = if dtype.is_float() { self.float(op, &operands)? } else { self.integer(op, &operands)? };
        // These give one of their operands, so that there is nothing to round.
        let exact = matches!(op, Neg | Abs | Min | Max);
        if is_narrow(dtype) && !exact && op.def().signature == Signature::Same {
            return Ok(self.round_narrow(&value, dtype, lanes));
        }
        Ok(value)
    }

    fn binary(&mut self, instruction: &str, o: &Operands<'_>) -> String {
        let (ty, x, y) = (&o.ty, &o.values[0], &o.values[o.values.len() - 1]);
        self.line(format_args!("{instruction} {ty} {x}, {y}"))
    }

    fn named(&mut self, name: &str, o: &Operands<'_>) -> String {
        let args: Vec<&str> = o.values.iter().map(String::as_str).collect();
        self.intrinsic(name, o.scalar, o.lanes, &args)
    }

    fn float(&mut self, op: ScalarOp, o: &Operands<'_>) -> Result<String, EmitError> {
        let x = &o.values[0];
        let (ty, mask) = (&o.ty, wide("i1", o.lanes));
        Ok(match op {
            Neg => self.line(format_args!("fneg {ty} {x}")),
            Abs => self.named("fabs", o),
            Sqrt => self.named("sqrt", o),
            Floor => self.named("floor", o),
            Ceil => self.named("ceil", o),
            Trunc => self.named("trunc", o),
            Round => self.named("roundeven", o),
            Min => self.named("minimum", o),
            Max if !o.constant => self.maximum(o),
            Max => self.named("maximum", o),
            Fma => self.named("fma", o),
            Add => self.binary("fadd", o),
            Sub => self.binary("fsub", o),
            Mul => self.binary("fmul", o),
            Div => self.binary("fdiv", o),
            Eq => self.binary("fcmp oeq", o),
            Ne => self.binary("fcmp une", o),
            Lt => self.binary("fcmp olt", o),
            Le => self.binary("fcmp ole", o),
            Gt => self.binary("fcmp ogt", o),
            Ge => self.binary("fcmp oge", o),
            // With one operand, it is compared with itself.
            IsNan => self.binary("fcmp uno", o),
            IsInf => {
                let magnitude = self.named("fabs", o);
                let infinity = number(o.scalar, f64::INFINITY, o.lanes);
                self.line(format_args!("fcmp oeq {ty} {magnitude}, {infinity}"))
            }
            Sign => {
                let (one, zero) = (number(o.scalar, 1.0, o.lanes), number(o.scalar, 0.0, o.lanes));
                let signed = self.intrinsic("copysign", o.scalar, o.lanes, &[&one, x]);
                let differs = self.line(format_args!("fcmp one {ty} {x}, {zero}"));
                self.line(format_args!("select {mask} {differs}, {ty} {signed}, {ty} {x}"))
            }
            Rsqrt => {
                let root = self.named("sqrt", o);
                let one = number(o.scalar, 1.0, o.lanes);
                self.line(format_args!("fdiv {ty} {one}, {root}"))
            }
            FloorMod => {
                let y = &o.values[1];
                let zero = number(o.scalar, 0.0, o.lanes);
                let rest = self.library("fmod", o);
                let moved = self.line(format_args!("fadd {ty} {rest}, {y}"));
                let below = self.line(format_args!("fcmp olt {ty} {rest}, {zero}"));
                let sign = self.line(format_args!("fcmp olt {ty} {y}, {zero}"));
                let opposite = self.line(format_args!("xor {mask} {below}, {sign}"));
                let inexact = self.line(format_args!("fcmp une {ty} {rest}, {zero}"));
                let adjust = self.line(format_args!("and {mask} {opposite}, {inexact}"));
                self.line(format_args!("select {mask} {adjust}, {ty} {moved}, {ty} {rest}"))
            }
            op => match crate::c_name(op) {
                Some(name) => self.library(name, o),
                None => return Err(self.no_operation(op, o.dtype)),
            },
        })
    }

    /// The larger operand. LLVM's own expansion looks at the sign of the first one before it compares, so that a
    /// chain of these waits twice as long.
    fn maximum(&mut self, o: &Operands<'_>) -> String {
        let (ty, x, y) = (&o.ty, &o.values[0], &o.values[1]);
        let mask = wide("i1", o.lanes);
        let int = wide(if o.scalar == "double" { "i64" } else { "i32" }, o.lanes);
        // Both orders differ for zeros alone, where the positive one has fewer bits.
        let [first, second] = [(x, y), (y, x)].map(|(a, b)| {
            let above = self.line(format_args!("fcmp ogt {ty} {a}, {b}"));
            let larger = self.line(format_args!("select {mask} {above}, {ty} {a}, {ty} {b}"));
            self.line(format_args!("bitcast {ty} {larger} to {int}"))
        });
        let both = self.line(format_args!("and {int} {first}, {second}"));
        let larger = self.line(format_args!("bitcast {int} {both} to {ty}"));
        let unordered = self.line(format_args!("fcmp uno {ty} {x}, {y}"));
        let nan = self.line(format_args!("fadd {ty} {x}, {y}"));
        self.line(format_args!("select {mask} {unordered}, {ty} {nan}, {ty} {larger}"))
    }

    fn no_operation(&self, op: ScalarOp, dtype: DType) -> EmitError {
        self.unsupported(format!("expected an operation on {dtype}, got {}", op.name()))
    }

    /// A function of the C library for each lane.
    fn library(&mut self, name: &str, o: &Operands<'_>) -> String {
        let name = if o.scalar == "float" { format!("{name}f") } else { name.to_owned() };
        self.each_lane(&name, o.scalar, o.scalar, o.values, o.lanes)
    }

    fn integer(&mut self, op: ScalarOp, o: &Operands<'_>) -> Result<String, EmitError> {
        let signed = o.dtype.is_signed();
        let (ty, x) = (&o.ty, &o.values[0]);
        let constant = |value: &str| splat_constant(o.scalar, value, o.lanes);
        Ok(match op {
            Neg => self.line(format_args!("sub {ty} {}, {x}", constant("0"))),
            Abs if signed => {
                let full = format!("llvm.abs.{}", spelled(o.scalar, o.lanes));
                self.call(&full, ty, &[ty, "i1"], &[x, "false"], "")
            }
            Abs => x.clone(),
            Add => self.binary("add", o),
            Sub => self.binary("sub", o),
            Mul => self.binary("mul", o),
            And => self.binary("and", o),
            Or => self.binary("or", o),
            Xor => self.binary("xor", o),
            Not => self.line(format_args!(
                "xor {ty} {x}, {}",
                constant(if o.scalar == "i1" { "true" } else { "-1" })
            )),
            Min => self.named(if signed { "smin" } else { "umin" }, o),
            Max => self.named(if signed { "smax" } else { "umax" }, o),
            Eq => self.binary("icmp eq", o),
            Ne => self.binary("icmp ne", o),
            Lt => self.binary(if signed { "icmp slt" } else { "icmp ult" }, o),
            Le => self.binary(if signed { "icmp sle" } else { "icmp ule" }, o),
            Gt => self.binary(if signed { "icmp sgt" } else { "icmp ugt" }, o),
            Ge => self.binary(if signed { "icmp sge" } else { "icmp uge" }, o),
            Sign if signed => {
                let above = self.intrinsic("smin", o.scalar, o.lanes, &[x, &constant("1")]);
                self.intrinsic("smax", o.scalar, o.lanes, &[&above, &constant("-1")])
            }
            Sign => self.intrinsic("umin", o.scalar, o.lanes, &[x, &constant("1")]),
            Div | Rem | FloorMod => self.divide_integers(op, o),
            Shl | Shr => self.shift(op, o),
            Pow => {
                let name = format!("tcc_power_{}{}", if signed { 's' } else { 'u' }, o.dtype.bits());
                let scalar = o.scalar;
                self.module.share(&name, || power(&name, scalar, signed));
                self.lanes_through(&name, o)
            }
            op => return Err(self.no_operation(op, o.dtype)),
        })
    }

    /// A function of the module's own for each lane.
    fn lanes_through(&mut self, name: &str, o: &Operands<'_>) -> String {
        let mut all = Vec::with_capacity(o.lanes as usize);
        for lane in 0..o.lanes {
            let args: Vec<String> = o
                .values
                .iter()
                .map(|v| format!("{} {}", o.scalar, self.lane(o.scalar, v, o.lanes, lane)))
                .collect();
            all.push(self.line(format_args!("call {} @{name}({})", o.scalar, args.join(", "))));
        }
        self.assemble(o.scalar, &all)
    }

    /// Division by zero gives zero, and the least integer by minus one itself; neither may trap.
    fn divide_integers(&mut self, op: ScalarOp, o: &Operands<'_>) -> String {
        let (ty, x, y) = (&o.ty, &o.values[0], &o.values[1]);
        let mask = wide("i1", o.lanes);
        let constant = |value: &str| splat_constant(o.scalar, value, o.lanes);
        let (zero, one) = (constant("0"), constant("1"));
        let by_zero = self.line(format_args!("icmp eq {ty} {y}, {zero}"));
        if !o.dtype.is_signed() {
            let divisor = self.line(format_args!("select {mask} {by_zero}, {ty} {one}, {ty} {y}"));
            let instruction = if op == Div { "udiv" } else { "urem" };
            let value = self.line(format_args!("{instruction} {ty} {x}, {divisor}"));
            return self.line(format_args!("select {mask} {by_zero}, {ty} {zero}, {ty} {value}"));
        }
        let by_minus_one = self.line(format_args!("icmp eq {ty} {y}, {}", constant("-1")));
        let special = self.line(format_args!("or {mask} {by_zero}, {by_minus_one}"));
        let divisor = self.line(format_args!("select {mask} {special}, {ty} {one}, {ty} {y}"));
        if op == Div {
            let quotient = self.line(format_args!("sdiv {ty} {x}, {divisor}"));
            let negated = self.line(format_args!("sub {ty} {zero}, {x}"));
            let value =
                self.line(format_args!("select {mask} {by_minus_one}, {ty} {negated}, {ty} {quotient}"));
            return self.line(format_args!("select {mask} {by_zero}, {ty} {zero}, {ty} {value}"));
        }
        let rest = self.line(format_args!("srem {ty} {x}, {divisor}"));
        let value = if op == FloorMod {
            let signs = self.line(format_args!("xor {ty} {rest}, {y}"));
            let opposite = self.line(format_args!("icmp slt {ty} {signs}, {zero}"));
            let inexact = self.line(format_args!("icmp ne {ty} {rest}, {zero}"));
            let adjust = self.line(format_args!("and {mask} {opposite}, {inexact}"));
            let moved = self.line(format_args!("add {ty} {rest}, {y}"));
            self.line(format_args!("select {mask} {adjust}, {ty} {moved}, {ty} {rest}"))
        } else {
            rest
        };
        self.line(format_args!("select {mask} {special}, {ty} {zero}, {ty} {value}"))
    }

    /// Shifts by the width or more give what shifting one by one would.
    fn shift(&mut self, op: ScalarOp, o: &Operands<'_>) -> String {
        let (ty, x, y) = (&o.ty, &o.values[0], &o.values[1]);
        let mask = wide("i1", o.lanes);
        let width = o.dtype.bits();
        let constant = |value: u32| splat_constant(o.scalar, &value.to_string(), o.lanes);
        let (zero, last) = (constant(0), constant(width - 1));
        // A negative count is huge when read as unsigned, as the table has it for shifts to the left.
        let beyond = self.line(format_args!("icmp ugt {ty} {y}, {last}"));
        if op == Shr && o.dtype.is_signed() {
            let count = self.intrinsic("smax", o.scalar, o.lanes, &[y, &zero]);
            let count = self.intrinsic("smin", o.scalar, o.lanes, &[&count, &last]);
            return self.line(format_args!("ashr {ty} {x}, {count}"));
        }
        let count = self.intrinsic("umin", o.scalar, o.lanes, &[y, &last]);
        let instruction = if op == Shl { "shl" } else { "lshr" };
        let value = self.line(format_args!("{instruction} {ty} {x}, {count}"));
        self.line(format_args!("select {mask} {beyond}, {ty} {zero}, {ty} {value}"))
    }
}

/// Powers of integers: squares and multiplies; a negative exponent leaves only powers of 1 and -1.
fn power(name: &str, ty: &str, signed: bool) -> String {
    let above = if signed { "sgt" } else { "ugt" };
    let negative = if signed {
        format!(
            "  %minus = icmp eq {ty} %x, -1
  %bit = trunc {ty} %y to i1
  %alternating = select i1 %bit, {ty} -1, {ty} 1
  %rest = select i1 %minus, {ty} %alternating, {ty} 0
  %one = icmp eq {ty} %x, 1
  %inverse = select i1 %one, {ty} 1, {ty} %rest
  %below = icmp slt {ty} %y, 0
  %value = select i1 %below, {ty} %inverse, {ty} %result
  ret {ty} %value
"
        )
    } else {
        format!("  ret {ty} %result\n")
    };
    format!(
        "define internal {ty} @{name}({ty} %x, {ty} %y) nounwind {{
entry:
  br label %head
head:
  %base = phi {ty} [ %x, %entry ], [ %square, %body ]
  %left = phi {ty} [ %y, %entry ], [ %half, %body ]
  %result = phi {ty} [ 1, %entry ], [ %next, %body ]
  %more = icmp {above} {ty} %left, 0
  br i1 %more, label %body, label %after
body:
  %odd = trunc {ty} %left to i1
  %product = mul {ty} %result, %base
  %next = select i1 %odd, {ty} %product, {ty} %result
  %square = mul {ty} %base, %base
  %half = lshr {ty} %left, 1
  br label %head
after:
{negative}}}

"
    )
}
