//! Matrices of a warp or a warpgroup: loads and stores of fragments, products.

use super::{Entry, Form, Op, Operand, Type, entry};

/// A product of matrices: its sizes and types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MmaShape {
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: Type,
    pub(crate) b: Type,
    /// Of the accumulators.
    pub(crate) c: Type,
}

/// An instruction on matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatrixOp {
    Load {
        count: usize,
        transposed: bool,
    },
    Store {
        count: usize,
        transposed: bool,
    },
    /// A product of a warp, with 16 rows.
    Multiply {
        shape: MmaShape,
    },
    /// A product of a warpgroup, with 64 rows.
    GroupMultiply {
        shape: MmaShape,
        a_in_registers: bool,
        negate_a: bool,
        negate_b: bool,
        /// Whether an operand in shared memory has its rows (its columns) side by side.
        a_transposed: bool,
        b_transposed: bool,
    },
    GroupFence,
    GroupCommit,
    GroupWait {
        pending: u32,
    },
}

const MOVES: &str = "m8n8 x1 x2 x4 trans shared shared::cta";

pub(super) const TABLE: &[Entry] = &[
    entry("ldmatrix.sync.aligned", MOVES, "da", |f| {
        let (count, transposed) = fragments(f, 0)?;
        Ok(Op::Matrix(MatrixOp::Load { count, transposed }))
    }),
    entry("stmatrix.sync.aligned", MOVES, "as", |f| {
        let (count, transposed) = fragments(f, 1)?;
        Ok(Op::Matrix(MatrixOp::Store { count, transposed }))
    }),
    entry("mma.sync.aligned", "m16n8k4 m16n8k8 m16n8k16 m16n8k32 row col", "dsss", multiply),
    entry("wgmma.fence.sync.aligned", "", "", |_| Ok(Op::Matrix(MatrixOp::GroupFence))),
    entry("wgmma.commit_group.sync.aligned", "", "", |_| Ok(Op::Matrix(MatrixOp::GroupCommit))),
    entry("wgmma.wait_group.sync.aligned", "", "s", |f| {
        let pending = u32::try_from(f.immediate(0)?).map_err(|_| "expected a number of groups")?;
        Ok(Op::Matrix(MatrixOp::GroupWait { pending }))
    }),
    entry("wgmma.mma_async.sync.aligned", WGMMA_SHAPES, "dsss?ssss", group_multiply),
];

const WGMMA_SHAPES: &str = "m64n8k8 m64n16k8 m64n24k8 m64n32k8 m64n40k8 m64n48k8 m64n64k8 m64n80k8 m64n96k8 \
    m64n128k8 m64n160k8 m64n192k8 m64n224k8 m64n256k8 m64n8k16 m64n16k16 m64n24k16 m64n32k16 m64n40k16 \
    m64n48k16 m64n64k16 m64n80k16 m64n96k16 m64n112k16 m64n128k16 m64n160k16 m64n192k16 m64n224k16 m64n256k16 \
    m64n8k32 m64n16k32 m64n24k32 m64n32k32 m64n48k32 m64n64k32 m64n80k32 m64n96k32 m64n128k32 m64n160k32 \
    m64n192k32 m64n224k32 m64n256k32";

fn fragments(form: &Form<'_>, operand: usize) -> Result<(usize, bool), String> {
    form.type_of(&[Type::B16])?;
    let count = form.choose(&[("x1", 1), ("x2", 2), ("x4", 4)])?;
    if !form.has("m8n8") {
        return Err("expected `.m8n8`".into());
    }
    form.expect_width(operand, count)?;
    Ok((count, form.has("trans")))
}

/// The bits of k that one product of each type takes at most, and the accumulators it may have.
fn check_types(shape: &MmaShape) -> Result<(), String> {
    let MmaShape { a, b, c, .. } = *shape;
    let narrow = |t: Type| matches!(t, Type::E4m3 | Type::E5m2);
    let byte = |t: Type| matches!(t, Type::S8 | Type::U8);
    let known = match a {
        Type::F16 => b == Type::F16 && matches!(c, Type::F16 | Type::F32),
        Type::Bf16 | Type::Tf32 => a == b && c == Type::F32,
        _ if narrow(a) => narrow(b) && matches!(c, Type::F16 | Type::F32),
        _ if byte(a) => byte(b) && c == Type::S32,
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(format!("expected types that have a product, got {}, {}, {}", c.name(), a.name(), b.name()))
}

/// The numbers behind `n` and `k` of a shape.
fn sizes(form: &Form<'_>, prefix: &str) -> Result<(usize, usize), String> {
    let found = form.modifiers.iter().find_map(|m| {
        let (n, k) = m.strip_prefix(prefix)?.split_once('k')?;
        Some((n.parse().ok()?, k.parse().ok()?))
    });
    found.ok_or_else(|| format!("expected a shape {prefix}…k…"))
}

fn multiply(form: &Form<'_>) -> Result<Op, String> {
    let types = form.types();
    let [d, a, b, c] = types[..] else {
        return Err(format!("expected four types, got {}", types.len()));
    };
    let (n, k) = sizes(form, "m16n")?;
    let shape = MmaShape { n, k, a, b, c };
    check_types(&shape)?;
    let per_register = 32 / a.bits() as usize;
    let fits = k == 4 * per_register || k == 8 * per_register;
    if d != c || !fits || !form.has("row") || !form.has("col") {
        return Err("expected `.row.col`, one type of accumulators and a shape that the type has".into());
    }
    let accumulators = if c == Type::F16 { 2 } else { 4 };
    form.expect_width(0, accumulators)?;
    form.expect_width(1, 2 * k / (4 * per_register))?;
    form.expect_width(2, k / (4 * per_register))?;
    form.expect_width(3, accumulators)?;
    Ok(Op::Matrix(MatrixOp::Multiply { shape }))
}

fn group_multiply(form: &Form<'_>) -> Result<Op, String> {
    let types = form.types();
    let [c, a, b] = types[..] else {
        return Err(format!("expected three types, got {}", types.len()));
    };
    let (n, k) = sizes(form, "m64n")?;
    let shape = MmaShape { n, k, a, b, c };
    check_types(&shape)?;
    if k * a.bits() as usize != 256 {
        return Err(format!("expected 32 bytes of k, got {k} × {}", a.name()));
    }
    form.expect_width(0, if c == Type::F16 { n / 4 } else { n / 2 })?;
    let a_in_registers = matches!(form.operands.get(1), Some(Operand::Vector(_)));
    if a_in_registers {
        form.expect_width(1, 4)?;
    }
    // Integers have no signs to flip; sixteen-bit types may lie either way in shared memory.
    let signs = if c == Type::S32 { 0 } else { 2 };
    let layouts = if a.bits() == 16 { if a_in_registers { 1 } else { 2 } } else { 0 };
    let numbers = form.operands.len() - 4;
    if numbers != signs + layouts {
        return Err(format!("expected {} numbers behind the operands, got {numbers}", signs + layouts));
    }
    let sign = |index: usize| match (signs, form.immediate(4 + index)) {
        (0, _) | (_, Ok(1)) => Ok(false),
        (_, Ok(-1)) => Ok(true),
        _ => Err("expected 1 or -1 to scale an operand".to_owned()),
    };
    let layout = |index: usize| match form.immediate(4 + signs + index) {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        _ => Err("expected 0 or 1 for the layout of an operand".to_owned()),
    };
    Ok(Op::Matrix(MatrixOp::GroupMultiply {
        shape,
        a_in_registers,
        negate_a: sign(0)?,
        negate_b: sign(1)?,
        a_transposed: layouts == 2 && layout(0)?,
        b_transposed: layouts > 0 && layout(layouts - 1)?,
    }))
}
