//! The schedule of contractions: micro-tiles, each with its epilogue.

use super::Machine;
use tcc_ir::loops::Nest;

pub(super) fn schedule(_nest: &Nest, _machine: &Machine) -> Option<Nest> {
    None
}
