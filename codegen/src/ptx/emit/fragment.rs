//! Micro-tiles that a warp carries out as a whole, on tensor cores.
//!
//! The result of such a tile is a buffer of the warp's own, spread over its lanes: of every 16 rows and 8 columns a
//! lane holds rows `lane / 4` and 8 below, columns `2 * (lane % 4)` and its neighbour. Nothing else can write it, and a
//! lane reads what it holds.

use tcc_ir::dim::{Dim, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::mem::{Inst, Panel, Program, Tile, each};

use super::code::{Class, Int, Virtual};
use super::memory::Space;
use super::{Emit, ins};
use crate::EmitError;

/// A buffer spread over the lanes of a warp.
#[derive(Clone)]
pub(super) struct Fragment {
    /// The registers of a lane: of each 16 rows, of each 8 columns, four.
    regs: Vec<Virtual>,
    columns: i64,
}

/// The results of the program's tiles, each with its rows and columns.
pub(super) fn of(program: &Program) -> Vec<(Symbol, i64, i64)> {
    let mut found: Vec<(Symbol, i64, i64)> = Vec::new();
    each(&program.body, &mut |inst| {
        if let Inst::Tile(tile) = inst
            && let (Some(m), Some(n)) = (tile.m.as_const(), tile.n.as_const())
            && !found.iter().any(|(name, ..)| *name == tile.c.memory)
        {
            found.push((tile.c.memory.clone(), m, n));
        }
    });
    found
}

impl Emit<'_> {
    /// The registers of a result, if the buffer is one.
    pub(super) fn fragment(&mut self, name: &Symbol) -> bool {
        let Some((_, m, n)) = self.tiles.iter().find(|(known, ..)| known == name).cloned() else {
            return false;
        };
        let regs = (0..m / 16 * (n / 8) * 4).map(|_| self.code.reg(Class::F32)).collect();
        self.fragments.insert(name.clone(), Fragment { regs, columns: n });
        true
    }

    /// The register of the element that a lane reads, which must be one that it holds.
    pub(super) fn held(&self, fragment: &Fragment, offset: &Dim) -> Option<Virtual> {
        let lane = Dim::sym(self.lane.clone()?);
        let (four, two) = (Dim::from(4i64), Dim::from(2i64));
        let own = &(&lane.floor_div(&four) * &Dim::from(fragment.columns)) + &(&lane.modulo(&four) * &two);
        let rest = self.ranges.simplify(&(offset - &own)).as_const()?;
        let (row, column) = (rest.div_euclid(fragment.columns), rest.rem_euclid(fragment.columns));
        if row % 8 != 0 || column % 8 > 1 {
            return None;
        }
        let block = row / 16 * (fragment.columns / 8) + column / 8;
        let register = 4 * block + 2 * (row % 16 / 8) + column % 8;
        usize::try_from(register).ok().and_then(|r| fragment.regs.get(r).copied())
    }

    pub(super) fn tile(&mut self, tile: &Tile) -> Result<(), EmitError> {
        let extents = [&tile.m, &tile.n, &tile.k].map(Dim::as_const);
        let [Some(m), Some(n), Some(k)] = extents else {
            return Err(self.unsupported("expected a tile of known extents"));
        };
        let whole = m % 16 == 0 && n % 16 == 0 && k % 16 == 0 && tile.group == 1;
        let warp = self.shape.block[0] == 32 && self.lane.is_none() && self.inside == Some(true);
        let fragment = self.fragments.get(&tile.c.memory).cloned();
        let places = [&tile.a, &tile.b].map(|p| self.memories.get(&p.memory).map(|m| (m.space, m.dtype)));
        let [Some((Space::Shared, a)), Some((Space::Shared, b))] = places else {
            return Err(self.unsupported("expected operands of a tile in shared memory"));
        };
        let ty = match (a, b) {
            (DType::F16, DType::F16) => "f16",
            (DType::BF16, DType::BF16) => "bf16",
            _ => return Err(self.unsupported(format!("expected a tile of f16 or of bf16, got {a} and {b}"))),
        };
        let (true, true, Some(fragment)) = (whole && self.has(80), warp, fragment) else {
            let message = format!("expected sm_80 and a warp's tile of multiples of 16, got {m}x{n}x{k}");
            return Err(self.unsupported(message));
        };
        if !tile.accumulate {
            for reg in &fragment.regs {
                ins!(self, "mov.f32 {reg}, 0f00000000");
            }
        }
        if k == 0 {
            return Ok(());
        }
        let left = self.rows_of(&tile.a)?;
        let right = self.rows_of(&tile.b)?;
        for depth in (0..k).step_by(16) {
            let mut columns = Vec::new();
            for j in (0..n).step_by(16) {
                columns.extend(self.matrices(right, (depth, j), ".trans"));
            }
            for i in (0..m).step_by(16) {
                let a = self.matrices(left, (i, depth), "");
                for (j, b) in columns.chunks(2).enumerate() {
                    let first = (4 * (i / 16 * (n / 8))) as usize + 4 * j;
                    let [c0, c1, c2, c3] = [0, 1, 2, 3].map(|r| fragment.regs[first + r]);
                    let [a0, a1, a2, a3] = a;
                    ins!(
                        self,
                        "mma.sync.aligned.m16n8k16.row.col.f32.{ty}.{ty}.f32 {{{c0}, {c1}, {c2}, {c3}}}, {{{a0}, {a1}, {a2}, {a3}}}, {{{}, {}}}, {{{c0}, {c1}, {c2}, {c3}}}",
                        b[0],
                        b[1]
                    );
                }
            }
        }
        Ok(())
    }

    /// Where a lane's row of 16 bytes begins in the first 16 by 16 elements of an operand, and the distance of rows.
    fn rows_of(&mut self, panel: &Panel) -> Result<(Virtual, i64, i64), EmitError> {
        let Some(row) = panel.row.as_const().filter(|r| panel.column.is(1) && r % 8 == 0) else {
            return Err(
                self.unsupported(format!("expected rows of a tile a multiple of 8 apart, got {panel}"))
            );
        };
        let (base, immediate) = self.address(&panel.memory, &panel.offset);
        let [thread, low, high, start, at, address] = [(); 6].map(|()| self.code.reg(Class::B32));
        ins!(self, "mov.u32 {thread}, %tid.x");
        ins!(self, "and.b32 {low}, {thread}, 15");
        ins!(self, "shr.u32 {high}, {thread}, 4");
        ins!(self, "shl.b32 {start}, {high}, 4");
        ins!(self, "mad.lo.s32 {at}, {low}, {}, {start}", 2 * row);
        let Int::Reg(base) = base else {
            return Err(self.unsupported("expected an operand of a tile at an address in a register"));
        };
        ins!(self, "add.s32 {address}, {at}, {base}");
        Ok((address, immediate, row))
    }

    /// Four 8 by 8 matrices: 16 rows and 16 columns of an operand.
    fn matrices(
        &mut self,
        (address, immediate, row): (Virtual, i64, i64),
        (i, j): (i64, i64),
        trans: &str,
    ) -> [Virtual; 4] {
        let regs = [(); 4].map(|()| self.code.reg(Class::B32));
        let [r0, r1, r2, r3] = regs;
        let offset = immediate + 2 * (i * row + j);
        ins!(
            self,
            "ldmatrix.sync.aligned.m8n8.x4{trans}.shared.b16 {{{r0}, {r1}, {r2}, {r3}}}, [{address}+{offset}]"
        );
        regs
    }
}
