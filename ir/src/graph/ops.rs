//! The op table: the one place where a graph op exists.
//!
//! Parser, printer, verifier, builder, e-graph node, documentation and interpreter follow from an entry. A
//! constraint on operands and attributes carries a label, `(C1)`, in the text here; the same label is the code
//! of the error that [`super::infer`] raises and the name of a file test.
//!
//! Elementwise ops are not listed one by one: each [`ScalarOp`] is an op over tensors of one shape.

use std::sync::LazyLock;

use super::attr::{AttrDef, AttrKind};
use super::eval::{self, EvalFn};
use super::infer::{self, InferFn};
use crate::numerics::Numerics::{self, *};
use crate::scalar::ScalarOp;

/// Everything the compiler knows of an op.
pub struct OpDef {
    /// The name in text.
    pub name: &'static str,
    /// The names of the operands that are always there.
    pub operands: &'static [&'static str],
    /// The name of the operands that may follow, any number of them.
    pub rest: Option<&'static str>,
    /// The attributes, all of which a node has.
    pub attrs: &'static [AttrDef],
    /// The names of the regions.
    pub regions: &'static [&'static str],
    /// Whether its results or attributes may name symbols for the first time, bound when it runs.
    pub binds: bool,
    /// The types of the results.
    pub infer: InferFn,
    /// What it means.
    pub eval: EvalFn,
    /// How far a backend's result may be off.
    pub numerics: Numerics,
    /// Its documentation, with labelled constraints.
    pub doc: &'static str,
}

macro_rules! ops {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal ($($operand:ident),* $(; $rest:ident)?)
       [$($attr:ident : $kind:ident),*] $(regions($($region:ident),*))? $($binds:literal)?
       { infer: $infer:path, eval: $eval:path, numerics: $numerics:expr })*) => {
        /// What a node computes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Op {
            /// A scalar operation on every element.
            Scalar(ScalarOp),
            $($(#[doc = $doc])* $variant),*
        }

        static STRUCTURED: &[(Op, OpDef)] = &[$((Op::$variant, OpDef {
            name: $name,
            operands: &[$(stringify!($operand)),*],
            rest: first!([$(Some(stringify!($rest)))?] None),
            attrs: &[$(AttrDef { name: stringify!($attr), kind: AttrKind::$kind }),*],
            regions: first!([$(&[$(stringify!($region)),*])?] &[]),
            binds: first!([$($binds)?] false),
            infer: $infer,
            eval: $eval,
            numerics: $numerics,
            doc: concat!($($doc, "\n"),*),
        })),*];
    };
}

/// The first expression if there is one, else the second.
macro_rules! first {
    ([] $default:expr) => {
        $default
    };
    ([$given:expr] $default:expr) => {
        $given
    };
}

#[rustfmt::skip]
ops! {
    // ── sources ──────────────────────────────────────────────────────────────────────────────────────────────

    /// A constant.
    Const = "const"() [value: Tensor] { infer: infer::source::constant, eval: eval::source::constant, numerics: Exact }

    /// `out[i0, …] = i_axis` as `dtype`.
    ///
    /// (C1) `axis` is below the rank of `shape`. (C2) `dtype` is a float or integer type.
    Iota = "iota"() [shape: Dims, axis: Int, dtype: DType] { infer: infer::source::iota, eval: eval::source::iota, numerics: Exact }

    /// The values of integer expressions, as a vector of i64.
    Dims = "dims"() [values: Dims] { infer: infer::source::dims, eval: eval::source::dims, numerics: Exact }

    /// Gives names to the elements of `sizes`, which is also the result: shapes and attributes of later nodes
    /// may use them.
    ///
    /// (C1) `sizes` is i64 of rank 1 and as long as `symbols`. (C2) each of `symbols` is a name.
    BindDims = "bind_dims"(sizes) [symbols: Dims] true
        { infer: infer::source::bind_dims, eval: eval::source::bind_dims, numerics: Exact }

    /// Random bits from a counter-based generator: the same `key` gives the same bits on every backend. Element
    /// i is the low half of round ten of Philox-4x32 for key `key` and counter `i / 4`, word `i % 4`.
    ///
    /// (C1) `key` is u64 of rank 0.
    RandomBits = "random_bits"(key) [shape: Dims] { infer: infer::source::random_bits, eval: eval::source::random_bits, numerics: Exact }

    // ── movement ─────────────────────────────────────────────────────────────────────────────────────────────

    /// The same elements in row-major order under another shape.
    ///
    /// (C1) the element counts can be equal.
    Reshape = "reshape"(x) [shape: Dims] { infer: infer::movement::reshape, eval: eval::movement::reshape, numerics: Exact }

    /// Reorders axes: `out.shape[i] = x.shape[perm[i]]`.
    ///
    /// (C1) `perm` is a permutation of `0..rank(x)`.
    Transpose = "transpose"(x) [perm: Ints] { infer: infer::movement::transpose, eval: eval::movement::transpose, numerics: Exact }

    /// Repeats elements along axes of extent 1 and along new leading axes, as NumPy does.
    ///
    /// (C1) the rank of `shape` is not below that of `x`. (C2) each extent of `x` can be 1 or that of `shape`,
    /// aligned at the last axis.
    Broadcast = "broadcast"(x) [shape: Dims] { infer: infer::movement::broadcast, eval: eval::movement::broadcast, numerics: Exact }

    /// `out[i, …] = x[starts + i * steps, …]` for `i` below `sizes`.
    ///
    /// (C1) `starts`, `sizes` and `steps` have one entry for each axis. (C2) no step is zero. (C3) no element
    /// lies outside of `x`.
    Slice = "slice"(x) [starts: Dims, sizes: Dims, steps: Ints] { infer: infer::movement::slice, eval: eval::movement::slice, numerics: Exact }

    /// Surrounds `x` with `value`: `lo` elements before and `hi` after along each axis, and `inner` between
    /// neighbours.
    ///
    /// (C1) `lo`, `hi` and `inner` have one entry for each axis. (C2) none is negative. (C3) `value` is a scalar
    /// of the type of `x`.
    Pad = "pad"(x, value) [lo: Dims, hi: Dims, inner: Ints] { infer: infer::movement::pad, eval: eval::movement::pad, numerics: Exact }

    /// Joins tensors along an axis.
    ///
    /// (C1) there is at least one operand. (C2) all have one element type and rank. (C3) `axis` is below the
    /// rank. (C4) the extents of the other axes can be equal.
    Concat = "concat"(;xs) [axis: Int] { infer: infer::movement::concat, eval: eval::movement::concat, numerics: Exact }

    /// Reverses the order along axes.
    ///
    /// (C1) `axes` are distinct and below the rank.
    Reverse = "reverse"(x) [axes: Ints] { infer: infer::movement::reverse, eval: eval::movement::reverse, numerics: Exact }

    /// The same elements, which lowering writes to memory of their own: how a layout is asked for.
    Copy = "copy"(x) [] { infer: infer::movement::copy, eval: eval::movement::copy, numerics: Exact }

    // ── gather and scatter ───────────────────────────────────────────────────────────────────────────────────

    /// `out[a…, i…, b…] = x[a…, indices[i…], b…]`, with `indices` standing at `axis`. An index outside of the
    /// axis is an error.
    ///
    /// (C1) `axis` is below the rank of `x`. (C2) `indices` are integers.
    Gather = "gather"(x, indices) [axis: Int] { infer: infer::indexed::gather, eval: eval::indexed::gather, numerics: Exact }

    /// `out[…, i, …] = x[…, indices[…, i, …], …]`, the index replacing the coordinate at `axis`.
    ///
    /// (C1) `axis` is below the rank of `x`. (C2) `indices` are integers of the rank of `x`. (C3) away from
    /// `axis`, no extent of `indices` exceeds that of `x`.
    GatherElements = "gather_elements"(x, indices) [axis: Int]
        { infer: infer::indexed::gather_elements, eval: eval::indexed::gather_elements, numerics: Exact }

    /// Rows of `indices` are coordinates into `x` behind its first `batch` axes, which both share.
    ///
    /// (C1) `indices` are integers of rank at least 1. (C2) `batch` is below the rank of `indices` and not above
    /// that of `x`. (C3) the last extent of `indices` is a number not above the rank of `x` less `batch`. (C4)
    /// the first `batch` extents are equal.
    GatherNd = "gather_nd"(x, indices) [batch: Int] { infer: infer::indexed::gather_nd, eval: eval::indexed::gather_nd, numerics: Exact }

    /// `x` with `updates` combined into the places that `gather_elements` would read. `reduce` is `none` (of
    /// several updates of a place the last one stays), `add`, `mul`, `max` or `min`.
    ///
    /// (C1) `axis` is below the rank of `x`. (C2) `indices` are integers of the shape of `updates`. (C3) all have
    /// one rank. (C4) `updates` is of the type of `x`. (C5) `reduce` is one of the five words.
    ScatterElements = "scatter_elements"(x, indices, updates) [axis: Int, reduce: Text]
        { infer: infer::indexed::scatter_elements, eval: eval::indexed::scatter_elements, numerics: Reassociates }

    /// `x` with slices of `updates` combined into the places that `gather_nd` with `batch` 0 would read.
    ///
    /// (C1) `indices` are integers of rank at least 1, its last extent a number not above the rank of `x`. (C2)
    /// `updates` is of the type of `x`. (C3) the shape of `updates` is that of what `gather_nd` would give. (C4)
    /// `reduce` is `none`, `add`, `mul`, `max` or `min`.
    ScatterNd = "scatter_nd"(x, indices, updates) [reduce: Text]
        { infer: infer::indexed::scatter_nd, eval: eval::indexed::scatter_nd, numerics: Reassociates }

    // ── contraction ──────────────────────────────────────────────────────────────────────────────────────────

    /// Sums products over paired axes. The result has the batch axes, then the free axes of `lhs`, then those of
    /// `rhs`. Sums are kept in f32 at least, or in i32 at least, and rounded to `dtype` once.
    ///
    /// (C1) the axes lists of a side are distinct and below its rank. (C2) paired lists are equally long. (C3)
    /// paired extents are equal. (C4) both are float types or both are integer types, as is `dtype`.
    Dot = "dot"(lhs, rhs) [lhs_batch: Ints, rhs_batch: Ints, lhs_contract: Ints, rhs_contract: Ints, dtype: DType]
        { infer: infer::contraction::dot, eval: eval::contraction::dot, numerics: Reassociates }

    /// Windowed contraction of `x: [N, C, spatial…]` with `w: [O, C / groups, window…]`. `x` is first spread by
    /// `base` (zeros between neighbours), then padded with zeros by `lo` and `hi` (negative values crop).
    ///
    /// (C1) `x` and `w` have one rank of at least 2, and the lists one entry for each spatial axis. (C2) strides,
    /// dilations and base dilations are positive. (C3) `groups` divides both channel extents, and `w` has the
    /// channels of one group. (C4) both are float types or both are integer types, as is `dtype`.
    Conv = "conv"(x, w) [strides: Ints, lo: Ints, hi: Ints, dilation: Ints, base: Ints, groups: Int, dtype: DType]
        { infer: infer::contraction::conv, eval: eval::contraction::conv, numerics: Reassociates }

    /// The factors of a Winograd convolution with windows of 3 by 3: `Bᵀ d B` for every window `d` of `m + 2` by
    /// `m + 2` pixels of `x: [n, h, w, c]` surrounded by `lo` and `hi` zeros, `m` apart. The result is
    /// `[(m + 2)², n, rows of tiles, tiles of a row, c]`. What lies outside of `x` is zero.
    ///
    /// (C1) `x` has 4 axes and a float type. (C2) `m` is 2 or 4. (C3) `lo` and `hi` have an entry for height and
    /// width, and none is negative.
    WinogradIn = "winograd_in"(x) [m: Int, lo: Ints, hi: Ints]
        { infer: infer::winograd::input, eval: eval::winograd::input, numerics: Reassociates }

    /// The pixels of a Winograd convolution: `Aᵀ p A` for the products `p` of every tile of
    /// `x: [(m + 2)², n, rows of tiles, tiles of a row, c]`, less what overhangs `sizes`.
    ///
    /// (C1) `x` has 5 axes and a float type. (C2) `m` is 2 or 4. (C3) the first axis can be as long as a tile has
    /// products. (C4) `sizes` has an entry for height and width, and the tiles can be those that cover them.
    WinogradOut = "winograd_out"(x) [m: Int, sizes: Dims]
        { infer: infer::winograd::output, eval: eval::winograd::output, numerics: Reassociates }

    // ── reduction ────────────────────────────────────────────────────────────────────────────────────────────

    /// The sum over axes, which vanish. Of float types narrower than f32 it is kept in f32.
    ///
    /// (C1) `axes` are distinct and below the rank. (C2) the type is a float or integer type.
    ReduceSum = "reduce_sum"(x) [axes: Ints] { infer: infer::reduction::arithmetic, eval: eval::reduction::sum, numerics: Reassociates }

    /// The product over axes, which vanish.
    ///
    /// (C1) `axes` are distinct and below the rank. (C2) the type is a float or integer type.
    ReduceProd = "reduce_prod"(x) [axes: Ints] { infer: infer::reduction::arithmetic, eval: eval::reduction::prod, numerics: Reassociates }

    /// The largest over axes, which vanish; of no elements the least value of the type. Of bools, whether any.
    ///
    /// (C1) `axes` are distinct and below the rank.
    ReduceMax = "reduce_max"(x) [axes: Ints] { infer: infer::reduction::extremum, eval: eval::reduction::max, numerics: Exact }

    /// The smallest over axes, which vanish; of no elements the largest value of the type. Of bools, whether all.
    ///
    /// (C1) `axes` are distinct and below the rank.
    ReduceMin = "reduce_min"(x) [axes: Ints] { infer: infer::reduction::extremum, eval: eval::reduction::min, numerics: Exact }

    /// The index of the largest along an axis, which vanishes; of equals the first, or the `last`.
    ///
    /// (C1) `axis` is below the rank.
    ArgMax = "argmax"(x) [axis: Int, last: Bool] { infer: infer::reduction::arg, eval: eval::reduction::argmax, numerics: Exact }

    /// The index of the smallest along an axis, which vanishes; of equals the first, or the `last`.
    ///
    /// (C1) `axis` is below the rank.
    ArgMin = "argmin"(x) [axis: Int, last: Bool] { infer: infer::reduction::arg, eval: eval::reduction::argmin, numerics: Exact }

    /// The largest of each window over the last axes; padding holds the least value of the type.
    ///
    /// (C1) the lists have one entry for each of the last axes. (C2) windows, strides and dilations are positive,
    /// paddings not negative. (C3) the type is a float or integer type.
    PoolMax = "pool_max"(x) [window: Ints, strides: Ints, lo: Ints, hi: Ints, dilation: Ints]
        { infer: infer::reduction::pool, eval: eval::reduction::pool_max, numerics: Exact }

    /// The sum of each window over the last axes; padding holds zeros.
    ///
    /// (C1) the lists have one entry for each of the last axes. (C2) windows, strides and dilations are positive,
    /// paddings not negative. (C3) the type is a float or integer type.
    PoolSum = "pool_sum"(x) [window: Ints, strides: Ints, lo: Ints, hi: Ints, dilation: Ints]
        { infer: infer::reduction::pool, eval: eval::reduction::pool_sum, numerics: Reassociates }

    /// Where `pool_max` finds its first largest element: its row-major index within the pooled axes of `x`.
    ///
    /// (C1) the lists have one entry for each of the last axes. (C2) windows, strides and dilations are positive,
    /// paddings not negative. (C3) the type is a float or integer type.
    PoolArgMax = "pool_argmax"(x) [window: Ints, strides: Ints, lo: Ints, hi: Ints, dilation: Ints]
        { infer: infer::reduction::pool_argmax, eval: eval::reduction::pool_argmax, numerics: Exact }

    /// Running sums along an axis; `exclusive` leaves out the element itself, `reverse` starts at the end.
    ///
    /// (C1) `axis` is below the rank. (C2) the type is a float or integer type.
    CumSum = "cumsum"(x) [axis: Int, exclusive: Bool, reverse: Bool]
        { infer: infer::reduction::cumulative, eval: eval::reduction::cumsum, numerics: Reassociates }

    /// Running products along an axis.
    ///
    /// (C1) `axis` is below the rank. (C2) the type is a float or integer type.
    CumProd = "cumprod"(x) [axis: Int, exclusive: Bool, reverse: Bool]
        { infer: infer::reduction::cumulative, eval: eval::reduction::cumprod, numerics: Reassociates }

    // ── order ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Sorts along an axis and gives the sorted elements and where each stood. Equal elements keep their order;
    /// NaN is larger than all.
    ///
    /// (C1) `axis` is below the rank.
    Sort = "sort"(x) [axis: Int, descending: Bool] { infer: infer::order::sort, eval: eval::order::sort, numerics: Exact }

    /// The `k` largest (or smallest) along an axis in order, and where each stood; of equals the first come first.
    ///
    /// (C1) `axis` is below the rank. (C2) `k` can be at most the extent.
    TopK = "top_k"(x) [k: Dim, axis: Int, largest: Bool] { infer: infer::order::top_k, eval: eval::order::top_k, numerics: Exact }

    /// The coordinates of elements that are not zero, one column each, in row-major order.
    ///
    /// (C1) `count` is a name.
    NonZero = "nonzero"(x) [count: Dim] true { infer: infer::order::nonzero, eval: eval::order::nonzero, numerics: Exact }

    /// The distinct slices along an axis (`sorted`, or in order of first occurrence), where each stands first,
    /// which one each slice of `x` is, and how often each occurs.
    ///
    /// (C1) `axis` is below the rank. (C2) `count` is a name.
    Unique = "unique"(x) [axis: Int, sorted: Bool, count: Dim] true { infer: infer::order::unique, eval: eval::order::unique, numerics: Exact }

    /// Non-maximum suppression: of `boxes: [B, N, 4]` and `scores: [B, C, N]`, rows (batch, class, box) of the
    /// boxes kept, best first: scores above `min_score`, overlaps with better ones at most `max_overlap`, and at
    /// most `limit` of a class. Boxes are two corners (y1, x1, y2, x2), or (x, y, width, height) if `centered`.
    ///
    /// (C1) the shapes are as said. (C2) `boxes`, `scores`, `max_overlap` and `min_score` are of one float type,
    /// `limit` is i64, and the last three are scalars. (C3) `count` is a name.
    Nms = "nms"(boxes, scores, limit, max_overlap, min_score) [centered: Bool, count: Dim] true
        { infer: infer::order::nms, eval: eval::order::nms, numerics: Exact }

    // ── types ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Converts elements: floats round to nearest even, floats to integers truncate and saturate, integers wrap,
    /// bools are 0 or 1 and true is what is not zero. `saturate` says whether values beyond the range of an
    /// 8-bit float give its largest, or infinity or NaN.
    Cast = "cast"(x) [dtype: DType, saturate: Bool] { infer: infer::types::cast, eval: eval::types::cast, numerics: Exact }

    /// The same bits under another type.
    ///
    /// (C1) both types have the same width.
    Bitcast = "bitcast"(x) [dtype: DType] { infer: infer::types::bitcast, eval: eval::types::bitcast, numerics: Exact }

    /// `saturate(round_to_even(x / scale) + zero)`, computed in f32 at least; to a float type without the
    /// rounding to integers. NaN gives zero where integers do. Each extent of `scale` and `zero` divides that of `x`: 1 for a tensor, the extent
    /// for an axis, a part of it for groups.
    ///
    /// (C1) `x` is a float type. (C2) `scale` is a float type, `zero` of type `dtype`. (C3) the extents divide.
    Quantize = "quantize"(x, scale, zero) [dtype: DType] { infer: infer::types::quantize, eval: eval::types::quantize, numerics: Rounding { ulps: 1 } }

    /// `(x - zero) * scale` as `dtype`, with extents as for `quantize`.
    ///
    /// (C1) `dtype` is a float type. (C2) `scale` is a float type, `zero` of the type of `x`. (C3) the extents
    /// divide.
    Dequantize = "dequantize"(x, scale, zero) [dtype: DType]
        { infer: infer::types::dequantize, eval: eval::types::dequantize, numerics: Rounding { ulps: 2 } }

    // ── control ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Runs one of two regions with the operands behind `cond`.
    ///
    /// (C1) `cond` is a bool scalar. (C2) the parameters of both regions have the types of the operands. (C3)
    /// the outputs of both can have the `types`.
    If = "if"(cond;xs) [types: Types] regions(then_branch, else_branch) true
        { infer: infer::control::branch, eval: eval::control::branch, numerics: Exact }

    /// Runs a region up to `trip` times while its condition holds. Operands behind `cond` are the `carried`
    /// values, then captured ones. The region takes the iteration (i64), the carried and the captured values; it
    /// gives the condition for going on, the carried values, and values that are stacked along a new first axis.
    ///
    /// (C1) `trip` is an i64 scalar, `cond` a bool scalar. (C2) `carried` is not above the operands behind
    /// `cond`. (C3) the region's parameters can have the types of the operands. (C4) its outputs are a bool
    /// scalar and as many as there are `types`, with the carried first. (C5) results can have the `types`.
    Loop = "loop"(trip, cond;xs) [carried: Int, types: Types] regions(body) true
        { infer: infer::control::repeat, eval: eval::control::repeat, numerics: Exact }

    /// A group of nodes that is compiled as one kernel; it means what its region means.
    ///
    /// (C1) the parameters of the region have the types of the operands.
    Kernel = "kernel"(;xs) [] regions(body) { infer: infer::control::kernel, eval: eval::control::kernel, numerics: Exact }

    /// A function the embedder supplies.
    ///
    /// (C1) `target` is not empty.
    CustomCall = "custom_call"(;xs) [target: Text, types: Types] true
        { infer: infer::control::custom_call, eval: eval::control::custom_call, numerics: Exact }

    // ── composites: ops with better kernels than what they decompose into ────────────────────────────────────

    /// `exp(x - max) / sum(exp(x - max))` along an axis.
    ///
    /// (C1) `axis` is below the rank. (C2) `x` is a float type.
    Softmax = "softmax"(x) [axis: Int] { infer: infer::composite::along_axis, eval: eval::composite::softmax, numerics: Reassociates }

    /// The logarithm of the softmax.
    ///
    /// (C1) `axis` is below the rank. (C2) `x` is a float type.
    LogSoftmax = "log_softmax"(x) [axis: Int] { infer: infer::composite::along_axis, eval: eval::composite::log_softmax, numerics: Reassociates }

    /// `(x - mean) / sqrt(variance + eps) * scale + bias` over the axes from `axis` on.
    ///
    /// (C1) `axis` is below the rank. (C2) `x` is a float type. (C3) `scale` and `bias` are of the type of `x`
    /// and of the shape of its axes from `axis` on.
    LayerNorm = "layer_norm"(x, scale, bias) [axis: Int, eps: Float]
        { infer: infer::composite::layer_norm, eval: eval::composite::layer_norm, numerics: Reassociates }

    /// `x / sqrt(mean(x²) + eps) * scale` over the axes from `axis` on.
    ///
    /// (C1) `axis` is below the rank. (C2) `x` is a float type. (C3) `scale` is of the type of `x` and of the
    /// shape of its axes from `axis` on.
    RmsNorm = "rms_norm"(x, scale) [axis: Int, eps: Float]
        { infer: infer::composite::layer_norm, eval: eval::composite::rms_norm, numerics: Reassociates }

    /// `(x - mean) / sqrt(variance + eps) * scale + bias` where mean and variance are taken over each of
    /// `groups` groups of channels (axis 1) of each sample.
    ///
    /// (C1) `x` is a float type of rank at least 2. (C2) `groups` divides the channels. (C3) `scale` and `bias`
    /// are vectors of the channels of the type of `x`.
    GroupNorm = "group_norm"(x, scale, bias) [groups: Int, eps: Float]
        { infer: infer::composite::group_norm, eval: eval::composite::group_norm, numerics: Reassociates }

    /// `softmax(cap(q kᵀ · scale) + mask) v` over `q: [B, H, S, D]`, `k: [B, G, T, D]`, `v: [B, G, T, E]`, where
    /// each of the G key heads serves H / G query heads. `mask`, if given, broadcasts to [B, H, S, T]: floats are
    /// added, a false bool excludes. `causal` excludes keys beyond `T - S` plus the row. `cap(x)` is
    /// `softcap · tanh(x / softcap)` unless `softcap` is zero. A row that excludes every key gives zeros.
    ///
    /// (C1) the ranks are 4 and the types one float type. (C2) paired extents are equal and G divides H. (C3)
    /// there is at most one mask, of bool or the type of `q`, and it broadcasts.
    Attention = "attention"(q, k, v;mask) [scale: Float, causal: Bool, softcap: Float]
        { infer: infer::composite::attention, eval: eval::composite::attention, numerics: Reassociates }

    /// The determinants of square matrices.
    ///
    /// (C1) the rank is at least 2 and the last two extents are equal. (C2) `x` is a float type.
    Det = "det"(x) [] { infer: infer::composite::det, eval: eval::composite::det, numerics: Reassociates }
}

static SCALARS: LazyLock<Vec<OpDef>> = LazyLock::new(|| {
    let entry = |op: &ScalarOp| OpDef {
        name: op.name(),
        operands: op.def().operands,
        rest: None,
        attrs: &[],
        regions: &[],
        binds: false,
        infer: infer::elementwise::scalar,
        eval: eval::elementwise::scalar,
        numerics: op.def().numerics,
        doc: op.def().doc,
    };
    ScalarOp::ALL.iter().map(entry).collect()
});

impl Op {
    /// Every op: the scalar operations, then the table.
    pub fn all() -> impl Iterator<Item = Op> {
        ScalarOp::ALL.iter().map(|op| Op::Scalar(*op)).chain(STRUCTURED.iter().map(|(op, _)| *op))
    }

    /// The table entry.
    pub fn def(self) -> &'static OpDef {
        match self {
            Op::Scalar(op) => &SCALARS[op as usize],
            op => &STRUCTURED[op.index()].1,
        }
    }

    /// The position in the table, which lists ops in the order of the enum.
    fn index(self) -> usize {
        STRUCTURED.binary_search_by_key(&self, |(op, _)| *op).unwrap_or(0)
    }

    /// The name in text.
    pub fn name(self) -> &'static str {
        self.def().name
    }

    /// The op of a name.
    pub fn from_name(name: &str) -> Option<Op> {
        static NAMES: LazyLock<rustc_hash::FxHashMap<&'static str, Op>> =
            LazyLock::new(|| Op::all().map(|op| (op.name(), op)).collect());
        NAMES.get(name).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_lead_back() {
        for op in Op::all() {
            assert_eq!(Op::from_name(op.name()), Some(op));
        }
        assert!(STRUCTURED.is_sorted_by_key(|(op, _)| *op));
    }
}
