//! The rules, by operator: one table for each family, joined into one registry.

pub(crate) mod attention;
pub(crate) mod classical;
pub(crate) mod contraction;
pub(crate) mod elementwise;
pub(crate) mod image;
pub(crate) mod indexing;
pub(crate) mod microsoft;
pub(crate) mod microsoft_quantized;
pub(crate) mod movement;
pub(crate) mod normalization;
pub(crate) mod pooling;
pub(crate) mod quantized;
pub(crate) mod recurrent;
pub(crate) mod reduction;
pub(crate) mod resize;
pub(crate) mod runtime_axes;
pub(crate) mod sequence;
pub(crate) mod signal;
pub(crate) mod slicing;
pub(crate) mod source;
pub(crate) mod text;

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

use super::context::Rule;

/// A row: the operator's name, the version that first has it, and its rule.
pub(crate) type Row = (&'static str, i64, Rule);

/// The tables with their domains.
static TABLES: &[(&str, &[Row])] = &[
    ("", elementwise::UNARY),
    ("", elementwise::BINARY),
    ("", elementwise::RULES),
    ("", attention::RULES),
    ("ai.onnx.preview", attention::PREVIEW),
    ("", contraction::RULES),
    ("", image::RULES),
    ("", indexing::RULES),
    ("com.microsoft", microsoft::RULES),
    ("com.microsoft", microsoft_quantized::RULES),
    ("", microsoft::DEFAULT_DOMAIN),
    ("", movement::RULES),
    ("", normalization::RULES),
    ("", pooling::RULES),
    ("", quantized::RULES),
    ("", recurrent::RULES),
    ("", resize::RULES),
    ("", sequence::RULES),
    ("", signal::RULES),
    ("", slicing::RULES),
    ("", reduction::RULES),
    ("", source::RULES),
    ("", text::RULES),
    ("ai.onnx.ml", classical::RULES),
    ("", super::control::RULES),
];

/// Every row with its domain.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static Row)> {
    TABLES.iter().flat_map(|(domain, rows)| rows.iter().map(|row| (*domain, row)))
}

/// The row of an operator.
pub(crate) fn find(domain: &str, name: &str) -> Option<&'static Row> {
    static INDEX: LazyLock<FxHashMap<(&str, &str), &Row>> =
        LazyLock::new(|| all().map(|(domain, row)| ((domain, row.0), row)).collect());
    INDEX.get(&(domain, name)).copied()
}
