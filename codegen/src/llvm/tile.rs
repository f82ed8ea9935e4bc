//! Micro-tile contractions: the tile of C in registers over the whole of k, or a call of the runtime's micro-kernel.
//!
//! In either way each element of C starts from what was there, or from zero, and takes up one product after the other
//! from the start of k to its end.

use tcc_ir::dim::Dim;
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

/// One vector of C.
struct SumsPlace {
    at: String,
    lanes: u32,
    /// The lanes that belong to C, where not all do.
    mask: Option<String>,
}

/// How many rows ahead B is fetched.
const PREFETCH_ROWS: u32 = 32;

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
            self.inline(tile, &shape, false);
            return Ok(());
        }
        let kept = self.kept.buffers.contains_key(&tile.c.memory);
        // Tiles at the edge, of which there are few, are left to the micro-kernel; those in registers, which have
        // room for whole rows and columns, read the last row of A again.
        let m = self.index(&tile.m);
        let mut whole = self.line(format_args!("icmp eq i64 {m}, {}", shape.rows));
        if !kept {
            let n = self.index(&tile.n);
            let columns = self.line(format_args!("icmp eq i64 {n}, {}", shape.columns));
            whole = self.line(format_args!("and i1 {whole}, {columns}"));
        }
        let id = self.fresh("");
        self.effect(format_args!("br i1 {whole}, label %whole{id}, label %edge{id}"));
        self.start(&format!("whole{id}"));
        self.inline(tile, &shape, false);
        self.effect(format_args!("br label %after{id}"));
        self.start(&format!("edge{id}"));
        if kept {
            self.inline(tile, &shape, true);
        } else {
            self.call_kernel(tile, &kernel);
        }
        self.effect(format_args!("br label %after{id}"));
        self.start(&format!("after{id}"));
        Ok(())
    }

    /// Whether a tile is one that may stay in registers: it is written out, and rows of C hold whole vectors.
    pub(super) fn fits(&self, tile: &Tile) -> bool {
        let f32s = [&tile.a, &tile.b, &tile.c].iter().all(|p| self.memories[&p.memory].dtype == DType::F32);
        self.unrolled(tile).is_some_and(|shape| {
            let width = i64::from(shape.vectors() * shape.lanes);
            f32s && tile.c.row.as_const().is_some_and(|row| row >= width)
        })
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

    /// The whole tile; with `edge`, its rows from `m` on repeat the last one.
    fn inline(&mut self, tile: &Tile, shape: &Unrolled, edge: bool) {
        let (rows, vectors, lanes) = (shape.rows, shape.vectors(), shape.lanes);
        let ty = wide("float", lanes);
        let id = self.fresh("");
        let zero = splat_constant("float", "0.0", lanes);
        let sum = |r: u32, v: u32| format!("%sum{id}_{r}_{v}");
        let [a, b] = [&tile.a, &tile.b].map(|p| self.address(&p.memory, &p.offset));
        let [a_marks, b_marks] = [&tile.a, &tile.b].map(|p| self.marks(&p.memory));
        let places = self.places(tile, shape);
        for (r, v) in (0..rows).flat_map(|r| (0..vectors).map(move |v| (r, v))) {
            self.slots.push_str(&format!("  {} = alloca {ty}\n", sum(r, v)));
            let first = if tile.accumulate {
                self.sums_before(tile, &places[(r * vectors + v) as usize])
            } else {
                zero.clone()
            };
            self.effect(format_args!("store {ty} {first}, ptr {}", sum(r, v)));
        }
        let (a_row, a_column) = (self.index(&tile.a.row), self.index(&tile.a.column));
        let b_row = self.index(&tile.b.row);
        let row_offsets: Vec<String> = if edge {
            let last = &tile.m - &Dim::ONE;
            (0..rows).map(|r| self.index(&(&tile.a.row * &Dim::from(i64::from(r)).minimum(&last)))).collect()
        } else {
            (0..rows).map(|r| self.line(format_args!("mul i64 {a_row}, {r}"))).collect()
        };
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
        self.fetch_ahead(&at, &b_row, vectors * lanes * 4);
        let offset = self.line(format_args!("mul i64 {p}, {a_column}"));
        let first = self.line(format_args!("getelementptr float, ptr {a}, i64 {offset}"));
        for (r, offset) in (0..rows).zip(&row_offsets) {
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
        for (r, v) in (0..rows).flat_map(|r| (0..vectors).map(move |v| (r, v))) {
            let value = self.line(format_args!("load {ty}, ptr {}", sum(r, v)));
            self.write_sums(tile, &places[(r * vectors + v) as usize], &value);
        }
    }

    /// Asks for a row of B that comes later: it may lie on a page that the processor does not go to by itself.
    fn fetch_ahead(&mut self, row: &str, distance: &str, bytes: u32) {
        self.module.declare("llvm.prefetch.p0", "void", "ptr, i32, i32, i32", "");
        let elements = self.line(format_args!("mul i64 {distance}, {PREFETCH_ROWS}"));
        let ahead = self.line(format_args!("getelementptr float, ptr {row}, i64 {elements}"));
        for line in (0..bytes).step_by(64) {
            let at = self.line(format_args!("getelementptr i8, ptr {ahead}, i64 {line}"));
            self.effect(format_args!("call void @llvm.prefetch.p0(ptr {at}, i32 0, i32 3, i32 1)"));
        }
    }

    /// Where the vectors of C are, row by row.
    fn places(&mut self, tile: &Tile, shape: &Unrolled) -> Vec<SumsPlace> {
        let kept = self.kept.buffers.contains_key(&tile.c.memory);
        let mut places = Vec::new();
        for r in 0..shape.rows {
            for v in 0..shape.vectors() {
                let columns = shape.columns - v * shape.lanes;
                let offset = &tile.c.offset + &(&tile.c.row * &Dim::from(i64::from(r)));
                let offset = &offset + &Dim::from(i64::from(v * shape.lanes));
                let at = self.address(&tile.c.memory, &offset);
                let bits: Vec<String> =
                    (0..shape.lanes).map(|lane| format!("i1 {}", lane < columns)).collect();
                let mask = (columns < shape.lanes && !kept).then(|| format!("<{}>", bits.join(", ")));
                places.push(SumsPlace { at, lanes: shape.lanes, mask });
            }
        }
        places
    }

    /// The vector of sums that products are added to.
    fn sums_before(&mut self, tile: &Tile, place: &SumsPlace) -> String {
        let SumsPlace { at, lanes, mask } = place;
        let (ty, bits, marks) = (wide("float", *lanes), wide("i1", *lanes), self.marks(&tile.c.memory));
        let Some(mask) = mask else { return self.line(format_args!("load {ty}, ptr {at}, align 4{marks}")) };
        let name = format!("llvm.masked.load.v{lanes}f32.p0");
        self.module.declare(&name, &ty, &format!("ptr, {bits}, {ty}"), "");
        let zero = "zeroinitializer";
        self.line(format_args!("call {ty} @{name}(ptr align 4 {at}, {bits} {mask}, {ty} {zero}){marks}"))
    }

    fn write_sums(&mut self, tile: &Tile, place: &SumsPlace, value: &str) {
        let SumsPlace { at, lanes, mask } = place;
        let (ty, bits, marks) = (wide("float", *lanes), wide("i1", *lanes), self.marks(&tile.c.memory));
        let Some(mask) = mask else {
            self.effect(format_args!("store {ty} {value}, ptr {at}, align 4{marks}"));
            return;
        };
        let name = format!("llvm.masked.store.v{lanes}f32.p0");
        self.module.declare(&name, "void", &format!("{ty}, ptr, {bits}"), "");
        self.effect(format_args!("call void @{name}({ty} {value}, ptr align 4 {at}, {bits} {mask}){marks}"));
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
