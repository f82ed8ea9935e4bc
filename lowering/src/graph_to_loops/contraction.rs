//! Nests of contractions and convolutions, element by element; schedules make tiles of them.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::graph::{Node, Value};
use tcc_ir::loops::{Cond, Expr, LoopKind, Stmt};
use tcc_ir::scalar::ScalarOp;

use super::reduction::identity;
use super::{Block, Emit, accumulate, accumulator_type, axes, indices, int, ints, nested};

impl Emit<'_> {
    pub(super) fn dot(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let [lhs, rhs] = [node.operands[0], node.operands[1]];
        let (lhs_shape, rhs_shape) = (self.shape(lhs).clone(), self.shape(rhs).clone());
        let [lhs_batch, rhs_batch, lhs_contract, rhs_contract] =
            ["lhs_batch", "rhs_batch", "lhs_contract", "rhs_contract"].map(|n| axes(node, n));
        let outer = self.loop_vars(&self.shape(heavy).clone());
        let inner: Vec<(Symbol, Dim)> =
            lhs_contract.iter().map(|a| (self.loop_var(&lhs_shape[*a]), lhs_shape[*a].clone())).collect();
        let (free, summed) = (indices(&outer), indices(&inner));
        let batches = lhs_batch.len();
        let lhs_free = lhs_shape.rank() - batches - lhs_contract.len();
        let place =
            |rank: usize, batch: &[usize], contract: &[usize], mut rest: std::slice::Iter<'_, Dim>| {
                let pick = |axis: usize| match (
                    batch.iter().position(|a| *a == axis),
                    contract.iter().position(|a| *a == axis),
                ) {
                    (Some(i), _) => free[i].clone(),
                    (_, Some(i)) => summed[i].clone(),
                    _ => rest.next().cloned().unwrap_or(Dim::ZERO),
                };
                (0..rank).map(pick).collect::<Vec<_>>()
            };
        let left =
            place(lhs_shape.rank(), &lhs_batch, &lhs_contract, free[batches..batches + lhs_free].iter());
        let right = place(rhs_shape.rank(), &rhs_batch, &rhs_contract, free[batches + lhs_free..].iter());
        self.sum_of_products(heavy, &free, [(lhs, left), (rhs, right)], &outer, &inner, Vec::new())
    }

    pub(super) fn conv(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let [x, w] = [node.operands[0], node.operands[1]];
        let (x_shape, w_shape) = (self.shape(x).clone(), self.shape(w).clone());
        let [strides, lo, hi, dilation, base] =
            ["strides", "lo", "hi", "dilation", "base"].map(|n| ints(node, n));
        let groups = Dim::from(int(node, "groups"));
        let shape = self.shape(heavy).clone();
        // Groups are a loop of their own, so that what belongs to one can be told from its variable.
        let per_group = w_shape[0].floor_div(&groups);
        let [batch, group, inside] = [&shape[0], &groups, &per_group].map(|d| (self.loop_var(d), d.clone()));
        let pixels = self.loop_vars(&shape[2..]);
        let inner = self.loop_vars(&w_shape[1..]);
        let summed = indices(&inner);
        let (one_group, depthwise) = (groups.is(1), per_group.is(1) && !groups.is(1));
        let index =
            |(var, _): &(Symbol, Dim), fixed: bool| if fixed { Dim::ZERO } else { Dim::sym(var.clone()) };
        let (of_group, of_inside) = (index(&group, one_group), index(&inside, depthwise));
        let output = &(&of_group * &per_group) + &of_inside;
        let at: Vec<Dim> = [index(&batch, false), output].into_iter().chain(indices(&pixels)).collect();
        let channels = match (one_group, depthwise) {
            (true, _) => vec![inside],
            (_, true) => vec![group],
            _ => vec![group, inside],
        };
        let outer: Vec<(Symbol, Dim)> = [batch].into_iter().chain(channels).chain(pixels).collect();
        let outer = self.in_order_of_root(heavy, &at, &outer);

        let channel = &(&of_group * &w_shape[1]) + &summed[0];
        let mut from = vec![at[0].clone(), self.ranges.simplify(&channel)];
        let mut conds = Vec::new();
        for i in 0..strides.len() {
            let start = &(&at[i + 2] * &Dim::from(strides[i])) - &Dim::from(lo[i]);
            let spread = &start + &(&summed[i + 1] * &Dim::from(dilation[i]));
            let step = Dim::from(base[i]);
            let index = spread.floor_div(&step);
            if base[i] > 1 {
                conds.push(Cond::less(spread.modulo(&step), Dim::ONE));
            }
            if lo[i] != 0 || hi[i] != 0 || base[i] > 1 {
                self.require_within(&spread, &index, &x_shape[i + 2], &mut conds);
            }
            from.push(index);
        }
        let weight: Vec<Dim> = std::iter::once(at[1].clone()).chain(summed).collect();
        self.sum_of_products(heavy, &at, [(x, from), (w, weight)], &outer, &inner, conds)
    }

    fn sum_of_products(
        &mut self,
        heavy: Value,
        at: &[Dim],
        factors: [(Value, Vec<Dim>); 2],
        outer: &[(Symbol, Dim)],
        inner: &[(Symbol, Dim)],
        conds: Vec<Cond>,
    ) -> Vec<Stmt> {
        let dtype = self.dtype(heavy);
        let kept = factors.iter().map(|(v, _)| accumulator_type(self.dtype(*v))).fold(
            accumulator_type(dtype),
            |a, b| {
                if b.bits() > a.bits() { b } else { a }
            },
        );
        let mut block = Block::default();
        let acc = self.accumulator(kept, identity(ScalarOp::Add, kept), &mut block);
        let mut step = Block::default();
        let [a, b] = factors.map(|(value, at)| {
            let from = self.dtype(value);
            self.element(value, &at, &mut step).cast(from, kept)
        });
        step.stmts.push(accumulate(acc.clone(), ScalarOp::Add, Expr::binary(ScalarOp::Mul, a, b)));
        let body = if conds.is_empty() { step.stmts } else { vec![Stmt::If { conds, body: step.stmts }] };
        block.stmts.extend(nested(inner, LoopKind::Serial, body));
        let result = self.name(Expr::Load(acc).cast(kept, dtype), &mut block);
        self.finish(heavy, at, result, &mut block);
        nested(outer, LoopKind::Parallel, block.stmts)
    }
}
