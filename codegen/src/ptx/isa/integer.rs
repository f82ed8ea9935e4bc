//! Integer arithmetic, logic, shifts and bit fields.

use super::{Entry, Form, Op, Type, entry};

/// What is computed of each lane's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntegerFn {
    Add,
    Sub,
    MulLow,
    MulHigh,
    MulWide,
    MadLow,
    MadHigh,
    MadWide,
    Div,
    Rem,
    Min,
    Max,
    Abs,
    Neg,
    And,
    Or,
    Xor,
    Not,
    Shl,
    Shr,
    Popc,
    Clz,
    Brev,
    ExtractField,
    InsertField,
    Permute,
    Lookup,
    FunnelLeft,
    FunnelRight,
    Dot4,
}

/// An integer instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IntegerOp {
    pub(crate) function: IntegerFn,
    pub(crate) dtype: Type,
    /// The type of the second operand where it may differ.
    pub(crate) second: Type,
    /// Whether the result is clamped (`.sat`), or the distance of a funnel shift (`.clamp`).
    pub(crate) clamped: bool,
}

use IntegerFn::*;

pub(super) const TABLE: &[Entry] = &[
    entry("add", "sat", "dss", |f| arithmetic(f, Add)),
    entry("sub", "sat", "dss", |f| arithmetic(f, Sub)),
    entry("mul.lo", "", "dss", |f| plain(f, MulLow)),
    entry("mul.hi", "", "dss", |f| plain(f, MulHigh)),
    entry("mul.wide", "", "dss", |f| plain(f, MulWide)),
    entry("mad.lo", "", "dsss", |f| plain(f, MadLow)),
    entry("mad.hi", "", "dsss", |f| plain(f, MadHigh)),
    entry("mad.wide", "", "dsss", |f| plain(f, MadWide)),
    entry("div", "", "dss", |f| plain(f, Div)),
    entry("rem", "", "dss", |f| plain(f, Rem)),
    entry("min", "", "dss", |f| plain(f, Min)),
    entry("max", "", "dss", |f| plain(f, Max)),
    entry("abs", "", "ds", |f| plain(f, Abs)),
    entry("neg", "", "ds", |f| plain(f, Neg)),
    entry("and", "", "dss", |f| plain(f, And)),
    entry("or", "", "dss", |f| plain(f, Or)),
    entry("xor", "", "dss", |f| plain(f, Xor)),
    entry("not", "", "ds", |f| plain(f, Not)),
    entry("shl", "", "dss", |f| plain(f, Shl)),
    entry("shr", "", "dss", |f| plain(f, Shr)),
    entry("popc", "", "ds", |f| plain(f, Popc)),
    entry("clz", "", "ds", |f| plain(f, Clz)),
    entry("brev", "", "ds", |f| plain(f, Brev)),
    entry("bfe", "", "dsss", |f| plain(f, ExtractField)),
    entry("bfi", "", "dssss", |f| plain(f, InsertField)),
    entry("prmt", "", "dsss", |f| plain(f, Permute)),
    entry("lop3", "", "dssss", |f| plain(f, Lookup)),
    entry("shf.l", "wrap clamp", "dsss", |f| funnel(f, FunnelLeft)),
    entry("shf.r", "wrap clamp", "dsss", |f| funnel(f, FunnelRight)),
    entry("dp4a", "", "dsss", dot),
];

fn make(function: IntegerFn, dtype: Type, second: Type, clamped: bool) -> Op {
    Op::Integer(IntegerOp { function, dtype, second, clamped })
}

fn plain(form: &Form<'_>, function: IntegerFn) -> Result<Op, String> {
    let dtype = form.only_type()?;
    Ok(make(function, dtype, dtype, false))
}

fn arithmetic(form: &Form<'_>, function: IntegerFn) -> Result<Op, String> {
    let dtype = form.only_type()?;
    if form.has("sat") && dtype != Type::S32 {
        return Err(format!("expected `.sat` on s32 only, got {}", dtype.name()));
    }
    Ok(make(function, dtype, dtype, form.has("sat")))
}

fn funnel(form: &Form<'_>, function: IntegerFn) -> Result<Op, String> {
    let clamped = form.choose(&[("clamp", true), ("wrap", false)])?;
    Ok(make(function, form.type_of(&[Type::B32])?, Type::B32, clamped))
}

fn dot(form: &Form<'_>) -> Result<Op, String> {
    match form.types()[..] {
        [a @ (Type::S32 | Type::U32), b @ (Type::S32 | Type::U32)] => Ok(make(Dot4, a, b, false)),
        _ => Err("expected two types of s32, u32".into()),
    }
}
