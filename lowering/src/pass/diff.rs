//! The difference of two texts by lines, in the unified form.
//!
//! Lines are matched by Myers' greedy algorithm; where texts differ by more than a bounded number of edits the
//! middle is shown as replaced, so that the time stays near linear.

use std::fmt::Write;

/// Lines of agreement shown around a change.
const CONTEXT: usize = 2;

/// Beyond so many edits the differing middle is replaced as a whole.
const MAX_EDITS: usize = 1000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Keep(usize, usize),
    Delete(usize, usize),
    Insert(usize, usize),
}

/// The difference from `before` to `after`; empty if there is none.
pub fn unified(before: &str, after: &str) -> String {
    let old: Vec<&str> = before.lines().collect();
    let new: Vec<&str> = after.lines().collect();
    let edits = edits(&old, &new);
    let mut out = String::new();
    let is_change = |e: &Edit| !matches!(e, Edit::Keep(..));
    let mut at = 0;
    while let Some(offset) = edits[at..].iter().position(is_change) {
        let start = (at + offset).saturating_sub(CONTEXT).max(at);
        let mut end = at + offset;
        // A hunk goes on while the next change is near.
        while let Some(gap) = edits[end..].iter().position(is_change) {
            if gap > 2 * CONTEXT {
                break;
            }
            end += gap + 1;
        }
        let stop = (end + CONTEXT).min(edits.len());
        write_hunk(&mut out, &edits[start..stop], &old, &new);
        at = stop;
    }
    out
}

fn write_hunk(out: &mut String, edits: &[Edit], old: &[&str], new: &[&str]) {
    let (mut removed, mut added) = (0, 0);
    for edit in edits {
        removed += usize::from(!matches!(edit, Edit::Insert(..)));
        added += usize::from(!matches!(edit, Edit::Delete(..)));
    }
    let (Edit::Keep(i, j) | Edit::Delete(i, j) | Edit::Insert(i, j)) = edits[0];
    // Writing to a string cannot fail.
    let _ = writeln!(out, "@@ -{},{removed} +{},{added} @@", i + 1, j + 1);
    for edit in edits {
        let _ = match *edit {
            Edit::Keep(i, _) => writeln!(out, " {}", old[i]),
            Edit::Delete(i, _) => writeln!(out, "-{}", old[i]),
            Edit::Insert(_, j) => writeln!(out, "+{}", new[j]),
        };
    }
}

fn edits(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - tail], &new_rest[..new_rest.len() - tail]);
    let mut edits: Vec<Edit> = (0..head).map(|i| Edit::Keep(i, i)).collect();
    let shift = |edit: Edit| match edit {
        Edit::Keep(i, j) => Edit::Keep(i + head, j + head),
        Edit::Delete(i, j) => Edit::Delete(i + head, j + head),
        Edit::Insert(i, j) => Edit::Insert(i + head, j + head),
    };
    edits.extend(shortest(old_middle, new_middle).into_iter().map(shift));
    let (i, j) = (old.len() - tail, new.len() - tail);
    edits.extend((0..tail).map(|k| Edit::Keep(i + k, j + k)));
    edits
}

/// Myers: `reach[k]` is how far the best path with the edits so far comes on the diagonal `i - j = k`.
fn shortest(old: &[&str], new: &[&str]) -> Vec<Edit> {
    let (n, m) = (old.len() as isize, new.len() as isize);
    let limit = (n + m).min(MAX_EDITS as isize);
    let offset = limit + 1;
    let mut reach = vec![0isize; (2 * offset + 1) as usize];
    let mut trace: Vec<Vec<isize>> = Vec::new();
    for edits in 0..=limit {
        trace.push(reach[(offset - edits - 1) as usize..=(offset + edits + 1) as usize].to_vec());
        for k in (-edits..=edits).step_by(2) {
            let at = |k: isize| reach[(offset + k) as usize];
            let down = k == -edits || (k != edits && at(k - 1) < at(k + 1));
            let mut i = if down { at(k + 1) } else { at(k - 1) + 1 };
            let mut j = i - k;
            while i < n && j < m && old[i as usize] == new[j as usize] {
                i += 1;
                j += 1;
            }
            reach[(offset + k) as usize] = i;
            if i >= n && j >= m {
                return backtrack(&trace, n, m);
            }
        }
    }
    let deleted = (0..old.len()).map(|i| Edit::Delete(i, 0));
    deleted.chain((0..new.len()).map(|j| Edit::Insert(old.len(), j))).collect()
}

fn backtrack(trace: &[Vec<isize>], n: isize, m: isize) -> Vec<Edit> {
    let (mut i, mut j) = (n, m);
    let mut edits = Vec::new();
    for (count, reach) in trace.iter().enumerate().rev() {
        let count = count as isize;
        // The slice kept for `count` edits covers the diagonals from `-count - 1` on.
        let at = |k: isize| reach[(k + count + 1) as usize];
        let k = i - j;
        let down = k == -count || (k != count && at(k - 1) < at(k + 1));
        let before = if down { k + 1 } else { k - 1 };
        let (from_i, from_j) = if count == 0 { (0, 0) } else { (at(before), at(before) - before) };
        while i > from_i && j > from_j {
            i -= 1;
            j -= 1;
            edits.push(Edit::Keep(i as usize, j as usize));
        }
        if count > 0 {
            if down {
                j -= 1;
                edits.push(Edit::Insert(i as usize, j as usize));
            } else {
                i -= 1;
                edits.push(Edit::Delete(i as usize, j as usize));
            }
        }
    }
    edits.reverse();
    edits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_with_their_context() {
        let before = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
        let after = "a\nb\nc\nX\ne\nf\ng\nh\ni\nj\nnew\n";
        let expected = "@@ -2,5 +2,5 @@\n b\n c\n-d\n+X\n e\n f\n@@ -9,2 +9,3 @@\n i\n j\n+new\n";
        assert_eq!(unified(before, after), expected);
        assert_eq!(unified(before, before), "");
    }

    #[test]
    fn edits_lead_from_old_to_new() {
        for seed in 0u64..200 {
            let line = |i: u64, salt: u64| ["a", "b", "c"][((seed * 31 + i * 7 + salt * i) % 3) as usize];
            let old: Vec<&str> = (0..seed % 13).map(|i| line(i, 1)).collect();
            let new: Vec<&str> = (0..seed % 11).map(|i| line(i, 5)).collect();
            let (mut kept, mut made) = (Vec::new(), Vec::new());
            for edit in edits(&old, &new) {
                match edit {
                    Edit::Keep(i, j) => {
                        assert_eq!(old[i], new[j]);
                        kept.push(old[i]);
                        made.push(new[j]);
                    }
                    Edit::Delete(i, _) => kept.push(old[i]),
                    Edit::Insert(_, j) => made.push(new[j]),
                }
            }
            assert_eq!((kept, made), (old, new));
        }
    }
}
