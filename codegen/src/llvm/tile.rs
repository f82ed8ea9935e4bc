//! Micro-tile contractions.

use tcc_ir::dtype::DType;
use tcc_ir::mem::{Panel, Tile};

use super::function::Emit;
use crate::EmitError;

impl Emit<'_> {
    pub(super) fn tile(&mut self, tile: &Tile) -> Result<(), EmitError> {
        let [a, b, c] = [&tile.a, &tile.b, &tile.c].map(|p| self.memories[&p.memory].dtype);
        if [a, b, c] != [DType::F32; 3] {
            return Err(self.unsupported(format!("expected a tile of f32, got {a}, {b} and {c}")));
        }
        self.call_kernel(tile);
        Ok(())
    }

    /// A call of the runtime's micro-kernel.
    fn call_kernel(&mut self, tile: &Tile) {
        let mut args = vec![format!("i64 {}", self.index(&tile.k))];
        let mut panel = |emit: &mut Self, panel: &Panel, both: bool| {
            args.push(format!("ptr {}", emit.address(&panel.memory, &panel.offset)));
            args.push(format!("i64 {}", emit.index(&panel.row)));
            if both {
                args.push(format!("i64 {}", emit.index(&panel.column)));
            }
        };
        panel(self, &tile.a, true);
        panel(self, &tile.b, false);
        panel(self, &tile.c, false);
        args.push(format!("i64 {}", self.index(&tile.m)));
        args.push(format!("i64 {}", self.index(&tile.n)));
        args.push(format!("i64 {}", i64::from(tile.accumulate)));
        let name = self.target.f32_tile.clone();
        let types = "i64, ptr, i64, i64, ptr, i64, ptr, i64, i64, i64, i64";
        self.module.declare(&name, "void", types, "nounwind");
        self.effect(format_args!("call void @{name}({})", args.join(", ")));
    }
}
