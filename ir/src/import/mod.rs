//! Readers of models that others wrote.

pub mod onnx;
pub mod report;
