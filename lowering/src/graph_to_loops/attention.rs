//! Nests of attention.
//!
//! A block of queries walks over blocks of keys. It keeps, for each query, the largest score so far, the sum of the
//! weights relative to it, and the weighted sum of values, and rescales them when a larger score comes. So memory is
//! linear in the lengths of the sequences, and both products are contractions of blocks.
//!
//! ```text
//! for b, h, query block parallel {
//!   best = -inf; sum = 0; mixed = 0
//!   for key block {
//!     scores[i, j] = sum over d of q[i, d] * k[j, d]
//!     scores = exp(f(scores) - best'); sum = sum * exp(best - best') + row sums; mixed *= exp(best - best')
//!     mixed[i, e] += sum over j of scores[i, j] * v[j, e]
//!   }
//!   y = mixed / sum
//! }
//! ```

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Node, Value};
use tcc_ir::loops::{Access, Buffer, Cond, Expr, LoopKind, Space, Stmt};
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::{Shape, TensorType};

use super::{Block, Emit, accumulate, accumulator_type, flag, float, indices, nested};

/// Queries that share what is read of keys and values.
const QUERIES: i64 = 56;
/// Keys whose scores are kept at a time: a multiple of every width of a micro-tile.
const KEYS: i64 = 128;

/// What the statements of one block of queries are made from.
struct Parts<'n> {
    node: &'n Node,
    kept: DType,
    /// Batch and head of the queries.
    at: Vec<Dim>,
    /// The head of keys and values.
    group: Dim,
    /// The queries of all blocks.
    all_queries: Dim,
    /// The first query of the block, and how many there are.
    first_query: Dim,
    queries: Dim,
    keys: Dim,
    depth: Dim,
    columns: Dim,
}

/// The buffers of one block of queries.
struct Kept {
    scores: Symbol,
    mixed: Symbol,
    best: Symbol,
    sum: Symbol,
}

impl Emit<'_> {
    /// `softmax(q kᵀ · scale + mask) v`.
    pub(super) fn attention(&mut self, heavy: Value, node: &Node) -> Vec<Stmt> {
        let [q, k, v] = [node.operands[0], node.operands[1], node.operands[2]];
        let (q_shape, k_shape, v_shape) = (self.shape(q), self.shape(k), self.shape(v));
        let kept = accumulator_type(self.dtype(q));
        let block_of_queries = Dim::from(QUERIES);
        let blocks = q_shape[2].ceil_div(&block_of_queries);
        let outer = self.loop_vars(&[q_shape[0].clone(), q_shape[1].clone(), blocks]);
        let mut at = indices(&outer);
        let block = at.pop().expect("three loops were made above");
        let per_group = q_shape[1].floor_div(&k_shape[1]);
        let first_query = &block * &block_of_queries;
        let parts = Parts {
            node,
            kept,
            group: self.ranges.simplify(&at[1].floor_div(&per_group)),
            at,
            queries: self.part(&q_shape[2], &first_query, QUERIES),
            first_query,
            all_queries: q_shape[2].clone(),
            keys: k_shape[2].clone(),
            depth: q_shape[3].clone(),
            columns: v_shape[3].clone(),
        };
        let name = |name: &str| Symbol::new(name);
        let kept =
            Kept { scores: name("scores"), mixed: name("mixed"), best: name("best"), sum: name("sum") };
        let mut body = self.start(&parts, &kept);
        body.push(self.key_blocks(&parts, &kept));
        body.push(self.finish_rows(heavy, &parts, &kept));
        nested(&outer, LoopKind::Parallel, body)
    }

    /// How many of `total` there are from `first` on, at most `most`.
    fn part(&self, total: &Dim, first: &Dim, most: i64) -> Dim {
        match total.as_const() {
            Some(t) if t <= most => Dim::from(t),
            Some(t) if t % most == 0 => Dim::from(most),
            _ => self.ranges.simplify(&Dim::from(most).minimum(&(total - first))),
        }
    }

    /// A loop whose body is made from its variable.
    fn each(&mut self, extent: &Dim, body: impl FnOnce(&mut Self, Dim) -> Vec<Stmt>) -> Stmt {
        let var = self.loop_var(extent);
        let body = body(self, Dim::sym(var.clone()));
        Stmt::serial(var, extent.clone(), body)
    }

    /// Statements about the element at an index of an axis, made for any element of it: what holds of all of them
    /// need not be proven of the index.
    fn at(&mut self, extent: &Dim, index: &Dim, body: impl FnOnce(&mut Self, Dim) -> Vec<Stmt>) -> Vec<Stmt> {
        let var = self.loop_var(extent);
        let stmts = body(self, Dim::sym(var.clone()));
        stmts.iter().map(|stmt| stmt.map_dims(&|dim| dim.replace(&var, index))).collect()
    }

    /// As [`Emit::at`], for a query of the block and a key.
    fn at_pair(
        &mut self,
        parts: &Parts<'_>,
        i: &Dim,
        key: &Dim,
        body: impl FnOnce(&mut Self, Dim, Dim) -> Vec<Stmt>,
    ) -> Vec<Stmt> {
        let query = &parts.first_query + i;
        self.at(&parts.all_queries, &query, |emit, query| {
            emit.at(&parts.keys, key, |emit, key| body(emit, query, key))
        })
    }

    fn start(&mut self, parts: &Parts<'_>, kept: &Kept) -> Vec<Stmt> {
        let rows = Dim::from(QUERIES);
        let alloc = |name: &Symbol, extents: &[Dim]| {
            let shape: Shape = extents.iter().cloned().collect();
            let buffer = Buffer { name: name.clone(), ty: TensorType::new(parts.kept, shape) };
            Stmt::Alloc { buffer, space: Space::Stack }
        };
        let zero = Expr::number(parts.kept, 0.0);
        let mut out = vec![
            alloc(&kept.scores, &[rows.clone(), Dim::from(KEYS)]),
            alloc(&kept.mixed, &[rows.clone(), parts.columns.clone()]),
            alloc(&kept.best, std::slice::from_ref(&rows)),
            alloc(&kept.sum, std::slice::from_ref(&rows)),
        ];
        out.push(self.each(&parts.queries, |emit, i| {
            vec![
                Stmt::store(Access::new(kept.best.clone(), [i.clone()]), lowest(parts.kept)),
                Stmt::store(Access::new(kept.sum.clone(), [i.clone()]), zero.clone()),
                emit.each(&parts.columns, |_, e| {
                    vec![Stmt::store(Access::new(kept.mixed.clone(), [i.clone(), e]), zero.clone())]
                }),
            ]
        }));
        out
    }

    fn key_blocks(&mut self, parts: &Parts<'_>, kept: &Kept) -> Stmt {
        let block_of_keys = Dim::from(KEYS);
        // Later keys than the last query may see have no weight.
        let seen = if flag(parts.node, "causal") {
            let ahead = &parts.keys - &self.shape(parts.node.operands[0])[2];
            let last = &(&parts.first_query + &parts.queries) + &ahead;
            self.ranges.simplify(&parts.keys.minimum(&last.maximum(&Dim::ZERO)))
        } else {
            parts.keys.clone()
        };
        let blocks = self.ranges.simplify(&seen.ceil_div(&block_of_keys));
        let var = self.loop_var(&blocks);
        let first_key = &Dim::sym(var.clone()) * &block_of_keys;
        let keys = self.part(&parts.keys, &first_key, KEYS);
        let mut body = self.scores(parts, kept, &first_key, &keys);
        body.push(self.weights(parts, kept, &first_key, &keys));
        body.push(self.mix(parts, kept, &first_key, &keys));
        Stmt::serial(var, blocks, body)
    }

    /// The products of queries and keys.
    fn scores(&mut self, parts: &Parts<'_>, kept: &Kept, first_key: &Dim, keys: &Dim) -> Vec<Stmt> {
        let [q, k] = [parts.node.operands[0], parts.node.operands[1]];
        let element = |i: &Dim, j: &Dim| Access::new(kept.scores.clone(), [i.clone(), j.clone()]);
        let zero = self.each(&parts.queries, |emit, i| {
            vec![emit.each(keys, |_, j| vec![Stmt::store(element(&i, &j), Expr::number(parts.kept, 0.0))])]
        });
        let product = self.each(&parts.queries, |emit, i| {
            vec![emit.each(keys, |emit, j| {
                vec![emit.each(&parts.depth, |emit, d| {
                    emit.at_pair(parts, &i, &(first_key + &j), |emit, query, key| {
                        let mut block = Block::default();
                        let from_q = [parts.at[0].clone(), parts.at[1].clone(), query, d.clone()];
                        let from_q = emit.row_element(q, &from_q, parts.kept, &mut block);
                        let from_k = [parts.at[0].clone(), parts.group.clone(), key, d];
                        let from_k = emit.row_element(k, &from_k, parts.kept, &mut block);
                        let product = Expr::binary(ScalarOp::Mul, from_q, from_k);
                        block.stmts.push(accumulate(element(&i, &j), ScalarOp::Add, product));
                        block.stmts
                    })
                })]
            })]
        });
        vec![zero, product]
    }

    /// The scores become weights relative to the largest score seen so far; what was summed before follows it.
    fn weights(&mut self, parts: &Parts<'_>, kept: &Kept, first_key: &Dim, keys: &Dim) -> Stmt {
        let dtype = parts.kept;
        self.each(&parts.queries, |emit, i| {
            let element = |j: &Dim| Access::new(kept.scores.clone(), [i.clone(), j.clone()]);
            let [best, sum] = [&kept.best, &kept.sum].map(|name| Access::new(name.clone(), [i.clone()]));
            let mut row = Block::default();
            let largest = emit.accumulator(dtype, Expr::Load(best.clone()), &mut row);
            let scaled = emit.each(keys, |emit, j| {
                emit.at_pair(parts, &i, &(first_key + &j), |emit, query, key| {
                    let mut block = Block::default();
                    let score = emit.score(parts, Expr::Load(element(&j)), &query, &key, &mut block);
                    let score = emit.name(score, &mut block);
                    block.stmts.push(Stmt::store(element(&j), score.clone()));
                    block.stmts.push(accumulate(largest.clone(), ScalarOp::Max, score));
                    block.stmts
                })
            });
            row.stmts.push(scaled);
            let largest = emit.name(Expr::Load(largest), &mut row);
            // Of a row that excludes every key so far, zero keeps the weights at exp(-inf).
            let none = Expr::binary(ScalarOp::Eq, largest.clone(), lowest(dtype));
            let base = Expr::Op(ScalarOp::Select, vec![none, Expr::number(dtype, 0.0), largest.clone()]);
            let base = emit.name(base, &mut row);
            let relative =
                |score: Expr| Expr::Op(ScalarOp::Exp, vec![Expr::binary(ScalarOp::Sub, score, base.clone())]);
            let factor = emit.name(relative(Expr::Load(best.clone())), &mut row);
            row.stmts.push(Stmt::store(best, largest));
            let total = emit.accumulator(dtype, Expr::number(dtype, 0.0), &mut row);
            let weighted = emit.each(keys, |emit, j| {
                let mut block = Block::default();
                let weight = emit.name(relative(Expr::Load(element(&j))), &mut block);
                block.stmts.push(Stmt::store(element(&j), weight.clone()));
                block.stmts.push(accumulate(total.clone(), ScalarOp::Add, weight));
                block.stmts
            });
            row.stmts.push(weighted);
            let before = Expr::binary(ScalarOp::Mul, Expr::Load(sum.clone()), factor.clone());
            row.stmts.push(Stmt::store(sum, Expr::binary(ScalarOp::Add, before, Expr::Load(total))));
            let rescaled = emit.each(&parts.columns, |_, e| {
                let mixed = Access::new(kept.mixed.clone(), [i.clone(), e]);
                let value = Expr::binary(ScalarOp::Mul, Expr::Load(mixed.clone()), factor);
                vec![Stmt::store(mixed, value)]
            });
            row.stmts.push(rescaled);
            row.stmts
        })
    }

    /// What a product of query and key counts as.
    fn score(&mut self, parts: &Parts<'_>, product: Expr, query: &Dim, key: &Dim, block: &mut Block) -> Expr {
        let (node, kept) = (parts.node, parts.kept);
        let scale = Expr::number(kept, float(node, "scale"));
        let mut score = Expr::binary(ScalarOp::Mul, product, scale);
        let softcap = float(node, "softcap");
        if softcap != 0.0 {
            let cap = Expr::number(kept, softcap);
            let inner = Expr::binary(ScalarOp::Div, score, cap.clone());
            score = Expr::binary(ScalarOp::Mul, Expr::Op(ScalarOp::Tanh, vec![inner]), cap);
        }
        let queries = self.shape(node.operands[0]).clone();
        if let Some(mask) = node.operands.get(3).copied() {
            let shape = self.shape(mask).clone();
            let full = [parts.at[0].clone(), parts.at[1].clone(), query.clone(), key.clone()];
            let extents = [&queries[0], &queries[1], &queries[2], &parts.keys];
            let skip = 4 - shape.rank();
            let place: Vec<Dim> = (0..shape.rank())
                .map(|axis| match &shape[axis] {
                    e if e.is(1) => Dim::ZERO,
                    e if self.ranges.equal(e, extents[skip + axis]) => full[skip + axis].clone(),
                    e => full[skip + axis].minimum(&(e - &Dim::ONE)),
                })
                .collect();
            let from = self.dtype(mask);
            let value = self.element(mask, &place, block);
            score = if from == DType::Bool {
                Expr::Op(ScalarOp::Select, vec![value, score, lowest(kept)])
            } else {
                Expr::binary(ScalarOp::Add, score, value.cast(from, kept))
            };
        }
        if flag(node, "causal") {
            let last = query + &(&parts.keys - &queries[2]);
            let conds = vec![Cond::less(key.clone(), &last + &Dim::ONE)];
            score = Expr::Guard { conds, then: Box::new(score), otherwise: Box::new(lowest(kept)) };
        }
        score
    }

    /// The weighted values join what was mixed before.
    fn mix(&mut self, parts: &Parts<'_>, kept: &Kept, first_key: &Dim, keys: &Dim) -> Stmt {
        let v = parts.node.operands[2];
        self.each(&parts.queries, |emit, i| {
            vec![emit.each(&parts.columns, |emit, e| {
                vec![emit.each(keys, |emit, j| {
                    emit.at(&parts.keys, &(first_key + &j), |emit, key| {
                        let mut block = Block::default();
                        let weight = Expr::Load(Access::new(kept.scores.clone(), [i.clone(), j.clone()]));
                        let place = [parts.at[0].clone(), parts.group.clone(), key, e.clone()];
                        let value = emit.row_element(v, &place, parts.kept, &mut block);
                        let target = Access::new(kept.mixed.clone(), [i.clone(), e.clone()]);
                        let product = Expr::binary(ScalarOp::Mul, weight, value);
                        block.stmts.push(accumulate(target, ScalarOp::Add, product));
                        block.stmts
                    })
                })]
            })]
        })
    }

    fn finish_rows(&mut self, heavy: Value, parts: &Parts<'_>, kept: &Kept) -> Stmt {
        let dtype = parts.kept;
        self.each(&parts.queries, |emit, i| {
            let mut row = Block::default();
            let sum = Expr::Load(Access::new(kept.sum.clone(), [i.clone()]));
            let sum = emit.name(sum, &mut row);
            // The largest weight is one, so only a row that excludes every key sums to zero.
            let none = Expr::binary(ScalarOp::Eq, sum.clone(), Expr::number(dtype, 0.0));
            let factor = Expr::binary(ScalarOp::Div, Expr::number(dtype, 1.0), sum);
            let factor = Expr::Op(ScalarOp::Select, vec![none, Expr::number(dtype, 0.0), factor]);
            let factor = emit.name(factor, &mut row);
            let last = emit.each(&parts.columns, |emit, e| {
                emit.at(&parts.all_queries, &(&parts.first_query + &i), |emit, query| {
                    let mut block = Block::default();
                    let mixed = Expr::Load(Access::new(kept.mixed.clone(), [i.clone(), e.clone()]));
                    let value = Expr::binary(ScalarOp::Mul, mixed, factor).cast(dtype, emit.dtype(heavy));
                    let value = emit.name(value, &mut block);
                    let place = [parts.at[0].clone(), parts.at[1].clone(), query, e];
                    emit.finish(heavy, &place, value, &mut block);
                    block.stmts
                })
            });
            row.stmts.push(last);
            row.stmts
        })
    }
}

fn lowest(dtype: DType) -> Expr {
    Expr::Const(dtype, Scalar::Float(f64::NEG_INFINITY))
}
