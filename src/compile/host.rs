//! Steps without machine code, carried out by the interpreters.

use tcc_ir::diag::Diags;
use tcc_ir::dim::{Bindings, Symbol};
use tcc_ir::graph::eval::evaluate_in;
use tcc_ir::graph::{Attr, Graph, Op, parse_graph};
use tcc_ir::loops::{Nest, interpret_with, parse_nest};
use tcc_ir::shape::TensorType;
use tcc_ir::tensor::Tensor;
use tcc_runtime::model::{HostResult, TensorData, TensorView};

/// What is carried out.
pub(super) enum HostWork {
    /// A graph of one node.
    Node(Graph),
    /// A kernel whose types the backend does not have.
    Nest(Nest),
}

/// A step as text in the language of its level.
impl std::fmt::Display for HostWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostWork::Node(graph) => graph.fmt(f),
            HostWork::Nest(nest) => nest.fmt(f),
        }
    }
}

impl std::str::FromStr for HostWork {
    type Err = Diags;
    fn from_str(text: &str) -> Result<HostWork, Diags> {
        if text.starts_with("nest") {
            return Ok(HostWork::Nest(parse_nest(text)?));
        }
        Ok(HostWork::Node(parse_graph(text)?))
    }
}

/// Runs a step on the inputs and gives its outputs, with the symbols that it binds.
pub(super) fn carry_out(
    work: &HostWork,
    inputs: &[TensorView<'_>],
    symbols: &[Option<i64>],
    names: &[String],
) -> Result<HostResult, String> {
    let bindings: Bindings =
        names.iter().zip(symbols).filter_map(|(n, v)| Some((Symbol::new(n), (*v)?))).collect();
    let tensor = |view: &TensorView<'_>| {
        let dtype = view.dtype.parse().map_err(|_| format!("element type {}", view.dtype))?;
        Tensor::from_byte_slice(dtype, view.shape, view.bytes).map_err(|e| e.to_string())
    };
    let tensors: Vec<Tensor> = inputs.iter().map(tensor).collect::<Result<_, String>>()?;
    let (results, bound) = match work {
        HostWork::Nest(nest) => {
            (interpret_with(nest, &tensors, &bindings).map_err(|e| e.to_string())?, Vec::new())
        }
        HostWork::Node(graph) => {
            let results = evaluate_in(graph, &tensors, &bindings).map_err(|e| e.to_string())?;
            let bound = newly_bound(graph, &results, &bindings);
            (results, bound)
        }
    };
    let outputs = results.iter().map(|t| {
        let bytes = t.to_bytes().map_err(|e| e.to_string())?;
        TensorData::copy_of(t.dtype().name(), t.shape(), &bytes).map_err(|e| e.to_string())
    });
    let outputs = outputs.collect::<Result<Vec<_>, String>>()?;
    let number = |s: &Symbol| names.iter().position(|n| n == s.name()).map(|i| i as u32);
    let symbols = bound.iter().filter_map(|(s, v)| Some((number(s)?, *v))).collect();
    Ok(HostResult { outputs, symbols })
}

/// The symbols that the node's results give a value.
fn newly_bound(graph: &Graph, results: &[Tensor], known: &Bindings) -> Vec<(Symbol, i64)> {
    let mut bound = Vec::new();
    for (ty, tensor) in graph.output_types().zip(results) {
        let ty: &TensorType = ty;
        for (dim, extent) in ty.shape.iter().zip(tensor.shape()) {
            if let Some(symbol) = dim.as_symbol().filter(|s| !known.contains_key(*s)) {
                bound.push((symbol.clone(), *extent as i64));
            }
        }
    }
    for (_, node) in graph.nodes().filter(|(_, n)| n.op == Op::BindDims) {
        if let (Attr::Dims(symbols), Some(values)) = (&node.attrs[0], results.first()) {
            let named = symbols.iter().filter_map(|d| d.as_symbol());
            bound.extend(named.cloned().zip(values.iter_scalars().map(|v| v.to_i128() as i64)));
        }
    }
    bound
}
