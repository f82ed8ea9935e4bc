//! What one element of a value is, as an expression over elements in memory.

use smallvec::SmallVec;
use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Attr, Node, Op, Value};
use tcc_ir::loops::{Access, Cond, Expr, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::Shape;

use super::materialise::inlines;
use super::{Block, Emit, axes, dims, int, ints};

impl Emit<'_> {
    /// The element of a value at some indices.
    pub(super) fn element(&mut self, value: Value, at: &[Dim], block: &mut Block) -> Expr {
        if let Some((heavy, expr)) = &self.heavy
            && *heavy == value
        {
            return expr.clone();
        }
        let splat = self.graph.def_node(value).filter(|n| n.op == Op::Const && inlines(n));
        if self.plan.has_memory(value) && splat.is_none() {
            let name = self.input(value);
            let at = at.iter().map(|d| self.ranges.simplify(d));
            return Expr::Load(Access::new(name, at.collect::<Vec<_>>()));
        }
        let key = (value, SmallVec::from(at));
        if let Some(named) = block.named.get(&key) {
            return named.clone();
        }
        let expr = self.definition(value, at, block);
        let trivial = matches!(expr, Expr::Const(..) | Expr::Var(_) | Expr::Load(_) | Expr::Index(_));
        if trivial || block.guards > 0 {
            return expr;
        }
        // A name costs nothing and keeps shared sub-expressions shared.
        let named = self.name(expr, block);
        block.named.insert(key, named.clone());
        named
    }

    /// The element as its node defines it.
    pub(super) fn definition(&mut self, value: Value, at: &[Dim], block: &mut Block) -> Expr {
        let Some(node) = self.graph.def_node(value) else {
            let name = self.input(value);
            return Expr::Load(Access::new(name, at.to_vec()));
        };
        self.note_origin(node);
        match node.op {
            Op::Scalar(op) => {
                let args = node.operands.iter().map(|v| self.element(*v, at, block)).collect();
                Expr::Op(op, args)
            }
            Op::Const => {
                let Attr::Tensor(tensor) = &node.attrs[0] else { unreachable!("a constant holds a tensor") };
                if inlines(node) {
                    return Expr::Const(tensor.dtype(), tensor.get_flat(0));
                }
                let name = self.input(value);
                Expr::Load(Access::new(name, at.to_vec()))
            }
            Op::Iota => {
                let index = Expr::Index(self.ranges.simplify(&at[int(node, "axis") as usize]));
                index.cast(DType::I64, self.dtype(value))
            }
            Op::Cast => {
                let saturate = super::flag(node, "saturate");
                let inner = self.element(node.operands[0], at, block);
                Expr::Cast { to: self.dtype(value), saturate, value: Box::new(inner) }
            }
            Op::Bitcast => {
                Expr::Bitcast(self.dtype(value), Box::new(self.element(node.operands[0], at, block)))
            }
            Op::Quantize => self.quantize(node, at, block),
            Op::Dequantize => self.dequantize(node, at, block),
            Op::Reshape | Op::Transpose | Op::Broadcast | Op::Slice | Op::Reverse => {
                let inner = self.view(node, at);
                self.element(node.operands[0], &inner, block)
            }
            Op::Copy => self.element(node.operands[0], at, block),
            Op::Pad => self.pad(node, at, block),
            Op::Concat => self.concat(node, at, block),
            Op::Gather => {
                let (x, indices, axis) = (node.operands[0], node.operands[1], int(node, "axis") as usize);
                let rank = self.shape(indices).rank();
                let index =
                    self.index_from(indices, &at[axis..axis + rank], &self.shape(x)[axis].clone(), block);
                let inner: Vec<Dim> = at[..axis]
                    .iter()
                    .cloned()
                    .chain([index])
                    .chain(at[axis + rank..].iter().cloned())
                    .collect();
                self.element(x, &inner, block)
            }
            Op::GatherElements => {
                let (x, indices, axis) = (node.operands[0], node.operands[1], int(node, "axis") as usize);
                let index = self.index_from(indices, at, &self.shape(x)[axis].clone(), block);
                let mut inner = at.to_vec();
                inner[axis] = index;
                self.element(x, &inner, block)
            }
            Op::GatherNd => {
                let (x, indices, batch) = (node.operands[0], node.operands[1], int(node, "batch") as usize);
                let rows = self.shape(indices).rank() - 1;
                let depth = self.shape(indices)[rows].as_const().unwrap_or(0);
                let mut inner: Vec<Dim> = at[..batch].to_vec();
                for i in 0..depth {
                    let place: Vec<Dim> = at[..rows].iter().cloned().chain([Dim::from(i)]).collect();
                    let extent = self.shape(x)[batch + i as usize].clone();
                    inner.push(self.index_from(indices, &place, &extent, block));
                }
                inner.extend_from_slice(&at[rows..]);
                self.element(x, &inner, block)
            }
            op => unreachable!("`{}` has memory of its own", op.name()),
        }
    }

    /// An index read from a tensor, kept inside its axis: what is read must be memory of the operand, whatever
    /// the data say.
    pub(super) fn index_from(&mut self, indices: Value, at: &[Dim], extent: &Dim, block: &mut Block) -> Dim {
        let dtype = self.dtype(indices);
        let raw = self.element(indices, at, block).cast(dtype, DType::I64);
        let last = Expr::Index(extent - &Dim::ONE);
        let below = Expr::binary(ScalarOp::Min, raw, last);
        let inside = Expr::binary(ScalarOp::Max, below, Expr::Const(DType::I64, Scalar::Int(0)));
        let name: Symbol = self.scalar_name();
        block.stmts.push(Stmt::Let { name: name.clone(), value: inside });
        let hi = self.ranges.bounds(extent).hi.saturating_sub(1).max(0);
        self.ranges.set(name.clone(), tcc_ir::dim::Range { lo: 0, hi });
        Dim::sym(name)
    }

    /// The indices of the operand of a movement.
    fn view(&mut self, node: &Node, at: &[Dim]) -> Vec<Dim> {
        let shape = self.shape(node.operands[0]).clone();
        match node.op {
            Op::Transpose => {
                let mut inner = vec![Dim::ZERO; at.len()];
                for (to, from) in axes(node, "perm").into_iter().enumerate() {
                    inner[from] = at[to].clone();
                }
                inner
            }
            Op::Broadcast => {
                let aligned = at[at.len() - shape.rank()..].iter().zip(shape.iter());
                let target = self.shape(node.result());
                let target = &target[at.len() - shape.rank()..];
                let pick = |((i, extent), to): ((&Dim, &Dim), &Dim)| match extent {
                    e if e.is(1) => Dim::ZERO,
                    e if self.ranges.equal(e, to) => i.clone(),
                    // Either 1 or the target's extent, which only the call knows.
                    e => i.minimum(&(e - &Dim::ONE)),
                };
                aligned.zip(target).map(pick).collect()
            }
            Op::Slice => {
                let (starts, steps) = (dims(node, "starts"), ints(node, "steps"));
                let inner = at.iter().zip(starts.iter()).zip(steps);
                inner.map(|((i, start), step)| start + &(i * &Dim::from(step))).collect()
            }
            Op::Reverse => {
                let reversed = axes(node, "axes");
                let pick = |(axis, i): (usize, &Dim)| {
                    if reversed.contains(&axis) { &(&shape[axis] - &Dim::ONE) - i } else { i.clone() }
                };
                at.iter().enumerate().map(pick).collect()
            }
            _ => self.reshape(self.shape(node.result()), &shape, at),
        }
    }

    /// Indices under one shape as indices under another of the same elements.
    ///
    /// Axes are paired up in groups of equal products, so that an axis that stays as it is keeps its index.
    pub(super) fn reshape(&self, from: &Shape, to: &Shape, at: &[Dim]) -> Vec<Dim> {
        let mut inner = Vec::with_capacity(to.rank());
        let (mut i, mut j) = (0, 0);
        while i < from.rank() || j < to.rank() {
            let (start_i, start_j) = (i, j);
            let (mut a, mut b) = (Dim::ONE, Dim::ONE);
            loop {
                if i > start_i && j > start_j && self.ranges.equal(&a, &b) {
                    break;
                }
                let behind = |x: &Dim, y: &Dim| match (x.as_const(), y.as_const()) {
                    (Some(x), Some(y)) => x <= y,
                    _ => i <= j,
                };
                if i < from.rank() && (j >= to.rank() || behind(&a, &b)) {
                    a = &a * &from[i];
                    i += 1;
                } else if j < to.rank() {
                    b = &b * &to[j];
                    j += 1;
                } else {
                    break;
                }
            }
            let (source, target) = (&from[start_i..i], &to[start_j..j]);
            if let ([_], [_]) = (source, target) {
                inner.push(at[start_i].clone());
                continue;
            }
            let flat = flatten(&at[start_i..i], source);
            let mut rest = Dim::ONE;
            let mut group: Vec<Dim> = Vec::new();
            for (k, extent) in target.iter().enumerate().rev() {
                let quotient = flat.floor_div(&rest);
                let index = if k == 0 { quotient } else { quotient.modulo(extent) };
                group.push(if extent.is(1) { Dim::ZERO } else { self.ranges.simplify(&index) });
                rest = &rest * extent;
            }
            inner.extend(group.into_iter().rev());
        }
        inner
    }

    fn pad(&mut self, node: &Node, at: &[Dim], block: &mut Block) -> Expr {
        let x = node.operands[0];
        let (lo, inner) = (dims(node, "lo"), ints(node, "inner"));
        let hi = dims(node, "hi");
        let mut conds = Vec::new();
        let mut from = Vec::new();
        for (axis, i) in at.iter().enumerate() {
            let extent = self.shape(x)[axis].clone();
            let shifted = self.ranges.simplify(&(i - &lo[axis]));
            if inner[axis] == 0 {
                if lo[axis].is(0) && hi[axis].is(0) {
                    from.push(i.clone());
                    continue;
                }
                from.push(shifted.clone());
            } else {
                let step = Dim::from(inner[axis] + 1);
                conds.push(Cond::less(shifted.modulo(&step), Dim::ONE));
                from.push(shifted.floor_div(&step));
            }
            let index = from[axis].clone();
            self.require_within(&shifted, &index, &extent, &mut conds);
        }
        let outside = self.element(node.operands[1], &[], block);
        self.guarded(conds, outside, block, |emit, block| emit.element(x, &from, block))
    }

    /// Conditions under which an index lies in its axis, less those that always hold.
    pub(super) fn require_within(&self, shifted: &Dim, index: &Dim, extent: &Dim, conds: &mut Vec<Cond>) {
        if self.ranges.bounds(shifted).lo < 0 {
            conds.push(Cond::not_negative(shifted));
        }
        if !self.ranges.less(index, extent) {
            conds.push(Cond::less(index.clone(), extent.clone()));
        }
    }

    /// A value that is only computed where conditions hold.
    pub(super) fn guarded(
        &mut self,
        conds: Vec<Cond>,
        otherwise: Expr,
        block: &mut Block,
        inner: impl FnOnce(&mut Self, &mut Block) -> Expr,
    ) -> Expr {
        if conds.is_empty() {
            return inner(self, block);
        }
        block.guards += 1;
        let then = inner(self, block);
        block.guards -= 1;
        Expr::Guard { conds, then: Box::new(then), otherwise: Box::new(otherwise) }
    }

    fn concat(&mut self, node: &Node, at: &[Dim], block: &mut Block) -> Expr {
        let axis = int(node, "axis") as usize;
        let mut starts = vec![Dim::ZERO];
        for operand in &node.operands {
            let end = &starts[starts.len() - 1] + &self.shape(*operand)[axis];
            starts.push(end);
        }
        block.guards += 1;
        let mut parts = node.operands.iter().enumerate().rev();
        let mut part = |emit: &mut Self, (i, operand): (usize, &Value)| {
            let mut inner = at.to_vec();
            inner[axis] = emit.ranges.simplify(&(&at[axis] - &starts[i]));
            (i, emit.element(*operand, &inner, block))
        };
        let (_, mut result) = match parts.next() {
            Some(last) => part(self, last),
            None => unreachable!("a concatenation has operands"),
        };
        for operand in parts {
            let (i, then) = part(self, operand);
            let conds = vec![Cond::less(at[axis].clone(), starts[i + 1].clone())];
            result = Expr::Guard { conds, then: Box::new(then), otherwise: Box::new(result) };
        }
        block.guards -= 1;
        result
    }

    /// Where the scale of an element stands.
    fn scale_index(&self, x: &Shape, scale: &Shape, at: &[Dim]) -> Vec<Dim> {
        let pick = |((i, whole), parts): ((&Dim, &Dim), &Dim)| match parts {
            p if p.is(1) => Dim::ZERO,
            p if p == whole => i.clone(),
            p => i.floor_div(&whole.floor_div(p)),
        };
        at.iter().zip(x.iter()).zip(scale.iter()).map(pick).collect()
    }

    fn quantize(&mut self, node: &Node, at: &[Dim], block: &mut Block) -> Expr {
        let [x, scale, zero] = [node.operands[0], node.operands[1], node.operands[2]];
        let place = self.scale_index(self.shape(x), self.shape(scale), at);
        let to = self.dtype(node.result());
        let wide = if self.dtype(x) == DType::F64 { DType::F64 } else { DType::F32 };
        let value = self.element(x, at, block).cast(self.dtype(x), wide);
        let scale_value = self.element(scale, &place, block).cast(self.dtype(scale), wide);
        let zero_value = self.element(zero, &place, block).cast(to, wide);
        let scaled = Expr::binary(ScalarOp::Div, value, scale_value);
        let shifted = if to.is_float() {
            Expr::binary(ScalarOp::Add, scaled, zero_value)
        } else {
            Expr::binary(ScalarOp::Add, Expr::Op(ScalarOp::Round, vec![scaled]), zero_value)
        };
        Expr::Cast { to, saturate: true, value: Box::new(shifted) }
    }

    fn dequantize(&mut self, node: &Node, at: &[Dim], block: &mut Block) -> Expr {
        let [x, scale, zero] = [node.operands[0], node.operands[1], node.operands[2]];
        let place = self.scale_index(self.shape(x), self.shape(scale), at);
        let (from, to) = (self.dtype(x), self.dtype(node.result()));
        let wide = if to == DType::F64 { DType::F64 } else { DType::F32 };
        let scale_value = self.element(scale, &place, block).cast(self.dtype(scale), wide);
        let [value, zero_value] = [(x, at), (zero, &place)].map(|(v, i)| self.element(v, i, block));
        // Differences of narrow integers are exact in i32, those of wide ones in the float type are not.
        let difference = if from.is_int() {
            let exact = if from.bits() < 32 { DType::I32 } else { DType::I64 };
            let parts = [value, zero_value].map(|e| e.cast(from, exact));
            let [a, b] = parts;
            Expr::binary(ScalarOp::Sub, a, b).cast(exact, wide)
        } else {
            Expr::binary(ScalarOp::Sub, value.cast(from, wide), zero_value.cast(from, wide))
        };
        Expr::binary(ScalarOp::Mul, difference, scale_value).cast(wide, to)
    }
}

/// The row-major position of indices.
pub(super) fn flatten(at: &[Dim], shape: &[Dim]) -> Dim {
    at.iter().zip(shape).fold(Dim::ZERO, |flat, (i, extent)| &(&flat * extent) + i)
}
