//! `graph.json`: the format that people and other programs can write; `docs/graph.schema.json` describes it.
//!
//! ```json
//! {
//!   "format": "tcc-graph", "version": 1, "name": "scale",
//!   "symbols": { "N": [1, 64] },
//!   "inputs": [{ "name": "x", "dtype": "f32", "shape": ["N", 4] }],
//!   "constants": { "s": { "dtype": "f32", "shape": [4], "data": [1, 2, 3, 4] } },
//!   "nodes": [{ "op": "mul", "inputs": ["x", "s"], "outputs": ["y"] }],
//!   "outputs": ["y"]
//! }
//! ```
//!
//! Every op of the op table can be a node, with its attributes by name. Written by hand, elementwise ops may be
//! given operands that broadcast, and `matmul` and `relu` stand for what they mean.

mod constant;
mod read;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::graph::Graph;

pub use write::to_json;

/// The version of the format this reads and writes.
pub const VERSION: u32 = 1;

/// Why a file is no graph. All problems are listed.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct JsonErrors(pub Vec<String>);

/// Reads a graph; constants in other files are looked for in `folder` and below it.
pub fn from_json(text: &str, folder: &Path) -> Result<Graph, JsonErrors> {
    let document: Document = serde_json::from_str(text).map_err(|e| JsonErrors(vec![e.to_string()]))?;
    if document.format != "tcc-graph" {
        return Err(JsonErrors(vec![format!("format: expected \"tcc-graph\", got {:?}", document.format)]));
    }
    if document.version != VERSION {
        return Err(JsonErrors(vec![format!("version: expected {VERSION}, got {}", document.version)]));
    }
    read::graph(&document.graph, folder)
}

/// Whether a text looks like a graph in this format.
pub fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    version: u32,
    #[serde(flatten)]
    graph: JsonGraph,
}

#[derive(Serialize, Deserialize, Default)]
struct JsonGraph {
    #[serde(default)]
    name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    symbols: BTreeMap<String, [i64; 2]>,
    inputs: Vec<JsonInput>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    constants: BTreeMap<String, JsonConstant>,
    #[serde(default)]
    nodes: Vec<JsonNode>,
    outputs: Vec<JsonOutput>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonInput {
    name: String,
    dtype: String,
    shape: Vec<JsonDim>,
}

/// A number, or an expression over symbols.
#[derive(Serialize, Deserialize, Clone)]
#[serde(untagged)]
enum JsonDim {
    Number(i64),
    Expression(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonConstant {
    dtype: String,
    shape: Vec<usize>,
    /// Nested or flat lists of elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<Json>,
    /// One element for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    splat: Option<Json>,
    /// The bytes in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    /// A file: safetensors or npz (with `name`), npy, or raw bytes (from `offset` on).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// Pseudo-random elements around zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    random: Option<JsonRandom>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRandom {
    seed: u64,
    /// The standard deviation of floats.
    #[serde(default = "unit")]
    scale: f64,
}

fn unit() -> f64 {
    1.0
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonNode {
    op: String,
    #[serde(default)]
    inputs: Vec<String>,
    outputs: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attrs: BTreeMap<String, Json>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    regions: BTreeMap<String, JsonGraph>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

/// A value under its own name, or under another one.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum JsonOutput {
    Same(String),
    Named { name: String, value: String },
}
