//! From the document to a graph, through the same builder as every other front end.

use std::path::Path;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde_json::Value as Json;

use super::{JsonDim, JsonErrors, JsonGraph, JsonNode, JsonOutput, constant};
use crate::dim::{Dim, Range, Symbol};
use crate::dtype::DType;
use crate::graph::{Attr, AttrKind, Attrs, Graph, Op, Value, Violation};
use crate::scalar::ScalarOp;
use crate::shape::{Shape, TensorType};

/// Builds a graph; every problem is collected.
pub(super) fn graph(document: &JsonGraph, folder: &Path) -> Result<Graph, JsonErrors> {
    let mut reader = Reader { folder, errors: Vec::new() };
    let graph = reader.graph(document, Graph::new(&document.name), "");
    if reader.errors.is_empty() { Ok(graph) } else { Err(JsonErrors(reader.errors)) }
}

struct Reader<'a> {
    folder: &'a Path,
    errors: Vec<String>,
}

/// What a name stands for; nothing if it came from something that was wrong.
type Names = FxHashMap<String, Option<Value>>;

impl Reader<'_> {
    fn graph(&mut self, document: &JsonGraph, mut graph: Graph, place: &str) -> Graph {
        for (name, [lo, hi]) in &document.symbols {
            if lo > hi {
                self.errors.push(format!(
                    "{place}symbols.{name}: expected a range that is not empty, got [{lo}, {hi}]"
                ));
            }
            graph.set_range(Symbol::new(name), Range { lo: *lo, hi: *hi });
        }
        let mut names = Names::default();
        for input in &document.inputs {
            let at = format!("{place}inputs.{}", input.name);
            let ty = self.ty(&input.dtype, &input.shape, &at);
            let value = ty.map(|ty| graph.add_param(&input.name, ty));
            self.declare(&mut names, &input.name, value, &at);
        }
        for (name, entry) in &document.constants {
            let at = format!("{place}constants.{name}");
            let value = match constant::read(entry, self.folder) {
                Ok(tensor) => self.built(graph.constant(tensor), &at),
                Err(message) => {
                    self.errors.push(format!("{at}: {message}"));
                    None
                }
            };
            self.declare(&mut names, name, value, &at);
        }
        for (i, node) in document.nodes.iter().enumerate() {
            let at = format!("{place}nodes[{i}] ({})", node.op);
            let values = self.node(&mut graph, &names, node, &at);
            for (j, output) in node.outputs.iter().enumerate() {
                let value = values.as_ref().and_then(|v| v.get(j).copied());
                self.declare(&mut names, output, value, &at);
            }
        }
        for output in &document.outputs {
            let (name, value) = match output {
                JsonOutput::Same(name) => (name, name),
                JsonOutput::Named { name, value } => (name, value),
            };
            match names.get(value) {
                Some(Some(found)) => graph.add_output(name, *found),
                Some(None) => {}
                None => {
                    self.errors.push(format!("{place}outputs: expected the name of a value, got {value:?}"))
                }
            }
        }
        if self.errors.is_empty()
            && let Err(diags) = graph.verify()
        {
            self.errors.extend(diags.0.iter().map(ToString::to_string));
        }
        graph
    }

    fn declare(&mut self, names: &mut Names, name: &str, value: Option<Value>, at: &str) {
        if names.insert(name.to_owned(), value).is_some() {
            self.errors.push(format!("{at}: expected a new name, got {name:?}"));
        }
    }

    fn built(&mut self, built: Result<Value, Violation>, at: &str) -> Option<Value> {
        built.map_err(|violation| self.errors.push(format!("{at}: {violation}"))).ok()
    }

    fn ty(&mut self, dtype: &str, shape: &[JsonDim], at: &str) -> Option<TensorType> {
        let parsed: Option<DType> = dtype.parse().ok();
        if parsed.is_none() {
            self.errors.push(format!("{at}: expected an element type, got {dtype:?}"));
        }
        let shape: Option<Shape> = shape.iter().map(|d| self.dim(d, at)).collect();
        Some(TensorType::new(parsed?, shape?))
    }

    fn dim(&mut self, dim: &JsonDim, at: &str) -> Option<Dim> {
        match dim {
            JsonDim::Number(value) => Some(Dim::from(*value)),
            JsonDim::Expression(text) => {
                text.parse().map_err(|e| self.errors.push(format!("{at}: in {text:?}: {e}"))).ok()
            }
        }
    }

    /// The results, or nothing if the node or something it uses is wrong.
    fn node(&mut self, graph: &mut Graph, names: &Names, node: &JsonNode, at: &str) -> Option<Vec<Value>> {
        let mut operands = Vec::new();
        let mut known = true;
        for input in &node.inputs {
            match names.get(input) {
                Some(Some(value)) => operands.push(*value),
                Some(None) => known = false,
                None => {
                    known = false;
                    self.errors
                        .push(format!("{at}: expected the name of a value defined before, got {input:?}"));
                }
            }
        }
        let op = Op::from_name(&node.op);
        if op.is_none() && !matches!(node.op.as_str(), "matmul" | "relu") {
            self.errors.push(format!("{at}: expected the name of an op, `matmul` or `relu`"));
            return None;
        }
        let attrs = op.map(|op| self.attrs(op, node, at));
        let mut regions = Vec::new();
        for name in op.map_or(&[][..], |op| op.def().regions) {
            match node.regions.get(*name) {
                Some(region) => regions.push(self.graph(region, graph.region_of(), &format!("{at}.{name}."))),
                None => self.errors.push(format!("{at}: expected a region {name:?}")),
            }
        }
        if !known {
            return None;
        }
        let built = match (op, attrs) {
            (None, _) if node.op == "relu" && operands.len() == 1 => {
                let dtype = graph.ty(operands[0]).dtype;
                let zero = graph.number(dtype, 0.0);
                zero.and_then(|zero| graph.broadcasting(ScalarOp::Max, &[operands[0], zero])).map(|v| vec![v])
            }
            (None, _) => self.matmul(graph, &operands).map(|v| vec![v]),
            (Some(Op::Scalar(scalar)), _) => {
                self.elementwise(graph, scalar, &operands, node).map(|v| vec![v])
            }
            (Some(op), Some(Some(attrs))) => {
                let origin = node.origin.as_deref().map(Arc::from);
                let pushed = graph.push_from(op, &operands, attrs, regions, origin);
                pushed.map(|id| graph.node(id).results().collect())
            }
            _ => return None,
        };
        match built {
            Ok(values) if values.len() == node.outputs.len() => Some(values),
            Ok(values) => {
                self.errors.push(format!(
                    "{at}: expected {} outputs, got {}",
                    values.len(),
                    node.outputs.len()
                ));
                None
            }
            Err(violation) => {
                self.errors.push(format!("{at}: {violation}"));
                None
            }
        }
    }

    /// An elementwise op whose operands may still have to be broadcast.
    fn elementwise(
        &self,
        graph: &mut Graph,
        op: ScalarOp,
        operands: &[Value],
        node: &JsonNode,
    ) -> Result<Value, Violation> {
        let shape = graph.common_shape(operands)?;
        let mut same = Vec::new();
        for operand in operands {
            same.push(graph.broadcast(*operand, &shape)?);
        }
        let origin = node.origin.as_deref().map(Arc::from);
        let id = graph.push_from(Op::Scalar(op), &same, Attrs::new(), Vec::new(), origin)?;
        Ok(graph.node(id).result())
    }

    /// NumPy's product of matrices, with batch axes that broadcast.
    fn matmul(&self, graph: &mut Graph, operands: &[Value]) -> Result<Value, Violation> {
        let [lhs, rhs] = operands else {
            return Err(Violation::new("arity", format!("expected 2 operands, got {}", operands.len())));
        };
        let ranks = [lhs, rhs].map(|v| graph.ty(*v).shape.rank());
        if ranks.iter().any(|r| *r < 2) {
            return Err(Violation::new(
                "rank",
                format!("expected operands of rank at least 2, got {ranks:?}"),
            ));
        }
        let dtype = graph.ty(*lhs).dtype;
        if ranks[1] == 2 {
            let contract = ranks[0] as i64 - 1;
            let empty = || Attr::from(Vec::<i64>::new());
            let attrs = Attrs::from_iter([empty(), empty(), [contract].into(), [0].into(), dtype.into()]);
            return graph.op(Op::Dot, operands, attrs);
        }
        let batch = {
            let mut probe = Vec::new();
            for v in [*lhs, *rhs] {
                let shape = graph.ty(v).shape.clone();
                probe.push(Shape::from(&shape[..shape.rank() - 2]));
            }
            let longer = if probe[0].rank() >= probe[1].rank() { &probe[0] } else { &probe[1] };
            longer.clone()
        };
        let mut both = Vec::new();
        for v in [*lhs, *rhs] {
            let shape = graph.ty(v).shape.clone();
            let full: Shape = batch.iter().chain(&shape[shape.rank() - 2..]).cloned().collect();
            both.push(graph.broadcast(v, &full)?);
        }
        graph.matmul(both[0], both[1], dtype)
    }

    fn attrs(&mut self, op: Op, node: &JsonNode, at: &str) -> Option<Attrs> {
        let declared = op.def().attrs;
        for name in node.attrs.keys().filter(|n| !declared.iter().any(|d| d.name == n.as_str())) {
            self.errors.push(format!("{at}: expected no attribute {name:?}"));
        }
        let mut attrs = Some(Attrs::new());
        for attr in declared {
            let parsed = match node.attrs.get(attr.name) {
                None => Err(format!("expected an attribute `{}`: {}", attr.name, attr.kind)),
                Some(json) => self
                    .attr(attr.kind, json, at)
                    .ok_or(format!("`{}`: expected {}, got {json}", attr.name, attr.kind)),
            };
            match (parsed, &mut attrs) {
                (Ok(value), Some(list)) => list.push(value),
                (Ok(_), None) => {}
                (Err(message), list) => {
                    self.errors.push(format!("{at}: {message}"));
                    *list = None;
                }
            }
        }
        attrs
    }

    fn attr(&mut self, kind: AttrKind, json: &Json, at: &str) -> Option<Attr> {
        Some(match kind {
            AttrKind::Bool => Attr::Bool(json.as_bool()?),
            AttrKind::Int => Attr::Int(json.as_i64()?),
            AttrKind::Float => match json {
                Json::String(text) => Attr::Float(text.parse().ok()?),
                other => Attr::Float(other.as_f64()?),
            },
            AttrKind::Text => Attr::Text(Arc::from(json.as_str()?)),
            AttrKind::Ints => Attr::Ints(json.as_array()?.iter().map(Json::as_i64).collect::<Option<_>>()?),
            AttrKind::Dim => Attr::Dim(self.json_dim(json, at)?),
            AttrKind::Dims => {
                let items = json.as_array()?;
                Attr::Dims(items.iter().map(|d| self.json_dim(d, at)).collect::<Option<_>>()?)
            }
            AttrKind::DType => Attr::DType(json.as_str()?.parse().ok()?),
            AttrKind::Types => {
                let items = json.as_array()?;
                let parsed: Option<Vec<TensorType>> = items.iter().map(|t| self.json_type(t, at)).collect();
                Attr::Types(parsed?.into())
            }
            AttrKind::Tensor => {
                let entry = serde_json::from_value(json.clone()).ok()?;
                Attr::Tensor(
                    constant::read(&entry, self.folder)
                        .map_err(|e| self.errors.push(format!("{at}: {e}")))
                        .ok()?,
                )
            }
        })
    }

    fn json_dim(&mut self, json: &Json, at: &str) -> Option<Dim> {
        let dim: JsonDim = serde_json::from_value(json.clone()).ok()?;
        self.dim(&dim, at)
    }

    fn json_type(&mut self, json: &Json, at: &str) -> Option<TensorType> {
        let shape: Vec<JsonDim> = serde_json::from_value(json.get("shape")?.clone()).ok()?;
        self.ty(json.get("dtype")?.as_str()?, &shape, at)
    }
}
