//! The `.npy` format, versions 1 to 3: a Python literal of type, order and shape, then the elements.
//!
//! Types beyond those of numpy carry the names of `ml_dtypes` (`bfloat16`, `float8_e4m3fn`, `int4`),
//! under which numpy finds them once that package is imported; like there, types narrower than a
//! byte take a whole byte each. Two-byte void, as which numpy saves `bfloat16` itself, reads as
//! that. Fortran order becomes a transposed view; big-endian elements are copied.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::{WeightsError, WeightsFile};
use crate::dtype::{DType, Scalar};
use crate::tensor::{Tensor, checked_size};

/// What every `.npy` file begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// Data starts at a multiple of this, as numpy has it.
const DATA_ALIGNMENT: usize = 64;
/// More axes than numpy allows.
const RANK_LIMIT: usize = 64;

#[rustfmt::skip]
const TYPES: [(DType, &str); 23] = [
    (DType::F64, "<f8"), (DType::F32, "<f4"), (DType::F16, "<f2"), (DType::BF16, "bfloat16"),
    (DType::F8E4M3, "float8_e4m3fn"), (DType::F8E4M3Fnuz, "float8_e4m3fnuz"),
    (DType::F8E5M2, "float8_e5m2"), (DType::F8E5M2Fnuz, "float8_e5m2fnuz"),
    (DType::F4E2M1, "float4_e2m1fn"), (DType::F8E8M0, "float8_e8m0fnu"),
    (DType::I64, "<i8"), (DType::I32, "<i4"), (DType::I16, "<i2"), (DType::I8, "|i1"),
    (DType::I4, "int4"), (DType::I2, "int2"),
    (DType::U64, "<u8"), (DType::U32, "<u4"), (DType::U16, "<u2"), (DType::U8, "|u1"),
    (DType::U4, "uint4"), (DType::U2, "uint2"), (DType::Bool, "|b1"),
];

/// Reads the tensor of a file, as a window onto it where the layout allows.
pub fn read(file: &WeightsFile) -> Result<Tensor, WeightsError> {
    read_region(file, "", 0, file.bytes().len())
}

/// Maps and reads a file.
pub fn open(path: &Path) -> Result<Tensor, WeightsError> {
    read(&WeightsFile::open(path)?)
}

/// Writes a file.
pub fn write(path: &Path, tensor: &Tensor) -> Result<(), WeightsError> {
    let failed = |source| WeightsError::io(path.display(), source);
    let mut out = BufWriter::new(File::create(path).map_err(failed)?);
    write_to(&mut out, tensor, &path.display().to_string())?;
    out.flush().map_err(failed)
}

/// Writes the bytes of a file; `file` is what errors call it.
pub fn write_to(out: &mut impl Write, tensor: &Tensor, file: &str) -> Result<(), WeightsError> {
    let failed = |source| WeightsError::io(file, source);
    out.write_all(&encode_header(tensor)).map_err(failed)?;
    let widened = byte_per_element(tensor, file)?;
    let bytes = widened.to_bytes().map_err(|source| WeightsError::tensor(file, "data", source))?;
    out.write_all(&bytes).map_err(failed)
}

/// The tensor with a byte for each element of a type narrower than that.
pub(super) fn byte_per_element(tensor: &Tensor, file: &str) -> Result<Tensor, WeightsError> {
    let dtype = tensor.dtype();
    if !dtype.is_sub_byte() {
        return Ok(tensor.clone());
    }
    let widened = tensor.iter_scalars().map(|value| dtype.encode_bits(value) as f64);
    Tensor::from_f64_iter(DType::U8, tensor.shape(), widened)
        .map_err(|source| WeightsError::tensor(file, "data", source))
}

/// Magic, version, length and literal, padded so that what follows is aligned.
pub(super) fn encode_header(tensor: &Tensor) -> Vec<u8> {
    let mut literal =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': (", type_name(tensor.dtype()));
    for extent in tensor.shape() {
        write!(literal, "{extent},").expect("writing to a string does not fail");
    }
    literal.push_str("), }");
    // Version 1 holds 65535 bytes of literal, too few for some thousands of axes.
    let (version, prefix): (u8, usize) = if literal.len() < 65_000 { (1, 10) } else { (2, 12) };
    let total = (prefix + literal.len() + 1).next_multiple_of(DATA_ALIGNMENT);
    let length = total - prefix;
    let mut header = [MAGIC, &[version, 0]].concat();
    header.extend_from_slice(&(length as u32).to_le_bytes()[..prefix - 8]);
    header.extend_from_slice(literal.as_bytes());
    header.resize(total - 1, b' ');
    header.push(b'\n');
    header
}

/// Reads the tensor in `length` bytes of a file from `start` on, which must lie in it; errors put
/// `context` before the field.
pub(super) fn read_region(
    file: &WeightsFile,
    context: &str,
    start: usize,
    length: usize,
) -> Result<Tensor, WeightsError> {
    let malformed = |field: &str, expected: &str, found: String| {
        WeightsError::malformed(file.name(), format_args!("{context}{field}"), expected, found)
    };
    let bytes = &file.bytes()[start..start + length];
    if !bytes.starts_with(MAGIC) {
        return Err(malformed("magic", "\\x93NUMPY", format!("{:02x?}", &bytes[..bytes.len().min(6)])));
    }
    let (prefix, literal_length) = match bytes {
        [_, _, _, _, _, _, 1, _, a, b, ..] => (10, usize::from(u16::from_le_bytes([*a, *b]))),
        [_, _, _, _, _, _, 2 | 3, _, a, b, c, d, ..] => (12, u32::from_le_bytes([*a, *b, *c, *d]) as usize),
        [_, _, _, _, _, _, version, ..] => {
            return Err(malformed("version", "1, 2 or 3, and a header length", version.to_string()));
        }
        _ => return Err(malformed("version", "a byte", "the end of the file".to_owned())),
    };
    let available = length - prefix;
    let Some(literal) = bytes[prefix..].get(..literal_length) else {
        return Err(malformed("header length", &format!("at most {available}"), literal_length.to_string()));
    };
    let literal =
        std::str::from_utf8(literal).map_err(|error| malformed("header", "UTF-8 text", error.to_string()))?;
    let header = Header::parse(literal)
        .map_err(|Refusal { field, expected, found }| malformed(field, expected, found))?;

    let field = format!("{context}data");
    let refused = |source| WeightsError::tensor(file.name(), &field, source);
    // Types narrower than a byte take one each.
    let stored = if header.dtype.is_sub_byte() { DType::U8 } else { header.dtype };
    let (_, needed) = checked_size(stored, &header.shape).map_err(refused)?;
    let found = available - literal_length;
    if needed != found {
        let expected = format!("{needed} bytes for {}{:?}", header.dtype, header.shape);
        return Err(malformed("data", &expected, format!("{found} bytes")));
    }
    let mut shape = header.shape;
    if header.fortran_order {
        shape.reverse();
    }
    let data = start + prefix + literal_length;
    let tensor = if header.big_endian && stored.bits() > 8 {
        let mut swapped = file.bytes()[data..data + needed].to_vec();
        swapped.chunks_exact_mut(stored.bits() as usize / 8).for_each(<[u8]>::reverse);
        Tensor::from_bytes(stored, &shape, swapped).map_err(refused)?
    } else {
        file.tensor(&field, stored, &shape, data)?
    };
    let tensor =
        if stored == header.dtype { tensor } else { narrow(&tensor, header.dtype).map_err(refused)? };
    if header.fortran_order {
        let reversed: Vec<usize> = (0..shape.len()).rev().collect();
        return tensor.transpose(&reversed).map_err(refused);
    }
    Ok(tensor)
}

/// Packs a byte per element, whose low bits count, to a type narrower than that.
fn narrow(bytes: &Tensor, dtype: DType) -> Result<Tensor, crate::tensor::TensorError> {
    let mut packed = vec![0u8; dtype.bytes_for(bytes.len()).unwrap_or(0)];
    let (width, per_byte) = (dtype.bits() as usize, 8 / dtype.bits() as usize);
    for (position, value) in bytes.iter_scalars().map(Scalar::to_i128).enumerate() {
        let low = value as u8 & ((1 << width) - 1);
        packed[position / per_byte] |= low << (position % per_byte * width);
    }
    Tensor::from_bytes(dtype, bytes.shape(), packed)
}

fn type_name(dtype: DType) -> &'static str {
    TYPES[dtype as usize].1
}

/// The element type of a `descr`, and whether its bytes are big-endian.
fn parse_type(descr: &str) -> Option<(DType, bool)> {
    let find = |name: &str| TYPES.iter().find(|(_, known)| *known == name).map(|(dtype, _)| *dtype);
    if let Some(dtype) = find(descr) {
        return Some((dtype, false));
    }
    let (order, rest) = descr.split_at_checked(1)?;
    if !matches!(order, "<" | ">" | "=" | "|") {
        return None;
    }
    if rest == "V2" {
        return Some((DType::BF16, false));
    }
    let dtype = find(&format!("<{rest}")).or_else(|| find(&format!("|{rest}")))?;
    Some((dtype, order == ">"))
}

struct Header {
    dtype: DType,
    big_endian: bool,
    fortran_order: bool,
    shape: Vec<usize>,
}

struct Refusal {
    field: &'static str,
    expected: &'static str,
    found: String,
}

impl Header {
    fn parse(literal: &str) -> Result<Header, Refusal> {
        let mut scanner = Scanner { rest: literal };
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        scanner.expect("{")?;
        while !scanner.accept("}") {
            let key = scanner.string()?;
            scanner.expect(":")?;
            match key {
                "descr" if dtype.is_none() => {
                    let descr = scanner.string().map_err(|refusal| Refusal {
                        field: "descr",
                        expected: "the quoted name of an element type",
                        ..refusal
                    })?;
                    dtype = Some(parse_type(descr).ok_or_else(|| Refusal {
                        field: "descr",
                        expected: "an element type such as '<f4', '|i1' or 'bfloat16'",
                        found: format!("'{descr}'"),
                    })?);
                }
                "fortran_order" if fortran_order.is_none() => fortran_order = Some(scanner.boolean()?),
                "shape" if shape.is_none() => shape = Some(scanner.shape()?),
                _ => {
                    let expected = "each of the keys descr, fortran_order and shape once";
                    return Err(Refusal { field: "header", expected, found: format!("'{key}'") });
                }
            }
            if !scanner.accept(",") {
                scanner.expect("}")?;
                break;
            }
        }
        let missing = |field| Refusal { field, expected: "a value", found: "none".to_owned() };
        let (dtype, big_endian) = dtype.ok_or_else(|| missing("descr"))?;
        Ok(Header {
            dtype,
            big_endian,
            fortran_order: fortran_order.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }
}

/// Reads the few Python literals that a header is made of.
struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn accept(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &'static str) -> Result<(), Refusal> {
        if self.accept(token) { Ok(()) } else { Err(self.refuse("header", token)) }
    }

    fn refuse(&self, field: &'static str, expected: &'static str) -> Refusal {
        Refusal { field, expected, found: format!("`{}`", self.rest.chars().take(24).collect::<String>()) }
    }

    fn string(&mut self) -> Result<&'a str, Refusal> {
        let quote = if self.accept("'") {
            '\''
        } else if self.accept("\"") {
            '"'
        } else {
            return Err(self.refuse("header", "a quoted string"));
        };
        let Some((text, rest)) = self.rest.split_once(quote) else {
            return Err(self.refuse("header", "a closing quote"));
        };
        self.rest = rest;
        Ok(text)
    }

    fn boolean(&mut self) -> Result<bool, Refusal> {
        if self.accept("True") {
            return Ok(true);
        }
        if self.accept("False") { Ok(false) } else { Err(self.refuse("fortran_order", "True or False")) }
    }

    fn shape(&mut self) -> Result<Vec<usize>, Refusal> {
        if !self.accept("(") {
            return Err(self.refuse("shape", "a tuple"));
        }
        let mut shape = Vec::new();
        while !self.accept(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
            let extent = self.rest[..end].parse().map_err(|_| self.refuse("shape", "an extent"))?;
            if shape.len() == RANK_LIMIT {
                return Err(self.refuse("shape", "at most 64 axes"));
            }
            shape.push(extent);
            self.rest = &self.rest[end..];
            // Python 2 wrote long integers so.
            self.accept("L");
            if !self.accept(",") && !self.rest.starts_with(')') {
                return Err(self.refuse("shape", "`,` or `)`"));
            }
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> WeightsFile {
        let order = if fortran { "True" } else { "False" };
        let literal = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = [MAGIC, &[1, 0]].concat();
        bytes.extend((literal.len() as u16).to_le_bytes());
        bytes.extend(literal.as_bytes());
        bytes.extend(data);
        WeightsFile::from_bytes("x.npy", bytes)
    }

    #[test]
    fn orders_and_foreign_types_are_read() {
        let fortran = read(&file("|u1", true, "(2, 3)", &[0, 1, 2, 3, 4, 5])).expect("valid");
        assert_eq!(fortran.to_string(), "[[0, 2, 4], [1, 3, 5]]");
        let big = read(&file(">i2", false, "(2,)", &[1, 2, 0, 5])).expect("valid");
        assert_eq!(big.to_string(), "[258, 5]");
        let brain = read(&file("<V2", false, "()", &[0x80, 0x3f])).expect("valid");
        assert_eq!((brain.dtype(), brain.to_string().as_str()), (DType::BF16, "1.0"));
        let nibbles = read(&file("int4", false, "(3L,)", &[0xff, 0x07, 0x08])).expect("valid");
        assert_eq!(nibbles.to_string(), "[-1, 7, -8]");
        assert!(TYPES.iter().map(|(dtype, _)| *dtype).eq(DType::ALL));
    }

    #[test]
    fn refusals_name_file_field_expected_and_found() {
        let refusal = |file| read(&file).expect_err("malformed").to_string();
        assert_eq!(
            refusal(file("<f4", false, "(2,)", &[0; 7])),
            "x.npy: data: expected 8 bytes for f32[2], found 7 bytes"
        );
        assert_eq!(
            refusal(file("<c8", false, "(1,)", &[0; 8])),
            "x.npy: descr: expected an element type such as '<f4', '|i1' or 'bfloat16', found '<c8'"
        );
        assert!(refusal(file("<f4", false, "(4611686018427387904, 4)", &[])).contains("fits in memory"));
        assert!(refusal(file("<f4", false, "(-1,)", &[])).contains("shape: expected an extent, found `-1,"));
    }
}
