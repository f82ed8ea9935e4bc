//! Where the tensors of a run lie in one arena.
//!
//! Two tensors may share memory if no step needs both. Tensors are placed largest first, each at the lowest
//! offset that is free for its whole life; sizes that are not numbers are placed behind, and share memory with
//! an earlier tensor that is provably at least as large and never alive at the same time.

use tcc_ir::dim::{Dim, Ranges};

/// A tensor to place.
#[derive(Clone, Debug)]
pub struct Lifetime {
    /// Its size in bytes.
    pub bytes: Dim,
    /// The step that writes it.
    pub first: usize,
    /// The last step that reads it.
    pub last: usize,
}

/// Where tensors were placed.
#[derive(Clone, Debug)]
pub struct Placement {
    /// The offset of each.
    pub offsets: Vec<Dim>,
    /// The size of the arena.
    pub total: Dim,
}

/// Every tensor starts at a multiple of this.
pub const ALIGNMENT: i64 = 64;

/// Places tensors.
pub fn place(tensors: &[Lifetime], ranges: &Ranges) -> Placement {
    let rounded: Vec<Dim> =
        tensors.iter().map(|t| ranges.simplify(&t.bytes.round_up(&Dim::from(ALIGNMENT)))).collect();
    let mut offsets = vec![Dim::ZERO; tensors.len()];
    let mut order: Vec<usize> = (0..tensors.len()).filter(|i| rounded[*i].as_const().is_some()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(rounded[*i].as_const()), tensors[*i].first, *i));
    let mut placed: Vec<(i64, i64, usize)> = Vec::new();
    let mut total = 0i64;
    for i in order {
        let size = rounded[i].as_const().unwrap_or(0);
        let mut taken: Vec<(i64, i64)> = placed
            .iter()
            .filter(|(_, _, other)| overlap(&tensors[i], &tensors[*other]))
            .map(|(start, end, _)| (*start, *end))
            .collect();
        taken.sort_unstable();
        let mut at = 0;
        for (start, end) in taken {
            if start - at >= size {
                break;
            }
            at = at.max(end);
        }
        offsets[i] = Dim::from(at);
        placed.push((at, at + size, i));
        total = total.max(at + size);
    }
    let total = place_symbolic(tensors, &rounded, ranges, Dim::from(total), &mut offsets);
    Placement { offsets, total }
}

fn overlap(a: &Lifetime, b: &Lifetime) -> bool {
    a.first <= b.last && b.first <= a.last
}

/// A place behind the fixed ones, with the tensors that take turns in it.
struct Slot {
    offset: Dim,
    size: Dim,
    users: Vec<usize>,
}

fn place_symbolic(
    tensors: &[Lifetime],
    sizes: &[Dim],
    ranges: &Ranges,
    start: Dim,
    offsets: &mut [Dim],
) -> Dim {
    let mut slots: Vec<Slot> = Vec::new();
    let mut end = start;
    let mut order: Vec<usize> = (0..tensors.len()).filter(|i| sizes[*i].as_const().is_none()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(ranges.bounds(&sizes[*i]).hi), tensors[*i].first, *i));
    for i in order {
        let fits = |slot: &Slot| {
            ranges.at_most(&sizes[i], &slot.size)
                && slot.users.iter().all(|u| !overlap(&tensors[i], &tensors[*u]))
        };
        match slots.iter_mut().find(|slot| fits(slot)) {
            Some(slot) => {
                offsets[i] = slot.offset.clone();
                slot.users.push(i);
            }
            None => {
                offsets[i] = end.clone();
                slots.push(Slot { offset: end.clone(), size: sizes[i].clone(), users: vec![i] });
                end = &end + &sizes[i];
            }
        }
    }
    end
}

/// The most bytes that are alive at once: no arena can be smaller.
pub fn lower_bound(tensors: &[Lifetime]) -> Option<i64> {
    let steps = tensors.iter().map(|t| t.last + 1).max().unwrap_or(0);
    let alive = |step: usize| {
        let sizes = tensors.iter().filter(|t| t.first <= step && step <= t.last);
        sizes.map(|t| t.bytes.as_const()).sum::<Option<i64>>()
    };
    (0..steps).map(alive).try_fold(0, |most, bytes| Some(most.max(bytes?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chain_needs_two_places() {
        let chain: Vec<Lifetime> =
            (0..6).map(|i| Lifetime { bytes: Dim::from(128i64), first: i, last: i + 1 }).collect();
        assert!(place(&chain, &Ranges::default()).total.is(256));
        let symbolic: Vec<Lifetime> = (0..6)
            .map(|i| Lifetime { bytes: &Dim::sym("N") * &Dim::from(64i64), first: i, last: i + 1 })
            .collect();
        assert_eq!(place(&symbolic, &Ranges::default()).total.to_string(), "128*N");
    }

    proptest! {
        #[test]
        fn tensors_alive_together_do_not_overlap(
            spec in prop::collection::vec((1i64..5000, 0usize..20, 0usize..6), 1..40)
        ) {
            let tensors: Vec<Lifetime> = spec
                .iter()
                .map(|(bytes, first, more)| Lifetime { bytes: Dim::from(*bytes), first: *first, last: first + more })
                .collect();
            let placement = place(&tensors, &Ranges::default());
            let span = |i: usize| {
                let start = placement.offsets[i].as_const().unwrap();
                (start, start + tensors[i].bytes.as_const().unwrap())
            };
            for i in 0..tensors.len() {
                prop_assert!(span(i).1 <= placement.total.as_const().unwrap());
                for j in 0..i {
                    let (a, b) = (span(i), span(j));
                    prop_assert!(!overlap(&tensors[i], &tensors[j]) || a.1 <= b.0 || b.1 <= a.0);
                }
            }
            prop_assert!(lower_bound(&tensors).unwrap() <= placement.total.as_const().unwrap());
        }
    }
}
