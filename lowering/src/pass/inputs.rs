//! Random inputs on which a program is likely to have a value: small symbols in their ranges, indices inside of
//! what they index.

use rustc_hash::FxHashMap;
use tcc_ir::dim::{Bindings, Dim, Ranges, Symbol};
use tcc_ir::dtype::{DType, Scalar};
use tcc_ir::graph::{Attr, Def, Graph, Node, Op, Value};
use tcc_ir::mem::Memory;
use tcc_ir::shape::TensorType;
use tcc_ir::tensor::{Tensor, TensorError};

use super::Ir;

/// Inputs of a program with the values of its symbols.
#[derive(Clone, Debug)]
pub struct Sample {
    /// A tensor for each parameter.
    pub inputs: Vec<Tensor>,
    /// The values of the symbols of the parameters.
    pub bindings: Bindings,
}

/// Why no inputs can be made.
#[derive(Clone, Debug, thiserror::Error)]
pub enum InputError {
    /// They would be too large to interpret a program on.
    #[error("expected inputs of at most {MAX_INPUT_ELEMENTS} elements, got {0}")]
    TooLarge(usize),
    /// An extent is negative for the values chosen.
    #[error("expected an extent that is not negative, got {dim} = {value}")]
    Negative {
        /// The extent.
        dim: Dim,
        /// Its value.
        value: i64,
    },
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// Interpreters are slow: inputs beyond this would take minutes.
const MAX_INPUT_ELEMENTS: usize = 1 << 24;

/// Symbols are not made larger than this above the least value of their range.
const SYMBOL_SPREAD: i64 = 5;

/// Loops are asked for at most so many iterations.
const MAX_TRIPS: u64 = 4;

/// Inputs that depend on the seed alone. With `specials` some floats are zeros of either sign, infinities and
/// NaN.
pub fn random_inputs(ir: &Ir, seed: u64, specials: bool) -> Result<Sample, InputError> {
    let (params, ranges): (Vec<TensorType>, &Ranges) = match ir {
        Ir::Graph(graph) => (graph.param_types().cloned().collect(), &graph.ranges),
        Ir::Nest(nest) => (nest.inputs.iter().map(|b| b.ty.clone()).collect(), &nest.ranges),
        Ir::Program(program) => {
            let flat = |m: &Memory| TensorType::new(m.dtype, [m.elements.clone()].into_iter().collect());
            (program.inputs.iter().map(flat).collect(), &program.ranges)
        }
    };
    // Those that no parameter's extent shows count too: outputs, offsets, declared ranges.
    let mut symbols: Vec<Symbol> = ranges.iter().map(|(symbol, _)| symbol.clone()).collect();
    symbols.extend(match ir {
        Ir::Graph(_) => Vec::new(),
        Ir::Nest(nest) => nest.symbols(),
        Ir::Program(program) => program.symbols(),
    });
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03);
    let bindings = bind_symbols(&params, symbols, ranges, &mut random);
    let limits = match ir {
        Ir::Graph(graph) => integer_limits(graph, &bindings),
        Ir::Nest(_) | Ir::Program(_) => FxHashMap::default(),
    };
    let mut inputs = Vec::new();
    let mut elements = 0usize;
    for (i, ty) in params.iter().enumerate() {
        let extents = extents(ty, &bindings)?;
        elements = elements.saturating_add(extents.iter().fold(1usize, |n, e| n.saturating_mul(*e)));
        if elements > MAX_INPUT_ELEMENTS {
            return Err(InputError::TooLarge(elements));
        }
        let mut tensor = match limits.get(&i) {
            Some(limit) => limited(ty.dtype, &extents, limit, &mut random)?,
            None => Tensor::random(ty.dtype, &extents, random.next())?,
        };
        if specials && ty.dtype.is_float() {
            sprinkle(&mut tensor, &mut random)?;
        }
        inputs.push(tensor);
    }
    Ok(Sample { inputs, bindings })
}

fn bind_symbols(params: &[TensorType], more: Vec<Symbol>, ranges: &Ranges, random: &mut Random) -> Bindings {
    let mut bindings = Bindings::new();
    for symbol in params.iter().flat_map(|ty| ty.shape.iter()).flat_map(|dim| dim.symbols()).chain(more) {
        let range = ranges.get(&symbol);
        // An extent of zero is rarely what a program is about.
        let lo = if range.lo <= 0 && range.hi > 0 && random.below(8) > 0 { 1 } else { range.lo };
        let hi = range.hi.min(lo.saturating_add(SYMBOL_SPREAD));
        let width = u64::try_from(hi.saturating_sub(lo)).unwrap_or(0) + 1;
        let value = lo + random.below(width) as i64;
        bindings.entry(symbol).or_insert(value);
    }
    bindings
}

fn extents(ty: &TensorType, bindings: &Bindings) -> Result<Vec<usize>, InputError> {
    let extent = |dim: &Dim| {
        // Every symbol of a parameter has been bound.
        let value = dim.eval(bindings).unwrap_or(-1);
        usize::try_from(value).map_err(|_| InputError::Negative { dim: dim.clone(), value })
    };
    ty.shape.iter().map(extent).collect()
}

/// What the elements of an integer parameter must be.
enum Limit {
    /// Below a number.
    Below(u64),
    /// Values for symbols, one after the other.
    Symbols(Vec<(i64, i64)>),
}

fn limited(
    dtype: DType,
    extents: &[usize],
    limit: &Limit,
    random: &mut Random,
) -> Result<Tensor, TensorError> {
    let count: usize = extents.iter().product();
    let value = |i: usize, random: &mut Random| match limit {
        Limit::Below(bound) => random.below((*bound).max(1)) as i64,
        Limit::Symbols(ranges) => {
            let (lo, hi) = ranges.get(i).copied().unwrap_or((0, 0));
            lo + random.below(u64::try_from(hi.saturating_sub(lo)).unwrap_or(0) + 1) as i64
        }
    };
    let values: Vec<Scalar> = (0..count).map(|i| Scalar::Int(i128::from(value(i, random)))).collect();
    Tensor::from_scalars(dtype, extents, &values)
}

/// Of the parameters that are used as indices, trip counts or sizes, by position.
fn integer_limits(graph: &Graph, bindings: &Bindings) -> FxHashMap<usize, Limit> {
    let mut limits: FxHashMap<usize, Limit> = FxHashMap::default();
    let mut narrow = |value: Value, bound: u64| {
        if let Some(param) = source_param(graph, value) {
            let entry = limits.entry(param).or_insert(Limit::Below(bound));
            if let Limit::Below(known) = entry {
                *known = bound.min(*known);
            }
        }
    };
    let extent = |dim: &Dim| dim.eval(bindings).ok().and_then(|v| u64::try_from(v).ok()).unwrap_or(1);
    let shape = |node: &Node| graph.ty(node.operands[0]).shape.clone();
    let axis = |node: &Node| match node.attr("axis") {
        Attr::Int(axis) => *axis as usize,
        _ => 0,
    };
    for (_, node) in graph.nodes() {
        match node.op {
            Op::Gather | Op::GatherElements | Op::ScatterElements => {
                narrow(node.operands[1], extent(&shape(node)[axis(node)]));
            }
            Op::GatherNd | Op::ScatterNd => {
                let skipped = match (node.op, node.attrs.first()) {
                    (Op::GatherNd, Some(Attr::Int(batch))) => *batch as usize,
                    _ => 0,
                };
                let coordinates = graph.ty(node.operands[1]).shape.last().map_or(0, &extent) as usize;
                let shape = shape(node);
                let bound = shape.iter().skip(skipped).take(coordinates).map(&extent).min();
                narrow(node.operands[1], bound.unwrap_or(1));
            }
            Op::Loop => narrow(node.operands[0], MAX_TRIPS + 1),
            Op::Nms => narrow(node.operands[2], MAX_TRIPS + 1),
            _ => {}
        }
    }
    for (_, node) in graph.nodes().filter(|(_, n)| n.op == Op::BindDims) {
        if let (Some(param), Some(Attr::Dims(symbols))) =
            (source_param(graph, node.operands[0]), node.attrs.first())
        {
            let range = |dim: &Dim| match (dim.eval(bindings), dim.as_symbol()) {
                (Ok(known), _) => (known, known),
                (Err(_), Some(symbol)) => small_range(graph, symbol),
                (Err(_), None) => (0, 0),
            };
            limits.insert(param, Limit::Symbols(symbols.iter().map(range).collect()));
        }
    }
    limits
}

fn small_range(graph: &Graph, symbol: &Symbol) -> (i64, i64) {
    let range = graph.ranges.get(symbol);
    let lo = if range.lo <= 0 && range.hi > 0 { 1 } else { range.lo };
    (lo, range.hi.min(lo.saturating_add(SYMBOL_SPREAD)))
}

/// The parameter whose elements a value has, perhaps in another arrangement.
fn source_param(graph: &Graph, mut value: Value) -> Option<usize> {
    loop {
        match graph.def(value) {
            Def::Param(i) => return graph.ty(value).dtype.is_int().then_some(i as usize),
            Def::Result(id, _) => {
                let node = graph.node(id);
                let keeps = matches!(
                    node.op,
                    Op::Cast | Op::Reshape | Op::Transpose | Op::Broadcast | Op::Slice | Op::Reverse
                );
                value = *node.operands.first().filter(|_| keeps)?;
            }
        }
    }
}

fn sprinkle(tensor: &mut Tensor, random: &mut Random) -> Result<(), TensorError> {
    let special = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let dtype = tensor.dtype();
    for position in 0..tensor.len() {
        if random.below(6) == 0 {
            let value = special[random.below(special.len() as u64) as usize];
            tensor.set_flat(position, Scalar::Float(value).round_to(dtype))?;
        }
    }
    Ok(())
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
