//! Tensors as they stand in `run:` lines: `[[1, 2], [3, 4]]`, their type taken from the parameter, or with a
//! type before them where the nesting does not say the shape: `f32[0, 3] []`.

use tcc::ir::dtype::{DType, Scalar};
use tcc::ir::tensor::Tensor;
use tcc::ir::text::Cursor;

/// A list of tensors whose element types are given; types that run out are an error.
pub(crate) fn tensors(cursor: &mut Cursor<'_>, dtypes: &[DType], close: &str) -> Result<Vec<Tensor>, String> {
    let mut found = Vec::new();
    loop {
        if (close.is_empty() && cursor.at_end()) || (!close.is_empty() && cursor.accept(close)) {
            return Ok(found);
        }
        if !found.is_empty() {
            cursor.expect(",").map_err(|e| e.to_string())?;
        }
        let dtype =
            dtypes.get(found.len()).ok_or_else(|| format!("expected {} values, got more", dtypes.len()))?;
        found.push(tensor(cursor, *dtype)?);
    }
}

fn tensor(cursor: &mut Cursor<'_>, dtype: DType) -> Result<Tensor, String> {
    let mut shape = Vec::new();
    if cursor.accept(dtype.name()) {
        cursor.expect("[").map_err(|e| e.to_string())?;
        let extents = cursor.list("]", |c| c.int()).map_err(|e| e.to_string())?;
        shape = extents.into_iter().map(|e| e as usize).collect();
        let mut values = Vec::new();
        nested(cursor, dtype, 0, &mut Vec::new(), &mut values)?;
        return Tensor::from_scalars(dtype, &shape, &values).map_err(|e| e.to_string());
    }
    let mut values = Vec::new();
    nested(cursor, dtype, 0, &mut shape, &mut values)?;
    Tensor::from_scalars(dtype, &shape, &values).map_err(|e| e.to_string())
}

/// The extents are those of the first list of each depth.
fn nested(
    cursor: &mut Cursor<'_>,
    dtype: DType,
    depth: usize,
    shape: &mut Vec<usize>,
    values: &mut Vec<Scalar>,
) -> Result<(), String> {
    if !cursor.accept("[") {
        let text = if dtype.is_bool() { cursor.word("`true` or `false`") } else { cursor.number() };
        let text = text.map_err(|e| e.to_string())?;
        values.push(Scalar::parse(text, dtype).map_err(|e| e.to_string())?);
        return Ok(());
    }
    let first = shape.len() == depth;
    if first {
        shape.push(0);
    }
    let mut count = 0;
    while !cursor.accept("]") {
        if count > 0 {
            cursor.expect(",").map_err(|e| e.to_string())?;
        }
        nested(cursor, dtype, depth + 1, shape, values)?;
        count += 1;
    }
    if first {
        shape[depth] = count;
    }
    Ok(())
}
