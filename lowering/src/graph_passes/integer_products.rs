//! `integer-products`: carries out contractions and convolutions of quantised operands on their codes.
//!
//! ```tcc
//! graph @f(%x: u8[4, 8], %w: i8[8, 3]) -> (y: i32[4, 3]) {
//!   %0 = cast %x dtype=i32 saturate=true : i32[4, 8]
//!   %1 = cast %w dtype=i32 saturate=true : i32[8, 3]
//!   %2 = dot %0, %1 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=i32 : i32[4, 3]
//!   return %2
//! }
//! ```
//! ->
//! ```tcc
//! graph @f(%x: u8[4, 8], %w: i8[8, 3]) -> (y: i32[4, 3]) {
//!   %0 = cast %x dtype=i32 saturate=true : i32[4, 8]
//!   %1 = cast %w dtype=i32 saturate=true : i32[8, 3]
//!   %2 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=i32 : i32[4, 3]
//!   return %2
//! }
//! ```
//!
//! Zero points leave the product: `(x - a) · (w - b)` is `x · w` less `a` times the sums of `w` and `b` times the
//! sums of `x`, plus `a * b` for each term. The right operand becomes signed, which moves its zero point. Images are
//! padded with their zero point instead of zero. With `real`, products of dequantised operands become products of
//! codes as well, whose exact sums are scaled once.

use smallvec::smallvec;
use tcc_ir::dim::Dim;
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::eval::evaluate;
use tcc_ir::graph::{Attr, Graph, Ints, Node, NodeId, Op, Rewriter, Value, Violation};
use tcc_ir::numerics::Numerics;
use tcc_ir::scalar::ScalarOp;
use tcc_ir::shape::Shape;
use tcc_ir::tensor::Tensor;

use super::in_regions;
use crate::layout::known;
use crate::pass::{OptionDef, OptionKind, Outcome, PassCx, PassDef, PassError, PassFn};

/// See the [module](self).
pub const PASS: PassDef = PassDef {
    name: "integer-products",
    summary: "carries out contractions and convolutions of quantised operands on their codes",
    source: include_str!("integer_products.rs"),
    options: &[OptionDef {
        name: "real",
        kind: OptionKind::Flag,
        default: "true",
        doc: "also where operands are dequantised first, which rounds once instead of in each term",
    }],
    numerics: Numerics::Reassociates,
    run: PassFn::Graph(run),
};

fn run(graph: &Graph, cx: &mut PassCx<'_>) -> Result<Outcome<Graph>, PassError> {
    let mut rewriter = Rewriter::new(graph);
    let mut changed = false;
    for (id, node) in graph.nodes() {
        if matches!(node.op, Op::Dot | Op::Conv | Op::Dequantize)
            && let Some(value) = rewritten(&mut rewriter, node, cx)?
        {
            rewriter.replace(node.result(), value);
            changed = true;
            continue;
        }
        let (regions, inner) = in_regions(node, |region| run(region, cx))?;
        changed |= inner;
        copy(&mut rewriter, id, regions);
    }
    Ok(Outcome::of(changed, rewriter.finish()))
}

fn copy(rewriter: &mut Rewriter<'_>, id: NodeId, regions: Vec<Graph>) {
    let attrs = rewriter.from.node(id).attrs.clone();
    rewriter.copy_with(id, attrs, regions);
}

fn rewritten(
    rewriter: &mut Rewriter<'_>,
    node: &Node,
    cx: &mut PassCx<'_>,
) -> Result<Option<Value>, Violation> {
    let real = cx.options.flag("real");
    if node.op == Op::Dequantize {
        // Biases have 32 bits, and as many of them as real numbers.
        let wide = rewriter.from.ty(node.operands[0]).dtype.bits() >= 32;
        let value = if real && wide { dequantised(rewriter.from, node) } else { None };
        return value.filter(|_| cx.rewrite()).map(|tensor| rewriter.to.constant(tensor)).transpose();
    }
    let wanted = match rewriter.from.ty(node.result()).dtype {
        DType::I32 => false,
        DType::F32 if real => true,
        _ => return Ok(None),
    };
    let [x, w] = [node.operands[0], node.operands[1]];
    let (Some(x), Some(w)) = (codes(rewriter, x)?, codes(rewriter, w)?) else { return Ok(None) };
    let w = signed(&mut rewriter.to, w)?;
    if x.scale.is_some() != wanted || w.scale.is_some() != wanted {
        return Ok(None);
    }
    let product = match node.op {
        Op::Dot => Product::of_dot(&rewriter.to, node, x, w),
        _ => Product::of_conv(&rewriter.to, node, x, w),
    };
    match product.filter(|_| cx.rewrite()) {
        Some(product) => product.build(&mut rewriter.to, node).map(Some),
        None => Ok(None),
    }
}

/// The value of a dequantised constant.
fn dequantised(graph: &Graph, node: &Node) -> Option<Tensor> {
    let mut one = Graph::new("dequantised");
    let mut operands = Vec::new();
    for operand in &node.operands {
        operands.push(one.constant(known(graph, *operand)?).ok()?);
    }
    let value = one.op(node.op, &operands, node.attrs.clone()).ok()?;
    one.add_output("x", value);
    evaluate(&one, &[]).ok()?.pop()
}

/// What stands for zero among codes.
#[derive(Clone, Copy)]
enum Zero {
    Known(i64),
    /// A scalar of i32.
    Given(Value),
}

/// What codes are multiplied with: a scalar, or a vector along an axis.
#[derive(Clone, Copy)]
struct Scale {
    value: Value,
    axis: Option<usize>,
}

/// A tensor of bytes that stands for integers or real numbers, in the new graph.
#[derive(Clone, Copy)]
struct Codes {
    value: Value,
    zero: Zero,
    scale: Option<Scale>,
}

fn is_byte(dtype: DType) -> bool {
    matches!(dtype, DType::U8 | DType::I8)
}

/// The codes that a value is made from.
fn codes(rewriter: &mut Rewriter<'_>, value: Value) -> Result<Option<Codes>, Violation> {
    let from = rewriter.from;
    let Some(node) = from.def_node(value) else { return Ok(None) };
    let Some(source) = node.operands.first().copied() else { return Ok(None) };
    let narrow = is_byte(from.ty(source).dtype);
    match node.op {
        Op::Cast if narrow && from.ty(value).dtype == DType::I32 => {
            Ok(Some(Codes { value: rewriter.get(source), zero: Zero::Known(0), scale: None }))
        }
        Op::Dequantize if narrow && from.ty(value).dtype == DType::F32 => {
            let Some(zero) = zero(rewriter, node.operands[2])? else { return Ok(None) };
            let Some(scale) = scale(rewriter, node.operands[1], source)? else { return Ok(None) };
            Ok(Some(Codes { value: rewriter.get(source), zero, scale: Some(scale) }))
        }
        Op::Scalar(ScalarOp::Sub) => {
            let Some(codes) = codes(rewriter, source)? else { return Ok(None) };
            if codes.scale.is_some() || !matches!(codes.zero, Zero::Known(0)) {
                return Ok(None);
            }
            let zero = zero(rewriter, node.operands[1])?;
            Ok(zero.map(|zero| Codes { zero, ..codes }))
        }
        Op::Transpose | Op::Reshape | Op::Slice | Op::Broadcast => {
            let Some(codes) = codes(rewriter, source)? else { return Ok(None) };
            let axis = match (codes.scale.and_then(|s| s.axis), node.attrs.first()) {
                (None, _) => None,
                (Some(axis), Some(Attr::Ints(perm))) if node.op == Op::Transpose => {
                    perm.iter().position(|p| *p as usize == axis)
                }
                _ => return Ok(None),
            };
            let value = rewriter.to.op(node.op, &[codes.value], node.attrs.clone())?;
            let scale = codes.scale.map(|s| Scale { axis, ..s });
            Ok(Some(Codes { value, scale, ..codes }))
        }
        _ => Ok(None),
    }
}

/// The one zero point that a tensor of them holds.
fn zero(rewriter: &mut Rewriter<'_>, value: Value) -> Result<Option<Zero>, Violation> {
    let from = rewriter.from;
    let mut source = value;
    while let Some(node) = from.def_node(source)
        && matches!(node.op, Op::Broadcast | Op::Reshape | Op::Cast)
        && known(from, source).is_none()
        && from.ty(source).dtype.is_int()
        && from.ty(node.operands[0]).dtype.is_int()
    {
        source = node.operands[0];
    }
    if let Some(tensor) = known(from, source) {
        let mut scalars = tensor.iter_scalars();
        return Ok(match scalars.next() {
            Some(Scalar::Int(first)) if scalars.all(|s| s == Scalar::Int(first)) => {
                i64::try_from(first).ok().map(Zero::Known)
            }
            _ => None,
        });
    }
    if !from.ty(source).shape.elements().is(1) {
        return Ok(None);
    }
    let scalar = rewriter.get(source);
    let scalar = rewriter.to.reshape(scalar, &Shape::scalar())?;
    Ok(Some(Zero::Given(rewriter.to.cast(scalar, DType::I32)?)))
}

/// A scale of f32 for codes of a shape, if it is one for all or one for each index of an axis.
fn scale(rewriter: &mut Rewriter<'_>, value: Value, codes: Value) -> Result<Option<Scale>, Violation> {
    let ty = rewriter.from.ty(value).clone();
    if ty.dtype != DType::F32 {
        return Ok(None);
    }
    let long: Vec<usize> = (0..ty.shape.rank()).filter(|axis| !ty.shape[*axis].is(1)).collect();
    let value = rewriter.get(value);
    Ok(match long.as_slice() {
        [] => {
            let value = rewriter.to.reshape(value, &Shape::scalar())?;
            Some(Scale { value, axis: None })
        }
        [axis] if ty.shape[*axis] == rewriter.from.ty(codes).shape[*axis] => {
            let vector = [ty.shape[*axis].clone()].into_iter().collect();
            let value = rewriter.to.reshape(value, &vector)?;
            Some(Scale { value, axis: Some(*axis) })
        }
        _ => None,
    })
}

/// What flipping the highest bit adds to a signed byte.
const BIAS: i64 = 128;

/// The same numbers as codes that are signed.
fn signed(graph: &mut Graph, codes: Codes) -> Result<Codes, Violation> {
    if graph.ty(codes.value).dtype == DType::I8 {
        return Ok(codes);
    }
    let flip = |graph: &mut Graph, x: Value| {
        let top = graph.number(DType::U8, BIAS as f64)?;
        let flipped = graph.broadcasting(ScalarOp::Xor, &[x, top])?;
        graph.op(Op::Bitcast, &[flipped], smallvec![DType::I8.into()])
    };
    let value = made(graph, codes.value, flip)?;
    let zero = match codes.zero {
        Zero::Known(zero) => Zero::Known(zero - BIAS),
        Zero::Given(zero) => {
            let bias = graph.number(DType::I32, BIAS as f64)?;
            Zero::Given(graph.scalar(ScalarOp::Sub, &[zero, bias])?)
        }
    };
    Ok(Codes { value, zero, ..codes })
}

/// What a function makes of a value, at once if it is a constant.
fn made(
    graph: &mut Graph,
    value: Value,
    function: impl Fn(&mut Graph, Value) -> Result<Value, Violation>,
) -> Result<Value, Violation> {
    let constant = known(graph, value).and_then(|tensor| {
        let mut one = Graph::new("made");
        let value = one.constant(tensor).ok()?;
        let made = function(&mut one, value).ok()?;
        one.add_output("x", made);
        evaluate(&one, &[]).ok()?.pop()
    });
    match constant {
        Some(tensor) => graph.constant(tensor),
        None => function(graph, value),
    }
}

/// A product of codes, with what its operands' axes are.
struct Product {
    x: Codes,
    w: Codes,
    /// The axes of each operand that the result keeps, and where.
    kept: [Vec<(usize, usize)>; 2],
    rank: usize,
    /// The terms of each sum.
    terms: Option<i64>,
}

impl Product {
    fn of_dot(graph: &Graph, node: &Node, x: Codes, w: Codes) -> Option<Product> {
        let list = |name: &str| -> Vec<usize> { ints(node, name).iter().map(|a| *a as usize).collect() };
        let sides =
            [("lhs_batch", "lhs_contract"), ("rhs_batch", "rhs_contract")].map(|(b, c)| (list(b), list(c)));
        let batches = sides[0].0.len();
        let mut rank = batches;
        let mut kept = [Vec::new(), Vec::new()];
        for ((operand, (batch, contract)), kept) in [x.value, w.value].into_iter().zip(&sides).zip(&mut kept)
        {
            kept.extend(batch.iter().enumerate().map(|(to, from)| (*from, to)));
            for axis in 0..graph.ty(operand).shape.rank() {
                if !batch.contains(&axis) && !contract.contains(&axis) {
                    kept.push((axis, rank));
                    rank += 1;
                }
            }
        }
        let shape = &graph.ty(x.value).shape;
        let terms = sides[0].1.iter().map(|a| shape[*a].clone()).product::<Dim>().as_const();
        Product { x, w, kept, rank, terms }.checked()
    }

    fn of_conv(graph: &Graph, node: &Node, x: Codes, w: Codes) -> Option<Product> {
        let rank = graph.ty(x.value).shape.rank();
        let [lo, hi, base] = ["lo", "hi", "base"].map(|n| ints(node, n));
        let plain = base.iter().all(|b| *b == 1) && lo.iter().chain(&hi).all(|p| *p >= 0);
        // Sums over the windows of an image cost as much as the convolution.
        let symmetric = matches!(w.zero, Zero::Known(0));
        let product = Product { x, w, kept: [Vec::new(), vec![(0, 1)]], rank, terms: None };
        (symmetric && (plain || matches!(x.zero, Zero::Known(0)))).then_some(product)?.checked()
    }

    /// Scales must belong to axes of the result, and what zero points add up to must be known.
    fn checked(self) -> Option<Product> {
        let scaled = [(&self.x, &self.kept[0]), (&self.w, &self.kept[1])].into_iter().all(|(codes, kept)| {
            let axis = codes.scale.and_then(|s| s.axis);
            axis.is_none_or(|axis| kept.iter().any(|(from, _)| *from == axis))
        });
        let both = [self.x.zero, self.w.zero].iter().all(|z| !matches!(z, Zero::Known(0)));
        (scaled && (!both || self.terms.is_some())).then_some(self)
    }

    fn build(&self, graph: &mut Graph, node: &Node) -> Result<Value, Violation> {
        let mut attrs = node.attrs.clone();
        if let Some(last) = attrs.last_mut() {
            *last = DType::I32.into();
        }
        let mut x = self.x.value;
        let [lo, hi] = ["lo", "hi"].map(|n| ints(node, n));
        if !matches!(self.x.zero, Zero::Known(0)) && lo.iter().chain(&hi).any(|p| *p != 0) {
            x = self.padded(graph, &lo, &hi)?;
            let none: Ints = smallvec![0; lo.len()];
            (attrs[1], attrs[2]) = (Attr::Ints(none.clone()), Attr::Ints(none));
        }
        let id = graph.push_from(node.op, &[x, self.w.value], attrs, Vec::new(), node.origin.clone())?;
        let mut sums = graph.node(id).result();
        for (own, other) in [(1, self.x.zero), (0, self.w.zero)] {
            if matches!(other, Zero::Known(0)) {
                continue;
            }
            let part = self.sums(graph, own)?;
            let zero = scalar(graph, other)?;
            let part = times(graph, part, zero)?;
            sums = graph.broadcasting(ScalarOp::Sub, &[sums, part])?;
        }
        if let (false, false, Some(terms)) =
            (matches!(self.x.zero, Zero::Known(0)), matches!(self.w.zero, Zero::Known(0)), self.terms)
        {
            let [a, b] = [self.x.zero, self.w.zero];
            let (a, b) = (scalar(graph, a)?, scalar(graph, b)?);
            let both = times(graph, a, b)?;
            let terms = graph.number(DType::I32, terms as f64)?;
            let both = times(graph, both, terms)?;
            sums = graph.broadcasting(ScalarOp::Add, &[sums, both])?;
        }
        let (Some(_), Some(_)) = (self.x.scale, self.w.scale) else { return Ok(sums) };
        let [a, b] = [0, 1].map(|side| self.scale(graph, side));
        let (Some(a), Some(b)) = (a?, b?) else { return Ok(sums) };
        let scale = times(graph, a, b)?;
        let real = graph.cast(sums, DType::F32)?;
        graph.broadcasting(ScalarOp::Mul, &[real, scale])
    }

    /// An image with its zero point around it.
    fn padded(&self, graph: &mut Graph, lo: &[i64], hi: &[i64]) -> Result<Value, Violation> {
        let ty = graph.ty(self.x.value).clone();
        let zero = match self.x.zero {
            Zero::Known(zero) => graph.number(ty.dtype, zero as f64)?,
            Zero::Given(zero) => graph.cast(zero, ty.dtype)?,
        };
        let around =
            |sizes: &[i64]| -> Shape { [0, 0].iter().chain(sizes).map(|size| Dim::from(*size)).collect() };
        let inner: Ints = smallvec![0; ty.shape.rank()];
        let attrs = smallvec![around(lo).into(), around(hi).into(), inner.into()];
        graph.op(Op::Pad, &[self.x.value, zero], attrs)
    }

    /// The sums of an operand over the axes that are summed, laid out for the result.
    fn sums(&self, graph: &mut Graph, side: usize) -> Result<Value, Violation> {
        let value = [self.x.value, self.w.value][side];
        made(graph, value, |graph, value| {
            let rank = graph.ty(value).shape.rank();
            let kept: Vec<usize> = self.kept[side].iter().map(|(from, _)| *from).collect();
            let summed: Vec<usize> = (0..rank).filter(|axis| !kept.contains(axis)).collect();
            let wide = graph.cast(value, DType::I32)?;
            let sums = graph.reduce(Op::ReduceSum, wide, &summed, false)?;
            // The axes that are left, in the order of the result's.
            let mut order: Vec<usize> = (0..kept.len()).collect();
            let mut rest = kept.clone();
            rest.sort_unstable();
            order.sort_by_key(|i| {
                self.kept[side].iter().find(|(from, _)| *from == rest[*i]).map(|(_, to)| *to)
            });
            let sums = graph.transpose(sums, &order)?;
            let own = graph.ty(sums).shape.clone();
            let mut extents = own.iter().cloned();
            let here = |axis: usize| self.kept[side].iter().any(|(_, to)| *to == axis);
            let laid: Shape = (0..self.rank)
                .map(|axis| if here(axis) { extents.next().unwrap_or(Dim::ONE) } else { Dim::ONE })
                .collect();
            graph.reshape(sums, &laid)
        })
    }

    /// The scale of an operand, laid out for the result.
    fn scale(&self, graph: &mut Graph, side: usize) -> Result<Option<Value>, Violation> {
        let Some(scale) = [self.x.scale, self.w.scale][side] else { return Ok(None) };
        let Some(axis) = scale.axis else { return Ok(Some(scale.value)) };
        let Some((_, to)) = self.kept[side].iter().find(|(from, _)| *from == axis) else { return Ok(None) };
        let extent = graph.ty(scale.value).shape[0].clone();
        let laid = (0..self.rank).map(|axis| if axis == *to { extent.clone() } else { Dim::ONE }).collect();
        graph.reshape(scale.value, &laid).map(Some)
    }
}

fn scalar(graph: &mut Graph, zero: Zero) -> Result<Value, Violation> {
    match zero {
        Zero::Known(zero) => graph.number(DType::I32, zero as f64),
        Zero::Given(zero) => Ok(zero),
    }
}

/// The product of two tensors, one of which is a scalar or laid out like the other; at once if both are constants.
fn times(graph: &mut Graph, x: Value, y: Value) -> Result<Value, Violation> {
    match (known(graph, x), known(graph, y)) {
        (Some(_), Some(other)) => made(graph, x, |graph, x| {
            let y = graph.constant(other.clone())?;
            graph.broadcasting(ScalarOp::Mul, &[x, y])
        }),
        _ => graph.broadcasting(ScalarOp::Mul, &[x, y]),
    }
}

fn ints(node: &Node, name: &str) -> Vec<i64> {
    let at = node.op.def().attrs.iter().position(|attr| attr.name == name);
    match at.map(|at| &node.attrs[at]) {
        Some(Attr::Ints(values)) => values.to_vec(),
        _ => Vec::new(),
    }
}
