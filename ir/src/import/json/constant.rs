//! Constants: inline, in files, or made on the spot.

use std::path::{Component, Path};

use serde_json::Value as Json;

use super::JsonConstant;
use crate::dtype::{DType, Scalar};
use crate::tensor::Tensor;
use crate::weights::WeightsFile;
use crate::weights::npz::Npz;
use crate::weights::safetensors::Safetensors;

/// The tensor that an entry describes.
pub(super) fn read(entry: &JsonConstant, folder: &Path) -> Result<Tensor, String> {
    let dtype: DType =
        entry.dtype.parse().map_err(|_| format!("expected an element type, got {:?}", entry.dtype))?;
    let shape = entry.shape.as_slice();
    let given = [
        entry.data.is_some(),
        entry.splat.is_some(),
        entry.hex.is_some(),
        entry.file.is_some(),
        entry.random.is_some(),
    ];
    if given.iter().filter(|g| **g).count() != 1 {
        return Err("expected one of data, splat, hex, file and random".to_owned());
    }
    if let Some(data) = &entry.data {
        let mut elements = Vec::new();
        flatten(data, dtype, &mut elements)?;
        return Tensor::from_scalars(dtype, shape, &elements).map_err(|e| e.to_string());
    }
    if let Some(value) = &entry.splat {
        let one = Tensor::scalar(dtype, scalar(value, dtype)?);
        return one.broadcast_to(shape).map_err(|e| e.to_string());
    }
    if let Some(digits) = &entry.hex {
        let bytes = from_hex(digits).ok_or("hex: expected pairs of hexadecimal digits")?;
        return Tensor::from_bytes(dtype, shape, bytes).map_err(|e| e.to_string());
    }
    if let Some(random) = &entry.random {
        let tensor = Tensor::random(dtype, shape, random.seed).map_err(|e| e.to_string())?;
        if random.scale == 1.0 {
            return Ok(tensor);
        }
        let values = tensor.to_vec_f64().map_err(|e| e.to_string())?;
        return Tensor::from_f64_iter(dtype, shape, values.into_iter().map(|v| v * random.scale))
            .map_err(|e| e.to_string());
    }
    let tensor = from_file(entry, dtype, folder)?;
    if tensor.dtype() != dtype || tensor.shape() != shape {
        return Err(format!("expected {dtype}{shape:?}, got {}{:?}", tensor.dtype(), tensor.shape()));
    }
    Ok(tensor)
}

fn from_file(entry: &JsonConstant, dtype: DType, folder: &Path) -> Result<Tensor, String> {
    let Some(path) = &entry.file else { return Err("expected a file".to_owned()) };
    let inside = path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(format!("file: expected a path inside the model's folder, got {}", path.display()));
    }
    let full = folder.join(path);
    // A link inside the folder may still lead out of it.
    let real = full.canonicalize().map_err(|e| format!("file {}: {e}", full.display()))?;
    let root = folder.canonicalize().map_err(|e| format!("folder {}: {e}", folder.display()))?;
    if !real.starts_with(&root) {
        return Err(format!("file: expected a path inside the model's folder, got {}", path.display()));
    }
    let file = WeightsFile::open(&real).map_err(|e| e.to_string())?;
    let named =
        || entry.name.as_deref().ok_or("name: expected the name of the tensor in the file".to_owned());
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
    match extension {
        "npy" => crate::weights::npy::read(&file).map_err(|e| e.to_string()),
        "npz" => {
            let name = named()?;
            let archive = Npz::parse(file).map_err(|e| e.to_string())?;
            let found =
                archive.get(name).ok_or(format!("name: expected a tensor of the file, got {name:?}"))?;
            found.map_err(|e| e.to_string())
        }
        "safetensors" => {
            let name = named()?;
            let archive = Safetensors::parse(&file).map_err(|e| e.to_string())?;
            archive.get(name).cloned().ok_or(format!("name: expected a tensor of the file, got {name:?}"))
        }
        _ => {
            let start =
                usize::try_from(entry.offset.unwrap_or(0)).map_err(|_| "offset: too large".to_owned())?;
            file.tensor("data", dtype, &entry.shape, start).map_err(|e| e.to_string())
        }
    }
}

/// Lists nested to any depth that a parser lets through, in row-major order.
fn flatten(data: &Json, dtype: DType, elements: &mut Vec<Scalar>) -> Result<(), String> {
    match data {
        Json::Array(items) => items.iter().try_for_each(|item| flatten(item, dtype, elements)),
        other => {
            elements.push(scalar(other, dtype)?);
            Ok(())
        }
    }
}

/// A number, a truth value, or the text of one that JSON has no number for.
pub(super) fn scalar(value: &Json, dtype: DType) -> Result<Scalar, String> {
    let text = match value {
        Json::Number(number) => number.to_string(),
        Json::Bool(value) => value.to_string(),
        Json::String(text) => text.clone(),
        _ => return Err(format!("expected a number, got {value}")),
    };
    Scalar::parse(&text, dtype).map_err(|e| e.to_string())
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: u8| char::from(c).to_digit(16);
    digits.as_bytes().chunks_exact(2).map(|p| Some((digit(p[0])? * 16 + digit(p[1])?) as u8)).collect()
}
