//! `docs/graph.schema.json` describes what is read and written.

use std::path::Path;

use serde_json::Value;
use tcc::ir::import::json::{from_json, to_json};

use crate::properties::seeds;
use crate::support::{Random, generate, root};

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

/// Texts of graphs, with random damage: cut, with bytes changed, with numbers replaced by ones that mean much memory.
#[test]
fn damaged_documents_are_refused_or_read() {
    let example = std::fs::read_to_string(root().join("examples/mlp.json")).unwrap();
    let mut texts: Vec<String> = seeds().take(50).map(|s| to_json(&generate::graph(s)).unwrap()).collect();
    texts.push(example);
    let mut random = Random(5);
    let (mut read, mut refused) = (0, 0);
    for text in &texts {
        for round in 0..32 {
            let mut bytes = text.clone().into_bytes();
            let at = random.below(bytes.len());
            match round % 4 {
                0 => bytes.truncate(at),
                1 => bytes[at] = b"[]{}\",:-0"[random.below(9)],
                2 => bytes[at] ^= 1 << random.below(7),
                _ => {
                    let digit = bytes.iter().skip(at).position(u8::is_ascii_digit).map_or(0, |i| at + i);
                    let huge = [&b"1152921504606846976"[..], b"-1", b"4294967296"][random.below(3)];
                    bytes.splice(digit..digit + 1, huge.iter().copied());
                }
            }
            let mutant = String::from_utf8_lossy(&bytes).into_owned();
            match from_json(&mutant, Path::new("/nonexistent")) {
                Ok(graph) => {
                    graph.verify().unwrap_or_else(|d| panic!("{d}\n{mutant}"));
                    read += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(read > 50 && refused > 400, "{read} read, {refused} refused");
}
