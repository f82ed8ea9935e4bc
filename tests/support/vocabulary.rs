//! Random nests that use all of their language: every element type, scalar operation, kind of statement and of
//! expression. They verify; what they compute is of no interest, and may be nothing.

use smallvec::SmallVec;
use tcc::ir::dim::{Dim, Range, Symbol};
use tcc::ir::dtype::{DType, Scalar};
use tcc::ir::loops::{Access, Buffer, Combine, Cond, Expr, LoopKind, Nest, Space, Stmt};
use tcc::ir::scalar::ScalarOp;
use tcc::ir::shape::{Shape, TensorType};
use tcc::ir::tensor::Tensor;

use super::Random;

/// A nest of up to some thirty statements.
pub(crate) fn nest(seed: u64) -> Nest {
    let mut maker = Maker::new(seed);
    let mut nest = Nest { name: format!("nest {seed}"), ..Nest::default() };
    nest.ranges.set(Symbol::new("N"), Range { lo: 1, hi: 9 });
    nest.inputs = (0..2).map(|_| maker.buffer()).collect();
    nest.outputs = (0..2).map(|_| maker.buffer()).collect();
    maker.readable = nest.params().cloned().collect();
    maker.writable = nest.outputs.clone();
    nest.body = maker.block(3);
    nest
}

pub(super) struct Maker {
    pub(super) random: Random,
    named: usize,
    pub(super) indices: Vec<Symbol>,
    scalars: Vec<(Symbol, DType)>,
    readable: Vec<Buffer>,
    writable: Vec<Buffer>,
}

impl Maker {
    pub(super) fn new(seed: u64) -> Maker {
        let indices = vec![Symbol::new("N")];
        let random = Random(seed.wrapping_mul(0x9e37_79b9).wrapping_add(77));
        Maker { random, named: 0, indices, scalars: Vec::new(), readable: Vec::new(), writable: Vec::new() }
    }

    pub(super) fn name(&mut self, letter: &str) -> Symbol {
        self.named += 1;
        Symbol::new(&format!("{letter}{}", self.named))
    }

    pub(super) fn dtype(&mut self) -> DType {
        *self.random.pick(&DType::ALL)
    }

    pub(super) fn number(&mut self, dtype: DType) -> Scalar {
        if dtype.is_float() && self.random.one_in(8) {
            let special = *self.random.pick(&[f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -0.0]);
            return Scalar::Float(special).round_to(dtype);
        }
        Tensor::random(dtype, &[1], self.random.next()).unwrap().get_flat(0)
    }

    pub(super) fn dim(&mut self, depth: usize) -> Dim {
        let number = Dim::from(self.random.below(9) as i64 - 2);
        if depth == 0 {
            let symbol = Dim::sym(self.random.pick(&self.indices.clone()).clone());
            return if self.random.one_in(3) { number } else { symbol };
        }
        let (left, right) = (self.dim(depth - 1), self.dim(depth - 1));
        match self.random.below(7) {
            0 => &left + &right,
            1 => &left - &right,
            2 => &left * &number,
            3 => left.floor_div(&right),
            4 => left.modulo(&right),
            5 => left.minimum(&right),
            _ => left.maximum(&right),
        }
    }

    fn buffer(&mut self) -> Buffer {
        let rank = self.random.below(4);
        let extent =
            |m: &mut Maker| if m.random.one_in(2) { Dim::sym("N") } else { Dim::from(m.random.below(5)) };
        let shape: Shape = (0..rank).map(|_| extent(self)).collect();
        Buffer { name: self.name("b"), ty: TensorType::new(self.dtype(), shape) }
    }

    fn access(&mut self, buffer: &Buffer) -> Access {
        Access::new(buffer.name.clone(), (0..buffer.ty.shape.rank()).map(|_| self.dim(1)).collect::<Vec<_>>())
    }

    pub(super) fn conds(&mut self) -> Vec<Cond> {
        (0..1 + self.random.below(2)).map(|_| Cond::less(self.dim(1), self.dim(1))).collect()
    }

    fn block(&mut self, depth: usize) -> Vec<Stmt> {
        let before = (self.indices.len(), self.scalars.len(), self.readable.len(), self.writable.len());
        let body = (0..1 + self.random.below(4)).map(|_| self.statement(depth)).collect();
        self.indices.truncate(before.0);
        self.scalars.truncate(before.1);
        self.readable.truncate(before.2);
        self.writable.truncate(before.3);
        body
    }

    fn statement(&mut self, depth: usize) -> Stmt {
        match self.random.below(if depth == 0 { 4 } else { 7 }) {
            0 => {
                let dtype = self.dtype();
                let value = self.expr(dtype, 2);
                let name = self.name("s");
                if dtype.is_int() && !dtype.is_bool() {
                    self.indices.push(name.clone());
                }
                self.scalars.push((name.clone(), dtype));
                Stmt::Let { name, value }
            }
            1 => {
                let buffer = Buffer { ty: TensorType::fixed(self.dtype(), &[2, 3]), ..self.buffer() };
                self.readable.push(buffer.clone());
                self.writable.push(buffer.clone());
                let spaces = [Space::Global, Space::Shared, Space::Stack, Space::Register];
                Stmt::Alloc { buffer, space: *self.random.pick(&spaces) }
            }
            2 | 3 => self.store(),
            4 => Stmt::If { conds: self.conds(), body: self.block(depth - 1) },
            _ => {
                use LoopKind::*;
                let kind = *self.random.pick(&[Serial, Parallel, Vector, Unrolled]);
                let fixed = matches!(kind, Vector | Unrolled);
                let extent = if fixed { Dim::from(4i64) } else { self.dim(1) };
                let var = self.name("i");
                self.indices.push(var.clone());
                let body = self.block(depth - 1);
                self.indices.retain(|name| *name != var);
                Stmt::For { var, extent, kind, body }
            }
        }
    }

    fn store(&mut self) -> Stmt {
        let buffer = self.random.pick(&self.writable.clone()).clone();
        let dtype = buffer.ty.dtype;
        let target = self.access(&buffer);
        let value = self.expr(dtype, 3);
        let ops: Vec<ScalarOp> =
            ScalarOp::ALL.iter().copied().filter(|op| op.result(&[dtype, dtype]) == Ok(dtype)).collect();
        match self.random.below(3) {
            0 => Stmt::store(target, value),
            1 => {
                let op = *self.random.pick(&ops);
                Stmt::combine(target, value, Combine::With(op))
            }
            _ => {
                let second = self.access(&buffer);
                let params: Vec<Symbol> = (0..4).map(|_| self.name("p")).collect();
                let before = self.scalars.len();
                self.scalars.extend(params.iter().map(|p| (p.clone(), dtype)));
                let results = vec![self.expr(dtype, 2), self.expr(dtype, 1)];
                self.scalars.truncate(before);
                let values = SmallVec::from_iter([value, self.expr(dtype, 1)]);
                let targets = SmallVec::from_iter([target, second]);
                Stmt::Store { targets, values, combine: Combine::Tuple { params, results } }
            }
        }
    }

    fn expr(&mut self, dtype: DType, depth: usize) -> Expr {
        if depth == 0 || self.random.one_in(4) {
            return self.leaf(dtype);
        }
        match self.random.below(6) {
            0 => {
                let from = self.dtype();
                Expr::Cast {
                    to: dtype,
                    saturate: self.random.one_in(2),
                    value: Box::new(self.expr(from, depth - 1)),
                }
            }
            1 => {
                let alike: Vec<DType> = DType::ALL.into_iter().filter(|d| d.bits() == dtype.bits()).collect();
                let from = *self.random.pick(&alike);
                Expr::Bitcast(dtype, Box::new(self.expr(from, depth - 1)))
            }
            2 => Expr::Guard {
                conds: self.conds(),
                then: Box::new(self.expr(dtype, depth - 1)),
                otherwise: Box::new(self.expr(dtype, depth - 1)),
            },
            _ => match self.operation(dtype) {
                Some((op, types)) => {
                    Expr::Op(op, types.into_iter().map(|ty| self.expr(ty, depth - 1)).collect())
                }
                None => self.leaf(dtype),
            },
        }
    }

    /// An operation with this type of result, and the types of its operands.
    pub(super) fn operation(&mut self, dtype: DType) -> Option<(ScalarOp, Vec<DType>)> {
        let op = *self.random.pick(ScalarOp::ALL);
        let other = self.dtype();
        [dtype, other].into_iter().find_map(|ty| {
            let mut types = vec![ty; op.arity()];
            if op == ScalarOp::Select {
                types[0] = DType::Bool;
            }
            (op.result(&types) == Ok(dtype)).then_some((op, types))
        })
    }

    fn leaf(&mut self, dtype: DType) -> Expr {
        let buffers: Vec<Buffer> = self.readable.iter().filter(|b| b.ty.dtype == dtype).cloned().collect();
        let scalars: Vec<Symbol> =
            self.scalars.iter().filter(|(_, d)| *d == dtype).map(|(name, _)| name.clone()).collect();
        match self.random.below(4) {
            0 if !buffers.is_empty() => {
                let buffer = self.random.pick(&buffers).clone();
                Expr::Load(self.access(&buffer))
            }
            1 if !scalars.is_empty() => Expr::Var(self.random.pick(&scalars).clone()),
            2 if dtype == DType::I64 => Expr::Index(self.dim(2)),
            _ => Expr::Const(dtype, self.number(dtype)),
        }
    }
}
