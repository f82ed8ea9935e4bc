//! Conversions between types.

use super::float::{ROUNDINGS, flags};
use super::{Entry, FloatFlags, Form, Op, Rounding, Type, entry};

/// A conversion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvertOp {
    pub(crate) to: Type,
    pub(crate) from: Type,
    /// How a float becomes integral, where it does.
    pub(crate) integral: Option<Rounding>,
    pub(crate) flags: FloatFlags,
    /// Whether two values make a pair: the first the upper half.
    pub(crate) packs: bool,
}

const INTEGRAL: &[(&str, Rounding)] = &[
    ("rni", Rounding::NearestEven),
    ("rzi", Rounding::Zero),
    ("rmi", Rounding::Down),
    ("rpi", Rounding::Up),
];

pub(super) const TABLE: &[Entry] =
    &[entry("cvt", "rn rna rz rm rp rni rzi rmi rpi ftz sat satfinite relu", "ds?s", convert)];

fn convert(form: &Form<'_>) -> Result<Op, String> {
    let types = form.types();
    let [to, from] = types[..] else {
        return Err(format!("expected two types, got {}", types.len()));
    };
    let integral = form.pick(INTEGRAL);
    let rounded = form.pick(ROUNDINGS).is_some();
    let packs = form.operands.len() == 3;
    if packs != (to.half().is_some() && from == Type::F32) {
        return Err(format!("expected two sources for a pair of f32 and one otherwise, to {}", to.name()));
    }
    if let Some(half) = from.half() {
        let widens = to == Type::F16x2 && matches!(half, Type::E4m3 | Type::E5m2);
        if !widens {
            return Err(format!("expected no conversion from {} to {}", from.name(), to.name()));
        }
    }
    let narrows = to.is_float() && (!from.is_float() || to.bits() < from.bits() || to == Type::Tf32);
    if narrows && !rounded {
        return Err(format!("expected a rounding for {} to {}", from.name(), to.name()));
    }
    if from.is_float() && !to.is_float() && integral.is_none() {
        return Err(format!("expected a rounding to an integer for {} to {}", from.name(), to.name()));
    }
    let narrow = |t: Type| matches!(t.half().unwrap_or(t), Type::E4m3 | Type::E5m2);
    if narrow(to) && !form.has("satfinite") {
        return Err(format!("expected `.satfinite` to {}", to.name()));
    }
    Ok(Op::Convert(ConvertOp { to, from, integral, flags: flags(form), packs }))
}
