//! Nests of ops that walk over a row several times: softmax, normalisations, attention.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Node, Op, Value};
use tcc_ir::loops::{Access, Buffer, Cond, Expr, LoopKind, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};

use super::reduction::identity;
use super::{Block, Emit, accumulate, accumulator_type, flag, float, indices, int, nested};

/// Loops over some axes around loops over the others; the indices of both together.
struct Rows {
    outer: Vec<(Symbol, Dim)>,
    /// The axes walked over, in order.
    walked: Vec<usize>,
    shape: Shape,
}

impl Emit<'_> {
    fn rows(&mut self, shape: &Shape, walked: Vec<usize>) -> Rows {
        let kept: Vec<Dim> =
            (0..shape.rank()).filter(|a| !walked.contains(a)).map(|a| shape[a].clone()).collect();
        Rows { outer: self.loop_vars(&kept), walked, shape: shape.clone() }
    }

    /// Loops over a row with a body made from the indices of an element.
    fn walk(&mut self, rows: &Rows, body: impl FnOnce(&mut Self, &[Dim], &mut Block)) -> Vec<Stmt> {
        let extents: Vec<Dim> = rows.walked.iter().map(|a| rows.shape[*a].clone()).collect();
        let inner = self.loop_vars(&extents);
        let mut outer = indices(&rows.outer).into_iter();
        let mut walked = indices(&inner).into_iter();
        let at: Vec<Dim> = (0..rows.shape.rank())
            .filter_map(|axis| if rows.walked.contains(&axis) { walked.next() } else { outer.next() })
            .collect();
        let mut block = Block::default();
        body(self, &at, &mut block);
        nested(&inner, LoopKind::Serial, block.stmts)
    }

    /// Combines a function of each element of a row.
    fn fold(
        &mut self,
        rows: &Rows,
        op: ScalarOp,
        dtype: DType,
        block: &mut Block,
        value: impl FnOnce(&mut Self, &[Dim], &mut Block) -> Expr,
    ) -> Expr {
        let acc = self.accumulator(dtype, identity(op, dtype), block);
        let target = acc.clone();
        let stmts = self.walk(rows, |emit, at, inner| {
            let value = value(emit, at, inner);
            inner.stmts.push(accumulate(target, op, value));
        });
        block.stmts.extend(stmts);
        self.name(Expr::Load(acc), block)
    }

    /// An element in the type that sums are kept in.
    fn row_element(&mut self, x: Value, at: &[Dim], kept: DType, block: &mut Block) -> Expr {
        let dtype = self.dtype(x);
        self.element(x, at, block).cast(dtype, kept)
    }

    pub(super) fn softmax(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let dtype = self.dtype(x);
        let kept = accumulator_type(dtype);
        let rows = self.rows(&self.shape(x).clone(), vec![int(node, "axis") as usize]);
        let mut block = Block::default();
        let max = self.fold(&rows, ScalarOp::Max, kept, &mut block, |e, at, b| e.row_element(x, at, kept, b));
        let shifted = |e: &mut Self, at: &[Dim], b: &mut Block| {
            Expr::binary(ScalarOp::Sub, e.row_element(x, at, kept, b), max.clone())
        };
        let exp = |value: Expr| Expr::Op(ScalarOp::Exp, vec![value]);
        let sum = self.fold(&rows, ScalarOp::Add, kept, &mut block, |e, at, b| exp(shifted(e, at, b)));
        let factor = match node.op {
            Op::LogSoftmax => Expr::Op(ScalarOp::Log, vec![sum]),
            _ => Expr::binary(ScalarOp::Div, Expr::number(kept, 1.0), sum),
        };
        let factor = self.name(factor, &mut block);
        let last = self.walk(&rows, |e, at, b| {
            let value = shifted(e, at, b);
            let value = match node.op {
                Op::LogSoftmax => Expr::binary(ScalarOp::Sub, value, factor),
                _ => Expr::binary(ScalarOp::Mul, exp(value), factor),
            };
            let value = e.name(value.cast(kept, dtype), b);
            e.finish(heavy, at, value, b);
        });
        block.stmts.extend(last);
        nested(&rows.outer, LoopKind::Parallel, block.stmts)
    }

    /// `(x - mean) * 1/sqrt(variance + eps)`: the mean (zero for RMS), and that factor.
    fn moments(
        &mut self,
        rows: &Rows,
        element: &dyn Fn(&mut Self, &[Dim], &mut Block) -> Expr,
        kept: DType,
        centred: bool,
        eps: f64,
        block: &mut Block,
    ) -> (Expr, Expr) {
        let count: Dim = rows.walked.iter().map(|a| rows.shape[*a].clone()).product();
        let count = Expr::Index(count).cast(DType::I64, kept);
        let inverse = Expr::binary(ScalarOp::Div, Expr::number(kept, 1.0), count);
        let inverse = self.name(inverse, block);
        let mean = if centred {
            let sum = self.fold(rows, ScalarOp::Add, kept, block, |e, at, b| element(e, at, b));
            let mean = Expr::binary(ScalarOp::Mul, sum, inverse.clone());
            self.name(mean, block)
        } else {
            Expr::number(kept, 0.0)
        };
        let squares = self.fold(rows, ScalarOp::Add, kept, block, |e, at, b| {
            let value = element(e, at, b);
            let value = if centred { Expr::binary(ScalarOp::Sub, value, mean.clone()) } else { value };
            let value = e.name(value, b);
            Expr::binary(ScalarOp::Mul, value.clone(), value)
        });
        let variance = Expr::binary(ScalarOp::Mul, squares, inverse);
        let variance = Expr::binary(ScalarOp::Add, variance, Expr::number(kept, eps));
        let root = Expr::Op(ScalarOp::Sqrt, vec![variance]);
        let factor = Expr::binary(ScalarOp::Div, Expr::number(kept, 1.0), root);
        let factor = self.name(factor, block);
        (mean, factor)
    }

    pub(super) fn layer_norm(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let (x, axis) = (node.operands[0], int(node, "axis") as usize);
        let shape = self.shape(x).clone();
        let rows = self.rows(&shape, (axis..shape.rank()).collect());
        self.normalise(heavy, node, &rows, &|at| at.to_vec(), &|at| at[axis..].to_vec())
    }

    pub(super) fn group_norm(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let shape = self.shape(x).clone();
        let groups = Dim::from(int(node, "groups"));
        // The groups become an axis of their own, so that a row is all of a group.
        let channels = shape[1].floor_div(&groups);
        let split: Shape = [shape[0].clone(), groups, channels.clone()]
            .into_iter()
            .chain(shape[2..].iter().cloned())
            .collect();
        let rows = self.rows(&split, (2..split.rank()).collect());
        let join = move |at: &[Dim]| -> Vec<Dim> {
            let channel = &(&at[1] * &channels) + &at[2];
            [at[0].clone(), channel].into_iter().chain(at[3..].iter().cloned()).collect()
        };
        self.normalise(heavy, node, &rows, &join, &|at| vec![at[1].clone()])
    }

    /// `join` gives the indices of the tensor for those of the rows, `factors` those of scale and bias for it.
    fn normalise(
        &mut self,
        heavy: Value,
        node: &Node,
        rows: &Rows,
        join: &dyn Fn(&[Dim]) -> Vec<Dim>,
        factors: &dyn Fn(&[Dim]) -> Vec<Dim>,
    ) -> Vec<Stmt> {
        let x = node.operands[0];
        let dtype = self.dtype(x);
        let kept = accumulator_type(dtype);
        let centred = node.op != Op::RmsNorm;
        let mut block = Block::default();
        let element = |e: &mut Self, at: &[Dim], b: &mut Block| e.row_element(x, &join(at), kept, b);
        let (mean, factor) = self.moments(rows, &element, kept, centred, float(node, "eps"), &mut block);
        let last = self.walk(rows, |e, at, b| {
            let at = join(at);
            let place = factors(&at);
            let value = e.row_element(x, &at, kept, b);
            let value = if centred { Expr::binary(ScalarOp::Sub, value, mean) } else { value };
            let value = Expr::binary(ScalarOp::Mul, value, factor);
            let scale = e.row_element(node.operands[1], &place, kept, b);
            let mut value = Expr::binary(ScalarOp::Mul, value, scale);
            if let Some(bias) = node.operands.get(2) {
                let bias = e.row_element(*bias, &place, kept, b);
                value = Expr::binary(ScalarOp::Add, value, bias);
            }
            let value = e.name(value.cast(kept, dtype), b);
            e.finish(heavy, &at, value, b);
        });
        block.stmts.extend(last);
        nested(&rows.outer, LoopKind::Parallel, block.stmts)
    }

    /// `softmax(q kᵀ · scale + mask) v` for one query row: scores in a buffer of one row, then their product
    /// with the values, so that memory is linear in the sequence.
    pub(super) fn attention(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let [q, k, v] = [node.operands[0], node.operands[1], node.operands[2]];
        let mask = node.operands.get(3).copied();
        let (q_shape, k_shape, v_shape) =
            (self.shape(q).clone(), self.shape(k).clone(), self.shape(v).clone());
        let dtype = self.dtype(q);
        let kept = accumulator_type(dtype);
        let (scale, softcap, causal) = (float(node, "scale"), float(node, "softcap"), flag(node, "causal"));
        let outer = self.loop_vars(&q_shape[..3]);
        let at = indices(&outer);
        let per_group = q_shape[1].floor_div(&k_shape[1]);
        let group = self.ranges.simplify(&at[1].floor_div(&per_group));
        let keys = k_shape[2].clone();

        let mut block = Block::default();
        let scores = Symbol::new("scores");
        let ty = TensorType::new(kept, [keys.clone()].into_iter().collect());
        block.stmts.push(Stmt::Alloc { buffer: Buffer { name: scores.clone(), ty }, space: Space::Stack });
        let lowest = Expr::Const(kept, Scalar::Float(f64::NEG_INFINITY));
        let max = self.accumulator(kept, lowest.clone(), &mut block);

        let key = self.loop_var(&keys);
        let depth = self.loop_var(&q_shape[3]);
        let (t, d) = (Dim::sym(key.clone()), Dim::sym(depth.clone()));
        let mut row = Block::default();
        let acc = self.accumulator(kept, Expr::number(kept, 0.0), &mut row);
        let mut step = Block::default();
        let from_q =
            self.row_element(q, &[at[0].clone(), at[1].clone(), at[2].clone(), d.clone()], kept, &mut step);
        let from_k = self.row_element(k, &[at[0].clone(), group.clone(), t.clone(), d], kept, &mut step);
        step.stmts.push(accumulate(acc.clone(), ScalarOp::Add, Expr::binary(ScalarOp::Mul, from_q, from_k)));
        row.stmts.push(Stmt::serial(depth, q_shape[3].clone(), step.stmts));
        let mut score = Expr::binary(ScalarOp::Mul, Expr::Load(acc), Expr::number(kept, scale));
        if softcap != 0.0 {
            let cap = Expr::number(kept, softcap);
            let inner = Expr::binary(ScalarOp::Div, score, cap.clone());
            score = Expr::binary(ScalarOp::Mul, Expr::Op(ScalarOp::Tanh, vec![inner]), cap);
        }
        if let Some(mask) = mask {
            let shape = self.shape(mask).clone();
            let full = [at[0].clone(), at[1].clone(), at[2].clone(), t.clone()];
            let extents = [&q_shape[0], &q_shape[1], &q_shape[2], &keys];
            let skip = 4 - shape.rank();
            let place: Vec<Dim> = (0..shape.rank())
                .map(|i| match &shape[i] {
                    e if e.is(1) => Dim::ZERO,
                    e if self.ranges.equal(e, extents[skip + i]) => full[skip + i].clone(),
                    e => full[skip + i].minimum(&(e - &Dim::ONE)),
                })
                .collect();
            let from = self.dtype(mask);
            let value = self.element(mask, &place, &mut row);
            score = if from == DType::Bool {
                Expr::Op(ScalarOp::Select, vec![value, score, lowest.clone()])
            } else {
                Expr::binary(ScalarOp::Add, score, value.cast(from, kept))
            };
        }
        if causal {
            let last = &at[2] + &(&keys - &q_shape[2]);
            let conds = vec![Cond::less(t.clone(), &last + &Dim::ONE)];
            score = Expr::Guard { conds, then: Box::new(score), otherwise: Box::new(lowest) };
        }
        let score = self.name(score, &mut row);
        let at_key = |name: &Symbol, i: &Dim| Access::new(name.clone(), [i.clone()]);
        row.stmts.push(Stmt::store(at_key(&scores, &t), score.clone()));
        row.stmts.push(accumulate(max.clone(), ScalarOp::Max, score));
        block.stmts.push(Stmt::serial(key, keys.clone(), row.stmts));

        // A row that excludes every key has no largest score; zero keeps its weights at exp(-inf).
        let max = self.name(Expr::Load(max), &mut block);
        let none =
            Expr::binary(ScalarOp::Eq, max.clone(), Expr::Const(kept, Scalar::Float(f64::NEG_INFINITY)));
        let max = Expr::Op(ScalarOp::Select, vec![none.clone(), Expr::number(kept, 0.0), max]);
        let max = self.name(max, &mut block);
        let sum = self.accumulator(kept, Expr::number(kept, 0.0), &mut block);
        let key = self.loop_var(&keys);
        let t = Dim::sym(key.clone());
        let mut row = Block::default();
        let shifted = Expr::binary(ScalarOp::Sub, Expr::Load(at_key(&scores, &t)), max);
        let weight = self.name(Expr::Op(ScalarOp::Exp, vec![shifted]), &mut row);
        row.stmts.push(Stmt::store(at_key(&scores, &t), weight.clone()));
        row.stmts.push(accumulate(sum.clone(), ScalarOp::Add, weight));
        block.stmts.push(Stmt::serial(key, keys.clone(), row.stmts));
        let factor = Expr::binary(ScalarOp::Div, Expr::number(kept, 1.0), Expr::Load(sum));
        let factor = Expr::Op(ScalarOp::Select, vec![none, Expr::number(kept, 0.0), factor]);
        let factor = self.name(factor, &mut block);

        let column = self.loop_var(&v_shape[3]);
        let e = Dim::sym(column.clone());
        let mut last = Block::default();
        let acc = self.accumulator(kept, Expr::number(kept, 0.0), &mut last);
        let key = self.loop_var(&keys);
        let t = Dim::sym(key.clone());
        let mut step = Block::default();
        let from_v = self.row_element(v, &[at[0].clone(), group, t.clone(), e.clone()], kept, &mut step);
        let weighted = Expr::binary(ScalarOp::Mul, Expr::Load(at_key(&scores, &t)), from_v);
        step.stmts.push(accumulate(acc.clone(), ScalarOp::Add, weighted));
        last.stmts.push(Stmt::serial(key, keys, step.stmts));
        let value = Expr::binary(ScalarOp::Mul, Expr::Load(acc), factor).cast(kept, dtype);
        let value = self.name(value, &mut last);
        let place: Vec<Dim> = at.into_iter().chain([e]).collect();
        self.finish(heavy, &place, value, &mut last);
        block.stmts.push(Stmt::serial(column, v_shape[3].clone(), last.stmts));
        nested(&outer, LoopKind::Parallel, block.stmts)
    }
}
