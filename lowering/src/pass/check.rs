//! Whether a program still computes what another one did: both are interpreted on random inputs.

use tcc_ir::dtype::Scalar;
use tcc_ir::numerics::Numerics;
use tcc_ir::tensor::{Tensor, Tolerance};

use super::{Ir, Sample, random_inputs};

/// What a check saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many samples had a value before and were compared.
    pub compared: usize,
    /// Why the last of the others was not.
    pub skipped: Option<String>,
}

/// Interprets both on `samples` random inputs and compares what comes out.
///
/// A sample on which `before` has no value is skipped: `after` may then do what it likes. The error says
/// which output differs and by how much.
pub fn compare_runs(
    before: &Ir,
    after: &Ir,
    numerics: Numerics,
    samples: usize,
    seed: u64,
) -> Result<Checked, String> {
    let mut checked = Checked::default();
    for sample in 0..samples as u64 {
        // Zeros of either sign, infinities and NaN tell exact rewrites from almost exact ones.
        let specials = numerics == Numerics::Exact && sample % 2 == 1;
        let Sample { inputs, bindings } = match random_inputs(before, seed.wrapping_add(sample), specials) {
            Ok(sample) => sample,
            Err(error) => {
                checked.skipped = Some(error.to_string());
                continue;
            }
        };
        let expected = match before.interpret_with(&inputs, &bindings) {
            Ok(expected) => expected,
            Err(error) => {
                checked.skipped = Some(error);
                continue;
            }
        };
        let place = |what: String| format!("inputs of seed {}: {what}", seed.wrapping_add(sample));
        let actual = after
            .interpret_with(&inputs, &bindings)
            .map_err(|e| place(format!("expected a value, got: {e}")))?;
        if actual.len() != expected.len() {
            return Err(place(format!("expected {} outputs, got {}", expected.len(), actual.len())));
        }
        for (i, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            compare(actual, expected, numerics).map_err(|e| place(format!("output {i}: {e}")))?;
        }
        checked.compared += 1;
    }
    Ok(checked)
}

/// Compares a tensor with the expected one as far as the numerics allow.
pub fn compare(actual: &Tensor, expected: &Tensor, numerics: Numerics) -> Result<(), String> {
    let tolerance = match numerics {
        Numerics::Exact => return compare_bits(actual, expected),
        Numerics::Rounding { ulps } => Tolerance::ulps(u64::from(ulps)),
        Numerics::Reassociates => Tolerance::for_dtype(expected.dtype()),
        Numerics::Approximate { bound } => {
            let relative = f64::from(bound) * (-24f64).exp2();
            Tolerance::relative(relative, relative)
        }
    };
    actual.compare(expected, tolerance).map(|_| ()).map_err(|e| e.to_string())
}

/// Equality by bits, so that zeros differ by sign; NaN is NaN whatever its payload.
fn compare_bits(actual: &Tensor, expected: &Tensor) -> Result<(), String> {
    actual.compare(expected, Tolerance::EXACT).map_err(|e| e.to_string())?;
    let sign = |s: Scalar| matches!(s, Scalar::Float(v) if v == 0.0 && v.is_sign_negative());
    let mut pairs = actual.iter_scalars().zip(expected.iter_scalars());
    match pairs.position(|(a, b)| sign(a) != sign(b)) {
        Some(at) => Err(format!("element {at}: expected a zero of the other sign")),
        None => Ok(()),
    }
}
