//! From a graph to the document.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{Document, JsonConstant, JsonDim, JsonGraph, JsonInput, JsonNode, JsonOutput, VERSION};
use crate::dim::Dim;
use crate::graph::{Attr, Graph, Value};
use crate::tensor::{Tensor, TensorError};

/// Constants of more elements are written as bytes.
const READABLE: usize = 256;

/// The text of a graph in this format.
pub fn to_json(graph: &Graph) -> Result<String, TensorError> {
    let document = Document { format: "tcc-graph".to_owned(), version: VERSION, graph: write(graph, true)? };
    // Maps with string keys and finite numbers always have a JSON form.
    Ok(serde_json::to_string_pretty(&document).unwrap_or_default())
}

fn write(graph: &Graph, outermost: bool) -> Result<JsonGraph, TensorError> {
    let names = Names::new(graph);
    let mut document = JsonGraph { name: graph.name.clone(), ..JsonGraph::default() };
    if outermost {
        document.symbols = graph.ranges.iter().map(|(s, r)| (s.to_string(), [r.lo, r.hi])).collect();
    }
    for (name, value) in graph.params() {
        let ty = graph.ty(*value);
        let shape = ty.shape.iter().map(dim).collect();
        document.inputs.push(JsonInput { name: name.to_string(), dtype: ty.dtype.to_string(), shape });
    }
    for (_, node) in graph.nodes() {
        // Each constant stands where it is used, so that reading gives the nodes in their order.
        let mut attrs = BTreeMap::new();
        for (def, attr) in node.op.def().attrs.iter().zip(&node.attrs) {
            attrs.insert(def.name.to_owned(), write_attr(attr)?);
        }
        let mut regions = BTreeMap::new();
        for (name, region) in node.op.def().regions.iter().zip(&node.regions) {
            regions.insert((*name).to_owned(), write(region, false)?);
        }
        document.nodes.push(JsonNode {
            op: node.op.name().to_owned(),
            inputs: node.operands.iter().map(|v| names.of(*v)).collect(),
            outputs: node.results().map(|v| names.of(v)).collect(),
            attrs,
            regions,
            origin: node.origin.as_deref().map(str::to_owned),
        });
    }
    for (name, value) in graph.outputs() {
        document.outputs.push(JsonOutput::Named { name: name.to_string(), value: names.of(*value) });
    }
    Ok(document)
}

/// Parameters keep their names; results are numbered behind a letter that no parameter's name begins with.
struct Names<'g> {
    graph: &'g Graph,
    prefix: String,
}

impl<'g> Names<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut prefix = "v".to_owned();
        while graph.params().iter().any(|(n, _)| n.starts_with(&prefix)) {
            prefix.push('v');
        }
        Names { graph, prefix }
    }

    fn of(&self, value: Value) -> String {
        match self.graph.params().get(value.index()) {
            Some((name, _)) => name.to_string(),
            None => format!("{}{}", self.prefix, value.index()),
        }
    }
}

fn dim(dim: &Dim) -> JsonDim {
    match dim.as_const() {
        Some(value) => JsonDim::Number(value),
        None => JsonDim::Expression(dim.to_string()),
    }
}

fn dim_value(d: &Dim) -> Json {
    match d.as_const() {
        Some(value) => json!(value),
        None => json!(d.to_string()),
    }
}

fn write_attr(attr: &Attr) -> Result<Json, TensorError> {
    Ok(match attr {
        Attr::Bool(value) => json!(value),
        Attr::Int(value) => json!(value),
        Attr::Float(value) if value.is_finite() => json!(value),
        Attr::Float(value) => json!(value.to_string()),
        Attr::Text(value) => json!(&**value),
        Attr::Ints(values) => json!(values.as_slice()),
        Attr::Dim(value) => dim_value(value),
        Attr::Dims(values) => Json::Array(values.iter().map(dim_value).collect()),
        Attr::DType(dtype) => json!(dtype.name()),
        Attr::Types(types) => Json::Array(
            types
                .iter()
                .map(|t| json!({ "dtype": t.dtype.name(), "shape": t.shape.iter().map(dim_value).collect::<Vec<_>>() }))
                .collect(),
        ),
        Attr::Tensor(tensor) => serde_json::to_value(constant(tensor)?).unwrap_or(Json::Null),
    })
}

fn constant(tensor: &Tensor) -> Result<JsonConstant, TensorError> {
    let mut entry = JsonConstant {
        dtype: tensor.dtype().to_string(),
        shape: tensor.shape().to_vec(),
        data: None,
        splat: None,
        hex: None,
        file: None,
        name: None,
        offset: None,
        random: None,
    };
    let text = |i: usize| element(tensor, i);
    if tensor.len() > 1 && tensor.strides().iter().zip(tensor.shape()).all(|(s, n)| *s == 0 || *n == 1) {
        entry.splat = Some(text(0));
    } else if tensor.len() <= READABLE {
        entry.data = Some(Json::Array((0..tensor.len()).map(text).collect()));
    } else {
        let bytes = tensor.to_bytes()?;
        let mut digits = String::with_capacity(2 * bytes.len());
        for byte in bytes.iter() {
            use std::fmt::Write;
            // Writing to a string cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        entry.hex = Some(digits);
    }
    Ok(entry)
}

/// Numbers as JSON has them where that is exact, else as text.
fn element(tensor: &Tensor, i: usize) -> Json {
    let dtype = tensor.dtype();
    let text = tensor.get_flat(i).text(dtype).to_string();
    match serde_json::from_str::<Json>(&text) {
        Ok(value) if !dtype.is_float() || value.is_number() => value,
        _ => Json::String(text),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::from_json;
    use super::*;
    use crate::graph::eval::evaluate;
    use crate::graph::parse_graph;

    #[test]
    fn graphs_round_trip_through_json() {
        let text = r#"graph @main(%x: f32[N, 4], %n: i64[]) -> (y: f32[N, 4], i: i64[2, c]) where N in 1..=64 {
          %0 = const value=f32[4] [1.0, -0.5, inf, nan] : f32[4]
          %1 = broadcast %0 shape=[N, 4] : f32[N, 4]
          %2 = add %x, %1 : f32[N, 4] from "model/add"
          %3 = const value=bool[] true : bool[]
          %4 = loop %n, %3, %2, %1 carried=1 types=(f32[N, 4]) : f32[N, 4]
            region @body(%i: i64[], %c: f32[N, 4], %d: f32[N, 4]) -> (go: bool[], next: f32[N, 4]) {
              %0 = mul %c, %d : f32[N, 4]
              %1 = const value=bool[] true : bool[]
              return %1, %0
            }
          %5 = nonzero %4 count=c : i64[2, c]
          %6 = slice %4 starts=[N - 1, 0] sizes=[1, 4] steps=[1, 1] : f32[1, 4]
          return %4, %5
        }"#;
        let graph = parse_graph(text).unwrap();
        let written = to_json(&graph).unwrap();
        let read = from_json(&written, Path::new(".")).unwrap_or_else(|e| panic!("{e}\n{written}"));
        assert_eq!(to_json(&read).unwrap(), written);
        assert_eq!(read, graph);
    }

    #[test]
    fn what_people_write_by_hand() {
        let text = r#"{ "format": "tcc-graph", "version": 1, "name": "mlp",
          "inputs": [{ "name": "x", "dtype": "f32", "shape": ["N", 2] }],
          "constants": { "w": { "dtype": "f32", "shape": [2, 2], "data": [[1, -1], [2, 1]] },
                         "b": { "dtype": "f32", "shape": [2], "splat": 0.5 } },
          "nodes": [{ "op": "matmul", "inputs": ["x", "w"], "outputs": ["h"] },
                    { "op": "add", "inputs": ["h", "b"], "outputs": ["s"] },
                    { "op": "relu", "inputs": ["s"], "outputs": ["y"] }],
          "outputs": ["y"] }"#;
        let graph = from_json(text, Path::new(".")).unwrap();
        let x = Tensor::from_slice(&[1, 2], &[1.0f32, 0.0]).unwrap();
        assert_eq!(evaluate(&graph, &[x]).unwrap()[0].literal(), "[[1.5, 0.0]]");
    }

    #[test]
    fn all_problems_are_reported() {
        let text = r#"{ "format": "tcc-graph", "version": 1,
          "inputs": [{ "name": "x", "dtype": "f33", "shape": [2] }, { "name": "z", "dtype": "f32", "shape": ["2 +"] }],
          "constants": { "w": { "dtype": "f32", "shape": [1152921504606846976], "data": [1] },
                         "o": { "dtype": "f32", "shape": [1], "file": "../secret.npy" } },
          "nodes": [{ "op": "frobnicate", "inputs": ["x"], "outputs": ["a"] },
                    { "op": "softmax", "inputs": ["q"], "outputs": ["b"] }],
          "outputs": ["c"] }"#;
        let errors = from_json(text, Path::new(".")).unwrap_err();
        assert_eq!(errors.0.len(), 8, "{errors}");
    }
}
