//! What schedules need to know of a processor, as data.
//!
//! A target is a text of lines `key = value` with comments behind `//`. The targets of the house are the files of
//! `lowering/targets`; a file of a user's own is taken wherever the name of a target is.
//!
//! ```text
//! vector_bytes = 32        // what loops are cut to
//! tile_rows = 6            // of the f32 micro-tile
//! ```

use tcc_ir::diag::{Diag, Diags};
use tcc_ir::dtype::DType;
use tcc_ir::text::Cursor;

/// What schedules need to know of a processor. What a kind of processor does not have is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Bytes in a vector that loops are cut to.
    pub vector_bytes: i64,
    /// Rows of the f32 micro-tile.
    pub tile_rows: i64,
    /// Columns of the f32 micro-tile.
    pub tile_columns: i64,
    /// The micro-tiles of elements of fewer bits.
    pub narrow: Vec<MicroTile>,
    /// What else is known.
    pub facts: Facts,
}

/// A micro-tile of operands of certain types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MicroTile {
    /// The element type of the left operand.
    pub a: DType,
    /// The element type of the right operand.
    pub b: DType,
    /// The most rows.
    pub rows: i64,
    /// The most columns, and how many are read of the right operand.
    pub columns: i64,
    /// The steps summed over that lie side by side in each column of the right operand.
    pub group: i64,
}

/// Declares the numbers of a machine with the keys that they have in files.
macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Figures of a processor, each zero where unknown or absent.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Facts {
            $($(#[$doc])* pub $name: i64,)*
        }

        impl Facts {
            fn slot(&mut self, key: &str) -> Option<&mut i64> {
                match key {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }

            /// Every figure with its key.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, i64)> {
                [$((stringify!($name), self.$name)),*].into_iter()
            }
        }
    };
}

facts! {
    /// Vector registers.
    registers,
    /// Fused multiply-add units of a core.
    fma_units,
    /// Cycles until the result of a multiply-add can be used.
    fma_latency,
    /// Bytes of the first-level data cache of a core.
    l1_bytes,
    /// Bytes of the second-level cache of a core.
    l2_bytes,
    /// Bytes of the last-level cache that cores share.
    l3_bytes,
    /// Cores, or multiprocessors of a GPU.
    cores,
    /// Bytes of shared memory that a block can have.
    shared_bytes,
    /// 32-bit registers of a multiprocessor.
    file_registers,
    /// 32-bit registers that a thread can have.
    thread_registers,
    /// Warps that a multiprocessor holds at once.
    warps,
    /// Threads of a warp.
    warp_threads,
    /// Threads that a block can have.
    block_threads,
}

/// A target of the house.
#[derive(Clone, Copy, Debug)]
pub struct TargetFile {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! targets {
    ($($name:literal),* $(,)?) => {
        /// The targets of the house, those of a kind from the oldest.
        pub static TARGETS: &[TargetFile] = &[$(TargetFile {
            name: $name,
            text: include_str!(concat!("../../targets/", $name, ".target")),
        }),*];
    };
}

targets!(
    "x86-64-v2",
    "x86-64-v3",
    "x86-64-v4",
    "aarch64-neon",
    "sm_70",
    "sm_75",
    "sm_80",
    "sm_86",
    "sm_89",
    "sm_90a"
);

/// Why there is no machine of a name.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// No target of the house is called that, nor is there such a file.
    #[error("expected a target ({known}) or a file, got `{name}`: {source}")]
    Unknown {
        /// What was given.
        name: String,
        /// The targets there are.
        known: String,
        /// Why it is no file either.
        source: std::io::Error,
    },
    /// The file does not describe a machine.
    #[error("{rendered}")]
    Text {
        /// The problems with their lines.
        rendered: String,
    },
}

impl Machine {
    /// The machine of a target of the house, or of a file.
    pub fn of(name: &str) -> Result<Machine, MachineError> {
        if let Some(target) = TARGETS.iter().find(|t| t.name == name) {
            return read(name, target.text);
        }
        let text = std::fs::read_to_string(name).map_err(|source| {
            let known: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
            MachineError::Unknown { name: name.to_owned(), known: known.join(", "), source }
        })?;
        read(name, &text)
    }

    /// The micro-tile for operands of these types, if there is one.
    pub fn tile(&self, a: DType, b: DType) -> Option<MicroTile> {
        if [a, b] == [DType::F32; 2] {
            return Some(MicroTile { a, b, rows: self.tile_rows, columns: self.tile_columns, group: 1 });
        }
        self.narrow.iter().copied().find(|t| [t.a, t.b] == [a, b])
    }

    /// Parses the text of a target.
    pub fn parse(text: &str) -> Result<Machine, Diags> {
        let mut cursor = Cursor::new(text);
        let mut machine = Machine::default();
        let mut seen: Vec<&str> = Vec::new();
        let mut diags = Diags::default();
        while !cursor.at_end() && !diags.is_full() {
            let start = cursor.here();
            if let Err(diag) = machine.line(&mut cursor, &mut seen, start) {
                diags.push(diag);
                cursor.skip_line();
            }
        }
        let needed: &[&str] = &["vector_bytes", "tile_rows", "tile_columns"];
        diags.into_result()?;
        let missing = needed.iter().filter(|k| !seen.contains(k));
        let missing = missing.map(|k| Diag::of("target", "key", format!("expected a line `{k} = …`")));
        Diags(missing.collect()).into_result()?;
        Ok(machine)
    }

    fn line<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        seen: &mut Vec<&'a str>,
        start: usize,
    ) -> Result<(), Diag> {
        let key = cursor.word("the name of a figure")?;
        let place = cursor.since(start);
        let slot = match key {
            "vector_bytes" => Some(&mut self.vector_bytes),
            "tile_rows" => Some(&mut self.tile_rows),
            "tile_columns" => Some(&mut self.tile_columns),
            other => self.facts.slot(other),
        };
        let Some(slot) = slot else {
            let known: Vec<&str> = Facts::default().each().map(|(k, _)| k).collect();
            let known = format!("vector_bytes, tile_rows, tile_columns, {}", known.join(", "));
            return Err(Diag::at(place, "key", format!("expected one of {known}, got `{key}`")));
        };
        if seen.contains(&key) {
            return Err(Diag::at(place, "key", format!("expected `{key}` once")));
        }
        seen.push(key);
        cursor.expect("=")?;
        let at = cursor.here();
        let value = cursor.int()?;
        if !(1..=MOST).contains(&value) {
            let message = format!("expected `{key}` in 1..={MOST}, got {value}");
            return Err(Diag::at(cursor.since(at), "value", message));
        }
        *slot = value;
        Ok(())
    }
}

/// No figure of a machine is larger.
const MOST: i64 = 1 << 40;

fn read(name: &str, text: &str) -> Result<Machine, MachineError> {
    Machine::parse(text).map_err(|diags| MachineError::Text { rendered: diags.render(name, text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_house_reads() {
        for target in TARGETS {
            let machine = Machine::of(target.name).unwrap_or_else(|e| panic!("{}: {e}", target.name));
            assert!(machine.facts.cores > 0, "{}", target.name);
        }
    }

    #[test]
    fn mistakes_in_a_target_are_all_named() {
        let text = "vector_bytes = 32\nvector_byte = 4\ntile_rows = 0\ntile_rows = 6\n";
        let diags = Machine::parse(text).unwrap_err();
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["key", "value", "key"], "{diags}");
        assert!(matches!(Machine::of("x86-64-v9"), Err(MachineError::Unknown { .. })));
    }
}
