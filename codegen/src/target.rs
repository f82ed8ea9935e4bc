//! What a CPU backend is told of the processor.

/// A processor to emit code for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CpuTarget {
    /// `x86_64` or `aarch64`.
    pub arch: &'static str,
    /// The features in the words of the runtime: `sse4.1`, `avx2` (with `fma`), `avx512`, …
    pub features: Vec<String>,
    /// The micro-kernel for f32 tiles: its symbol.
    pub f32_tile: String,
    /// The rows of that tile.
    pub tile_rows: i64,
    /// The columns of that tile.
    pub tile_columns: i64,
}

impl CpuTarget {
    /// Whether the processor has a feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|f| f == feature)
    }
}
