//! The GPUs that PTX can be made for, each with the lowest PTX version that knows it.

use std::fmt;
use std::str::FromStr;

/// A GPU architecture, such as `sm_80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GpuTarget {
    /// Ten times the major plus the minor compute capability.
    pub capability: u32,
    /// Whether the code may use what only this very architecture has: the `a` in `sm_90a`.
    pub specific: bool,
    /// The lowest PTX version that knows it.
    pub version: (u32, u32),
    /// The most bytes of shared memory that a block can have.
    pub shared_bytes: u32,
}

/// A word that names no known GPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {known}, got {got:?}", known = GpuTarget::names().join(", "))]
pub struct UnknownTarget {
    got: String,
}

const fn target(capability: u32, specific: bool, version: (u32, u32), shared_kib: u32) -> GpuTarget {
    GpuTarget { capability, specific, version, shared_bytes: shared_kib * 1024 }
}

/// What has its own code path, oldest first; newer ones run the code of `sm_80` as `sm_100` or `sm_120`.
const ALL: [GpuTarget; 9] = [
    target(70, false, (6, 0), 96),
    target(75, false, (6, 3), 64),
    target(80, false, (7, 0), 163),
    target(86, false, (7, 1), 99),
    target(89, false, (7, 8), 99),
    target(90, false, (7, 8), 227),
    target(90, true, (8, 0), 227),
    target(100, false, (8, 6), 227),
    target(120, false, (8, 7), 99),
];

impl GpuTarget {
    /// Every GPU that code can be made for, oldest first.
    pub fn all() -> &'static [GpuTarget] {
        &ALL
    }

    fn names() -> Vec<String> {
        ALL.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for GpuTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.capability, if self.specific { "a" } else { "" })
    }
}

impl FromStr for GpuTarget {
    type Err = UnknownTarget;
    fn from_str(text: &str) -> Result<GpuTarget, UnknownTarget> {
        let found = ALL.iter().find(|t| t.to_string() == text);
        found.copied().ok_or_else(|| UnknownTarget { got: text.to_owned() })
    }
}
