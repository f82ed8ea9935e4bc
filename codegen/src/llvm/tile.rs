//! Micro-tile contractions: the tile of C in registers over the whole of k, or a call of the runtime's micro-kernel.
//!
//! In either way each element of C is a sum over k from its start to its end, and then added to what was there.

use tcc_ir::dtype::DType;
use tcc_ir::mem::{Panel, Tile};

use super::forms::{splat_constant, wide};
use super::function::Emit;
use crate::EmitError;

/// The largest size of a tile, for which it is unrolled.
struct Unrolled {
    rows: u32,
    columns: u32,
    /// Columns in a vector.
    lanes: u32,
}

/// From this many rows on every micro-kernel sums in one chain.
const FEW_ROWS: u32 = 5;

impl Unrolled {
    fn vectors(&self) -> u32 {
        self.columns.div_ceil(self.lanes)
    }
}

impl Emit<'_> {
    pub(super) fn tile(&mut self, tile: &Tile) -> Result<(), EmitError> {
        let types = [&tile.a, &tile.b, &tile.c].map(|p| self.memories[&p.memory].dtype);
        let Some(kernel) = self.target.kernel(types, tile.group).map(str::to_owned) else {
            return Err(self.unsupported(crate::no_kernel(types, tile.group)));
        };
        let Some(shape) = self.unrolled(tile).filter(|_| types == [DType::F32; 3]) else {
            self.call_kernel(tile, &kernel);
            return Ok(());
        };
        if tile.m.as_const().is_some() && tile.n.as_const().is_some() {
            self.inline(tile, &shape);
            return Ok(());
        }
        // Tiles at the edge, of which there are few, are left to the micro-kernel.
        let (m, n) = (self.index(&tile.m), self.index(&tile.n));
        let rows = self.line(format_args!("icmp eq i64 {m}, {}", shape.rows));
        let columns = self.line(format_args!("icmp eq i64 {n}, {}", shape.columns));
        let whole = self.line(format_args!("and i1 {rows}, {columns}"));
        let id = self.fresh("");
        self.effect(format_args!("br i1 {whole}, label %whole{id}, label %edge{id}"));
        self.start(&format!("whole{id}"));
        self.inline(tile, &shape);
        self.effect(format_args!("br label %after{id}"));
        self.start(&format!("edge{id}"));
        self.call_kernel(tile, &kernel);
        self.effect(format_args!("br label %after{id}"));
        self.start(&format!("after{id}"));
        Ok(())
    }

    /// The one decision between code here and a call: a tile that fits the registers, in which every row of A is
    /// at a known distance from the first, is unrolled where it is whole. With few rows the micro-kernels sum in
    /// several chains; then the whole tiles are theirs too, so that all columns are summed in one order.
    fn unrolled(&self, tile: &Tile) -> Option<Unrolled> {
        let (lanes, registers) = match self.target {
            t if t.has("avx512") => (16, 32),
            t if t.has("avx2") => (8, 16),
            t if t.has("neon") => (4, 32),
            _ => return None,
        };
        let (rows, columns) = tile.shape;
        tile.a.row.as_const()?;
        let shape = Unrolled { rows, columns, lanes };
        if !(FEW_ROWS..=16).contains(&rows) || columns == 0 || columns > 64 {
            return None;
        }
        // One register holds an element of A; the vectors of B are used from memory if need be.
        (shape.vectors() * (rows + 1) < registers).then_some(shape)
    }

    fn inline(&mut self, tile: &Tile, shape: &Unrolled) {
        let (rows, vectors, lanes) = (shape.rows, shape.vectors(), shape.lanes);
        let ty = wide("float", lanes);
        let id = self.fresh("");
        let zero = splat_constant("float", "0.0", lanes);
        let sum = |r: u32, v: u32| format!("%sum{id}_{r}_{v}");
        for (r, v) in (0..rows).flat_map(|r| (0..vectors).map(move |v| (r, v))) {
            self.slots.push_str(&format!("  {} = alloca {ty}\n", sum(r, v)));
            self.effect(format_args!("store {ty} {zero}, ptr {}", sum(r, v)));
        }
        let [a, b, c] = [&tile.a, &tile.b, &tile.c].map(|p| self.address(&p.memory, &p.offset));
        let [a_marks, b_marks, c_marks] = [&tile.a, &tile.b, &tile.c].map(|p| self.marks(&p.memory));
        let (a_row, a_column) = (self.index(&tile.a.row), self.index(&tile.a.column));
        let (b_row, c_row) = (self.index(&tile.b.row), self.index(&tile.c.row));
        let k = self.index(&tile.k);
        let step = self.open_loop("0", &k);
        let p = step.value.clone();
        let offset = self.line(format_args!("mul i64 {p}, {b_row}"));
        let at = self.line(format_args!("getelementptr float, ptr {b}, i64 {offset}"));
        let columns: Vec<String> = (0..vectors)
            .map(|v| {
                let at = self.line(format_args!("getelementptr float, ptr {at}, i64 {}", v * lanes));
                self.line(format_args!("load {ty}, ptr {at}, align 4{b_marks}"))
            })
            .collect();
        let offset = self.line(format_args!("mul i64 {p}, {a_column}"));
        let first = self.line(format_args!("getelementptr float, ptr {a}, i64 {offset}"));
        for r in 0..rows {
            let offset = self.line(format_args!("mul i64 {a_row}, {r}"));
            let at = self.line(format_args!("getelementptr float, ptr {first}, i64 {offset}"));
            let one = self.line(format_args!("load float, ptr {at}, align 4{a_marks}"));
            let row = self.splat("float", &one, lanes);
            for (v, column) in columns.iter().enumerate() {
                let slot = sum(r, v as u32);
                let before = self.line(format_args!("load {ty}, ptr {slot}"));
                let after = self.intrinsic("fma", "float", lanes, &[&row, column, &before]);
                self.effect(format_args!("store {ty} {after}, ptr {slot}"));
            }
        }
        self.close_loop(&step);
        for r in 0..rows {
            let offset = self.line(format_args!("mul i64 {c_row}, {r}"));
            let row = self.line(format_args!("getelementptr float, ptr {c}, i64 {offset}"));
            for v in 0..vectors {
                let value = self.line(format_args!("load {ty}, ptr {}", sum(r, v)));
                let at = self.line(format_args!("getelementptr float, ptr {row}, i64 {}", v * lanes));
                self.merge(&at, &value, shape.columns - v * lanes, lanes, tile.accumulate, &c_marks);
            }
        }
    }

    /// Writes, or adds, the first `columns` lanes of a vector of sums.
    fn merge(&mut self, at: &str, value: &str, columns: u32, lanes: u32, accumulate: bool, marks: &str) {
        let whole = columns >= lanes;
        let ty = wide("float", lanes);
        let mask = wide("i1", lanes);
        let bits: Vec<String> = (0..lanes).map(|lane| format!("i1 {}", lane < columns)).collect();
        let active = format!("<{}>", bits.join(", "));
        let mut value = value.to_owned();
        if accumulate {
            let before = if whole {
                self.line(format_args!("load {ty}, ptr {at}, align 4{marks}"))
            } else {
                let name = format!("llvm.masked.load.v{lanes}f32.p0");
                self.module.declare(&name, &ty, &format!("ptr, {mask}, {ty}"), "");
                let zero = "zeroinitializer";
                self.line(format_args!(
                    "call {ty} @{name}(ptr align 4 {at}, {mask} {active}, {ty} {zero}){marks}"
                ))
            };
            value = self.line(format_args!("fadd {ty} {before}, {value}"));
        }
        if whole {
            self.effect(format_args!("store {ty} {value}, ptr {at}, align 4{marks}"));
            return;
        }
        let name = format!("llvm.masked.store.v{lanes}f32.p0");
        self.module.declare(&name, "void", &format!("{ty}, ptr, {mask}"), "");
        self.effect(format_args!(
            "call void @{name}({ty} {value}, ptr align 4 {at}, {mask} {active}){marks}"
        ));
    }

    /// A call of the runtime's micro-kernel.
    fn call_kernel(&mut self, tile: &Tile, name: &str) {
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
        let types = "i64, ptr, i64, i64, ptr, i64, ptr, i64, i64, i64, i64";
        self.module.declare(name, "void", types, "nounwind");
        self.effect(format_args!("call void @{name}({})", args.join(", ")));
    }
}
