//! Front ends: from model files to graphs.

pub mod json;
pub mod onnx;
pub mod report;
