//! Nests of reductions, arg-reductions and windowed reductions.

use smallvec::SmallVec;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Node, Op, Value};
use tcc_ir::loops::{Access, Combine, Cond, Expr, LoopKind, Stmt};
use tcc_ir::scalar::ScalarOp;

use super::{Block, Emit, accumulate, accumulator_type, axes, flag, indices, int, ints, nested};

/// The value that changes nothing when combined.
pub(crate) fn identity(op: ScalarOp, dtype: DType) -> Expr {
    let value = match op {
        ScalarOp::Mul => Scalar::one(dtype),
        ScalarOp::Max | ScalarOp::Min => {
            let least = op == ScalarOp::Max;
            match (dtype.int_min(), dtype.int_max()) {
                (Some(min), Some(max)) => Scalar::Int(if least { min } else { max }),
                _ if dtype.is_bool() => Scalar::Int(i128::from(!least)),
                _ => Scalar::Float(if least { f64::NEG_INFINITY } else { f64::INFINITY }).round_to(dtype),
            }
        }
        _ => Scalar::zero(dtype),
    };
    Expr::Const(dtype, value)
}

fn combination(op: Op) -> ScalarOp {
    match op {
        Op::ReduceProd | Op::CumProd => ScalarOp::Mul,
        Op::ReduceMax | Op::PoolMax => ScalarOp::Max,
        Op::ReduceMin => ScalarOp::Min,
        _ => ScalarOp::Add,
    }
}

/// Sums and products are kept in a wider type, extrema in their own.
pub(super) fn kept_in(op: ScalarOp, dtype: DType) -> DType {
    match op {
        ScalarOp::Add | ScalarOp::Mul => accumulator_type(dtype),
        _ => dtype,
    }
}

impl Emit<'_> {
    pub(super) fn reduce(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let reduced = axes(node, "axes");
        let op = combination(node.op);
        let (dtype, shape) = (self.dtype(x), self.shape(x).clone());
        let kept = kept_in(op, dtype);
        let outer = self.loop_vars(&self.shape(heavy).clone());
        let inner: Vec<(Symbol, Dim)> =
            reduced.iter().map(|a| (self.loop_var(&shape[*a]), shape[*a].clone())).collect();
        let mut free = indices(&outer).into_iter();
        let at: Vec<Dim> = (0..shape.rank())
            .map(|axis| match reduced.iter().position(|a| *a == axis) {
                Some(i) => Dim::sym(inner[i].0.clone()),
                None => free.next().unwrap_or(Dim::ZERO),
            })
            .collect();

        let mut block = Block::default();
        let acc = self.accumulator(kept, identity(op, kept), &mut block);
        let mut step = Block::default();
        let value = self.element(x, &at, &mut step).cast(dtype, kept);
        step.stmts.push(accumulate(acc.clone(), op, value));
        block.stmts.extend(nested(&inner, LoopKind::Serial, step.stmts));
        let result = Expr::Load(acc).cast(kept, dtype);
        let result = self.name(result, &mut block);
        self.finish(heavy, &indices(&outer), result, &mut block);
        nested(&outer, LoopKind::Parallel, block.stmts)
    }

    /// An accumulator of the best value and its index.
    pub(super) fn arg_reduce(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let (axis, last) = (int(node, "axis") as usize, flag(node, "last"));
        let (dtype, shape) = (self.dtype(x), self.shape(x).clone());
        let outer = self.loop_vars(&self.shape(heavy).clone());
        let var = self.loop_var(&shape[axis]);
        let mut at = indices(&outer);
        at.insert(axis, Dim::sym(var.clone()));

        let mut block = Block::default();
        let better = if node.op == Op::ArgMax { ScalarOp::Gt } else { ScalarOp::Lt };
        let extremum = if node.op == Op::ArgMax { ScalarOp::Max } else { ScalarOp::Min };
        let best = self.accumulator(dtype, identity(extremum, dtype), &mut block);
        let place = self.accumulator(DType::I64, Expr::Const(DType::I64, Scalar::Int(0)), &mut block);
        let mut step = Block::default();
        let value = self.element(x, &at, &mut step);
        step.stmts.push(self.keep_best(
            better,
            last,
            dtype,
            best,
            place.clone(),
            value,
            Dim::sym(var.clone()),
        ));
        block.stmts.push(Stmt::serial(var, shape[axis].clone(), step.stmts));
        let result = self.name(Expr::Load(place), &mut block);
        self.finish(heavy, &indices(&outer), result, &mut block);
        nested(&outer, LoopKind::Parallel, block.stmts)
    }

    /// Takes a value and its index if it is better than the best so far; NaN is better than all.
    #[expect(clippy::too_many_arguments, reason = "the parts of one comparison")]
    fn keep_best(
        &mut self,
        better: ScalarOp,
        last: bool,
        dtype: DType,
        best: Access,
        place: Access,
        value: Expr,
        index: Dim,
    ) -> Stmt {
        let params: Vec<Symbol> = (0..4).map(|_| self.scalar_name()).collect();
        let [old, old_place, new, new_place] = [0, 1, 2, 3].map(|i| Expr::Var(params[i].clone()));
        let mut takes = Expr::binary(better, new.clone(), old.clone());
        // Before the first element the best is the identity, which an element may equal: index 0 stands then.
        if last {
            let equal = Expr::binary(ScalarOp::Eq, new.clone(), old.clone());
            takes = Expr::binary(ScalarOp::Or, takes, equal);
        }
        if dtype.is_float() {
            let [new_nan, old_nan] = [&new, &old].map(|e| Expr::Op(ScalarOp::IsNan, vec![e.clone()]));
            let old_number = Expr::Op(ScalarOp::Not, vec![old_nan]);
            let first_nan = if last { new_nan } else { Expr::binary(ScalarOp::And, new_nan, old_number) };
            takes = Expr::binary(ScalarOp::Or, takes, first_nan);
        }
        let choose = |a: Expr, b: Expr| Expr::Op(ScalarOp::Select, vec![takes.clone(), a, b]);
        let results = vec![choose(new, old), choose(new_place, old_place)];
        Stmt::Store {
            targets: SmallVec::from_iter([best, place]),
            values: SmallVec::from_iter([value, Expr::Index(index)]),
            combine: Combine::Tuple { params, results },
        }
    }

    /// The element of a pooled tensor for one place in a window, with the conditions under which it exists.
    fn window(&self, node: &Node, at: &[Dim], window: &[Dim]) -> (Vec<Dim>, Vec<Cond>) {
        let x = self.shape(node.operands[0]);
        let kept = x.rank() - window.len();
        let (strides, lo, hi, dilation) =
            (ints(node, "strides"), ints(node, "lo"), ints(node, "hi"), ints(node, "dilation"));
        let mut from: Vec<Dim> = at[..kept].to_vec();
        let mut conds = Vec::new();
        for i in 0..window.len() {
            let start = &(&at[kept + i] * &Dim::from(strides[i])) - &Dim::from(lo[i]);
            let index = &start + &(&window[i] * &Dim::from(dilation[i]));
            if lo[i] > 0 || hi[i] > 0 {
                self.require_within(&index, &index, &x[kept + i], &mut conds);
            }
            from.push(index);
        }
        (from, conds)
    }

    pub(super) fn pool(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let op = combination(node.op);
        let dtype = self.dtype(x);
        let kept = kept_in(op, dtype);
        let outer = self.loop_vars(&self.shape(heavy).clone());
        let sizes: Vec<Dim> = ints(node, "window").into_iter().map(Dim::from).collect();
        let inner = self.loop_vars(&sizes);
        let (from, conds) = self.window(node, &indices(&outer), &indices(&inner));

        let mut block = Block::default();
        let acc = self.accumulator(kept, identity(op, kept), &mut block);
        let mut step = Block::default();
        let value = self.element(x, &from, &mut step).cast(dtype, kept);
        step.stmts.push(accumulate(acc.clone(), op, value));
        let body = if conds.is_empty() { step.stmts } else { vec![Stmt::If { conds, body: step.stmts }] };
        block.stmts.extend(nested(&inner, LoopKind::Serial, body));
        let result = Expr::Load(acc).cast(kept, dtype);
        let result = self.name(result, &mut block);
        self.finish(heavy, &indices(&outer), result, &mut block);
        nested(&outer, LoopKind::Parallel, block.stmts)
    }

    pub(super) fn pool_arg(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let dtype = self.dtype(x);
        let shape = self.shape(x).clone();
        let outer = self.loop_vars(&self.shape(heavy).clone());
        let sizes: Vec<Dim> = ints(node, "window").into_iter().map(Dim::from).collect();
        let inner = self.loop_vars(&sizes);
        let (from, conds) = self.window(node, &indices(&outer), &indices(&inner));
        let kept = shape.rank() - sizes.len();
        let flat = super::element::flatten(&from[kept..], &shape[kept..]);

        let mut block = Block::default();
        let best = self.accumulator(dtype, identity(ScalarOp::Max, dtype), &mut block);
        // Nothing was seen yet, so the first element is taken even if it equals the identity.
        let none = Expr::Const(DType::I64, Scalar::Int(-1));
        let place = self.accumulator(DType::I64, none.clone(), &mut block);
        let mut step = Block::default();
        let value = self.element(x, &from, &mut step);
        let seen =
            Expr::binary(ScalarOp::Ge, Expr::Load(place.clone()), Expr::Const(DType::I64, Scalar::Int(0)));
        step.stmts.push(self.keep_best(ScalarOp::Gt, false, dtype, best, place.clone(), value, flat.clone()));
        let first = Expr::Op(ScalarOp::Select, vec![seen, Expr::Load(place.clone()), Expr::Index(flat)]);
        step.stmts.push(Stmt::store(place.clone(), first));
        let body = if conds.is_empty() { step.stmts } else { vec![Stmt::If { conds, body: step.stmts }] };
        block.stmts.extend(nested(&inner, LoopKind::Serial, body));
        // A window of nothing but padding has no place; zero stands for it.
        let zero = Expr::Const(DType::I64, Scalar::Int(0));
        let result = self.name(Expr::binary(ScalarOp::Max, Expr::Load(place), zero), &mut block);
        self.finish(heavy, &indices(&outer), result, &mut block);
        nested(&outer, LoopKind::Parallel, block.stmts)
    }
}
