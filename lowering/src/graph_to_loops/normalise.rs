//! Nests of ops that walk over a row several times: softmax and normalisations.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Node, Op, Value};
use tcc_ir::loops::{Access, Buffer, Expr, LoopKind, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};

use super::reduction::identity;
use super::{Block, Emit, accumulate, accumulator_type, float, indices, int, nested};

/// Loops over some axes around loops over the others; the indices of both together.
struct Rows {
    outer: Vec<(Symbol, Dim)>,
    /// The axes walked over, in order.
    walked: Vec<usize>,
    shape: Shape,
}

impl Rows {
    /// The element of a buffer of one row that belongs to an element of the tensor.
    fn in_buffer(&self, name: &Symbol, at: &[Dim]) -> Access {
        Access::new(name.clone(), self.walked.iter().map(|axis| at[*axis].clone()))
    }
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
    pub(super) fn row_element(&mut self, x: Value, at: &[Dim], kept: DType, block: &mut Block) -> Expr {
        let dtype = self.dtype(x);
        self.element(x, at, block).cast(dtype, kept)
    }

    /// A buffer for one row.
    fn row_buffer(&mut self, rows: &Rows, dtype: DType, block: &mut Block) -> Symbol {
        let name = Symbol::new(&format!("row{}", self.scalars));
        self.scalars += 1;
        let shape: Shape = rows.walked.iter().map(|a| rows.shape[*a].clone()).collect();
        let buffer = Buffer { name: name.clone(), ty: TensorType::new(dtype, shape) };
        block.stmts.push(Stmt::Alloc { buffer, space: Space::Stack });
        name
    }

    /// Where the elements of a row are read from again and again: from memory if they are there, else from a
    /// buffer, so that each is computed once. `join` gives the indices of the tensor for those of the rows.
    fn row_source(
        &mut self,
        rows: &Rows,
        x: Value,
        kept: DType,
        join: &dyn Fn(&[Dim]) -> Vec<Dim>,
        block: &mut Block,
    ) -> Option<Symbol> {
        if self.plan.has_memory(x) {
            return None;
        }
        let name = self.row_buffer(rows, kept, block);
        let computed = self.walk(rows, |e, at, b| {
            let value = e.row_element(x, &join(at), kept, b);
            b.stmts.push(Stmt::store(rows.in_buffer(&name, at), value));
        });
        block.stmts.extend(computed);
        Some(name)
    }

    pub(super) fn softmax(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let dtype = self.dtype(x);
        let kept = accumulator_type(dtype);
        let rows = self.rows(&self.shape(x).clone(), vec![int(node, "axis") as usize]);
        let mut block = Block::default();
        let source = self.row_source(&rows, x, kept, &|at| at.to_vec(), &mut block);
        let element = |e: &mut Self, at: &[Dim], b: &mut Block| match &source {
            Some(name) => Expr::Load(rows.in_buffer(name, at)),
            None => e.row_element(x, at, kept, b),
        };
        let max = self.fold(&rows, ScalarOp::Max, kept, &mut block, |e, at, b| element(e, at, b));
        let shifted = |e: &mut Self, at: &[Dim], b: &mut Block| {
            Expr::binary(ScalarOp::Sub, element(e, at, b), max.clone())
        };
        let exp = |value: Expr| Expr::Op(ScalarOp::Exp, vec![value]);
        // The exponentials are needed twice, except where only their sum is.
        let powers = match (node.op, &source) {
            (Op::LogSoftmax, _) => None,
            (_, Some(name)) => Some(name.clone()),
            (_, None) => Some(self.row_buffer(&rows, kept, &mut block)),
        };
        let sum = self.fold(&rows, ScalarOp::Add, kept, &mut block, |e, at, b| {
            let value = exp(shifted(e, at, b));
            let Some(powers) = &powers else { return value };
            let value = e.name(value, b);
            b.stmts.push(Stmt::store(rows.in_buffer(powers, at), value.clone()));
            value
        });
        let factor = match node.op {
            Op::LogSoftmax => Expr::Op(ScalarOp::Log, vec![sum]),
            _ => Expr::binary(ScalarOp::Div, Expr::number(kept, 1.0), sum),
        };
        let factor = self.name(factor, &mut block);
        let last = self.walk(&rows, |e, at, b| {
            let value = match &powers {
                Some(powers) => Expr::binary(ScalarOp::Mul, Expr::Load(rows.in_buffer(powers, at)), factor),
                None => Expr::binary(ScalarOp::Sub, shifted(e, at, b), factor),
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
        let source = self.row_source(rows, x, kept, join, &mut block);
        let element = |e: &mut Self, at: &[Dim], b: &mut Block| match &source {
            Some(name) => Expr::Load(rows.in_buffer(name, at)),
            None => e.row_element(x, &join(at), kept, b),
        };
        let (mean, factor) = self.moments(rows, &element, kept, centred, float(node, "eps"), &mut block);
        let last = self.walk(rows, |e, at, b| {
            let value = element(e, at, b);
            let at = join(at);
            let place = factors(&at);
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
}
