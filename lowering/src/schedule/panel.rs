//! How the right operand of a micro-tile lies in memory: row by row, or with some steps of a sum side by side in each
//! column.

use tcc_ir::dim::{Dim, Range, Ranges, Symbol};

/// The matrix that two loops walk over, neighbouring columns being neighbours.
pub(crate) struct RightPanel {
    /// How far the steps of a group, or single steps, lie from those of the next.
    pub row: Dim,
    /// The steps that lie side by side in a column.
    pub group: u32,
    /// Where the first element is.
    pub start: Dim,
}

/// The groups that micro-kernels take.
const GROUPS: [u32; 3] = [1, 2, 4];

/// The panel that an offset describes as the loops over steps and columns run, if it is one.
pub(crate) fn right_panel(
    offset: &Dim,
    step: &Symbol,
    column: &Symbol,
    ranges: &Ranges,
) -> Option<RightPanel> {
    GROUPS.into_iter().find_map(|group| grouped(offset, step, column, ranges, group))
}

fn grouped(offset: &Dim, step: &Symbol, column: &Symbol, ranges: &Ranges, group: u32) -> Option<RightPanel> {
    let (columns, rest) = offset.affine_in(column)?;
    let (row, start) = if group == 1 {
        rest.affine_in(step)?
    } else {
        let size = i64::from(group);
        let [whole, part] = ["group", "step"].map(|n| Symbol::new(&format!("{n} of {step}")));
        let mut ranges = ranges.clone();
        let steps = ranges.get(step);
        ranges.set(whole.clone(), Range { lo: 0, hi: steps.hi.max(0) / size });
        ranges.set(part.clone(), Range { lo: 0, hi: size - 1 });
        let split = &(&Dim::sym(whole.clone()) * &Dim::from(size)) + &Dim::sym(part.clone());
        let (groups, rest) = ranges.simplify(&rest.replace(step, &split)).affine_in(&whole)?;
        let (one, rest) = rest.affine_in(&part)?;
        if !one.is(1) || groups.mentions(&part) {
            return None;
        }
        (groups, rest)
    };
    let plain = columns.is(i64::from(group)) && !row.mentions(column);
    plain.then_some(RightPanel { row, group, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_steps_are_found() {
        let ranges = || {
            let mut ranges = Ranges::default();
            for (name, hi) in [("p", 62), ("j", 31), ("t", 3)] {
                ranges.set(Symbol::new(name), Range { lo: 0, hi });
            }
            ranges
        };
        let [p, j, t] = ["p", "j", "t"].map(|n| Dim::sym(Symbol::new(n)));
        let four = Dim::from(4i64);
        let flat = &p + &(&t * &Dim::from(64i64));
        let offset = &(&(&flat.floor_div(&four) * &Dim::from(128i64)) + &(&j * &four)) + &flat.modulo(&four);
        let found = right_panel(&offset, &Symbol::new("p"), &Symbol::new("j"), &ranges()).unwrap();
        assert_eq!((found.group, found.row.as_const()), (4, Some(128)));
        assert_eq!(found.start, &t * &Dim::from(2048i64));
        let plain = &(&p * &Dim::from(32i64)) + &j;
        let found = right_panel(&plain, &Symbol::new("p"), &Symbol::new("j"), &ranges()).unwrap();
        assert_eq!((found.group, found.row.as_const()), (1, Some(32)));
        assert!(right_panel(&(&p + &j), &Symbol::new("p"), &Symbol::new("j"), &ranges()).is_some());
        assert!(right_panel(&(&plain * &four), &Symbol::new("p"), &Symbol::new("j"), &ranges()).is_none());
    }
}
