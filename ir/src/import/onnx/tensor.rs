//! From tensors of the file to tensors of the compiler, with every size checked before anything is made.
//!
//! Raw data stay where they are: in the mapped model or in a mapped file beside it. A file beside it must lie in
//! the folder of the model, also after links are followed.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use prost::bytes::Bytes;
use rustc_hash::FxHashMap;

use super::proto::TensorProto;
use crate::dtype::DType;
use crate::tensor::{SharedMemory, Tensor};
use crate::weights::WeightsFile;

/// The element type of a code of the standard's `TensorProto.DataType`.
pub(crate) fn dtype_of(code: i32) -> Result<DType, String> {
    const CODES: [Option<DType>; 27] = [
        None,
        Some(DType::F32),
        Some(DType::U8),
        Some(DType::I8),
        Some(DType::U16),
        Some(DType::I16),
        Some(DType::I32),
        Some(DType::I64),
        None,
        Some(DType::Bool),
        Some(DType::F16),
        Some(DType::F64),
        Some(DType::U32),
        Some(DType::U64),
        None,
        None,
        Some(DType::BF16),
        Some(DType::F8E4M3),
        Some(DType::F8E4M3Fnuz),
        Some(DType::F8E5M2),
        Some(DType::F8E5M2Fnuz),
        Some(DType::U4),
        Some(DType::I4),
        Some(DType::F4E2M1),
        Some(DType::F8E8M0),
        Some(DType::U2),
        Some(DType::I2),
    ];
    let known = usize::try_from(code).ok().and_then(|c| CODES.get(c).copied().flatten());
    known.ok_or_else(|| match code {
        8 => "expected a numeric element type, got strings".to_owned(),
        14 | 15 => "expected a real element type, got complex numbers".to_owned(),
        _ => format!("expected a known element type, got code {code}"),
    })
}

impl SharedMemory for Bytes {}

/// The files that hold tensors: the model's own, if it is one, and those beside it.
pub(crate) struct Files {
    /// The mapped file whose bytes the model was decoded from.
    pub(super) model: Option<WeightsFile>,
    folder: Option<PathBuf>,
    opened: FxHashMap<String, WeightsFile>,
}

impl Files {
    /// Files are looked for in `folder` only; without one, there are none.
    pub(crate) fn new(folder: Option<&Path>) -> Files {
        Files { model: None, folder: folder.map(Path::to_owned), opened: FxHashMap::default() }
    }

    fn open(&mut self, location: &str) -> Result<&WeightsFile, String> {
        if !self.opened.contains_key(location) {
            let file = self.open_within_folder(location)?;
            self.opened.insert(location.to_owned(), file);
        }
        Ok(&self.opened[location])
    }

    fn open_within_folder(&self, location: &str) -> Result<WeightsFile, String> {
        let folder = self
            .folder
            .as_deref()
            .ok_or("expected inline data, got external data of a model without a folder")?;
        let relative = Path::new(location);
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !plain {
            return Err(format!("expected external data within the model's folder, got `{location}`"));
        }
        let canonical = |path: &Path| {
            path.canonicalize().map_err(|e| format!("expected a readable file `{location}`: {e}"))
        };
        let (root, path) = (canonical(folder)?, canonical(&folder.join(relative))?);
        if !path.starts_with(&root) {
            return Err(format!(
                "expected external data within the model's folder, got a link out of it: `{location}`"
            ));
        }
        if !path.is_file() {
            return Err(format!("expected a file, got `{location}`"));
        }
        WeightsFile::open(&path).map_err(|e| e.to_string())
    }
}

/// The tensor that a message describes.
pub(crate) fn decode(proto: &TensorProto, files: &mut Files) -> Result<Tensor, String> {
    let dtype = dtype_of(proto.data_type)?;
    let shape = extents(&proto.dims)?;
    if proto.data_location == 1 {
        return external(proto, dtype, &shape, files);
    }
    if let Some(raw) = &proto.raw_data {
        return from_raw(dtype, &shape, raw, files.model.as_ref());
    }
    typed(proto, dtype, &shape)
}

/// Extents whose product can be addressed.
pub(crate) fn extents(dims: &[i64]) -> Result<Vec<usize>, String> {
    let mut elements = 1i64;
    for dim in dims {
        elements = elements.saturating_mul((*dim).max(1));
        if *dim < 0 || elements > crate::MAX_ELEMENTS {
            return Err(format!("expected extents of at most 2^47 elements, got {dims:?}"));
        }
    }
    if dims.len() > crate::shape::MAX_RANK {
        return Err(format!("expected at most {} axes, got {}", crate::shape::MAX_RANK, dims.len()));
    }
    Ok(dims.iter().map(|d| *d as usize).collect())
}

fn from_raw(
    dtype: DType,
    shape: &[usize],
    raw: &Bytes,
    model: Option<&WeightsFile>,
) -> Result<Tensor, String> {
    let elements: usize = shape.iter().product();
    let expected = dtype.bytes_for(elements).unwrap_or(usize::MAX);
    if raw.len() != expected {
        return Err(format!("expected {expected} bytes of data for {dtype}{shape:?}, got {}", raw.len()));
    }
    // A tensor that knows the mapping it lies in can give its pages back once it has been laid out anew.
    let start = model.and_then(|file| {
        let start = raw.as_ptr().addr().checked_sub(file.bytes().as_ptr().addr())?;
        (start.checked_add(raw.len())? <= file.bytes().len()).then_some((file, start))
    });
    if let Some((file, start)) = start {
        return file.tensor("raw_data", dtype, shape, start).map_err(|e| e.to_string());
    }
    Tensor::from_shared(dtype, shape, Arc::new(raw.clone()), 0).map_err(|e| e.to_string())
}

fn external(proto: &TensorProto, dtype: DType, shape: &[usize], files: &mut Files) -> Result<Tensor, String> {
    let entry = |key: &str| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| -> Result<Option<usize>, String> {
        entry(key)
            .map(|text| text.parse().map_err(|_| format!("expected a number for `{key}`, got `{text}`")))
            .transpose()
    };
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    let expected = dtype.bytes_for(shape.iter().product()).unwrap_or(usize::MAX);
    if let Some(length) = length.filter(|l| *l != expected) {
        return Err(format!("expected {expected} bytes of data for {dtype}{shape:?}, got `length` {length}"));
    }
    let file = files.open(entry("location").unwrap_or(""))?;
    file.tensor(&proto.name, dtype, shape, offset).map_err(|e| e.to_string())
}

/// Elements in the field that the standard assigns to their type.
fn typed(proto: &TensorProto, dtype: DType, shape: &[usize]) -> Result<Tensor, String> {
    let elements: usize = shape.iter().product();
    let check = |found: usize, expected: usize| {
        if found == expected {
            return Ok(());
        }
        Err(format!("expected {expected} entries of data for {dtype}{shape:?}, got {found}"))
    };
    let made = match dtype {
        DType::F32 => {
            check(proto.float_data.len(), elements)?;
            Tensor::from_slice(shape, &proto.float_data)
        }
        DType::F64 => {
            check(proto.double_data.len(), elements)?;
            Tensor::from_slice(shape, &proto.double_data)
        }
        DType::I64 => {
            check(proto.int64_data.len(), elements)?;
            Tensor::from_slice(shape, &proto.int64_data)
        }
        DType::U64 => {
            check(proto.uint64_data.len(), elements)?;
            Tensor::from_slice(shape, &proto.uint64_data)
        }
        DType::U32 => {
            check(proto.uint64_data.len(), elements)?;
            let words: Vec<u32> = proto.uint64_data.iter().map(|v| *v as u32).collect();
            Tensor::from_slice(shape, &words)
        }
        _ => {
            // Everything else stands in `int32_data` as bit patterns; types narrower than a byte are packed.
            let width = (dtype.bits() as usize / 8).max(1);
            let bytes = dtype.bytes_for(elements).unwrap_or(usize::MAX);
            check(proto.int32_data.len(), bytes / width)?;
            let packed =
                proto.int32_data.iter().flat_map(|v| v.to_le_bytes().into_iter().take(width)).collect();
            Tensor::from_bytes(dtype, shape, packed)
        }
    };
    made.map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::proto::StringStringEntryProto;
    use super::*;

    fn outside(location: &str) -> TensorProto {
        let entry = StringStringEntryProto { key: "location".into(), value: location.into() };
        TensorProto {
            dims: vec![2],
            data_type: 1,
            data_location: 1,
            external_data: vec![entry],
            ..TensorProto::default()
        }
    }

    #[test]
    fn external_data_stay_in_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("model");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(dir.path().join("secret"), [0; 8]).unwrap();
        std::fs::write(inner.join("weights"), 1f32.to_le_bytes().repeat(2)).unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), inner.join("link")).unwrap();
        let mut files = Files::new(Some(&inner));
        assert_eq!(decode(&outside("weights"), &mut files).unwrap().to_vec_f64().unwrap(), [1.0, 1.0]);
        for location in ["../secret", "link", "/etc/passwd", "", "."] {
            assert!(decode(&outside(location), &mut files).is_err(), "{location}");
        }
        assert!(decode(&outside("weights"), &mut Files::new(None)).is_err());
    }

    #[test]
    fn claims_beyond_the_data_are_refused() {
        let mut files = Files::new(None);
        let huge = TensorProto { dims: vec![1 << 60], data_type: 1, ..TensorProto::default() };
        assert!(decode(&huge, &mut files).is_err());
        let long = TensorProto { dims: vec![1 << 40], data_type: 1, ..TensorProto::default() };
        assert!(decode(&long, &mut files).unwrap_err().contains("got 0"));
    }
}
