//! Front ends: from model files to graphs.

pub mod json;
