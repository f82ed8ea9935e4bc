//! Random well-typed graphs over all ops, with symbolic extents and many element types.
//!
//! An op is drawn, operands are drawn from the values there are or made to fit, attributes are drawn, and
//! inference says whether that is a node; if not, another is drawn. Graphs are small, since interpreters are
//! slow, and most of them have values for random inputs.

use smallvec::smallvec;
use tcc::ir::dim::{Dim, Range, Symbol};
use tcc::ir::dtype::{DType, Scalar};
use tcc::ir::graph::{Attr, Attrs, Graph, Ints, Op, Value};
use tcc::ir::scalar::{ScalarOp, Signature};
use tcc::ir::shape::{Shape, TensorType};
use tcc::ir::tensor::Tensor;

use super::Random;

const DTYPES: [DType; 14] = [
    DType::F64,
    DType::F32,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::F8E4M3,
    DType::F8E5M2,
    DType::I64,
    DType::I32,
    DType::I8,
    DType::I4,
    DType::U8,
    DType::U32,
    DType::Bool,
];

/// A graph that depends on the seed alone.
pub(crate) fn graph(seed: u64) -> Graph {
    let mut maker = Maker { graph: Graph::new("g"), random: Random(seed), names: 0 };
    maker.params();
    let nodes = 2 + maker.random.below(12);
    let ops: Vec<Op> = Op::all().collect();
    let structured: Vec<Op> = ops.iter().copied().filter(|op| !matches!(op, Op::Scalar(_))).collect();
    for _ in 0..nodes {
        for _ in 0..8 {
            let from = if maker.random.one_in(3) { &ops } else { &structured };
            let op = *maker.random.pick(from);
            if maker.node(op, 0).is_some() {
                break;
            }
        }
    }
    maker.outputs();
    maker.graph
}

struct Maker {
    graph: Graph,
    random: Random,
    names: usize,
}

impl Maker {
    fn params(&mut self) {
        for (name, hi) in [("N", 3), ("M", 4)] {
            self.graph.set_range(Symbol::new(name), Range { lo: 1, hi });
        }
        for i in 0..1 + self.random.below(4) {
            let dtype = *self.random.pick(&DTYPES);
            let rank = self.random.below(4);
            let shape = (0..rank).map(|_| self.extent()).collect();
            self.graph.add_param(&format!("p{i}"), TensorType::new(dtype, shape));
        }
    }

    fn extent(&mut self) -> Dim {
        match self.random.below(8) {
            0 => Dim::sym("N"),
            1 => Dim::sym("M"),
            2 => Dim::ONE,
            n => Dim::from(n as i64 % 3 + 1),
        }
    }

    /// Everything that nothing uses, so that nothing is dead, but for one value in eight.
    fn outputs(&mut self) {
        let uses = self.graph.use_counts();
        let values: Vec<Value> = self.graph.values().collect();
        for value in values.iter().filter(|v| uses[v.index()] == 0) {
            if !self.random.one_in(8) {
                let name = format!("o{}", self.graph.outputs().len());
                self.graph.add_output(&name, *value);
            }
        }
        if self.graph.outputs().is_empty()
            && let Some(last) = values.last()
        {
            self.graph.add_output("o", *last);
        }
    }

    fn ty(&self, value: Value) -> TensorType {
        self.graph.ty(value).clone()
    }

    /// A value of which something holds.
    fn find(&mut self, holds: impl Fn(&TensorType) -> bool) -> Option<Value> {
        let fitting: Vec<Value> = self.graph.values().filter(|v| holds(self.graph.ty(*v))).collect();
        if fitting.is_empty() { None } else { Some(*self.random.pick(&fitting)) }
    }

    fn float(&mut self, rank: usize) -> Option<Value> {
        self.find(|t| t.dtype.is_float() && t.shape.rank() >= rank)
    }

    /// A value of exactly this type: one that is there, or a new one.
    fn of(&mut self, ty: &TensorType) -> Option<Value> {
        if !self.random.one_in(3)
            && let Some(found) = self.find(|t| t == ty)
        {
            return Some(found);
        }
        let rank = ty.shape.rank();
        let small = ty.shape.as_fixed().filter(|e| e.iter().product::<usize>() <= 64);
        if let Some(extents) = small.filter(|_| rank == 0 || self.random.one_in(2)) {
            let value = Tensor::random(ty.dtype, &extents, self.random.next()).ok()?;
            return self.graph.constant(value).ok();
        }
        // Numbers that rules look for.
        let value = *self.random.pick(&[1.0, 0.0, -0.0, -1.0]);
        let value = if ty.dtype.is_float() { Scalar::Float(value) } else { Scalar::Int(value as i128) };
        let one = self.graph.constant(Tensor::scalar(ty.dtype, value.round_to(ty.dtype))).ok()?;
        self.graph.broadcast(one, &ty.shape).ok()
    }

    fn indices(&mut self, extents: &[usize]) -> Option<Value> {
        let dtype = *self.random.pick(&[DType::I64, DType::I32]);
        let count = extents.iter().product();
        // Extents are at least one; most indices are within them.
        let index = |random: &mut Random| if random.one_in(20) { 1 } else { 0 };
        let values: Vec<Scalar> = (0..count).map(|_| Scalar::Int(index(&mut self.random))).collect();
        self.graph.constant(Tensor::from_scalars(dtype, extents, &values).ok()?).ok()
    }

    fn name(&mut self) -> Dim {
        self.names += 1;
        Dim::sym(Symbol::new(&format!("s{}", self.names)))
    }

    fn flag(&mut self) -> Attr {
        Attr::Bool(self.random.one_in(2))
    }

    fn axis(&mut self, rank: usize) -> i64 {
        self.random.below(rank) as i64
    }

    fn axes(&mut self, rank: usize) -> Ints {
        (0..rank as i64).filter(|_| self.random.one_in(2)).collect()
    }

    fn push(&mut self, op: Op, operands: &[Value], attrs: Attrs, regions: Vec<Graph>) -> Option<()> {
        self.graph.push(op, operands, attrs, regions).ok().map(|_| ())
    }

    /// A node of this op, if one could be made.
    fn node(&mut self, op: Op, depth: usize) -> Option<()> {
        match op {
            Op::Scalar(op) => self.scalar(op),
            Op::If | Op::Loop | Op::Kernel => self.control(op, depth),
            Op::Const | Op::Iota | Op::Dims | Op::BindDims | Op::RandomBits | Op::CustomCall => {
                self.source(op)
            }
            Op::Gather | Op::GatherElements | Op::GatherNd | Op::ScatterElements | Op::ScatterNd => {
                self.indexed(op)
            }
            Op::Quantize | Op::Dequantize => self.quantized(op),
            Op::Dot | Op::Conv | Op::Attention | Op::GroupNorm | Op::LayerNorm | Op::RmsNorm | Op::Nms => {
                self.composite(op)
            }
            Op::WinogradIn | Op::WinogradOut => self.winograd(op),
            op => self.on_one(op),
        }
    }

    fn scalar(&mut self, op: ScalarOp) -> Option<()> {
        let x = self.find(|t| op.def().domain.has(t.dtype))?;
        let ty = self.ty(x);
        let mut operands = vec![x];
        if op.def().signature == Signature::Select {
            operands.insert(0, self.of(&ty.of(DType::Bool))?);
        }
        while operands.len() < op.arity() {
            operands.push(self.of(&ty)?);
        }
        self.push(Op::Scalar(op), &operands, Attrs::new(), Vec::new())
    }

    fn source(&mut self, op: Op) -> Option<()> {
        let dtype = *self.random.pick(&DTYPES);
        let known: Vec<Symbol> = self.graph.symbols();
        let dim = |random: &mut Random| match known.is_empty() || random.one_in(2) {
            true => Dim::from(1 + random.below(3) as i64),
            false => Dim::sym(random.pick(&known).clone()),
        };
        let shape: Shape = (0..1 + self.random.below(2)).map(|_| dim(&mut self.random)).collect();
        match op {
            Op::Const => {
                let extents: Vec<usize> = (0..self.random.below(3)).map(|_| self.random.below(4)).collect();
                let value = Tensor::random(dtype, &extents, self.random.next()).ok()?;
                self.push(op, &[], smallvec![Attr::Tensor(value)], Vec::new())
            }
            Op::Iota => {
                let axis = self.axis(shape.rank());
                self.push(op, &[], smallvec![shape.into(), axis.into(), dtype.into()], Vec::new())
            }
            Op::Dims => self.push(op, &[], smallvec![shape.into()], Vec::new()),
            Op::BindDims => {
                let sizes = self.graph.op(Op::Dims, &[], smallvec![shape.clone().into()]).ok()?;
                let names: Shape = (0..shape.rank()).map(|_| self.name()).collect();
                self.push(op, &[sizes], smallvec![names.into()], Vec::new())
            }
            Op::RandomBits => {
                let key = self.of(&TensorType::scalar(DType::U64))?;
                self.push(op, &[key], smallvec![shape.into()], Vec::new())
            }
            _ => {
                if !self.random.one_in(6) {
                    return None;
                }
                let x = self.find(|_| true)?;
                let types = vec![TensorType::new(dtype, shape)];
                self.push(op, &[x], smallvec!["mine".into(), types.into()], Vec::new())
            }
        }
    }

    /// Ops on one operand of nearly any type.
    fn on_one(&mut self, op: Op) -> Option<()> {
        let windowed = matches!(op, Op::PoolMax | Op::PoolSum | Op::PoolArgMax);
        let x = match op {
            Op::Softmax | Op::LogSoftmax => self.float(1)?,
            _ => self.find(|_| true)?,
        };
        let ty = self.ty(x);
        let rank = ty.shape.rank();
        let dtype = *self.random.pick(&DTYPES);
        let mut operands = vec![x];
        let attrs: Attrs = match op {
            Op::Reshape => smallvec![self.same_size(&ty.shape).into()],
            Op::Transpose => {
                let mut perm: Ints = (0..rank as i64).collect();
                for i in (1..rank).rev() {
                    perm.swap(i, self.random.below(i + 1));
                }
                smallvec![perm.into()]
            }
            Op::Broadcast => {
                let mut dims: Vec<Dim> =
                    ty.shape.iter().map(|d| if d.is(1) { self.extent() } else { d.clone() }).collect();
                if self.random.one_in(2) {
                    dims.insert(0, Dim::from(2i64));
                }
                smallvec![dims.into_iter().collect::<Shape>().into()]
            }
            Op::Slice => {
                let reversed: Vec<bool> = (0..rank).map(|_| self.random.one_in(3)).collect();
                let start = |i: usize| if reversed[i] { &ty.shape[i] - &Dim::ONE } else { Dim::ZERO };
                let starts: Shape = (0..rank).map(start).collect();
                let sizes: Shape = ty
                    .shape
                    .iter()
                    .map(|d| if self.random.one_in(3) { Dim::ONE } else { d.clone() })
                    .collect();
                let steps: Ints = reversed.iter().map(|r| if *r { -1 } else { 1 }).collect();
                smallvec![starts.into(), sizes.into(), steps.into()]
            }
            Op::Pad => {
                operands.push(self.of(&TensorType::scalar(ty.dtype))?);
                let mut amounts =
                    || -> Shape { (0..rank).map(|_| Dim::from(self.random.below(2) as i64)).collect() };
                let (lo, hi) = (amounts(), amounts());
                let inner: Ints = (0..rank).map(|_| self.random.below(2) as i64).collect();
                smallvec![lo.into(), hi.into(), inner.into()]
            }
            Op::Concat => {
                operands.push(self.of(&ty)?);
                smallvec![self.axis(rank).into()]
            }
            Op::Reverse | Op::ReduceSum | Op::ReduceProd | Op::ReduceMax | Op::ReduceMin => {
                smallvec![self.axes(rank).into()]
            }
            Op::ArgMax | Op::ArgMin | Op::Sort => smallvec![self.axis(rank).into(), self.flag()],
            Op::CumSum | Op::CumProd => smallvec![self.axis(rank).into(), self.flag(), self.flag()],
            Op::TopK => smallvec![Dim::ONE.into(), self.axis(rank).into(), self.flag()],
            Op::NonZero => smallvec![self.name().into()],
            Op::Unique => smallvec![self.axis(rank).into(), self.flag(), self.name().into()],
            Op::Cast => smallvec![dtype.into(), self.flag()],
            Op::Bitcast => {
                let same: Vec<DType> =
                    DTYPES.iter().copied().filter(|d| d.bits() == ty.dtype.bits()).collect();
                smallvec![(*self.random.pick(&same)).into()]
            }
            Op::Softmax | Op::LogSoftmax => smallvec![self.axis(rank).into()],
            Op::Copy => Attrs::new(),
            Op::Det => {
                operands = vec![self.of(&TensorType::fixed(DType::F32, &[2, 2]))?];
                Attrs::new()
            }
            _ if windowed => {
                let axes = self.random.below(rank + 1);
                let mut list = |lo: i64, n: usize| -> Ints {
                    (0..axes).map(|_| lo + self.random.below(n) as i64).collect()
                };
                smallvec![
                    list(1, 2).into(),
                    list(1, 2).into(),
                    list(0, 2).into(),
                    list(0, 2).into(),
                    list(1, 2).into()
                ]
            }
            _ => return None,
        };
        self.push(op, &operands, attrs, Vec::new())
    }

    /// Another shape of as many elements.
    fn same_size(&mut self, shape: &Shape) -> Shape {
        match self.random.below(3) {
            0 => [shape.elements()].into_iter().collect(),
            1 => shape.iter().rev().cloned().chain([Dim::ONE]).collect(),
            _ => shape.iter().filter(|d| !d.is(1)).cloned().collect(),
        }
    }

    fn indexed(&mut self, op: Op) -> Option<()> {
        let x = self.find(|t| t.shape.rank() >= 1)?;
        let ty = self.ty(x);
        let rank = ty.shape.rank();
        let axis = self.axis(rank);
        let reduce = *self.random.pick(&["none", "add", "mul", "max", "min"]);
        let reduce = if ty.dtype == DType::Bool { "none" } else { reduce };
        match op {
            Op::Gather => {
                let shape = [2, 1];
                let count = self.random.below(3);
                let indices = self.indices(&shape[..count])?;
                self.push(op, &[x, indices], smallvec![axis.into()], Vec::new())
            }
            Op::GatherElements => {
                let indices = self.indices(&vec![1; rank])?;
                self.push(op, &[x, indices], smallvec![axis.into()], Vec::new())
            }
            Op::GatherNd => {
                let width = 1 + self.random.below(rank);
                let indices = self.indices(&[2, width])?;
                self.push(op, &[x, indices], smallvec![0i64.into()], Vec::new())
            }
            Op::ScatterElements => {
                let indices = self.indices(&vec![1; rank])?;
                let updates = self.of(&TensorType::fixed(ty.dtype, &vec![1; rank]))?;
                self.push(op, &[x, indices, updates], smallvec![axis.into(), reduce.into()], Vec::new())
            }
            _ => {
                let indices = self.indices(&[2, 1])?;
                let rows = [Dim::from(2i64)].into_iter().chain(ty.shape[1..].iter().cloned());
                let updates = self.of(&TensorType::new(ty.dtype, rows.collect()))?;
                self.push(op, &[x, indices, updates], smallvec![reduce.into()], Vec::new())
            }
        }
    }

    fn quantized(&mut self, op: Op) -> Option<()> {
        let narrow = *self.random.pick(&[DType::I8, DType::U8, DType::I4]);
        let x = match op {
            Op::Quantize => self.float(0)?,
            _ => self.find(|t| t.dtype == narrow)?,
        };
        let rank = self.ty(x).shape.rank();
        let scale = self.of(&TensorType::fixed(DType::F32, &vec![1; rank]))?;
        let zero = self.of(&TensorType::fixed(narrow, &vec![1; rank]))?;
        let dtype = if op == Op::Quantize { narrow } else { DType::F32 };
        self.push(op, &[x, scale, zero], smallvec![dtype.into()], Vec::new())
    }

    fn composite(&mut self, op: Op) -> Option<()> {
        let dtype = *self.random.pick(&[DType::F32, DType::F16, DType::BF16]);
        let n = Dim::from(1 + self.random.below(3) as i64);
        let list = |dims: &[&Dim]| -> Shape { dims.iter().map(|d| (*d).clone()).collect() };
        let (one, two) = (Dim::ONE, Dim::from(2i64));
        let (operands, attrs): (Vec<Value>, Attrs) = match op {
            Op::Dot => {
                let x = self.find(|t| t.dtype != DType::Bool && t.shape.rank() >= 1)?;
                let rank = self.ty(x).shape.rank();
                let contract = self.axes(rank);
                let batch: Ints = (0..rank as i64).filter(|a| !contract.contains(a)).take(1).collect();
                let dtype = if self.ty(x).dtype.is_float() { DType::F32 } else { DType::I32 };
                let lists = [batch.clone(), batch, contract.clone(), contract];
                let mut attrs: Attrs = lists.into_iter().map(Attr::from).collect();
                attrs.push(dtype.into());
                (vec![x, x], attrs)
            }
            Op::Conv => {
                let x = self.of(&TensorType::new(dtype, list(&[&n, &two, &Dim::from(4i64)])))?;
                let w = self.of(&TensorType::new(dtype, list(&[&two, &one, &two])))?;
                let ints: [Ints; 5] = [smallvec![1], smallvec![1], smallvec![0], smallvec![2], smallvec![1]];
                let mut attrs: Attrs = ints.into_iter().map(Attr::from).collect();
                attrs.extend([Attr::Int(2), dtype.into()]);
                (vec![x, w], attrs)
            }
            Op::Attention => {
                let q = self.of(&TensorType::new(dtype, list(&[&one, &two, &n, &two])))?;
                let k = self.of(&TensorType::new(dtype, list(&[&one, &one, &n, &two])))?;
                (vec![q, k, k], smallvec![0.5.into(), self.flag(), 0.0.into()])
            }
            Op::GroupNorm => {
                let x = self.of(&TensorType::new(dtype, list(&[&n, &two, &two])))?;
                let s = self.of(&TensorType::new(dtype, list(&[&two])))?;
                (vec![x, s, s], smallvec![2i64.into(), 0.25.into()])
            }
            Op::LayerNorm | Op::RmsNorm => {
                let x = self.float(1)?;
                let ty = self.ty(x);
                let axis = self.random.below(ty.shape.rank());
                let s = self.of(&TensorType::new(ty.dtype, Shape::from(&ty.shape[axis..])))?;
                let operands = if op == Op::LayerNorm { vec![x, s, s] } else { vec![x, s] };
                (operands, smallvec![(axis as i64).into(), 0.5.into()])
            }
            _ => {
                let boxes = self.of(&TensorType::fixed(dtype, &[1, 3, 4]))?;
                let scores = self.of(&TensorType::fixed(dtype, &[1, 2, 3]))?;
                let limit = self.graph.number(DType::I64, 2.0).ok()?;
                let bound = self.graph.number(dtype, 0.5).ok()?;
                (vec![boxes, scores, limit, bound, bound], smallvec![self.flag(), self.name().into()])
            }
        };
        self.push(op, &operands, attrs, Vec::new())
    }

    /// One end of a convolution in tiles.
    fn winograd(&mut self, op: Op) -> Option<()> {
        let dtype = *self.random.pick(&[DType::F32, DType::F16]);
        let m = *self.random.pick(&[2i64, 4]);
        let (n, c) = (self.extent(), self.extent());
        let sizes: Vec<i64> = (0..2).map(|_| 1 + self.random.below(7) as i64).collect();
        let (shape, attrs): (Vec<Dim>, Attrs) = match op {
            Op::WinogradIn => {
                let mut pads = || -> Ints { (0..2).map(|_| 1 + self.random.below(2) as i64).collect() };
                let (lo, hi) = (pads(), pads());
                (vec![n, sizes[0].into(), sizes[1].into(), c], smallvec![m.into(), lo.into(), hi.into()])
            }
            _ => {
                let tiles = |size: i64| Dim::from((size + m - 1) / m);
                let products = Dim::from((m + 2) * (m + 2));
                let sizes_of: Shape = sizes.iter().map(|s| Dim::from(*s)).collect();
                (vec![products, n, tiles(sizes[0]), tiles(sizes[1]), c], smallvec![m.into(), sizes_of.into()])
            }
        };
        let x = self.of(&TensorType::new(dtype, shape.into_iter().collect()))?;
        self.push(op, &[x], attrs, Vec::new())
    }

    /// A region is a small graph of its own over some values.
    fn control(&mut self, op: Op, depth: usize) -> Option<()> {
        if depth > 1 {
            return None;
        }
        let x = self.find(|_| true)?;
        let ty = self.ty(x);
        match op {
            Op::Kernel => {
                let body = self.region(&[ty], depth, |maker, x| {
                    vec![("o", *x.last().unwrap_or(&maker.graph.params()[0].1))]
                })?;
                self.push(op, &[x], Attrs::new(), vec![body])
            }
            Op::If => {
                let cond = self.of(&TensorType::scalar(DType::Bool))?;
                let keep = |_: &mut Maker, values: &[Value]| vec![("o", values[0])];
                let first = self.region(std::slice::from_ref(&ty), depth, keep)?;
                let second = self.region(std::slice::from_ref(&ty), depth, keep)?;
                self.push(op, &[cond, x], smallvec![vec![ty].into()], vec![first, second])
            }
            _ => {
                let trip = self.graph.number(DType::I64, 2.0).ok()?;
                let cond = self.graph.constant(Tensor::scalar(DType::Bool, Scalar::Int(1))).ok()?;
                let params = [TensorType::scalar(DType::I64), ty.clone()];
                let body = self.region(&params, depth, |maker, values| {
                    let go = maker.graph.constant(Tensor::scalar(DType::Bool, Scalar::Int(1)));
                    go.map_or(Vec::new(), |go| vec![("go", go), ("next", values[1]), ("each", values[1])])
                })?;
                let stacked = [self.name()].into_iter().chain(ty.shape.iter().cloned()).collect();
                let types = vec![ty.clone(), TensorType::new(ty.dtype, stacked)];
                self.push(op, &[trip, cond, x], smallvec![1i64.into(), types.into()], vec![body])
            }
        }
    }

    fn region(
        &mut self,
        params: &[TensorType],
        depth: usize,
        outputs: impl FnOnce(&mut Maker, &[Value]) -> Vec<(&'static str, Value)>,
    ) -> Option<Graph> {
        let seed = self.random.next();
        let mut maker = Maker {
            graph: self.graph.region_of(),
            random: Random(seed),
            names: self.names + 100 * (depth + 1),
        };
        for (i, ty) in params.iter().enumerate() {
            maker.graph.add_param(&format!("r{i}"), ty.clone());
        }
        let ops: Vec<Op> = Op::all().collect();
        for _ in 0..3 {
            let op = *maker.random.pick(&ops);
            maker.node(op, depth + 1);
        }
        let values: Vec<Value> = maker.graph.values().collect();
        let chosen = outputs(&mut maker, &values);
        self.names = self.names.max(maker.names);
        for (name, value) in &chosen {
            maker.graph.add_output(name, *value);
        }
        (!chosen.is_empty()).then_some(maker.graph)
    }
}
