//! Operators on tokens that are numbers.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use crate::dim::Dim;
use crate::dtype::DType;
use crate::graph::{Op, Value};
use crate::scalar::ScalarOp as S;
use crate::tensor::Tensor;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[("TfIdfVectorizer", 9, tf_idf)];

/// Counts how often each n-gram of a pool stands in a row, with up to so many tokens passed over between its own.
fn tf_idf(cx: &mut Cx<'_, '_>) -> Results {
    let attribute = |name: &str| {
        cx.ints(name).map(<[i64]>::to_vec).ok_or_else(|| Refusal::new(format!("expected integers `{name}`")))
    };
    let pool = attribute("pool_int64s")?;
    let (starts, columns) = (attribute("ngram_counts")?, attribute("ngram_indexes")?);
    let (least, most) = (cx.int("min_gram_length", 1), cx.int("max_gram_length", 1));
    let skips = cx.int("max_skip_count", 0);
    ensure!((0..1 << 10).contains(&skips), "expected a `max_skip_count` below 1024, got {skips}");
    let mut x = cx.v(0)?;
    let single = cx.rank(x) == 1;
    if single {
        x = cx.unsqueeze(x, &[0])?;
    }
    ensure!(cx.rank(x) == 2, "expected rows of tokens, got {}", cx.ty(x));
    x = cx.cast(x, DType::I64)?;
    let tokens = cx.fixed(x, 1)? as i64;
    let rows = cx.extent(x, 0);
    let none = cx.number(DType::I64, 0.0)?;
    let mut counts = Vec::new();
    for (i, start) in starts.iter().enumerate() {
        let size = i as i64 + 1;
        let end = starts.get(i + 1).copied().unwrap_or(pool.len() as i64);
        let fits = 0 <= *start && *start <= end && end <= pool.len() as i64 && (end - start) % size == 0;
        ensure!(fits, "expected `ngram_counts` that cut the pool into whole n-grams, got {starts:?}");
        let grams = &pool[*start as usize..end as usize];
        let number = grams.len() / (i + 1);
        if number == 0 {
            continue;
        }
        let mut total = cx.broadcast(none, &[rows.clone(), Dim::from(number)])?;
        if (least..=most).contains(&size) {
            // Of single tokens nothing can be passed over.
            for skip in 0..=if size == 1 { 0 } else { skips } {
                let windows = tokens - (size - 1) * (skip + 1);
                if windows > 0 {
                    let found = occurrences(cx, x, grams, size as usize, skip + 1, windows)?;
                    total = cx.add(total, found)?;
                }
            }
        }
        counts.push(total);
    }
    ensure!(!counts.is_empty(), "expected a pool with n-grams");
    let all = cx.concat(&counts, 1)?;
    let entries = cx.fixed(all, 1)?;
    ensure!(columns.len() == entries, "expected {entries} entries of `ngram_indexes`, got {}", columns.len());
    let width = columns.iter().max().map_or(0, |m| m + 1);
    let distinct = (0..=entries as i64).contains(&width) && columns.iter().all(|c| (0..width).contains(c));
    ensure!(distinct, "expected `ngram_indexes` that name each column once, got {columns:?}");
    let mut source = vec![0i64; width as usize];
    for (entry, column) in columns.iter().enumerate() {
        source[*column as usize] = entry as i64;
    }
    let source = cx.g().constant(Tensor::from_slice(&[source.len()], &source)?)?;
    let counts = cx.gather(all, source, 1)?;
    let y = weighted(cx, counts, &columns)?;
    let y = if single { cx.squeeze(y, &[0])? } else { y };
    cx.one(y)
}

/// How often each n-gram stands in each row, as `[rows, n-grams]`, its tokens `step` apart.
fn occurrences(cx: &mut Cx<'_, '_>, x: Value, grams: &[i64], size: usize, step: i64, windows: i64) -> Step {
    let mut all: Option<Value> = None;
    for k in 0..size {
        let wanted: Vec<i64> = grams.iter().skip(k).step_by(size).copied().collect();
        let wanted = cx.g().constant(Tensor::from_slice(&[wanted.len()], &wanted)?)?;
        let here = cx.slice(x, 1, &Dim::from(k as i64 * step), &Dim::from(windows))?;
        let here = cx.unsqueeze(here, &[2])?;
        let same = cx.bin(S::Eq, here, wanted)?;
        all = Some(match all {
            Some(all) => cx.bin(S::And, all, same)?,
            None => same,
        });
    }
    let all = all.ok_or_else(|| Refusal::new("expected n-grams of at least one token"))?;
    let ones = cx.cast(all, DType::I64)?;
    cx.reduce(Op::ReduceSum, ones, &[1], false)
}

/// Counts, weights of what is there, or both multiplied; weights are in the order of the pool.
fn weighted(cx: &mut Cx<'_, '_>, counts: Value, columns: &[i64]) -> Step {
    let mode = cx.text("mode", "TF");
    let real = match mode.as_str() {
        "TF" => return cx.cast(counts, DType::F32),
        "IDF" => {
            let there = cx.is(S::Gt, counts, 0.0)?;
            cx.cast(there, DType::F32)?
        }
        "TFIDF" => cx.cast(counts, DType::F32)?,
        other => return Err(Refusal::new(format!("expected `mode` TF, IDF or TFIDF, got `{other}`"))),
    };
    let Some(given) = cx.floats("weights") else { return Ok(real) };
    ensure!(given.len() == columns.len(), "expected {} `weights`, got {}", columns.len(), given.len());
    let mut weights = vec![0.0; columns.len()];
    for (column, weight) in columns.iter().zip(given) {
        weights[*column as usize] = f64::from(*weight);
    }
    let width = cx.fixed(real, 1)?;
    let weights = cx.vector(DType::F32, &weights[..width])?;
    cx.mul(real, weights)
}
