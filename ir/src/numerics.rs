//! What an op or a rewrite may do to the bits of a result.

use std::fmt;

/// How far a result may be from the exact one. Later variants allow all that earlier ones do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Numerics {
    /// Bit for bit, NaN payloads apart.
    Exact,
    /// Correct up to this many units in the last place of the result's type.
    Rounding {
        /// The bound.
        ulps: u32,
    },
    /// The terms of a sum or product in another order, or kept in a wider type.
    Reassociates,
    /// An approximation with this relative error, in units of 2^-24.
    Approximate {
        /// The bound.
        bound: u32,
    },
}

impl fmt::Display for Numerics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Numerics::Exact => f.write_str("exact"),
            Numerics::Rounding { ulps } => write!(f, "rounding ({ulps} ulps)"),
            Numerics::Reassociates => f.write_str("reassociating"),
            Numerics::Approximate { bound } => write!(f, "approximate (within {bound} of 2^-24)"),
        }
    }
}
