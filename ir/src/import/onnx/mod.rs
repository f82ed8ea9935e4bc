//! Reads ONNX models.
//!
//! The importer walks the nodes in order and gives each to the rule of its operator, which builds graph nodes.
//! A node that cannot be imported is reported and its results are poisoned: whoever uses them is passed over
//! silently, so that one walk finds every problem. No input panics it; sizes and nesting are bounded.

mod compose;
mod context;
mod control;
mod declared;
mod fold;
mod functions;
mod ops;
mod proto;
mod structure;
mod tensor;
mod values;

use std::path::Path;

use prost::Message;
use prost::bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};

use super::report::{Problem, Report};
use crate::dim::{Dim, Range, Symbol};
use crate::graph::{Graph, Rewriter};
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;
use crate::weights::WeightsFile;
use context::{Cx, Refusal, Results, Step};
use proto::*;
use tensor::Files;
use values::{Form, Held, Item};

/// What is known of a model's inputs beyond what the model says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Inputs that are constants; they are no parameters of the graph then.
    pub constants: FxHashMap<String, Tensor>,
    /// The types of the elements of sequence inputs, each of which becomes a parameter: `name.0` and so on.
    pub sequences: FxHashMap<String, Vec<TensorType>>,
    /// Inputs of optional type that are empty.
    pub absent: FxHashSet<String>,
    /// Inputs whose extents are all open, whatever the model says of them.
    pub open: FxHashSet<String>,
}

/// Reads a model and, from the folder it lies in, its external data.
pub fn import_file(path: &Path) -> Result<Graph, Report> {
    import_file_with(path, &Options::default())
}

/// Reads a model, some of whose inputs are fixed.
pub fn import_file_with(path: &Path, options: &Options) -> Result<Graph, Report> {
    let name = path.display().to_string();
    let file = WeightsFile::open(path).map_err(|e| Report::of(&name, "io", e.to_string()))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let model = decoded(Bytes::from_owner(Mapped(file.clone())), &name)?;
    let mut importer = Importer::new(&model, Some(folder));
    importer.files.model = Some(file);
    importer.import(&model, &name, options)
}

/// Reads a model from memory; external data are read from `folder`, if there is one.
pub fn import_bytes(bytes: Bytes, folder: Option<&Path>, name: &str) -> Result<Graph, Report> {
    import_bytes_with(bytes, folder, name, &Options::default())
}

/// Reads a model from memory, some of whose inputs are fixed.
pub fn import_bytes_with(
    bytes: Bytes,
    folder: Option<&Path>,
    name: &str,
    options: &Options,
) -> Result<Graph, Report> {
    let model = decoded(bytes, name)?;
    Importer::new(&model, folder).import(&model, name, options)
}

fn decoded(bytes: Bytes, name: &str) -> Result<ModelProto, Report> {
    ModelProto::decode(bytes).map_err(|e| Report::of(name, "format", format!("expected an ONNX model: {e}")))
}

/// The tensor of a `.pb` file such as the standard's test data are.
pub fn decode_tensor(bytes: Bytes) -> Result<Tensor, String> {
    let proto = TensorProto::decode(bytes).map_err(|e| e.to_string())?;
    tensor::decode(&proto, &mut Files::new(None))
}

/// The tensors of a sequence in a `.pb` file.
pub fn decode_sequence(bytes: Bytes) -> Result<Vec<Tensor>, String> {
    let proto = SequenceProto::decode(bytes).map_err(|e| e.to_string())?;
    proto.tensor_values.iter().map(|t| tensor::decode(t, &mut Files::new(None))).collect()
}

/// What a `.pb` file of an optional value holds: nothing, a tensor, or the tensors of a sequence.
pub fn decode_optional(bytes: Bytes) -> Result<Option<Result<Tensor, Vec<Tensor>>>, String> {
    let proto = OptionalProto::decode(bytes).map_err(|e| e.to_string())?;
    let mut none = Files::new(None);
    if let Some(tensor) = &proto.tensor_value {
        return tensor::decode(tensor, &mut none).map(|t| Some(Ok(t)));
    }
    let tensors = |list: &SequenceProto| {
        let decoded = list.tensor_values.iter().map(|t| tensor::decode(t, &mut Files::new(None)));
        decoded.collect::<Result<Vec<Tensor>, String>>()
    };
    proto.sequence_value.as_ref().map(|list| tensors(list).map(Err)).transpose()
}

/// What kind of value an input or output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// A tensor.
    Tensor,
    /// Several tensors.
    Sequence,
    /// A tensor, a sequence or nothing.
    Optional,
}

/// The names and kinds of a model's inputs, without those that have a value in the model, and of its outputs.
#[derive(Clone, Debug, Default)]
pub struct Signature {
    /// The inputs in order.
    pub inputs: Vec<(String, ValueKind)>,
    /// The outputs in order.
    pub outputs: Vec<(String, ValueKind)>,
    /// The domain and operator of each node.
    pub operators: Vec<(String, String)>,
}

/// Reads only what a model takes and gives.
pub fn signature(path: &Path) -> Result<Signature, Report> {
    let name = path.display().to_string();
    let file = WeightsFile::open(path).map_err(|e| Report::of(&name, "io", e.to_string()))?;
    let model = ModelProto::decode(Bytes::from_owner(Mapped(file)))
        .map_err(|e| Report::of(&name, "format", format!("expected an ONNX model: {e}")))?;
    let main = model.graph.unwrap_or_default();
    let known: FxHashSet<&str> = main.initializer.iter().map(|t| t.name.as_str()).collect();
    let kind = |info: &ValueInfoProto| match info.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(TypeValue::Sequence(_)) => ValueKind::Sequence,
        Some(TypeValue::Optional(_)) => ValueKind::Optional,
        _ => ValueKind::Tensor,
    };
    let list = |infos: &[ValueInfoProto]| infos.iter().map(|i| (i.name.clone(), kind(i))).collect::<Vec<_>>();
    let inputs = list(&main.input).into_iter().filter(|(name, _)| !known.contains(name.as_str())).collect();
    let operator = |node: &NodeProto| (canonical_domain(&node.domain).to_owned(), node.op_type.clone());
    let operators = main.node.iter().map(operator).collect();
    Ok(Signature { inputs, outputs: list(&main.output), operators })
}

/// The operators that have a rule, as domain, name and first version.
pub fn operators() -> impl Iterator<Item = (&'static str, &'static str, i64)> {
    ops::all().map(|(domain, (name, since, _))| (domain, *name, *since))
}

struct Mapped(WeightsFile);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// Inlining may import at most so many nodes, so that functions that call functions cannot explode.
const MOST_NODES: usize = 4_000_000;
/// Functions and graphs within graphs may be nested so deep.
const DEEPEST: usize = 48;

/// A walk through a model.
pub(crate) struct Importer<'m> {
    /// The graph, or the region, under construction.
    graph: Graph,
    /// Which one that is, so that values of one are not taken for those of another.
    frame: u32,
    frames: u32,
    /// Names, innermost graph last.
    scopes: Vec<FxHashMap<&'m str, Item>>,
    opsets: FxHashMap<&'m str, i64>,
    functions: functions::Functions<'m>,
    /// The attributes of the function call being inlined.
    function_attrs: FxHashMap<&'m str, &'m AttributeProto>,
    calls: Vec<*const FunctionProto>,
    depth: usize,
    nodes: usize,
    fresh: u32,
    files: Files,
    declared: declared::Declared<'m>,
    problems: Vec<Problem>,
}

impl<'m> Importer<'m> {
    fn new(model: &'m ModelProto, folder: Option<&Path>) -> Importer<'m> {
        Importer {
            graph: Graph::new(""),
            frame: 0,
            frames: 0,
            scopes: vec![FxHashMap::default()],
            opsets: opsets(&model.opset_import),
            functions: functions::index(model),
            function_attrs: FxHashMap::default(),
            calls: Vec::new(),
            depth: 0,
            nodes: 0,
            fresh: 0,
            files: Files::new(folder),
            declared: declared::Declared::default(),
            problems: Vec::new(),
        }
    }

    fn import(mut self, model: &'m ModelProto, name: &str, options: &Options) -> Result<Graph, Report> {
        let Some(main) = &model.graph else {
            return Err(Report::of(name, "format", "expected a graph, got a model without one"));
        };
        self.graph.name = identifier(&main.name);
        self.initializers(main);
        self.inputs(main, options);
        self.declared.read(main);
        self.import_nodes(&main.node);
        self.outputs(main);
        if !self.problems.is_empty() {
            return Err(Report { model: name.to_owned(), problems: self.problems });
        }
        Ok(without_dead_nodes(&self.graph))
    }

    // ── the graph's rim ──────────────────────────────────────────────────────────────────────────────────────

    fn define(&mut self, name: &'m str, item: Item) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, item);
        }
    }

    fn lookup(&self, name: &str) -> Option<&Item> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    fn decode(&mut self, proto: &TensorProto) -> Result<Tensor, String> {
        tensor::decode(proto, &mut self.files)
    }

    /// Constants of a graph; what is wrong with one is reported when it is decoded here.
    fn initializers(&mut self, graph: &'m GraphProto) {
        for proto in &graph.initializer {
            let item = match self.decode(proto) {
                Ok(tensor) => Item::Tensor(Held::constant(tensor)),
                Err(message) => {
                    self.model_problem("data", format!("initializer `{}`: {message}", proto.name));
                    Item::Poison
                }
            };
            self.define(&proto.name, item);
        }
        for proto in &graph.sparse_initializer {
            let name = proto.values.as_ref().map_or("", |v| v.name.as_str());
            let item = match self.sparse(proto) {
                Ok(item) => item,
                Err(refusal) => {
                    self.model_problem("data", format!("sparse initializer `{name}`: {}", refusal.message));
                    Item::Poison
                }
            };
            self.define(name, item);
        }
    }

    /// Zeros with the elements that are not zero scattered in, which costs no memory at import time.
    pub(crate) fn sparse(&mut self, proto: &SparseTensorProto) -> Step<Item> {
        let missing = || Refusal::new("expected a sparse tensor with values and indices");
        let values = self.decode(proto.values.as_ref().ok_or_else(missing)?)?;
        let indices = self.decode(proto.indices.as_ref().ok_or_else(missing)?)?;
        let shape = Shape::fixed(&tensor::extents(&proto.dims)?);
        let zeros = self.graph.full(values.dtype(), 0.0, &shape)?;
        let linear = indices.rank() == 1;
        let rows = if linear { indices.reshape(&[indices.len(), 1])? } else { indices };
        let target = if linear {
            self.graph.reshape(zeros, &[shape.elements()].into_iter().collect())?
        } else {
            zeros
        };
        let (rows, values) = (self.graph.constant(rows)?, self.graph.constant(values)?);
        let attrs = [crate::graph::Attr::from("none")].into_iter().collect();
        let dense = self.graph.op(crate::graph::Op::ScatterNd, &[target, rows, values], attrs)?;
        let dense = self.graph.reshape(dense, &shape)?;
        Ok(Item::Tensor(Held::node(dense, self.graph.ty(dense).clone())))
    }

    fn inputs(&mut self, graph: &'m GraphProto, options: &Options) {
        for input in &graph.input {
            if self.scopes[0].contains_key(input.name.as_str()) {
                continue;
            }
            if let Some(item) = self.declared(&input.name, options) {
                self.define(&input.name, item);
                continue;
            }
            let item = match self.parameter_type(input, options.open.contains(&input.name)) {
                Ok(ty) => self.parameter(&input.name, ty),
                Err(message) => {
                    self.model_problem("type", format!("input `{}`: {message}", input.name));
                    Item::Poison
                }
            };
            self.define(&input.name, item);
        }
    }

    fn parameter(&mut self, name: &str, ty: TensorType) -> Item {
        let value = self.graph.add_param(name, ty.clone());
        Item::Tensor(Held::node(value, ty))
    }

    /// What the options say of an input.
    fn declared(&mut self, name: &str, options: &Options) -> Option<Item> {
        if let Some(tensor) = options.constants.get(name) {
            return Some(Item::Tensor(Held::constant(tensor.clone())));
        }
        if let Some(types) = options.sequences.get(name) {
            let items = types.iter().enumerate();
            let items = items.map(|(i, ty)| self.parameter(&format!("{name}.{i}"), ty.clone())).collect();
            return Some(Item::Sequence(std::rc::Rc::new(items)));
        }
        options.absent.contains(name).then_some(Item::Optional(None))
    }

    fn parameter_type(&mut self, input: &'m ValueInfoProto, open: bool) -> Result<TensorType, String> {
        let tensor = match input.r#type.as_ref().and_then(|t| t.value.as_ref()) {
            Some(TypeValue::Tensor(tensor)) => tensor,
            Some(TypeValue::Optional(inner)) => match inner.elem_type.as_ref().and_then(|t| t.value.as_ref())
            {
                Some(TypeValue::Tensor(tensor)) => tensor,
                _ => return Err("expected a tensor, got an optional of another type".into()),
            },
            Some(TypeValue::Sequence(_)) => return Err("expected a tensor, got a sequence".into()),
            Some(TypeValue::Map(_)) => return Err("expected a tensor, got a map".into()),
            Some(TypeValue::SparseTensor(_)) => return Err("expected a tensor, got a sparse one".into()),
            None => return Err("expected a type, got none".into()),
        };
        let dtype = tensor::dtype_of(tensor.elem_type)?;
        let shape = tensor.shape.as_ref().ok_or("expected a shape of known rank, got none")?;
        let known: Vec<i64> = shape
            .dim
            .iter()
            .filter_map(|d| match &d.value {
                Some(DimensionValue::Value(v)) if *v >= 0 => Some(*v),
                _ => None,
            })
            .collect();
        tensor::extents(&known)?;
        let dims = shape.dim.iter().map(|d| match &d.value {
            Some(DimensionValue::Value(v)) if *v >= 0 && !open => Dim::from(*v),
            Some(DimensionValue::Param(name)) if !name.is_empty() => self.named_extent(name),
            _ => self.fresh(EXTENT),
        });
        let shape: Shape = dims.collect();
        if shape.rank() > crate::shape::MAX_RANK {
            return Err(format!("expected at most {} axes, got {}", crate::shape::MAX_RANK, shape.rank()));
        }
        Ok(TensorType::new(dtype, shape))
    }

    /// The symbol of a name of the model; different names get different symbols.
    fn named_extent(&mut self, name: &'m str) -> Dim {
        if let Some(symbol) = self.declared.symbols.get(name) {
            return Dim::sym(symbol.clone());
        }
        let base = identifier(name);
        let mut symbol = Symbol::new(&base);
        let mut suffix = 2;
        while self.declared.symbols.values().any(|s| *s == symbol) || self.graph.in_scope(&symbol) {
            symbol = Symbol::new(&format!("{base}_{suffix}"));
            suffix += 1;
        }
        self.graph.set_range(symbol.clone(), EXTENT);
        self.declared.symbols.insert(name, symbol.clone());
        Dim::sym(symbol)
    }

    /// Outputs; of a sequence each element becomes an output of its own, `name.0` and so on.
    fn outputs(&mut self, graph: &'m GraphProto) {
        for output in &graph.output {
            match self.lookup(&output.name).cloned() {
                Some(item) => self.output(&output.name, &item),
                None => {
                    let message =
                        format!("output `{}`: expected a value of that name, got none", output.name);
                    self.model_problem("name", message);
                }
            }
        }
    }

    fn output(&mut self, name: &str, item: &Item) {
        match item {
            Item::Tensor(held) => match self.place(held) {
                Ok(value) => self.graph.add_output(name, value),
                Err(refusal) => self.model_problem("output", format!("output `{name}`: {}", refusal.message)),
            },
            Item::Sequence(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.output(&format!("{name}.{i}"), item);
                }
            }
            Item::Optional(Some(inner)) => self.output(name, inner),
            Item::Optional(None) => {
                self.model_problem(
                    "output",
                    format!("output `{name}`: expected a value, got an empty optional"),
                );
            }
            // Where the poison comes from was reported there.
            Item::Poison => {}
        }
    }

    // ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Imports nodes in order, reporting every one that cannot be.
    pub(crate) fn import_nodes(&mut self, nodes: &'m [NodeProto]) {
        for node in nodes {
            self.nodes += 1;
            if self.nodes > MOST_NODES {
                if self.nodes == MOST_NODES + 1 {
                    self.model_problem("size", format!("expected at most {MOST_NODES} nodes after inlining"));
                }
                return;
            }
            self.set_origin(label(node));
            let results = self.import_node(node);
            let mut results = results.into_iter();
            for name in &node.output {
                let item = results.next().unwrap_or(Item::Poison);
                if !name.is_empty() {
                    let item = self.decided(name, item);
                    self.define(name, item);
                }
            }
        }
    }

    fn import_node(&mut self, node: &'m NodeProto) -> Vec<Item> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            if name.is_empty() {
                inputs.push(None);
                continue;
            }
            match self.lookup(name) {
                Some(Item::Poison) => return Vec::new(),
                // An operand that the function around was called without.
                Some(Item::Optional(None)) if !TAKES_OPTIONALS.contains(&node.op_type.as_str()) => {
                    inputs.push(None)
                }
                Some(item) => inputs.push(Some(item.clone())),
                None => {
                    let refusal = Refusal {
                        constraint: "name".into(),
                        ..Refusal::new(format!("expected a value named `{name}`, got none"))
                    };
                    self.node_problem(node, &inputs, refusal);
                    return Vec::new();
                }
            }
        }
        match self.apply(node, inputs.clone()) {
            Ok(results) => {
                let missing = node.output.iter().skip(results.len()).any(|name| !name.is_empty());
                if missing {
                    let message =
                        format!("expected at most {} results, got {}", results.len(), node.output.len());
                    self.node_problem(node, &inputs, Refusal::new(message));
                }
                results
            }
            // What is wrong inside of a function or graph was reported there.
            Err(refusal) if refusal.constraint == REPORTED => Vec::new(),
            Err(refusal) => {
                self.node_problem(node, &inputs, refusal);
                Vec::new()
            }
        }
    }

    fn apply(&mut self, node: &'m NodeProto, inputs: Vec<Option<Item>>) -> Results {
        let domain = canonical_domain(&node.domain);
        if let Some(function) = self.functions.get(&(domain, &node.op_type, &node.overload)).copied() {
            return self.call(node, function, inputs);
        }
        let opset = self.opset_of(domain);
        let Some((_, since, rule)) = ops::find(domain, &node.op_type) else {
            let shown = if domain.is_empty() { "ai.onnx" } else { domain };
            return Err(Refusal::new(format!(
                "expected a known operator, got `{}` of {shown}",
                node.op_type
            )));
        };
        if opset < *since {
            return Err(Refusal::new(format!(
                "expected version {since} or newer of the domain, which first has this operator, got {opset}"
            )));
        }
        if let Some(results) = fold::evaluate(self, node, &inputs, opset, *rule) {
            return Ok(results);
        }
        let mut cx = Cx { importer: self, node, inputs, opset };
        if let Some(results) = fold::symbolic(&cx) {
            return Ok(results);
        }
        rule(&mut cx)
    }

    /// The version of a domain; models that name none of the default domain mean its first.
    fn opset_of(&self, domain: &str) -> i64 {
        self.opsets.get(domain).copied().unwrap_or(1)
    }

    fn model_problem(&mut self, constraint: &str, message: String) {
        self.problems.push(Problem { constraint: constraint.to_owned(), message, ..Problem::default() });
    }

    fn node_problem(&mut self, node: &NodeProto, inputs: &[Option<Item>], refusal: Refusal) {
        let domain = canonical_domain(&node.domain);
        self.problems.push(Problem {
            node: label(node).to_owned(),
            op: node.op_type.clone(),
            domain: if domain.is_empty() { "ai.onnx".to_owned() } else { domain.to_owned() },
            opset: self.opset_of(domain),
            operands: inputs.iter().map(describe).collect(),
            constraint: refusal.constraint,
            message: refusal.message,
            nearest: refusal.nearest,
        });
    }
}

/// The constraint of a refusal whose cause is in the report already.
const REPORTED: &str = "reported";

/// The operators for which an empty optional is something else than no operand.
const TAKES_OPTIONALS: [&str; 3] = ["OptionalHasElement", "OptionalGetElement", "Identity"];

/// What an input's extent may be.
const EXTENT: Range = Range { lo: 1, hi: (1 << 31) - 1 };

fn describe(item: &Option<Item>) -> String {
    match item {
        None => "none".to_owned(),
        Some(Item::Tensor(held)) => match &held.form {
            Form::Constant(_) => format!("constant {}", held.ty),
            _ => held.ty.to_string(),
        },
        Some(Item::Sequence(items)) => format!("sequence of {}", items.len()),
        Some(Item::Optional(_)) => "optional".to_owned(),
        Some(Item::Poison) => "unknown".to_owned(),
    }
}

fn label(node: &NodeProto) -> &str {
    let first = node.output.first().map_or("", String::as_str);
    if node.name.is_empty() { first } else { &node.name }
}

fn canonical_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

fn opsets(imports: &[OperatorSetIdProto]) -> FxHashMap<&str, i64> {
    imports.iter().map(|o| (canonical_domain(&o.domain), o.version)).collect()
}

/// A name that text can hold: letters, digits and underscores, not starting with a digit.
fn identifier(name: &str) -> String {
    let mut clean: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).take(64).collect();
    if clean.is_empty() || clean.starts_with(|c: char| c.is_ascii_digit()) {
        clean.insert(0, '_');
    }
    clean
}

/// The same graph without what its outputs do not need.
fn without_dead_nodes(graph: &Graph) -> Graph {
    let live = graph.live_nodes();
    let mut rewriter = Rewriter::new(graph);
    for (id, _) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        rewriter.copy(id);
    }
    rewriter.finish()
}

#[cfg(test)]
mod tests;
