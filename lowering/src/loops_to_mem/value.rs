//! Expressions to registers.

use tcc_ir::dim::Dim;
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Cond, Expr};
use tcc_ir::mem::{Inst, Reg, Rhs};
use tcc_ir::scalar::ScalarOp;

use super::registers::first_lane;
use super::{Lowering, NotVector, Place};

impl Lowering {
    /// The register that holds an expression: a scalar if all lanes are equal.
    pub(super) fn value(&mut self, expr: &Expr, out: &mut Vec<Inst>) -> Result<Reg, NotVector> {
        Ok(match expr {
            Expr::Const(dtype, value) => self.set(*dtype, 1, Rhs::Const(*value), out),
            Expr::Index(dim) => {
                let dim = self.ranges.simplify(dim);
                let (base, step) = self.lane_step(&dim)?;
                let lanes = if step.is(0) { 1 } else { self.lanes.as_ref().map_or(1, |l| l.count) };
                self.set(DType::I64, lanes, Rhs::Index { base, step }, out)
            }
            Expr::Var(name) => match self.scalars.get(name) {
                Some(reg) => *reg,
                // A symbol or loop variable that is used as a value.
                None => return self.value(&Expr::Index(Dim::sym(name.clone())), out),
            },
            Expr::Load(access) => self.load(access, out)?,
            Expr::Op(op, args) => {
                let mut regs = Vec::with_capacity(args.len());
                for arg in args {
                    regs.push(self.value(arg, out)?);
                }
                self.operation(*op, &regs, out)
            }
            Expr::Cast { to, saturate, value } => {
                let value = self.value(value, out)?;
                let lanes = self.program.ty(value).lanes;
                self.set(*to, lanes, Rhs::Cast { value, saturate: *saturate }, out)
            }
            Expr::Bitcast(to, value) => {
                let value = self.value(value, out)?;
                let lanes = self.program.ty(value).lanes;
                self.set(*to, lanes, Rhs::Bitcast(value), out)
            }
            Expr::Guard { conds, then, otherwise } => {
                for cond in conds {
                    self.uniform(&cond.left)?;
                    self.uniform(&cond.right)?;
                }
                let (mut yes, mut no) = (Vec::new(), Vec::new());
                let a = self.value(then, &mut yes)?;
                let b = self.value(otherwise, &mut no)?;
                let (ty, other) = (self.program.ty(a), self.program.ty(b));
                let reg = self.program.reg(ty.dtype, ty.lanes.max(other.lanes));
                yes.push(Inst::Set { reg, value: Rhs::Copy(a) });
                no.push(Inst::Set { reg, value: Rhs::Copy(b) });
                out.push(Inst::If { conds: self.conditions(conds), then: yes, otherwise: no });
                reg
            }
        })
    }

    pub(super) fn conditions(&self, conds: &[Cond]) -> Vec<Cond> {
        conds.iter().map(|c| c.map_dims(&|d| self.ranges.simplify(d))).collect()
    }

    /// An operation; scalars among wider operands are repeated in every lane.
    pub(super) fn operation(&mut self, op: ScalarOp, args: &[Reg], out: &mut Vec<Inst>) -> Reg {
        let lanes = args.iter().map(|r| self.program.ty(*r).lanes).max().unwrap_or(1);
        let args = args.iter().map(|reg| {
            let ty = self.program.ty(*reg);
            if ty.lanes == lanes { *reg } else { self.set(ty.dtype, lanes, Rhs::Copy(*reg), out) }
        });
        let args: smallvec::SmallVec<[Reg; 3]> = args.collect();
        let types: Vec<DType> = args.iter().map(|r| self.program.ty(*r).dtype).collect();
        let dtype = op.result(&types).unwrap_or_else(|e| panic!("`{}` in a verified nest: {e}", op.name()));
        self.set(dtype, lanes, Rhs::Op(op, args), out)
    }

    pub(super) fn load(&mut self, access: &Access, out: &mut Vec<Inst>) -> Result<Reg, NotVector> {
        match self.buffers.get(&access.buffer).cloned() {
            Some(Place::Registers { shape, regs, wide, dtype }) => {
                if let (true, None, Some(lane)) =
                    (wide, &self.lanes, access.at.first().and_then(Dim::as_const))
                {
                    return Ok(self.set(dtype, 1, Rhs::Extract(regs[0], lane as u32), out));
                }
                if let (true, Some(lanes)) = (wide, &self.lanes)
                    && let Some(first) = access.at.first().and_then(|at| first_lane(at, &lanes.var))
                    && (first, lanes.count) != (0, self.program.ty(regs[0]).lanes)
                {
                    let count = lanes.count;
                    return Ok(self.set(dtype, count, Rhs::Lanes(regs[0], first), out));
                }
                self.register(&shape, &regs, wide, access)
            }
            Some(Place::Memory(buffer)) => {
                let offset = self.offset(&buffer, access);
                let (offset, stride) = self.lane_step(&offset)?;
                let lanes = if stride.is(0) { 1 } else { self.lanes.as_ref().map_or(1, |l| l.count) };
                let memory = access.buffer.clone();
                Ok(self.set(buffer.ty.dtype, lanes, Rhs::Load { memory, offset, stride, active: None }, out))
            }
            None => unreachable!("a verified nest names buffers in scope"),
        }
    }
}
