//! Nests of running sums, and of scatters, whose updates meet in no order that loops could change.

use tcc_ir::dim::Dim;
use tcc_ir::graph::{Attr, Node, Op, Value};
use tcc_ir::loops::{Access, Combine, Expr, LoopKind, Stmt};
use tcc_ir::scalar::ScalarOp;

use super::reduction::{identity, kept_in};
use super::{Block, Emit, accumulate, flag, indices, int, nested};

impl Emit<'_> {
    pub(super) fn cumulative(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let x = node.operands[0];
        let axis = int(node, "axis") as usize;
        let op = if node.op == Op::CumProd { ScalarOp::Mul } else { ScalarOp::Add };
        let (dtype, shape) = (self.dtype(x), self.shape(x).clone());
        let kept = kept_in(op, dtype);
        let outer = self.loop_vars(&shape.without(&[axis]));
        let var = self.loop_var(&shape[axis]);
        let step = Dim::sym(var.clone());
        let place = if flag(node, "reverse") { &(&shape[axis] - &Dim::ONE) - &step } else { step };
        let mut at = indices(&outer);
        at.insert(axis, place);

        let mut block = Block::default();
        let acc = self.accumulator(kept, identity(op, kept), &mut block);
        let mut body = Block::default();
        let value = self.element(x, &at, &mut body).cast(dtype, kept);
        let add = accumulate(acc.clone(), op, value);
        let exclusive = flag(node, "exclusive");
        if !exclusive {
            body.stmts.push(add.clone());
        }
        let result = self.name(Expr::Load(acc).cast(kept, dtype), &mut body);
        self.finish(heavy, &at, result, &mut body);
        if exclusive {
            body.stmts.push(add);
        }
        block.stmts.push(Stmt::serial(var, shape[axis].clone(), body.stmts));
        nested(&outer, LoopKind::Parallel, block.stmts)
    }

    /// The output starts as a copy.
    fn copy_first(&mut self, x: Value) -> Vec<Stmt> {
        let vars = self.loop_vars(&self.shape(x).clone());
        let at = indices(&vars);
        let mut block = Block::default();
        let value = self.element(x, &at, &mut block);
        block.stmts.push(Stmt::store(Access::new(self.output.clone(), at), value));
        nested(&vars, LoopKind::Serial, block.stmts)
    }

    fn update(&self, node: &Node, at: Vec<Dim>, value: Expr) -> Stmt {
        let combine = match node.attr("reduce") {
            Attr::Text(word) if &**word == "add" => Combine::With(ScalarOp::Add),
            Attr::Text(word) if &**word == "mul" => Combine::With(ScalarOp::Mul),
            Attr::Text(word) if &**word == "max" => Combine::With(ScalarOp::Max),
            Attr::Text(word) if &**word == "min" => Combine::With(ScalarOp::Min),
            _ => Combine::Replace,
        };
        Stmt::combine(Access::new(self.output.clone(), at), value, combine)
    }

    pub(super) fn scatter_elements(&mut self, node: &Node) -> Vec<Stmt> {
        let [x, places, updates] = [node.operands[0], node.operands[1], node.operands[2]];
        let axis = int(node, "axis") as usize;
        let mut body = self.copy_first(x);
        let vars = self.loop_vars(&self.shape(updates).clone());
        let mut at = indices(&vars);
        let mut block = Block::default();
        let value = self.element(updates, &at, &mut block);
        let extent = self.shape(x)[axis].clone();
        at[axis] = self.index_from(places, &at.clone(), &extent, &mut block);
        block.stmts.push(self.update(node, at, value));
        body.extend(nested(&vars, LoopKind::Serial, block.stmts));
        body
    }

    pub(super) fn scatter_nd(&mut self, node: &Node) -> Vec<Stmt> {
        let [x, places, updates] = [node.operands[0], node.operands[1], node.operands[2]];
        let rows = self.shape(places).rank() - 1;
        let depth = self.shape(places)[rows].as_const().unwrap_or(0);
        let mut body = self.copy_first(x);
        let vars = self.loop_vars(&self.shape(updates).clone());
        let from = indices(&vars);
        let mut block = Block::default();
        let mut at = Vec::new();
        for i in 0..depth {
            let place: Vec<Dim> = from[..rows].iter().cloned().chain([Dim::from(i)]).collect();
            let extent = self.shape(x)[i as usize].clone();
            at.push(self.index_from(places, &place, &extent, &mut block));
        }
        at.extend_from_slice(&from[rows..]);
        let value = self.element(updates, &from, &mut block);
        block.stmts.push(self.update(node, at, value));
        body.extend(nested(&vars, LoopKind::Serial, block.stmts));
        body
    }
}
