//! ONNX models.

use std::path::Path;

use tcc_ir::graph::Graph;
use tcc_ir::import::onnx::import_file;

use super::Failure;

/// Imports a model, or reports everything that stands in the way.
pub(super) fn load(path: &Path) -> Result<Graph, Failure> {
    import_file(path).map_err(|report| Failure::Input(report.to_string()))
}
