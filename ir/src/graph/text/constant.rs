//! The text of constants: nested lists of numbers, one repeated number, or bytes in hexadecimal.

use std::fmt::{self, Write};

use super::PrintOptions;
use super::parse::parse_type;
use crate::diag::{Diag, Span};
use crate::dtype::Scalar;
use crate::shape::Extents;
use crate::tensor::Tensor;
use crate::text::Cursor;

/// Constants of more elements are written as bytes.
const READABLE: usize = 64;

/// Constants of more elements are read as bytes only: a number in text takes many times the memory of its bytes.
const MAX_LISTED: usize = 1 << 20;

/// Writes the type and the elements.
pub(super) fn print(value: &Tensor, out: &mut impl Write, options: &PrintOptions) -> fmt::Result {
    write!(out, "{}{:?} ", value.dtype(), value.shape())?;
    if value.len() > 1 && value.strides().iter().zip(value.shape()).all(|(s, n)| *s == 0 || *n == 1) {
        return write!(out, "splat {}", value.get_flat(0).text(value.dtype()));
    }
    if value.len() <= READABLE {
        return print_nested(value, out, &mut 0, 0);
    }
    if options.elide_constants {
        return write!(out, "elided \"{}\"", &value.content_hash()[..16]);
    }
    out.write_str("hex \"")?;
    let bytes = value.to_bytes().map_err(|_| fmt::Error)?;
    for byte in bytes.iter() {
        write!(out, "{byte:02x}")?;
    }
    out.write_char('"')
}

fn print_nested(value: &Tensor, out: &mut impl Write, at: &mut usize, axis: usize) -> fmt::Result {
    if axis == value.rank() {
        let element = value.get_flat(*at);
        *at += 1;
        return write!(out, "{}", element.text(value.dtype()));
    }
    out.write_char('[')?;
    for i in 0..value.shape()[axis] {
        if i > 0 {
            out.write_str(", ")?;
        }
        print_nested(value, out, at, axis + 1)?;
    }
    out.write_char(']')
}

/// Reads what [`print`] writes.
pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Tensor, Diag> {
    let start = cursor.here();
    let ty = parse_type(cursor)?;
    let span = cursor.since(start);
    let error = |message: String| Diag::at(span, "constant", message);
    let extents: Extents = ty
        .shape
        .as_fixed()
        .ok_or_else(|| error(format!("expected extents that are numbers, got {}", ty.shape)))?;
    if cursor.accept("elided") {
        return Err(error("expected the elements of the constant, got a text that left them out".to_owned()));
    }
    if cursor.accept("splat") {
        let element = scalar(cursor, &ty)?;
        let one = Tensor::scalar(ty.dtype, element);
        return one.broadcast_to(&extents).map_err(|e| error(e.to_string()));
    }
    if cursor.accept("hex") {
        let at = cursor.here();
        let digits = cursor.string()?;
        let bytes = hex(&digits)
            .ok_or_else(|| Diag::at(cursor.since(at), "constant", "expected pairs of hexadecimal digits"))?;
        return Tensor::from_bytes(ty.dtype, &extents, bytes).map_err(|e| error(e.to_string()));
    }
    let start = cursor.here();
    let count = extents.iter().fold(1usize, |n, e| n.saturating_mul(*e));
    if count > MAX_LISTED {
        return Err(cursor.expected(&format!("`splat` or `hex` for more than {MAX_LISTED} elements")));
    }
    let mut elements = Vec::new();
    nested(cursor, &ty, &extents, &mut elements)?;
    let made = Tensor::from_scalars(ty.dtype, &extents, &elements);
    made.map_err(|e| Diag::at(cursor.since(start), "constant", e.to_string()))
}

fn scalar(cursor: &mut Cursor<'_>, ty: &crate::shape::TensorType) -> Result<Scalar, Diag> {
    let start = cursor.here();
    let text = if ty.dtype.is_bool() { cursor.word("`true` or `false`")? } else { cursor.number()? };
    Scalar::parse(text, ty.dtype).map_err(|e| Diag::at(cursor.since(start), "constant", e.to_string()))
}

/// Depth is bounded by the rank of the type and length by its extents, whatever the text holds.
fn nested(
    cursor: &mut Cursor<'_>,
    ty: &crate::shape::TensorType,
    extents: &[usize],
    elements: &mut Vec<Scalar>,
) -> Result<(), Diag> {
    let Some((extent, inner)) = extents.split_first() else {
        elements.push(scalar(cursor, ty)?);
        return Ok(());
    };
    let start = cursor.here();
    cursor.expect("[")?;
    for i in 0..*extent {
        if i > 0 {
            cursor
                .expect(",")
                .map_err(|_| cursor.expected(&format!("{extent} elements for {ty}, got {i} and then")))?;
        }
        if cursor.peek("]") {
            break;
        }
        nested(cursor, ty, inner, elements)?;
    }
    cursor.accept(",");
    if !cursor.accept("]") {
        let here = cursor.here();
        return Err(Diag::at(
            Span::new(start.max(here), here + 1),
            "constant",
            format!("expected a list of {extent} elements for {ty} to end here"),
        ));
    }
    Ok(())
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let value = |c: u8| char::from(c).to_digit(16);
    digits.chunks_exact(2).map(|pair| Some((value(pair[0])? * 16 + value(pair[1])?) as u8)).collect()
}
