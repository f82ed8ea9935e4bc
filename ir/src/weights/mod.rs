//! Files of named tensors: `.npy`, `.npz` and safetensors, read in place and written.
//!
//! Every file is untrusted: reading answers with tensors or with an error that names file, field,
//! what was expected and what was found. Tensors are windows onto the mapped file wherever its
//! layout allows; memory beyond the file's own size is needed only for compressed members.

mod mapped;
pub mod npy;
pub mod npz;
pub mod safetensors;
mod zip;

pub use mapped::WeightsFile;

use std::fmt;
use std::io;
use std::path::Path;

use thiserror::Error;

use crate::tensor::{Tensor, TensorError};

/// Why a file of tensors could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The operating system refused.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what its format asks for.
    #[error("{file}: {field}: expected {expected}, found {found}")]
    Malformed {
        /// The file.
        file: String,
        /// The part of it, such as `tensor wte.weight: data_offsets`.
        field: String,
        /// What should have been there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A tensor of the file cannot be made.
    #[error("{file}: {field}: {source}")]
    Tensor {
        /// The file.
        file: String,
        /// The part of it.
        field: String,
        /// Why not.
        source: TensorError,
    },
}

impl WeightsError {
    pub(crate) fn malformed(
        file: &str,
        field: impl fmt::Display,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> WeightsError {
        WeightsError::Malformed {
            file: file.to_owned(),
            field: excerpt(&field.to_string()),
            expected: expected.to_string(),
            found: excerpt(&found.to_string()),
        }
    }

    pub(crate) fn tensor(file: &str, field: impl fmt::Display, source: TensorError) -> WeightsError {
        WeightsError::Tensor { file: file.to_owned(), field: excerpt(&field.to_string()), source }
    }

    pub(crate) fn io(file: impl fmt::Display, source: io::Error) -> WeightsError {
        WeightsError::Io { file: file.to_string(), source }
    }
}

/// Reads every tensor of a file whose format is found from its content, in the order of the file.
/// The tensor of an `.npy` file is named after the file.
pub fn read(path: &Path) -> Result<Vec<(String, Tensor)>, WeightsError> {
    let file = WeightsFile::open(path)?;
    if file.bytes().starts_with(npy::MAGIC) {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        return Ok(vec![(name.unwrap_or_default(), npy::read(&file)?)]);
    }
    if file.bytes().starts_with(zip::ANY_MAGIC) {
        return npz::Npz::parse(file)?.read_all();
    }
    Ok(safetensors::Safetensors::parse(&file)?.tensors)
}

/// Text from a file, cut to a readable length.
fn excerpt(text: &str) -> String {
    const LIMIT: usize = 120;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
