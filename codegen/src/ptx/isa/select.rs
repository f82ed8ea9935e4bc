//! Moves, comparisons and selections.

use super::{Entry, Form, Kind, Op, Type, entry};

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Both are numbers.
    Number,
    /// One is NaN.
    Nan,
}

/// What joins the result of a comparison with a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// An instruction that moves or selects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SelectOp {
    /// Between registers, or a vector and the register that holds it.
    Move {
        dtype: Type,
        destination: usize,
        source: usize,
    },
    Compare {
        comparison: Comparison,
        /// Whether a comparison with NaN holds.
        unordered: bool,
        dtype: Type,
        logic: Option<Logic>,
        /// Subnormal operands are zeros.
        flush: bool,
    },
    Select {
        dtype: Type,
    },
}

const COMPARISONS: &[(&str, (Comparison, bool))] = &[
    ("eq", (Comparison::Eq, false)),
    ("ne", (Comparison::Ne, false)),
    ("lt", (Comparison::Lt, false)),
    ("lo", (Comparison::Lt, false)),
    ("le", (Comparison::Le, false)),
    ("ls", (Comparison::Le, false)),
    ("gt", (Comparison::Gt, false)),
    ("hi", (Comparison::Gt, false)),
    ("ge", (Comparison::Ge, false)),
    ("hs", (Comparison::Ge, false)),
    ("equ", (Comparison::Eq, true)),
    ("neu", (Comparison::Ne, true)),
    ("ltu", (Comparison::Lt, true)),
    ("leu", (Comparison::Le, true)),
    ("gtu", (Comparison::Gt, true)),
    ("geu", (Comparison::Ge, true)),
    ("num", (Comparison::Number, false)),
    ("nan", (Comparison::Nan, true)),
];

const COMPARISON_NAMES: &str = "eq ne lt lo le ls gt hi ge hs equ neu ltu leu gtu geu num nan and or xor ftz";

pub(super) const TABLE: &[Entry] = &[
    entry("mov", "", "ds", mov),
    entry("setp", COMPARISON_NAMES, "dss?s", setp),
    entry("selp", "", "dsss", |f| Ok(Op::Select(SelectOp::Select { dtype: f.only_type()? }))),
];

fn mov(form: &Form<'_>) -> Result<Op, String> {
    let dtype = form.only_type()?;
    let (destination, source) = (form.width(0), form.width(1));
    if destination > 1 && source > 1 || !(dtype.bits() as usize).is_multiple_of(destination.max(source)) {
        return Err("expected one vector whose parts fill the register".into());
    }
    Ok(Op::Select(SelectOp::Move { dtype, destination, source }))
}

fn setp(form: &Form<'_>) -> Result<Op, String> {
    let dtype = form.only_type()?;
    let (comparison, unordered) = form.choose(COMPARISONS)?;
    let logic = form.pick(&[("and", Logic::And), ("or", Logic::Or), ("xor", Logic::Xor)]);
    if logic.is_some() != (form.operands.len() == 4) {
        return Err(
            "expected a predicate behind the operands with `.and`, `.or`, `.xor`, and only then".into()
        );
    }
    let special = unordered || comparison == Comparison::Number;
    if special && !matches!(dtype.kind(), Kind::Float) {
        return Err(format!("expected a comparison of integers, for {}", dtype.name()));
    }
    if dtype.kind() == Kind::Pair {
        return Err("expected one value, got a pair".into());
    }
    Ok(Op::Select(SelectOp::Compare { comparison, unordered, dtype, logic, flush: form.has("ftz") }))
}
