//! What is wrong with a model: all problems at once, each with everything a user needs to act on it.

use std::fmt;

use serde_json::{Value as Json, json};

/// Everything that keeps a model from being imported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The model's file or name.
    pub model: String,
    /// The problems in the order of the model.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, of a node or of the model as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// The name of the node, or of its first result if it has none; empty for problems of the whole model.
    pub node: String,
    /// The operator.
    pub op: String,
    /// Its domain, `ai.onnx` for the default one.
    pub domain: String,
    /// The version of the domain that the model asks for.
    pub opset: i64,
    /// The types of the operands, as far as they are known.
    pub operands: Vec<String>,
    /// The violated constraint in a word: `unsupported`, `C1`, `attribute`, `type`, `data`.
    pub constraint: String,
    /// Expected …, got ….
    pub message: String,
    /// The nearest form that is supported, if there is one.
    pub nearest: Option<String>,
}

impl Report {
    /// A report of one problem of the model as a whole.
    pub fn of(model: &str, constraint: &str, message: impl Into<String>) -> Report {
        let problem =
            Problem { constraint: constraint.to_owned(), message: message.into(), ..Problem::default() };
        Report { model: model.to_owned(), problems: vec![problem] }
    }

    /// The report for programs.
    pub fn to_json(&self) -> Json {
        let problems: Vec<Json> = self.problems.iter().map(Problem::to_json).collect();
        json!({ "model": self.model, "problems": problems })
    }
}

impl Problem {
    fn to_json(&self) -> Json {
        json!({
            "node": self.node, "op": self.op, "domain": self.domain, "opset": self.opset,
            "operands": self.operands, "constraint": self.constraint, "message": self.message,
            "nearest": self.nearest,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        writeln!(f, "{}: {count} problem{}", self.model, if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|p| writeln!(f, "  {p}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.op.is_empty() {
            let Problem { node, op, domain, opset, .. } = self;
            write!(f, "`{node}`: {op} ({domain} {opset}) of ({}): ", self.operands.join(", "))?;
        }
        write!(f, "[{}] {}", self.constraint, self.message)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; supported: {nearest}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Report {}
