//! Float arithmetic and the functions of the special function unit.

use super::{Entry, Form, Op, Type, entry};

/// What is computed of each lane's operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatFn {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Min,
    Max,
    Abs,
    Neg,
    Sqrt,
    Rcp,
    Rsqrt,
    Exp2,
    Log2,
    Sin,
    Cos,
    Tanh,
    CopySign,
}

/// How a result that does not fit is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    NearestEven,
    /// Ties away from zero.
    NearestAway,
    Zero,
    Down,
    Up,
}

/// The modifiers of floats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FloatFlags {
    /// Subnormal operands and results are zeros.
    pub(crate) flush: bool,
    /// The result is clamped to [0, 1], or to the largest finite value where infinities do not exist.
    pub(crate) saturate: bool,
    /// Negative results are zeros.
    pub(crate) relu: bool,
    /// The smaller or larger of a NaN and a number is NaN.
    pub(crate) nan: bool,
    pub(crate) rounding: Rounding,
}

/// A float instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatOp {
    pub(crate) function: FloatFn,
    pub(crate) dtype: Type,
    pub(crate) flags: FloatFlags,
}

use FloatFn::*;

pub(super) const ROUNDINGS: &[(&str, Rounding)] = &[
    ("rn", Rounding::NearestEven),
    ("rna", Rounding::NearestAway),
    ("rz", Rounding::Zero),
    ("rm", Rounding::Down),
    ("rp", Rounding::Up),
];

const HALVES: &[Type] = &[Type::F16, Type::F16x2, Type::Bf16, Type::Bf16x2];

pub(super) const TABLE: &[Entry] = &[
    entry("add", "rn rz rm rp ftz sat", "dss", |f| make(f, Add, Types::All)),
    entry("sub", "rn rz rm rp ftz sat", "dss", |f| make(f, Sub, Types::All)),
    entry("mul", "rn rz rm rp ftz sat", "dss", |f| make(f, Mul, Types::All)),
    entry("fma", "rn rz rm rp ftz sat relu", "dsss", |f| rounded(f, Fma, Types::All)),
    entry("mad", "rn rz rm rp ftz sat", "dsss", |f| rounded(f, Fma, Types::Wide)),
    entry("div", "rn rz rm rp approx full ftz", "dss", |f| computed(f, Div)),
    entry("min", "ftz NaN", "dss", |f| make(f, Min, Types::All)),
    entry("max", "ftz NaN", "dss", |f| make(f, Max, Types::All)),
    entry("abs", "ftz", "ds", |f| make(f, Abs, Types::All)),
    entry("neg", "ftz", "ds", |f| make(f, Neg, Types::All)),
    entry("sqrt", "rn rz rm rp approx ftz", "ds", |f| computed(f, Sqrt)),
    entry("rcp", "rn rz rm rp approx ftz", "ds", |f| computed(f, Rcp)),
    entry("rsqrt", "approx ftz", "ds", |f| computed(f, Rsqrt)),
    entry("ex2", "approx ftz", "ds", |f| approximate(f, Exp2)),
    entry("lg2", "approx ftz", "ds", |f| approximate(f, Log2)),
    entry("sin", "approx ftz", "ds", |f| approximate(f, Sin)),
    entry("cos", "approx ftz", "ds", |f| approximate(f, Cos)),
    entry("tanh", "approx", "ds", |f| approximate(f, Tanh)),
    entry("copysign", "", "dss", |f| make(f, CopySign, Types::Wide)),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    All,
    Wide,
}

pub(super) fn flags(form: &Form<'_>) -> FloatFlags {
    FloatFlags {
        flush: form.has("ftz"),
        saturate: form.has("sat") || form.has("satfinite"),
        relu: form.has("relu"),
        nan: form.has("NaN"),
        rounding: form.pick(ROUNDINGS).unwrap_or(Rounding::NearestEven),
    }
}

fn make(form: &Form<'_>, function: FloatFn, types: Types) -> Result<Op, String> {
    let dtype = form.only_type()?;
    let fits = matches!(dtype, Type::F32 | Type::F64) || types == Types::All && HALVES.contains(&dtype);
    if !fits {
        return Err(format!("expected a float type that the instruction has, got {}", dtype.name()));
    }
    let flags = flags(form);
    if dtype == Type::F64 && flags.rounding != Rounding::NearestEven {
        return Err("expected rounding to nearest for f64".into());
    }
    if HALVES.contains(&dtype) && flags.rounding != Rounding::NearestEven {
        return Err(format!("expected rounding to nearest for {}", dtype.name()));
    }
    Ok(Op::Float(FloatOp { function, dtype, flags }))
}

/// Instructions whose rounding must be written.
fn rounded(form: &Form<'_>, function: FloatFn, types: Types) -> Result<Op, String> {
    form.choose(ROUNDINGS)?;
    make(form, function, types)
}

/// Instructions that are rounded as said, or approximate where nothing is said of rounding.
fn computed(form: &Form<'_>, function: FloatFn) -> Result<Op, String> {
    if !(form.has("approx") || form.has("full")) {
        form.choose(ROUNDINGS)?;
    }
    make(form, function, Types::Wide)
}

fn approximate(form: &Form<'_>, function: FloatFn) -> Result<Op, String> {
    if !form.has("approx") {
        return Err("expected `.approx`".into());
    }
    make(form, function, Types::All)
}
