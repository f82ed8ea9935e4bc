//! Nests of the two ends of Winograd's convolutions: a tile of one channel at a time in straight-line statements.
//!
//! The channels are the innermost loop, which schedules make vectors of, and the tiles of a row the one around it,
//! which they cut where the guards against padding and overhang begin or cease to hold.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::graph::{Node, Value};
use tcc_ir::loops::{Access, Buffer, Cond, Expr, LoopKind, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::TensorType;
use tcc_ir::winograd::Winograd;

use super::{Block, Emit, accumulator_type, dims, indices, int, ints, nested};

/// Statements for every tile: of rows of tiles in any order, of the channels of a tile side by side.
fn over_tiles(loops: &[(Symbol, Dim)], body: Vec<Stmt>) -> Vec<Stmt> {
    let (rows, inside) = loops.split_at(2);
    nested(rows, LoopKind::Parallel, nested(inside, LoopKind::Serial, body))
}

fn matrices(node: &Node) -> &'static Winograd {
    Winograd::of(int(node, "m")).unwrap_or_else(|| unreachable!("inference accepts tiles that there are"))
}

/// The statements, under conditions if there are any.
fn under(conds: Vec<Cond>, body: Vec<Stmt>) -> Vec<Stmt> {
    if conds.is_empty() { body } else { vec![Stmt::If { conds, body }] }
}

impl Emit<'_> {
    pub(super) fn winograd_in(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let (x, winograd) = (node.operands[0], matrices(node));
        let (dtype, inputs) = (self.dtype(x), winograd.inputs());
        let kept = accumulator_type(dtype);
        let loops = self.loop_vars(&self.shape(heavy)[1..]);
        let at = indices(&loops);
        let (lo, extents) = (ints(node, "lo"), self.shape(x)[1..3].to_vec());
        let pixel = |axis: usize, k: usize| {
            let start = &at[axis + 1] * &Dim::from(winograd.outputs);
            &start + &Dim::from(k as i64 - lo[axis])
        };
        let mut block = Block::default();
        let mut window: Vec<Expr> = Vec::with_capacity(inputs * inputs);
        for i in 0..inputs {
            let mut conds = Vec::new();
            let row = pixel(0, i);
            self.require_within(&row, &row, &extents[0], &mut conds);
            // A row that may lie outside is zero unless it is read.
            let buffer = (!conds.is_empty()).then(|| self.window_row(kept, inputs, &mut block));
            let mut inner = Block::default();
            for j in 0..inputs {
                let mut conds = Vec::new();
                let column = pixel(1, j);
                self.require_within(&column, &column, &extents[1], &mut conds);
                let place = [at[0].clone(), row.clone(), column, at[3].clone()];
                let into = if buffer.is_some() { &mut inner } else { &mut block };
                let value = self.guarded(conds, Expr::number(kept, 0.0), into, |emit, block| {
                    emit.row_element(x, &place, kept, block)
                });
                window.push(match &buffer {
                    None => self.name(value, &mut block),
                    Some(name) => {
                        let access = Access::new(name.clone(), [Dim::from(j)]);
                        inner.stmts.push(Stmt::store(access.clone(), value));
                        Expr::Load(access)
                    }
                });
            }
            block.stmts.extend(under(conds, inner.stmts));
        }
        let factors = self.on_both_sides(winograd.input, &window, kept, &mut block);
        for (k, value) in factors.into_iter().enumerate() {
            let at: Vec<Dim> = std::iter::once(Dim::from(k)).chain(at.iter().cloned()).collect();
            self.finish(heavy, &at, value.cast(kept, dtype), &mut block);
        }
        over_tiles(&loops, block.stmts)
    }

    /// A row of a window in registers, of zeros.
    fn window_row(&mut self, dtype: DType, length: usize, block: &mut Block) -> Symbol {
        let name = Symbol::new(&format!("row{}", self.scalars));
        self.scalars += 1;
        let buffer = Buffer { name: name.clone(), ty: TensorType::fixed(dtype, &[length]) };
        block.stmts.push(Stmt::Alloc { buffer, space: Space::Register });
        let zero =
            |j: usize| Stmt::store(Access::new(name.clone(), [Dim::from(j)]), Expr::number(dtype, 0.0));
        block.stmts.extend((0..length).map(zero));
        name
    }

    pub(super) fn winograd_out(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let (x, winograd) = (node.operands[0], matrices(node));
        let (dtype, outputs) = (self.dtype(x), winograd.outputs);
        let kept = accumulator_type(dtype);
        let loops = self.loop_vars(&self.shape(x)[1..]);
        let at = indices(&loops);
        let sizes = dims(node, "sizes");
        let pixel = |axis: usize, k: usize| &(&at[axis + 1] * &Dim::from(winograd.outputs)) + &Dim::from(k);
        let mut block = Block::default();
        let mut products: Vec<Expr> = Vec::new();
        for k in 0..winograd.inputs().pow(2) {
            let place: Vec<Dim> = std::iter::once(Dim::from(k)).chain(at.iter().cloned()).collect();
            let value = self.row_element(x, &place, kept, &mut block);
            products.push(self.name(value, &mut block));
        }
        let pixels = self.on_both_sides(winograd.output, &products, kept, &mut block);
        for (i, values) in pixels.chunks(outputs).enumerate() {
            let row = pixel(0, i);
            let mut of_row = Vec::new();
            for (j, value) in values.iter().enumerate() {
                let column = pixel(1, j);
                let mut conds = Vec::new();
                self.require_within(&column, &column, &sizes[1], &mut conds);
                let mut inner = Block::default();
                let place = [at[0].clone(), row.clone(), column, at[3].clone()];
                self.finish(heavy, &place, value.clone().cast(kept, dtype), &mut inner);
                of_row.extend(under(conds, inner.stmts));
            }
            let mut conds = Vec::new();
            self.require_within(&row, &row, &sizes[0], &mut conds);
            block.stmts.extend(under(conds, of_row));
        }
        over_tiles(&loops, block.stmts)
    }

    /// A matrix on both sides of a square one, all in rows.
    fn on_both_sides(
        &mut self,
        matrix: &[&[f64]],
        square: &[Expr],
        dtype: DType,
        block: &mut Block,
    ) -> Vec<Expr> {
        let inner = matrix[0].len();
        let columns: Vec<Vec<Expr>> = (0..inner)
            .map(|j| {
                let column: Vec<Expr> = square.iter().skip(j).step_by(inner).cloned().collect();
                self.product(matrix, &column, dtype, block)
            })
            .collect();
        (0..matrix.len())
            .flat_map(|i| {
                let row: Vec<Expr> = columns.iter().map(|column| column[i].clone()).collect();
                self.product(matrix, &row, dtype, block)
            })
            .collect()
    }

    /// A matrix times a vector. Neighbouring rows, or columns, that differ in signs alone share what they can.
    fn product(&mut self, matrix: &[&[f64]], vector: &[Expr], dtype: DType, block: &mut Block) -> Vec<Expr> {
        // The columns, some of them joined, with what each is to be multiplied by.
        let mut columns: Vec<(Vec<f64>, Expr)> = Vec::new();
        let column = |j: usize| -> Vec<f64> { matrix.iter().map(|row| row[j]).collect() };
        let mut j = 0;
        while j < vector.len() {
            let here = column(j);
            if let Some((same, opposite)) =
                (j + 1 < vector.len()).then(|| mirrored(&here, &column(j + 1))).flatten()
            {
                for (op, factors) in [(ScalarOp::Add, same), (ScalarOp::Sub, opposite)] {
                    let both = Expr::binary(op, vector[j].clone(), vector[j + 1].clone());
                    columns.push((factors, self.name(both, block)));
                }
                j += 2;
            } else {
                columns.push((here, vector[j].clone()));
                j += 1;
            }
        }
        let row = |i: usize| -> Vec<f64> { columns.iter().map(|(factors, _)| factors[i]).collect() };
        let values: Vec<Expr> = columns.iter().map(|(_, x)| x.clone()).collect();
        let mut products = Vec::with_capacity(matrix.len());
        while products.len() < matrix.len() {
            let i = products.len();
            let here = row(i);
            if let Some((same, opposite)) =
                (i + 1 < matrix.len()).then(|| mirrored(&here, &row(i + 1))).flatten()
            {
                let [even, odd] = [same, opposite].map(|factors| self.sum(&factors, &values, dtype, block));
                for op in [ScalarOp::Add, ScalarOp::Sub] {
                    products.push(self.name(Expr::binary(op, even.clone(), odd.clone()), block));
                }
            } else {
                products.push(self.sum(&here, &values, dtype, block));
            }
        }
        products
    }

    /// The sum of values with factors, those of one first.
    fn sum(&mut self, factors: &[f64], values: &[Expr], dtype: DType, block: &mut Block) -> Expr {
        let mut terms: Vec<(f64, &Expr)> =
            factors.iter().copied().zip(values).filter(|(factor, _)| *factor != 0.0).collect();
        terms.sort_by_key(|(factor, _)| *factor != 1.0);
        let mut sum: Option<Expr> = None;
        for (factor, value) in terms {
            let value = value.clone();
            let number = Expr::number(dtype, factor);
            let next = match sum {
                None if factor == 1.0 => value,
                None => Expr::binary(ScalarOp::Mul, value, number),
                Some(sum) if factor == 1.0 => Expr::binary(ScalarOp::Add, sum, value),
                Some(sum) if factor == -1.0 => Expr::binary(ScalarOp::Sub, sum, value),
                Some(sum) => Expr::Op(ScalarOp::Fma, vec![value, number, sum]),
            };
            sum = Some(if matches!(next, Expr::Var(_)) { next } else { self.name(next, block) });
        }
        sum.unwrap_or_else(|| Expr::number(dtype, 0.0))
    }
}

/// What two lists have in common and what they have with opposite signs, if that is all and both are something.
fn mirrored(a: &[f64], b: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
    let pick = |keep: fn(f64, f64) -> bool| -> Vec<f64> {
        a.iter().zip(b).map(|(a, b)| if keep(*a, *b) { *a } else { 0.0 }).collect()
    };
    let (same, opposite) = (pick(|a, b| a == b), pick(|a, b| a == -b && a != 0.0));
    let all = a.iter().zip(b).all(|(a, b)| a.abs() == b.abs());
    let some = |list: &[f64]| list.iter().any(|x| *x != 0.0);
    (all && some(&same) && some(&opposite)).then_some((same, opposite))
}
