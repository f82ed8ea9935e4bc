//! Schedules: how the loops of a nest are cut, ordered and mapped onto a processor.

use tcc_ir::loops::Nest;

/// What schedules need to know of a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Bytes in a vector register that loops are cut to.
    pub vector_bytes: i64,
    /// Rows of the f32 micro-tile.
    pub tile_rows: i64,
    /// Columns of the f32 micro-tile.
    pub tile_columns: i64,
}

/// The nest under its default schedule.
pub fn schedule(nest: &Nest, _machine: &Machine) -> Nest {
    nest.clone()
}
