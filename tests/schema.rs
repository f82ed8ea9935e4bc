//! `docs/graph.schema.json` describes what is read and written.

use std::path::Path;

use serde_json::Value;
use tcc::ir::import::json::{from_json, to_json};

use crate::properties::seeds;
use crate::support::{generate, root};

fn schema() -> jsonschema::Validator {
    let text = std::fs::read_to_string(root().join("docs/graph.schema.json")).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

#[test]
fn graphs_are_written_as_described_and_read_back() {
    let schema = schema();
    for seed in seeds() {
        let graph = generate::graph(seed);
        let text = to_json(&graph).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        if let Err(error) = schema.validate(&document) {
            panic!("seed {seed}: {error}\n{text}");
        }
        let again = from_json(&text, Path::new(".")).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        assert_eq!(to_json(&again).unwrap(), text, "seed {seed}");
    }
}

#[test]
fn examples_are_as_described_and_mistakes_are_not() {
    let schema = schema();
    let text = std::fs::read_to_string(root().join("examples/mlp.json")).unwrap();
    let example: Value = serde_json::from_str(&text).unwrap();
    assert!(schema.is_valid(&example));
    for (pointer, mistake) in [
        ("/version", serde_json::json!(2)),
        ("/inputs/0/dtype", serde_json::json!("float")),
        ("/nodes/0/outputs", serde_json::json!("y")),
        ("/constants/w1/shape/0", serde_json::json!(-1)),
    ] {
        let mut wrong = example.clone();
        *wrong.pointer_mut(pointer).unwrap() = mistake;
        assert!(!schema.is_valid(&wrong), "{pointer}");
    }
}
