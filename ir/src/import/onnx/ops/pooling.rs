//! Pooling over windows and over everything.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::contraction::Window;
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Attr, Ints, Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("MaxPool", 1, max_pool),
    ("AveragePool", 1, average_pool),
    ("LpPool", 1, lp_pool),
    ("MaxUnpool", 9, max_unpool),
    ("GlobalAveragePool", 1, |c| global(c, |c, x, a| c.mean(x, a, true))),
    ("GlobalMaxPool", 1, |c| global(c, |c, x, a| c.reduce(Op::ReduceMax, x, a, true))),
    ("GlobalLpPool", 1, |c| {
        global(c, |c, x, a| {
            let p = c.float("p", 2.0).max(c.int("p", 2) as f64);
            let powers = power(c, x, p)?;
            let sum = c.sum(powers, a, true)?;
            c.with(S::Pow, sum, 1.0 / p)
        })
    }),
];

fn global(cx: &mut Cx<'_, '_>, f: fn(&mut Cx<'_, '_>, Value, &[usize]) -> Step) -> Results {
    let x = cx.v(0)?;
    let axes: Vec<usize> = (2..cx.rank(x)).collect();
    let y = f(cx, x, &axes)?;
    cx.one(y)
}

fn power(cx: &mut Cx<'_, '_>, x: Value, p: f64) -> Step {
    let size = cx.un(S::Abs, x)?;
    if p == 1.0 { Ok(size) } else { cx.with(S::Pow, size, p) }
}

fn attrs(window: &Window) -> [Attr; 5] {
    let list = |v: &[i64]| Attr::Ints(v.iter().copied().collect::<Ints>());
    [list(&window.size), list(&window.strides), list(&window.lo), list(&window.hi), list(&window.dilations)]
}

/// The window of a pooling. Rounding the number of windows up lets the last ones hang over the end, which is
/// padding on that side; windows that would start in it are left out.
fn pool_window(cx: &Cx<'_, '_>, x: Value) -> Step<(Window, Vec<i64>)> {
    let size = cx
        .ints("kernel_shape")
        .ok_or_else(|| Refusal::new("expected the attribute `kernel_shape`"))?
        .to_vec();
    ensure!(
        size.len() + 2 <= cx.rank(x),
        "expected at most {} entries of `kernel_shape`",
        cx.rank(x).saturating_sub(2)
    );
    ensure!(
        size.iter().all(|s| (1..1 << 31).contains(s)),
        "expected a positive `kernel_shape`, got {size:?}"
    );
    let n = size.len();
    let mut window = cx.window(x, size)?;
    ensure!(window.lo.iter().chain(&window.hi).all(|p| *p >= 0), "expected pads that are not negative");
    let declared = window.hi.clone();
    let automatic = cx.text("auto_pad", "NOTSET").starts_with("SAME");
    if cx.flag("ceil_mode", false) && !automatic {
        for i in 0..n {
            if window.strides[i] == 1 {
                continue;
            }
            let extent = cx.fixed(x, cx.rank(x) - n + i)? as i64;
            let reach = (window.size[i] - 1) * window.dilations[i] + 1;
            let span = extent + window.lo[i] + window.hi[i] - reach;
            let mut count = (span + window.strides[i] - 1).div_euclid(window.strides[i]) + 1;
            if (count - 1) * window.strides[i] >= extent + window.lo[i] {
                count -= 1;
            }
            let needed = (count - 1) * window.strides[i] + reach - extent - window.lo[i];
            window.hi[i] = needed.max(0);
        }
    }
    Ok((window, declared))
}

fn max_pool(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let (window, _) = pool_window(cx, x)?;
    let y = cx.node(Op::PoolMax, &[x], attrs(&window))?;
    if !cx.wants(1) {
        return cx.one(y);
    }
    let n = window.size.len();
    let rank = cx.rank(x);
    let mut index = cx.node(Op::PoolArgMax, &[x], attrs(&window))?;
    let shape = cx.shape(x);
    if cx.int("storage_order", 0) != 0 {
        index = column_major(cx, index, &shape[rank - n..])?;
    }
    // Indices count through the whole tensor.
    let plane: Dim = shape[rank - n..].iter().cloned().product();
    let lead: Vec<Dim> = shape[..rank - n].to_vec();
    let count: Dim = lead.iter().cloned().product();
    let planes = cx.range(&count, DType::I64)?;
    let plane = cx.dim_value(&plane, DType::I64)?;
    let offsets = cx.mul(planes, plane)?;
    let mut laid = lead;
    laid.extend(std::iter::repeat_n(Dim::ONE, n));
    let offsets = cx.reshape(offsets, &laid)?;
    let index = cx.add(index, offsets)?;
    cx.many(&[y, index])
}

fn column_major(cx: &mut Cx<'_, '_>, index: Value, extents: &[Dim]) -> Step {
    let (mut rest, mut result) = (index, None);
    let mut strides = vec![Dim::ONE; extents.len()];
    for i in 1..extents.len() {
        strides[i] = &strides[i - 1] * &extents[i - 1];
    }
    for (extent, stride) in extents.iter().zip(&strides).rev() {
        let extent = cx.dim_value(extent, DType::I64)?;
        let coordinate = cx.bin(S::Rem, rest, extent)?;
        rest = cx.div(rest, extent)?;
        let stride = cx.dim_value(stride, DType::I64)?;
        let part = cx.mul(coordinate, stride)?;
        result = Some(match result {
            Some(sum) => cx.add(sum, part)?,
            None => part,
        });
    }
    Ok(result.unwrap_or(index))
}

fn average_pool(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let y = averaged(cx, x)?;
    cx.one(y)
}

/// The means of windows that the node's attributes describe.
pub(crate) fn averaged(cx: &mut Cx<'_, '_>, x: Value) -> Step {
    let (window, declared) = pool_window(cx, x)?;
    let sum = cx.node(Op::PoolSum, &[x], attrs(&window))?;
    let padded = window.lo.iter().chain(&window.hi).any(|p| *p > 0);
    let counted = cx.flag("count_include_pad", false);
    if !padded || (counted && window.hi == declared) {
        let size: i64 = window.size.iter().product();
        return cx.with(S::Div, sum, size as f64);
    }
    // What counts is summed in the same windows: elements, and declared padding if that is asked for.
    let n = window.size.len();
    let rank = cx.rank(x);
    let mut extents: Vec<Dim> = vec![Dim::ONE; rank - n];
    extents.extend(cx.shape(x)[rank - n..].iter().cloned());
    let one = cx.like(x, 1.0)?;
    let mut ones = cx.broadcast(one, &extents)?;
    let mut inner = Window {
        size: window.size.clone(),
        strides: window.strides.clone(),
        dilations: window.dilations.clone(),
        lo: window.lo.clone(),
        hi: window.hi.clone(),
    };
    if counted {
        let (mut lo, mut hi) = (vec![Dim::ZERO; rank], vec![Dim::ZERO; rank]);
        for i in 0..n {
            let within = declared[i].min(window.hi[i]);
            (lo[rank - n + i], hi[rank - n + i]) = (Dim::from(window.lo[i]), Dim::from(within));
            (inner.lo[i], inner.hi[i]) = (0, window.hi[i] - within);
        }
        ones = cx.pad(ones, 1.0, &lo, &hi)?;
    }
    let count = cx.node(Op::PoolSum, &[ones], attrs(&inner))?;
    cx.div(sum, count)
}

fn lp_pool(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let (window, _) = pool_window(cx, x)?;
    let p = cx.attr("p").map_or(2.0, |a| if a.f != 0.0 { f64::from(a.f) } else { a.i as f64 });
    let powers = power(cx, x, p)?;
    let sum = cx.node(Op::PoolSum, &[powers], attrs(&window))?;
    let y = cx.with(S::Pow, sum, 1.0 / p)?;
    cx.one(y)
}

/// Elements go back to where `MaxPool` found them.
fn max_unpool(cx: &mut Cx<'_, '_>) -> Results {
    let (x, indices) = (cx.v(0)?, cx.v(1)?);
    let shape = cx.shape(x);
    let size = cx
        .ints("kernel_shape")
        .ok_or_else(|| Refusal::new("expected the attribute `kernel_shape`"))?
        .to_vec();
    let n = size.len();
    ensure!(n + 2 == shape.rank(), "expected an operand of rank {}, got {}", n + 2, cx.ty(x));
    let window = cx.window(x, size)?;
    let mut inner = shape[..2].to_vec();
    for i in 0..n {
        let spread = &(&shape[2 + i] - &Dim::ONE) * &Dim::from(window.strides[i]);
        inner.push(&spread + &Dim::from(window.size[i] - window.lo[i] - window.hi[i]));
    }
    let target = if cx.has(2) { cx.dims(2, Range::EXTENT)? } else { inner.clone() };
    let count: Dim = inner.iter().cloned().product();
    let zero = cx.like_zero(x)?;
    let flat = cx.broadcast(zero, std::slice::from_ref(&count))?;
    let elements = shape.elements();
    let (rows, values) = (
        cx.reshape(indices, std::slice::from_ref(&elements))?,
        cx.reshape(x, std::slice::from_ref(&elements))?,
    );
    let y = cx.node(Op::ScatterElements, &[flat, rows, values], [Attr::Int(0), "none".into()])?;
    let mut y = cx.reshape(y, &inner)?;
    if target != inner {
        ensure!(target.len() == inner.len(), "expected {} extents of `output_shape`", inner.len());
        // Indices count through the tensor of the inferred shape, which stands at the start of the asked one.
        let zeros = vec![Dim::ZERO; inner.len()];
        let hi: Vec<Dim> = target.iter().zip(&inner).map(|(t, i)| t - i).collect();
        y = cx.pad(y, 0.0, &zeros, &hi)?;
    }
    cx.one(y)
}
