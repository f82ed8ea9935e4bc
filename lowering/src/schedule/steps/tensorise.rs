//! `tensorise`: makes a sum of products of matrices one micro-tile contraction.
//!
//! ```tcc
//! nest @f(a: f32[4, 64], b: f32[64, 16]) -> (y: f32[4, 16]) {
//!   alloc c: f32[4, 16] in stack
//!   for zi in 0..4 parallel {
//!     for zj in 0..16 parallel {
//!       c[zi, zj] = f32(0.0)
//!     }
//!   }
//!   for i in 0..4 parallel {
//!     for j in 0..16 parallel {
//!       for k in 0..64 {
//!         c[i, j] += a[i, k] * b[k, j]
//!       }
//!     }
//!   }
//!   for yi in 0..4 parallel {
//!     for yj in 0..16 parallel {
//!       y[yi, yj] = c[yi, yj]
//!     }
//!   }
//! }
//! ```
//! ```steps
//! tensorise([zi, zj], 16)
//! tensorise([i, j, k], 16)
//! ```
//! ```tcc
//! nest @f(a: f32[4, 64], b: f32[64, 16]) -> (y: f32[4, 16]) {
//!   alloc c: f32[4, 16] in stack
//!   for zi in 0..4 tile {
//!     for zj in 0..16 tile {
//!       c[zi, zj] = f32(0.0)
//!     }
//!   }
//!   for i in 0..4 tile {
//!     for j in 0..16 tile {
//!       for k in 0..64 tile {
//!         c[i, j] += a[i, k] * b[k, j]
//!       }
//!     }
//!   }
//!   for yi in 0..4 parallel {
//!     for yj in 0..16 parallel {
//!       y[yi, yj] = c[yi, yj]
//!     }
//!   }
//! }
//! ```
//!
//! All three are matrices in memory; neighbours along the columns of `c` and `b` are neighbours there. Of elements of
//! few bits, each column of `b` holds several steps of the sum side by side: two of bf16, four of bytes. A
//! micro-kernel reads whole rows of `b`, as wide as the tile that it was written for: they must be there to be read.
//! Two loops that fill `c` with zeros right before the product are made part of it.

use tcc_ir::dim::{Dim, Ranges, Symbol};
use tcc_ir::dtype::DType;
use tcc_ir::loops::{Access, Buffer, Combine, Expr, LoopKind, Nest, Stmt};
use tcc_ir::scalar::ScalarOp;

use crate::schedule::site::{Chain, Site, buffer_of, expect_plain, flat};
use crate::schedule::{Refusal, right_panel};

step! {
    /// Makes loops a micro-tile contraction.
    Tensorise = "tensorise"(
        /// The loops over rows, columns and products; or over rows and columns of a tile that is zeroed.
        loops: Vec<Symbol>,
        /// The columns that a micro-kernel reads at a time.
        width: i64,
    )
}

impl Tensorise {
    pub(super) fn apply(&self, nest: &Nest) -> Result<Nest, Refusal> {
        let Some(first) = self.loops.first() else { return Err(Refusal::new("2 or 3 loops", "none")) };
        let site = Site::of(nest, first)?;
        let chain = site.chain(&self.loops)?;
        chain.loops.iter().try_for_each(|l| expect_plain(l.var, l.kind))?;
        let stmt = match self.loops.as_slice() {
            [row, column] => zero(nest, &chain, row, column)?,
            [row, column, sum] => self.product(nest, &chain, row, column, sum)?,
            other => return Err(Refusal::new("2 or 3 loops", other.len().to_string())),
        };
        let tiles = chain.loops.iter().rev().fold(stmt, |body, l| Stmt::For {
            var: l.var.clone(),
            extent: l.extent.clone(),
            kind: LoopKind::Tile,
            body: vec![body],
        });
        Ok(site.put(vec![tiles]))
    }

    /// The statement of the product, with the factors in their order.
    fn product(
        &self,
        nest: &Nest,
        chain: &Chain<'_>,
        row: &Symbol,
        column: &Symbol,
        sum: &Symbol,
    ) -> Result<Stmt, Refusal> {
        let expected = "one sum of products of two elements";
        let [Stmt::Store { targets, values, combine: Combine::With(ScalarOp::Add) }] = chain.body else {
            return Err(Refusal::new(expected, "another body"));
        };
        let ([c], [Expr::Op(ScalarOp::Mul, factors)]) = (targets.as_slice(), values.as_slice()) else {
            return Err(Refusal::new(expected, "another value"));
        };
        let [Some(left), Some(right)] = [0, 1].map(|i| factors.get(i).and_then(element)) else {
            return Err(Refusal::new(expected, "another value"));
        };
        let mentions = |access: &Access, var: &Symbol| access.at.iter().any(|d| d.mentions(var));
        let (a, b) = if mentions(left, column) { (right, left) } else { (left, right) };
        if mentions(a, column) || !mentions(b, column) || mentions(b, row) {
            let expected = format!("one factor that `{row}` moves and one that `{column}` moves");
            return Err(Refusal::new(expected, format!("{a} and {b}")));
        }
        if mentions(c, sum) || [a, b].iter().any(|f| f.buffer == c.buffer) {
            return Err(Refusal::new(format!("an element of its own for each `{row}` and `{column}`"), c.to_string()));
        }
        let [a_in, b_in, c_in] = [a, b, c].map(|access| {
            buffer_of(nest, &access.buffer)
                .ok_or_else(|| Refusal::new("elements of buffers", format!("`{}`", access.buffer)))
        });
        let (a_in, b_in, c_in) = (a_in?, b_in?, c_in?);
        let types = [&a_in, &b_in, &c_in].map(|buffer| buffer.ty.dtype);
        let ranges = &chain.ranges;
        matrix(&a_in, a, row, sum, ranges)?;
        let right = right_panel(&ranges.simplify(&flat(&b_in, b)), sum, column, ranges);
        let group = right.map(|panel| panel.group);
        if group.is_none() || !matrix(&c_in, c, row, column, ranges)?.is(1) {
            let expected = format!("neighbours in memory as `{column}` moves");
            return Err(Refusal::new(expected, format!("{b} and {c}")));
        }
        if group != group_of(types) {
            let [a, b, c] = types;
            let found = format!("{c} += {a} * {b} by {}", group.unwrap_or(1));
            return Err(Refusal::new("elements that micro-kernels multiply, as they take them", found));
        }
        let columns = ranges.bounds(chain.loops[1].extent).hi;
        if columns > self.width {
            return Err(Refusal::new(format!("at most {} columns", self.width), columns.to_string()));
        }
        readable(&b_in, b, column, self.width, ranges)?;
        let [a, b] = if mentions(left, column) { [1, 0] } else { [0, 1] }.map(|i: usize| factors[i].clone());
        let product = Expr::binary(ScalarOp::Mul, a, b);
        Ok(Stmt::combine(c.clone(), product, Combine::With(ScalarOp::Add)))
    }
}

/// An element that is read, also where it is converted.
fn element(factor: &Expr) -> Option<&Access> {
    match factor {
        Expr::Load(access) => Some(access),
        Expr::Cast { value, .. } => element(value),
        _ => None,
    }
}

/// How many steps of a sum lie side by side in the right operand of a micro-kernel for elements of these types.
fn group_of(types: [DType; 3]) -> Option<u32> {
    match types {
        [DType::F32, DType::F32, DType::F32] | [DType::F16, DType::F16, DType::F32] => Some(1),
        [DType::BF16, DType::BF16, DType::F32] => Some(2),
        [DType::U8 | DType::I8, DType::I8, DType::I32] => Some(4),
        _ => None,
    }
}

fn zero(nest: &Nest, chain: &Chain<'_>, row: &Symbol, column: &Symbol) -> Result<Stmt, Refusal> {
    let expected = || format!("zero stored at [{row}, {column}] of a buffer of the nest's own, and nothing else");
    let [stmt @ Stmt::Store { targets, values, combine: Combine::Replace }] = chain.body else {
        return Err(Refusal::new(expected(), "another body"));
    };
    let ([target], [Expr::Const(_, value)]) = (targets.as_slice(), values.as_slice()) else {
        return Err(Refusal::new(expected(), "another value"));
    };
    let place = [row, column].into_iter().map(Some).eq(target.at.iter().map(Dim::as_symbol));
    let own = !nest.params().any(|b| b.name == target.buffer);
    if value.is_truthy() || !place || !own {
        return Err(Refusal::new(expected(), target.to_string()));
    }
    Ok(stmt.clone())
}

/// The distance in memory of neighbouring columns of a matrix.
fn matrix(
    buffer: &Buffer,
    access: &Access,
    row: &Symbol,
    column: &Symbol,
    ranges: &Ranges,
) -> Result<Dim, Refusal> {
    let flat = ranges.simplify(&flat(buffer, access));
    let strides = flat.affine_in(row).and_then(|(rows, rest)| {
        let (columns, _) = rest.affine_in(column)?;
        (!rows.mentions(column)).then_some(columns)
    });
    strides.ok_or_else(|| {
        let expected = format!("rows and columns at fixed distances as `{row}` and `{column}` move");
        Refusal::new(expected, access.to_string())
    })
}

/// Refuses unless whole rows of the right operand can be read, in their axis or at least in the buffer.
fn readable(
    buffer: &Buffer,
    access: &Access,
    column: &Symbol,
    width: i64,
    ranges: &Ranges,
) -> Result<(), Refusal> {
    let last = Dim::from(width - 1);
    let mut along = access.at.iter().zip(buffer.ty.shape.iter()).filter(|(at, _)| at.mentions(column));
    let in_axis = along.all(|(at, extent)| ranges.less(&ranges.simplify(&at.replace(column, &last)), extent));
    let furthest = ranges.simplify(&flat(buffer, access)).replace(column, &last);
    if in_axis || ranges.bounds(&(&buffer.ty.shape.elements() - &furthest)).lo > 0 {
        return Ok(());
    }
    Err(Refusal::new(format!("rows of {width} elements that can be read"), format!("{access} of {buffer}")))
}
