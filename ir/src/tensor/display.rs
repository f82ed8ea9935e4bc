//! The text of tensors: a literal of nested brackets, or a summary of those too big to read.

use std::fmt;

use super::Tensor;

/// The most elements that are printed in full.
const LITERAL_LIMIT: usize = 256;
/// How many elements a summary begins with.
const SUMMARY_ELEMENTS: usize = 8;

impl Tensor {
    /// The whole tensor as a literal such as `[[1.0, 2.0], [3.0, 4.0]]`, however big it is.
    pub fn literal(&self) -> String {
        let mut text = String::new();
        self.write_literal(&mut text).expect("writing to a string does not fail");
        text
    }

    fn write_literal(&self, out: &mut impl fmt::Write) -> fmt::Result {
        if self.is_empty() {
            return write_empty(out, self.shape());
        }
        let shape = self.shape();
        for (position, value) in self.iter_scalars().enumerate() {
            // The number of axes that begin anew at this position.
            let mut fresh = 0;
            let mut extent_product = 1;
            for extent in shape.iter().rev() {
                extent_product *= extent;
                if position % extent_product != 0 {
                    break;
                }
                fresh += 1;
            }
            if position > 0 {
                write_times(out, "]", fresh)?;
                out.write_str(", ")?;
            }
            write_times(out, "[", fresh)?;
            write!(out, "{}", value.text(self.dtype()))?;
        }
        write_times(out, "]", shape.len())
    }

    fn write_summary(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let (mut least, mut greatest, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
        for value in self.iter_scalars() {
            let value = value.to_f64();
            least = least.min(value);
            greatest = greatest.max(value);
            sum += value;
        }
        let mean = sum / self.len() as f64;
        write!(
            out,
            "{}{:?} {{min: {least:?}, max: {greatest:?}, mean: {mean:?}, first: [",
            self.dtype(),
            self.shape()
        )?;
        for (position, value) in self.iter_scalars().take(SUMMARY_ELEMENTS).enumerate() {
            let separator = if position > 0 { ", " } else { "" };
            write!(out, "{separator}{}", value.text(self.dtype()))?;
        }
        out.write_str(", ...]}")
    }
}

/// A literal of at most 256 elements, and a summary of more.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() <= LITERAL_LIMIT { self.write_literal(f) } else { self.write_summary(f) }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len() <= LITERAL_LIMIT {
            write!(f, "{}{:?} {self}", self.dtype(), self.shape())
        } else {
            self.write_summary(f)
        }
    }
}

fn write_times(out: &mut impl fmt::Write, text: &str, times: usize) -> fmt::Result {
    (0..times).try_for_each(|_| out.write_str(text))
}

/// Brackets down to the first axis without elements; a great outer extent is not repeated.
fn write_empty(out: &mut impl fmt::Write, shape: &[usize]) -> fmt::Result {
    let depth = shape.iter().position(|&extent| extent == 0).map_or(shape.len(), |axis| axis + 1);
    write_times(out, "[", depth)?;
    write_times(out, "]", depth)
}
