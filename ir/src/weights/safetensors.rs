//! The safetensors format: a length, a JSON header of names, types, shapes and offsets, and the data.
//!
//! As the format demands, the tensors must tile the data exactly: no overlap, no gap, nothing after.
//! Types narrower than a byte are packed; those that the format does not know are written under our
//! own names (`I4`, `U4`, `I2`, `U2`).

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::{WeightsError, WeightsFile};
use crate::dtype::DType;
use crate::tensor::Tensor;

/// The most bytes of header that any reader of the format accepts.
const HEADER_LIMIT: usize = 100_000_000;
/// Data starts at a multiple of this, so that mapped tensors are aligned.
const DATA_ALIGNMENT: usize = 64;
/// More axes than any framework has; errors show whole shapes.
const RANK_LIMIT: usize = 64;
const METADATA: &str = "__metadata__";

#[rustfmt::skip]
const TYPES: [(DType, &str); 23] = [
    (DType::F64, "F64"), (DType::F32, "F32"), (DType::F16, "F16"), (DType::BF16, "BF16"),
    (DType::F8E4M3, "F8_E4M3"), (DType::F8E4M3Fnuz, "F8_E4M3FNUZ"),
    (DType::F8E5M2, "F8_E5M2"), (DType::F8E5M2Fnuz, "F8_E5M2FNUZ"),
    (DType::F4E2M1, "F4"), (DType::F8E8M0, "F8_E8M0"),
    (DType::I64, "I64"), (DType::I32, "I32"), (DType::I16, "I16"), (DType::I8, "I8"),
    (DType::I4, "I4"), (DType::I2, "I2"),
    (DType::U64, "U64"), (DType::U32, "U32"), (DType::U16, "U16"), (DType::U8, "U8"),
    (DType::U4, "U4"), (DType::U2, "U2"), (DType::Bool, "BOOL"),
];

/// The content of a safetensors file.
#[derive(Clone, Debug, Default)]
pub struct Safetensors {
    /// The tensors, in the order of the header.
    pub tensors: Vec<(String, Tensor)>,
    /// The free-form text of `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

impl Safetensors {
    /// Maps a file and reads its header; tensors are windows onto the mapping.
    pub fn open(path: &Path) -> Result<Safetensors, WeightsError> {
        Safetensors::parse(&WeightsFile::open(path)?)
    }

    /// Reads the header of a file; tensors are windows onto its bytes.
    pub fn parse(file: &WeightsFile) -> Result<Safetensors, WeightsError> {
        let malformed = |field: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
            WeightsError::malformed(file.name(), field, expected, found)
        };
        let bytes = file.bytes();
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return Err(malformed("header length", &"8 bytes", &bytes.len()));
        };
        let length = u64::from_le_bytes(*length);
        let limit = rest.len().min(HEADER_LIMIT);
        let Some(length) = usize::try_from(length).ok().filter(|length| *length <= limit) else {
            return Err(malformed("header length", &format_args!("at most {limit}"), &length));
        };
        let (header, data) = rest.split_at(length);
        if header.first() != Some(&b'{') {
            let first = header.first().map_or("nothing".to_owned(), |b| format!("byte {b:#04x}"));
            return Err(malformed("header", &"a JSON object", &first));
        }
        let header: Header =
            serde_json::from_slice(header).map_err(|error| malformed("header", &"valid JSON", &error))?;
        check_tiling(file, &header.entries, data.len())?;
        let mut tensors = Vec::with_capacity(header.entries.len());
        for (name, entry) in header.entries {
            let tensor = entry.tensor(file, &name, 8 + length)?;
            tensors.push((name, tensor));
        }
        Ok(Safetensors { tensors, metadata: header.metadata })
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }

    /// Writes tensors and metadata, wider types first so that each is aligned; bytes depend on
    /// nothing but the content.
    pub fn write_to(&self, out: &mut impl Write, file: &str) -> Result<(), WeightsError> {
        let mut order: Vec<&(String, Tensor)> = self.tensors.iter().collect();
        order.sort_by_key(|(name, tensor)| (std::cmp::Reverse(tensor.dtype().bits()), name));
        let mut header = serde_json::Map::new();
        if !self.metadata.is_empty() {
            header.insert(METADATA.to_owned(), serde_json::json!(self.metadata));
        }
        let mut end = 0;
        for (name, tensor) in &order {
            let start = end;
            end += tensor.byte_len();
            let entry = serde_json::json!({
                "dtype": type_name(tensor.dtype()),
                "shape": tensor.shape(),
                "data_offsets": [start, end],
            });
            if name == METADATA || header.insert(name.clone(), entry).is_some() {
                return Err(WeightsError::malformed(file, "tensor names", "names used once", name));
            }
        }
        let mut header = serde_json::Value::Object(header).to_string().into_bytes();
        header.resize((header.len() + 8).next_multiple_of(DATA_ALIGNMENT) - 8, b' ');
        let failed = |source| WeightsError::io(file, source);
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
        out.write_all(&header).map_err(failed)?;
        for (name, tensor) in order {
            let bytes = tensor.to_bytes().map_err(|source| WeightsError::tensor(file, name, source))?;
            out.write_all(&bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes a file; see [`Safetensors::write_to`].
    pub fn write(&self, path: &Path) -> Result<(), WeightsError> {
        let failed = |source| WeightsError::io(path.display(), source);
        let mut out = BufWriter::new(File::create(path).map_err(failed)?);
        self.write_to(&mut out, &path.display().to_string())?;
        out.flush().map_err(failed)
    }
}

fn type_name(dtype: DType) -> &'static str {
    TYPES[dtype as usize].1
}

/// The data of all tensors, put in order, must be the data of the file.
fn check_tiling(file: &WeightsFile, entries: &[(String, Entry)], length: usize) -> Result<(), WeightsError> {
    let mut order: Vec<&(String, Entry)> = entries.iter().collect();
    order.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut position = 0;
    for (name, entry) in order {
        let [start, end] = entry.data_offsets;
        if start != position || end < start || end > length as u64 {
            let expected = format_args!("data from byte {position} on, within {length}").to_string();
            let field = format_args!("tensor {name}: data_offsets").to_string();
            return Err(WeightsError::malformed(
                file.name(),
                field,
                expected,
                format_args!("[{start}, {end}]"),
            ));
        }
        position = end;
    }
    if position != length as u64 {
        let found = format_args!("{length} bytes").to_string();
        return Err(WeightsError::malformed(file.name(), "data", format_args!("{position} bytes"), found));
    }
    Ok(())
}

struct Header {
    entries: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Entry {
    fn tensor(self, file: &WeightsFile, name: &str, data: usize) -> Result<Tensor, WeightsError> {
        let malformed = |part: &str, expected: &dyn fmt::Display, found: &dyn fmt::Display| {
            WeightsError::malformed(file.name(), format_args!("tensor {name}: {part}"), expected, found)
        };
        let Some((dtype, _)) = TYPES.iter().find(|(_, known)| *known == self.dtype) else {
            let known: Vec<&str> = TYPES.iter().map(|(_, name)| *name).collect();
            return Err(malformed("dtype", &format_args!("one of {}", known.join(", ")), &self.dtype));
        };
        if self.shape.len() > RANK_LIMIT {
            let expected = format_args!("at most {RANK_LIMIT} axes").to_string();
            return Err(malformed("shape", &expected, &self.shape.len()));
        }
        let shape: Result<Vec<usize>, _> = self.shape.iter().map(|extent| usize::try_from(*extent)).collect();
        let shape =
            shape.map_err(|_| malformed("shape", &"extents of this machine's size", &"a greater one"))?;
        let field = format!("tensor {name}");
        let (_, needed) = crate::tensor::checked_size(*dtype, &shape)
            .map_err(|source| WeightsError::tensor(file.name(), &field, source))?;
        let [start, end] = self.data_offsets;
        if needed as u64 != end - start {
            let expected = format_args!("{needed} bytes for {dtype}{shape:?}").to_string();
            return Err(malformed("data_offsets", &expected, &format_args!("[{start}, {end}]")));
        }
        // Within the file, as `check_tiling` found.
        file.tensor(&field, *dtype, &shape, data + start as usize)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// Reads the header entry by entry: a map would keep the last of two tensors of one name.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
        let mut header = Header { entries: Vec::new(), metadata: BTreeMap::new() };
        let mut names = rustc_hash::FxHashSet::default();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(M::Error::custom(format_args!("the name {} twice", super::excerpt(&name))));
            }
            if name == METADATA {
                header.metadata = map.next_value()?;
            } else {
                header.entries.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_stand_in_the_order_of_the_enum() {
        assert!(TYPES.iter().map(|(dtype, _)| *dtype).eq(DType::ALL));
    }

    fn refusal(header: &str, data: usize) -> String {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        let file = WeightsFile::from_bytes("m.safetensors", bytes);
        Safetensors::parse(&file).expect_err("malformed").to_string()
    }

    #[test]
    fn refusals_name_file_field_expected_and_found() {
        let entry = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#""w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}"#)
        };
        let good = entry("F32", "[2]", "[0,8]");
        let v = good.replace("\"w\"", "\"v\"");
        #[rustfmt::skip]
        let cases = [
            (format!("{{{good}}}"), 7, "m.safetensors: tensor w: data_offsets: expected data from byte 0 on, within 7, found [0, 8]"),
            (format!("{{{good}}}"), 9, "m.safetensors: data: expected 8 bytes, found 9 bytes"),
            (format!("{{{good},{v}}}"), 8, "data_offsets: expected data from byte 8 on, within 8, found [0, 8]"),
            (format!("{{{good},{good}}}"), 8, "the name w twice"),
            (format!("{{{}}}", entry("F31", "[2]", "[0,8]")), 8, "tensor w: dtype: expected one of F64, F32"),
            (format!("{{{}}}", entry("F32", "[3]", "[0,8]")), 8, "expected 12 bytes for f32[3], found [0, 8]"),
            (format!("{{{}}}", entry("F32", "[4294967296,4294967296]", "[0,8]")), 8, "expected a tensor that fits in memory"),
            (format!("{{{}}}", entry("F32", "[2]", "[8,0]")), 8, "found [8, 0]"),
            ("[1]".to_owned(), 0, "header: expected a JSON object, found byte 0x5b"),
        ];
        for (header, data, expected) in cases {
            let found = refusal(&header, data);
            assert!(found.contains(expected), "{found}");
        }
    }
}
