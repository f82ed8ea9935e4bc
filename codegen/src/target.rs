//! What a CPU backend is told of the processor, and the processors that have a name.

use tcc_ir::dtype::DType;

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
    /// The micro-kernels for elements of fewer bits.
    pub narrow: Vec<NarrowKernel>,
}

/// A micro-kernel for elements of few bits, whose sums have 32.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NarrowKernel {
    /// The element type of the left operand.
    pub a: DType,
    /// The element type of the right operand.
    pub b: DType,
    /// Its symbol.
    pub symbol: String,
    /// The most rows.
    pub rows: i64,
    /// The most columns.
    pub columns: i64,
    /// The steps of k that lie side by side in each column of the right operand.
    pub group: u32,
}

impl CpuTarget {
    /// The symbol of the micro-kernel that takes a tile of elements of these types, `group` steps of k side by side.
    pub fn kernel(&self, [a, b, c]: [DType; 3], group: u32) -> Option<&str> {
        if [a, b, c] == [DType::F32; 3] {
            return (group == 1).then_some(&self.f32_tile);
        }
        let sums = if a.is_float() { DType::F32 } else { DType::I32 };
        let fits = |k: &&NarrowKernel| [k.a, k.b, sums] == [a, b, c] && k.group == group;
        self.narrow.iter().find(fits).map(|k| k.symbol.as_str())
    }

    /// Whether the processor has a feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|f| f == feature)
    }
}

/// A target by name, as a file of `targets/` describes it: lines of a word and what it is set to.
///
/// ```text
/// # what it is, in a sentence
/// arch x86_64
/// features sse2 sse4.1 avx2
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedTarget {
    /// The name that `--target` takes.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// The architecture.
    pub arch: &'static str,
    /// The features in the words of the runtime.
    pub features: Vec<&'static str>,
}

macro_rules! files {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../targets/", $name, ".target")))),*]
    };
}

/// A new target is a file and its name here.
const FILES: [(&str, &str); 4] = files!["x86-64-v2", "x86-64-v3", "x86-64-v4", "aarch64-neon"];

impl NamedTarget {
    /// Every named target.
    pub fn all() -> impl Iterator<Item = NamedTarget> {
        FILES.into_iter().map(|(name, text)| NamedTarget {
            name,
            doc: value(text, "#"),
            arch: value(text, "arch"),
            features: value(text, "features").split_whitespace().collect(),
        })
    }
}

/// What stands behind a word at the start of a line.
fn value(text: &'static str, word: &str) -> &'static str {
    text.lines().find_map(|l| l.strip_prefix(word)?.strip_prefix(' ')).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_describes_a_target() {
        for target in NamedTarget::all() {
            assert!(!target.doc.is_empty() && !target.features.is_empty(), "{}", target.name);
            assert!(["x86_64", "aarch64"].contains(&target.arch), "{}", target.name);
        }
    }
}
