//! What graphs mean: a slow, obvious interpreter.

pub(super) mod composite;
pub(super) mod contraction;
pub(super) mod control;
pub(super) mod elementwise;
pub(super) mod indexed;
pub(super) mod movement;
mod number;
pub(super) mod order;
mod place;
pub(super) mod reduction;
pub(super) mod source;
pub(super) mod types;
mod window;
pub(super) mod winograd;

use smallvec::SmallVec;

use super::{Attr, Graph, Node, Op, Typing};
use crate::dim::{Bindings, Dim, Ranges, Symbol};
use crate::shape::{Extents, Shape, TensorType};
use crate::tensor::{Tensor, TensorError};

/// What one op means: from operands to results.
pub type EvalFn = fn(&Call<'_>) -> Result<Vec<Tensor>, EvalError>;

/// Why a graph has no value for some inputs.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EvalError {
    /// The inputs do not fit the parameters.
    #[error("input `{name}`: expected {expected}, got {got}")]
    Input {
        /// The parameter.
        name: String,
        /// Its type.
        expected: String,
        /// What was given.
        got: String,
    },
    /// Something that only values can show: an index out of bounds, extents that differ after all.
    #[error("{message}")]
    Value {
        /// Expected …, got ….
        message: String,
    },
    /// A symbol was used before anything bound it.
    #[error("expected a value for the symbol `{0}`, got none")]
    Unbound(Symbol),
    /// A tensor could not be made.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An error in a node.
    #[error("{node}: {source}")]
    At {
        /// The op and what it came from.
        node: String,
        /// What happened there.
        source: Box<EvalError>,
    },
}

impl EvalError {
    /// An error that only values can show.
    pub fn value(message: impl Into<String>) -> EvalError {
        EvalError::Value { message: message.into() }
    }
}

impl From<Symbol> for EvalError {
    fn from(symbol: Symbol) -> EvalError {
        EvalError::Unbound(symbol)
    }
}

/// One node about to be evaluated.
pub struct Call<'a> {
    /// The operands.
    pub inputs: &'a [Tensor],
    /// Attributes and operand types, for access by name.
    pub typing: Typing<'a>,
    /// The values of the symbols bound so far.
    pub bindings: &'a Bindings,
    /// The types of the results as inferred, which may name symbols this node binds.
    pub results: &'a [TensorType],
}

impl Call<'_> {
    /// The value of an expression.
    pub fn dim(&self, dim: &Dim) -> Result<i64, EvalError> {
        Ok(dim.eval(self.bindings)?)
    }

    /// The values of a shape; an extent below zero is an error.
    pub fn extents(&self, shape: &Shape) -> Result<Extents, EvalError> {
        shape
            .iter()
            .map(|d| {
                let value = self.dim(d)?;
                usize::try_from(value).map_err(|_| {
                    EvalError::value(format!("expected an extent that is not negative, got {d} = {value}"))
                })
            })
            .collect()
    }

    /// An attribute that is an axis, which inference has checked.
    pub(super) fn axis(&self, name: &str) -> usize {
        self.typing.int(name) as usize
    }

    /// An attribute that lists axes, which inference has checked.
    pub(super) fn axes(&self, name: &str) -> Extents {
        self.typing.ints(name).iter().map(|a| *a as usize).collect()
    }

    /// An operand by position.
    pub fn input(&self, index: usize) -> &Tensor {
        &self.inputs[index]
    }
}

/// Evaluates a graph on inputs in the order of its parameters.
pub fn evaluate(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, EvalError> {
    evaluate_in(graph, inputs, &Bindings::new())
}

/// Evaluates a region under bindings of the symbols of the graph around it.
pub fn evaluate_in(graph: &Graph, inputs: &[Tensor], outer: &Bindings) -> Result<Vec<Tensor>, EvalError> {
    let mut bindings = outer.clone();
    if inputs.len() != graph.params().len() {
        return Err(EvalError::value(format!(
            "expected {} inputs, got {}",
            graph.params().len(),
            inputs.len()
        )));
    }
    let mut values: Vec<Option<Tensor>> = vec![None; graph.value_count()];
    for ((name, value), tensor) in graph.params().iter().zip(inputs) {
        let ty = graph.ty(*value);
        bind(ty, tensor, &mut bindings).map_err(|got| EvalError::Input {
            name: name.to_string(),
            expected: ty.to_string(),
            got,
        })?;
        values[value.index()] = Some(tensor.clone());
    }
    // An expression may stand before the parameters that bind its symbols.
    for ((name, value), tensor) in graph.params().iter().zip(inputs) {
        let ty = graph.ty(*value);
        bind(ty, tensor, &mut bindings).map_err(|got| EvalError::Input {
            name: name.to_string(),
            expected: ty.to_string(),
            got,
        })?;
    }
    // Symbols from outside were checked there.
    for symbol in bindings.keys().filter(|s| !outer.contains_key(s)) {
        check_range(symbol, &graph.ranges, &bindings)?;
    }
    let mut uses = graph.use_counts();
    for (_, node) in graph.nodes() {
        let results = evaluate_node(graph, node, &values, &mut bindings)
            .map_err(|source| EvalError::At { node: node.describe(), source: Box::new(source) })?;
        // Values are dropped after their last use, so that peak memory is that of the live ones.
        for operand in &node.operands {
            uses[operand.index()] -= 1;
            if uses[operand.index()] == 0 {
                values[operand.index()] = None;
            }
        }
        for (value, tensor) in node.results().zip(results) {
            if uses[value.index()] > 0 {
                values[value.index()] = Some(tensor);
            }
        }
    }
    let take = |value: &super::Value| {
        values[value.index()].clone().ok_or_else(|| EvalError::value("expected outputs to be computed"))
    };
    graph.outputs().iter().map(|(_, v)| take(v)).collect()
}

fn evaluate_node(
    graph: &Graph,
    node: &Node,
    values: &[Option<Tensor>],
    bindings: &mut Bindings,
) -> Result<Vec<Tensor>, EvalError> {
    let inputs: SmallVec<[Tensor; 4]> =
        node.operands.iter().filter_map(|v| values[v.index()].clone()).collect();
    let operands: SmallVec<[&TensorType; 4]> = node.operands.iter().map(|v| graph.ty(*v)).collect();
    let typing = Typing {
        op: node.op,
        operands: &operands,
        attrs: &node.attrs,
        regions: &node.regions,
        ranges: &graph.ranges,
    };
    let types: SmallVec<[TensorType; 2]> = node.results().map(|v| graph.ty(v).clone()).collect();
    let call = Call { inputs: &inputs, typing, bindings, results: &types };
    let results = (node.op.def().eval)(&call)?;
    if node.op == Op::BindDims {
        bind_values(&node.attrs[0], &results[0], bindings)?;
    }
    for (ty, tensor) in types.iter().zip(&results) {
        bind(ty, tensor, bindings)
            .map_err(|got| EvalError::value(format!("expected a result of type {ty}, got {got}")))?;
    }
    if node.op.def().binds {
        let mut named = Ok(());
        let mut check = |symbol: &Symbol| {
            if named.is_ok() && bindings.contains_key(symbol) {
                named = check_range(symbol, &graph.ranges, bindings);
            }
        };
        node.attrs.iter().for_each(|a| a.each_symbol(&mut check));
        named?;
    }
    Ok(results)
}

/// What was proven of shapes holds only for values in the ranges of their symbols.
fn check_range(symbol: &Symbol, ranges: &Ranges, bindings: &Bindings) -> Result<(), EvalError> {
    let (range, value) = (ranges.get(symbol), bindings.get(symbol).copied().unwrap_or(0));
    if (range.lo..=range.hi).contains(&value) {
        return Ok(());
    }
    Err(EvalError::value(format!("expected {symbol} in {}..={}, got {value}", range.lo, range.hi)))
}

/// Names the elements of a vector.
fn bind_values(symbols: &Attr, sizes: &Tensor, bindings: &mut Bindings) -> Result<(), EvalError> {
    let Attr::Dims(symbols) = symbols else { return Ok(()) };
    for (symbol, value) in symbols.iter().filter_map(Dim::as_symbol).zip(sizes.iter_scalars()) {
        let value = i64::try_from(value.to_i128())
            .map_err(|_| EvalError::value(format!("expected {symbol} to fit 64 bits")))?;
        let known = *bindings.entry(symbol.clone()).or_insert(value);
        if known != value {
            return Err(EvalError::value(format!("expected {symbol} = {known}, got {value}")));
        }
    }
    Ok(())
}

/// Binds the symbols of a type to the extents of a tensor; on contradiction gives what the tensor is.
fn bind(ty: &TensorType, tensor: &Tensor, bindings: &mut Bindings) -> Result<(), String> {
    let got = || format!("{}{:?}", tensor.dtype(), tensor.shape());
    if tensor.dtype() != ty.dtype || tensor.rank() != ty.shape.rank() {
        return Err(got());
    }
    for (dim, extent) in ty.shape.iter().zip(tensor.shape()) {
        let extent = *extent as i64;
        match dim.eval(bindings) {
            Ok(value) if value == extent => {}
            Ok(value) => return Err(format!("{}, where {dim} is {value}", got())),
            // An expression over symbols that a later parameter binds is checked by the nodes that use it.
            Err(_) => {
                if let Some(symbol) = dim.as_symbol() {
                    bindings.insert(symbol.clone(), extent);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod testing {
    //! Graphs given as text, run on tensors.

    use super::evaluate;
    use crate::dtype::DType;
    use crate::graph::{Attr, Graph, Op, parse_graph};
    use crate::shape::TensorType;
    use crate::tensor::Tensor;

    fn evaluated(text: &str, inputs: &[Tensor]) -> Result<Vec<Tensor>, super::EvalError> {
        let graph = parse_graph(text).unwrap_or_else(|e| panic!("{e:?}\n{text}"));
        evaluate(&graph, inputs)
    }

    pub(super) fn run(text: &str, inputs: &[Tensor]) -> Vec<Tensor> {
        evaluated(text, inputs).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    pub(super) fn run_one(text: &str, inputs: &[Tensor]) -> Tensor {
        run(text, inputs).remove(0)
    }

    pub(super) fn run_error(text: &str, inputs: &[Tensor]) -> String {
        evaluated(text, inputs).expect_err(text).to_string()
    }

    /// The first result of one op on tensors, its type inferred.
    pub(super) fn apply(op: Op, inputs: &[&Tensor], attrs: impl IntoIterator<Item = Attr>) -> Tensor {
        let mut graph = Graph::new("t");
        let mut operands = Vec::new();
        for (i, x) in inputs.iter().enumerate() {
            operands.push(graph.add_param(&format!("x{i}"), TensorType::fixed(x.dtype(), x.shape())));
        }
        let node = graph.push(op, &operands, attrs.into_iter().collect(), Vec::new()).unwrap();
        graph.add_output("y", graph.node(node).result());
        let inputs: Vec<Tensor> = inputs.iter().copied().cloned().collect();
        evaluate(&graph, &inputs).unwrap_or_else(|e| panic!("{e}\n{graph}")).remove(0)
    }

    /// Every index of a shape in row-major order.
    pub(super) fn indices_of(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
        let mut indices = vec![Vec::new()];
        for extent in shape {
            let longer = |index: &Vec<usize>, i| index.iter().copied().chain([i]).collect();
            indices = indices.iter().flat_map(|index| (0..*extent).map(move |i| longer(index, i))).collect();
        }
        indices.into_iter()
    }

    pub(super) fn floats(x: &Tensor) -> Vec<f64> {
        x.to_vec_f64().unwrap()
    }

    pub(super) fn ints(x: &Tensor) -> Vec<i128> {
        x.iter_scalars().map(|s| s.to_i128()).collect()
    }

    pub(super) fn shape_text(dtype: DType, shape: &[usize]) -> String {
        format!("{dtype}{shape:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{floats, ints, run_error, run_one};
    use super::*;
    use crate::dtype::DType;

    #[test]
    fn a_network_runs() {
        let text = "graph @t(%x: f32[N, 2]) -> (y: f32[N, 2]) {
            %0 = const value=f32[2, 2] [[1, -1], [2, 0]] : f32[2, 2]
            %1 = dot %x, %0 lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 2]
            %2 = const value=f32[2] [0.5, 0] : f32[2]
            %3 = broadcast %2 shape=[N, 2] : f32[N, 2]
            %4 = add %1, %3 : f32[N, 2]
            %5 = const value=f32[] 0 : f32[]
            %6 = broadcast %5 shape=[N, 2] : f32[N, 2]
            %7 = max %4, %6 : f32[N, 2]
            return %7\n}";
        let x = Tensor::from_slice(&[2, 2], &[1f32, 2.0, -3.0, 1.0]).unwrap();
        assert_eq!(floats(&run_one(text, &[x])), [5.5, 0.0, 0.0, 3.0]);
    }

    #[test]
    fn parameters_must_agree_on_their_symbols() {
        let vector = |n: usize| Tensor::zeros(DType::F32, &[n]).unwrap();
        let text = |x: &str, y: &str| {
            format!(
                "graph @t(%x: f32[{x}], %y: f32[{y}]) -> (z: f32[{x}]) where N in 2..=4 {{\n return %x\n}}"
            )
        };
        assert_eq!(run_one(&text("N", "N"), &[vector(3), vector(3)]).shape(), [3]);
        assert!(run_error(&text("N", "N"), &[vector(3), vector(4)]).contains("input `y`: expected f32[N]"));
        // An expression may come before what binds its symbols.
        assert_eq!(run_one(&text("N + 1", "N"), &[vector(4), vector(3)]).shape(), [4]);
        assert!(run_error(&text("N + 1", "N"), &[vector(3), vector(3)]).contains("input `x`"));
        assert!(run_error(&text("N", "N"), &[vector(5), vector(5)]).contains("expected N in 2..=4, got 5"));
    }

    #[test]
    fn a_name_has_one_value() {
        let text = "graph @t(%x: i64[N], %s: i64[1]) -> (y: i64[1]) {
            %0 = bind_dims %s symbols=[N] : i64[1]
            return %0\n}";
        let sizes =
            |n: i64| [Tensor::zeros(DType::I64, &[2]).unwrap(), Tensor::from_slice(&[1], &[n]).unwrap()];
        assert_eq!(ints(&run_one(text, &sizes(2))), [2]);
        assert!(run_error(text, &sizes(3)).contains("expected N = 2, got 3"));
    }

    #[test]
    fn attributes_at_the_ends_of_their_range_never_panic() {
        let (most, least) = (i64::MAX, i64::MIN);
        let n = Dim::sym("N");
        let dims = |dims: [&Dim; 3]| Attr::Dims(dims.into_iter().cloned().collect());
        let (zero, one, end) = (Dim::ZERO, Dim::ONE, Dim::from(most));
        let windows = |lists: [i64; 5]| lists.map(|v| Attr::from([v]));
        let conv = |lists: [i64; 5]| [&windows(lists)[..], &[Attr::Int(1), Attr::DType(DType::F32)]].concat();
        let cases = [
            (Op::Conv, conv([most, most, most, most, most])),
            (Op::Conv, conv([1, least, most, most, 1])),
            (Op::Conv, conv([1, least, least, 1, most])),
            (Op::PoolMax, windows([most, most, most, most, most]).to_vec()),
            (Op::PoolSum, windows([most, 1, most, 0, 1]).to_vec()),
            (Op::PoolArgMax, windows([1, 1, most, most, 1]).to_vec()),
            (Op::Pad, vec![dims([&end; 3]), dims([&end; 3]), [most, 0, 0].into()]),
            (Op::Pad, vec![dims([&zero, &zero, &n]), dims([&zero; 3]), [most, 0, 0].into()]),
            (Op::Slice, vec![dims([&end, &zero, &n]), dims([&zero, &one, &n]), [most, least, least].into()]),
            (Op::Slice, vec![dims([&zero, &zero, &n]), dims([&one, &one, &n]), [1, least, least].into()]),
            (Op::Slice, vec![dims([&(&n - &end), &zero, &zero]), dims([&n, &one, &one]), [1, 1, 1].into()]),
            (Op::Iota, vec![dims([&(&n * &end), &one, &one]), Attr::Int(0), Attr::DType(DType::I64)]),
            (Op::Reshape, vec![dims([&(&n * &n), &(&n - &one), &one])]),
            (Op::TopK, vec![Attr::Dim(&n - &Dim::from(2i64)), Attr::Int(2), Attr::Bool(true)]),
        ];
        let mut evaluated = 0;
        for (op, attrs) in cases {
            let mut graph = Graph::new("t");
            let x = graph.add_param(
                "x",
                TensorType::new(DType::F32, [one.clone(), one.clone(), n.clone()].into_iter().collect()),
            );
            let value = graph.add_param("value", TensorType::scalar(DType::F32));
            let operands = match op {
                Op::Conv => vec![x, x],
                Op::Pad => vec![x, value],
                Op::Iota => vec![],
                _ => vec![x],
            };
            let Ok(node) = graph.push(op, &operands, attrs.into(), Vec::new()) else { continue };
            graph.add_output("y", graph.node(node).result());
            for extent in [0, 1, 3] {
                let inputs =
                    [&[1, 1, extent][..], &[]].map(|shape| Tensor::zeros(DType::F32, shape).unwrap());
                let small = evaluate(&graph, &inputs).is_ok_and(|results| results[0].len() < 8);
                evaluated += usize::from(small);
            }
        }
        assert!(evaluated >= 8, "expected some of these to have values, got {evaluated}");
    }
}
