//! Which tiles stay in registers from their first product to their last use.
//!
//! A tile of sums is a small buffer. Where every access to it is at a place that is known once the loops around are
//! written out, the buffer becomes a stack slot that the optimiser takes apart into registers: sums over several taps
//! of a convolution go on where the last one ended, and the epilogue works on registers.

use rustc_hash::{FxHashMap, FxHashSet};
use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::mem::{Inst, LoopKind, Program, Rhs, Tile};

/// Buffers that become slots, and loops that are written out for it.
#[derive(Default)]
pub(super) struct Kept {
    /// The buffers with their numbers of elements.
    pub(super) buffers: FxHashMap<Symbol, i64>,
    /// The variables of loops that are written out, with how often their bodies run at most.
    pub(super) loops: FxHashMap<Symbol, i64>,
}

/// A tile of more elements is not meant for registers.
const MOST_ELEMENTS: i64 = 64 * 32;
/// More instructions than this would cost more time to compile than they save.
const MOST_INSTRUCTIONS: i64 = 1500;

/// What is known of a buffer of the program's own.
struct Candidate {
    elements: i64,
    is_tile: bool,
    refused: bool,
    /// The loops that have to be written out.
    loops: FxHashSet<Symbol>,
}

/// The loops around an instruction, outermost first.
struct Around {
    var: Symbol,
    /// How often it runs at most, if it is a loop that can be written out.
    copies: Option<i64>,
}

struct Search<'a> {
    /// Whether a tile is written out here, and not a call.
    fits: &'a dyn Fn(&Tile) -> bool,
    ranges: Ranges,
    around: Vec<Around>,
    candidates: FxHashMap<Symbol, Candidate>,
    /// Loops by variable: the most copies of any of them, or none if one of them cannot be written out.
    loops: FxHashMap<Symbol, Option<i64>>,
}

/// The buffers of a program that can stay in registers.
pub(super) fn find(program: &Program, fits: &dyn Fn(&Tile) -> bool) -> Kept {
    let mut search = Search {
        fits,
        ranges: program.ranges.clone(),
        around: Vec::new(),
        candidates: FxHashMap::default(),
        loops: FxHashMap::default(),
    };
    search.block(&program.body);
    let mut kept = Kept::default();
    for (name, candidate) in search.candidates {
        let loops: Option<Vec<(Symbol, i64)>> =
            candidate.loops.iter().map(|var| Some((var.clone(), search.loops[var]?))).collect();
        if let (Some(loops), true, false) = (loops, candidate.is_tile, candidate.refused) {
            kept.buffers.insert(name, candidate.elements);
            kept.loops.extend(loops);
        }
    }
    if written_out(&program.body, &kept.loops) > MOST_INSTRUCTIONS { Kept::default() } else { kept }
}

impl Search<'_> {
    fn block(&mut self, body: &[Inst]) {
        for inst in body {
            self.inst(inst);
        }
    }

    fn inst(&mut self, inst: &Inst) {
        match inst {
            Inst::Alloc { memory, .. } => {
                let elements = memory.elements.as_const().filter(|n| *n <= MOST_ELEMENTS);
                let before = self.candidates.contains_key(&memory.name);
                let candidate = Candidate {
                    elements: elements.unwrap_or(0),
                    is_tile: false,
                    refused: elements.is_none() || before,
                    loops: FxHashSet::default(),
                };
                self.candidates.insert(memory.name.clone(), candidate);
            }
            Inst::Set { value: Rhs::Load { memory, offset, stride, .. }, .. }
            | Inst::Store { memory, offset, stride, .. } => self.access(memory, &[offset, stride], false),
            Inst::For { var, extent, kind, body } => {
                let most = self.ranges.bounds(extent).hi;
                let plain = *kind == LoopKind::Serial && (0..=64).contains(&most) && !has_tile(body);
                let copies = plain.then_some(most);
                let known = self.loops.entry(var.clone()).or_insert(copies);
                *known = known.zip(copies).map(|(a, b)| a.max(b));
                self.around.push(Around { var: var.clone(), copies });
                self.block(body);
                self.around.pop();
            }
            Inst::If { then, otherwise, .. } => {
                self.block(then);
                self.block(otherwise);
            }
            Inst::Tile(tile) => {
                for panel in [&tile.a, &tile.b] {
                    if let Some(candidate) = self.candidates.get_mut(&panel.memory) {
                        candidate.refused = true;
                    }
                }
                self.access(&tile.c.memory, &[&tile.c.offset, &tile.c.row], !(self.fits)(tile));
                if let Some(candidate) = self.candidates.get_mut(&tile.c.memory) {
                    candidate.is_tile = true;
                }
            }
            Inst::Set { .. } | Inst::Bind { .. } | Inst::Barrier | Inst::Commit | Inst::Wait { .. } => {}
            Inst::Copy(copy) => [&copy.to, &copy.from].iter().for_each(|name| {
                if let Some(candidate) = self.candidates.get_mut(*name) {
                    candidate.refused = true;
                }
            }),
        }
    }

    /// Notes an access whose place these expressions decide.
    fn access(&mut self, memory: &Symbol, place: &[&Dim], refused: bool) {
        let Some(candidate) = self.candidates.get_mut(memory) else { return };
        candidate.refused |= refused;
        for symbol in place.iter().flat_map(|d| d.symbols()) {
            match self.around.iter().rev().find(|a| a.var == symbol) {
                Some(Around { copies: Some(_), .. }) => {
                    candidate.loops.insert(symbol);
                }
                _ => candidate.refused = true,
            }
        }
    }
}

fn has_tile(body: &[Inst]) -> bool {
    let mut found = false;
    tcc_ir::mem::each(body, &mut |inst| found |= matches!(inst, Inst::Tile(_)));
    found
}

/// How many instructions there are once these loops are written out.
fn written_out(body: &[Inst], loops: &FxHashMap<Symbol, i64>) -> i64 {
    let count = |inst: &Inst| match inst {
        Inst::For { var, body, .. } => {
            loops.get(var).copied().unwrap_or(1).saturating_mul(written_out(body, loops))
        }
        Inst::If { then, otherwise, .. } => written_out(then, loops) + written_out(otherwise, loops),
        _ => 1,
    };
    body.iter().map(count).fold(0, i64::saturating_add)
}
