//! Sampling of images at computed places: grids, regions of interest, deformed windows, columns.

use super::super::context::{Cx, Refusal, Results, Rule, Step, ensure};
use super::contraction::Window;
use crate::dim::{Dim, Range};
use crate::dtype::DType;
use crate::graph::{Attr, Op, Value};
use crate::scalar::ScalarOp as S;

/// The rules of this family.
pub(crate) const RULES: &[(&str, i64, Rule)] = &[
    ("GridSample", 16, grid_sample),
    ("AffineGrid", 20, affine_grid),
    ("RoiAlign", 10, roi_align),
    ("Col2Im", 18, col2im),
];

/// How elements between the given ones are made.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    Nearest,
    Linear,
    Cubic,
}

/// What stands outside of the image.
#[derive(Clone, Copy, PartialEq)]
enum Outside {
    Zeros,
    Border,
    Reflection {
        /// Whether the mirror stands on the last element, or half an element behind it.
        aligned: bool,
    },
}

/// One neighbour along an axis: its index, its weight unless that is one, and whether it is inside unless it
/// always is.
type Tap = (Value, Option<Value>, Option<Value>);

/// Elements of `x: [N, C, spatial…]` at places `[N, M]` along each spatial axis, as weighted parts
/// `[N, M, C]` whose sum is the sample.
fn sample(
    cx: &mut Cx<'_, '_>,
    x: Value,
    places: &[Value],
    method: Method,
    outside: Outside,
) -> Step<Vec<Value>> {
    let shape = cx.shape(x);
    let n = places.len();
    ensure!(shape.rank() == n + 2, "expected an image of {n} spatial axes, got {}", cx.ty(x));
    let dtype = cx.dtype(x);
    let mut axes: Vec<Vec<Tap>> = Vec::new();
    for (i, place) in places.iter().enumerate() {
        let extent = &shape[2 + i];
        let place = match outside {
            Outside::Zeros => *place,
            Outside::Border => limited(cx, *place, extent)?,
            Outside::Reflection { aligned } => reflected(cx, *place, extent, aligned)?,
        };
        let base = if method == Method::Nearest { cx.un(S::Round, place)? } else { cx.un(S::Floor, place)? };
        let t = cx.sub(place, base)?;
        let taps: &[f64] = match method {
            Method::Nearest => &[0.0],
            Method::Linear => &[0.0, 1.0],
            Method::Cubic => &[-1.0, 0.0, 1.0, 2.0],
        };
        let mut list = Vec::new();
        for tap in taps {
            let at = cx.with(S::Add, base, *tap)?;
            let mut inside = None;
            if outside == Outside::Zeros {
                let low = cx.is(S::Ge, at, 0.0)?;
                let end = cx.dim_value(extent, cx.dtype(at))?;
                let high = cx.bin(S::Lt, at, end)?;
                inside = Some(cx.bin(S::And, low, high)?);
            }
            let at = match outside {
                Outside::Reflection { aligned } => {
                    let at = reflected(cx, at, extent, aligned)?;
                    cx.un(S::Trunc, at)?
                }
                _ => at,
            };
            let at = limited(cx, at, extent)?;
            let index = cx.cast(at, DType::I64)?;
            let weight = match method {
                Method::Nearest => None,
                Method::Linear if *tap == 0.0 => {
                    let one = cx.like(t, 1.0)?;
                    Some(cx.sub(one, t)?)
                }
                Method::Linear => Some(t),
                Method::Cubic => {
                    let tap = cx.like(t, *tap)?;
                    let distance = cx.sub(t, tap)?;
                    Some(cubic_weight(cx, distance, -0.75)?)
                }
            };
            list.push((index, weight, inside));
        }
        axes.push(list);
    }
    let count: Dim = shape[2..].iter().cloned().product();
    let flat = cx.reshape(x, &[shape[0].clone(), shape[1].clone(), count])?;
    let rows = cx.transpose(flat, &[0, 2, 1])?;
    let mut parts = Vec::new();
    let combinations: usize = axes.iter().map(Vec::len).product();
    for mut which in 0..combinations {
        let (mut index, mut weight, mut inside): (Option<Value>, Option<Value>, Option<Value>) =
            (None, None, None);
        for i in 0..n {
            let (at, w, ok) = axes[i][which % axes[i].len()];
            which /= axes[i].len();
            index = Some(match index {
                Some(so_far) => {
                    let extent = cx.dim_value(&shape[2 + i], DType::I64)?;
                    let scaled = cx.mul(so_far, extent)?;
                    cx.add(scaled, at)?
                }
                None => at,
            });
            weight = both(cx, S::Mul, weight, w)?;
            inside = both(cx, S::And, inside, ok)?;
        }
        let index = index.ok_or_else(|| Refusal::new("expected a spatial axis"))?;
        let index = cx.unsqueeze(index, &[2])?;
        let mut part = cx.node(Op::GatherNd, &[rows, index], [Attr::Int(1)])?;
        if let Some(weight) = weight {
            let weight = cx.cast(weight, dtype)?;
            let weight = cx.unsqueeze(weight, &[2])?;
            part = cx.mul(part, weight)?;
        }
        if let Some(inside) = inside {
            let inside = cx.unsqueeze(inside, &[2])?;
            let zero = cx.like_zero(part)?;
            part = cx.select(inside, part, zero)?;
        }
        parts.push(part);
    }
    Ok(parts)
}

fn both(cx: &mut Cx<'_, '_>, op: S, a: Option<Value>, b: Option<Value>) -> Step<Option<Value>> {
    match (a, b) {
        (Some(a), Some(b)) => cx.bin(op, a, b).map(Some),
        (a, b) => Ok(a.or(b)),
    }
}

fn total(cx: &mut Cx<'_, '_>, parts: &[Value]) -> Step {
    let mut sum = parts[0];
    for part in &parts[1..] {
        sum = cx.add(sum, *part)?;
    }
    Ok(sum)
}

fn limited(cx: &mut Cx<'_, '_>, place: Value, extent: &Dim) -> Step {
    let last = cx.dim_value(&(extent - &Dim::ONE), cx.dtype(place))?;
    let place = cx.with(S::Max, place, 0.0)?;
    cx.bin(S::Min, place, last)
}

/// A triangle wave between the two mirrors.
fn reflected(cx: &mut Cx<'_, '_>, place: Value, extent: &Dim, aligned: bool) -> Step {
    let dtype = cx.dtype(place);
    let (low, span) = if aligned { (0.0, extent - &Dim::ONE) } else { (-0.5, extent.clone()) };
    let span = cx.dim_value(&span, dtype)?;
    let period = cx.with(S::Mul, span, 2.0)?;
    // An image of one element has mirrors that touch.
    let period = cx.with(S::Max, period, 1e-6)?;
    let from_low = cx.with(S::Sub, place, low)?;
    let phase = cx.bin(S::FloorMod, from_low, period)?;
    let back = cx.sub(period, phase)?;
    let folded = cx.bin(S::Min, phase, back)?;
    cx.with(S::Add, folded, low)
}

/// Keys' cubic kernel of parameter `a` at a distance of at most 2.
pub(crate) fn cubic_weight(cx: &mut Cx<'_, '_>, distance: Value, a: f64) -> Step {
    let x = cx.un(S::Abs, distance)?;
    let polynomial = |cx: &mut Cx<'_, '_>, c: [f64; 4]| {
        let mut sum = cx.with(S::Mul, x, c[0])?;
        for c in &c[1..3] {
            sum = cx.with(S::Add, sum, *c)?;
            sum = cx.mul(sum, x)?;
        }
        cx.with(S::Add, sum, c[3])
    };
    let near = polynomial(cx, [a + 2.0, -(a + 3.0), 0.0, 1.0])?;
    let far = polynomial(cx, [a, -5.0 * a, 8.0 * a, -4.0 * a])?;
    let zero = cx.like(x, 0.0)?;
    let (is_near, is_far) = (cx.is(S::Le, x, 1.0)?, cx.is(S::Lt, x, 2.0)?);
    let outer = cx.select(is_far, far, zero)?;
    cx.select(is_near, near, outer)
}

fn grid_sample(cx: &mut Cx<'_, '_>) -> Results {
    let (x, grid) = (cx.v(0)?, cx.v(1)?);
    let n = cx
        .rank(x)
        .checked_sub(2)
        .filter(|n| *n > 0)
        .ok_or_else(|| Refusal::new("expected a spatial axis"))?;
    ensure!(cx.rank(grid) == n + 2, "expected a grid of rank {}, got {}", n + 2, cx.rank(grid));
    let aligned = cx.flag("align_corners", false);
    let method = match cx.text("mode", "linear").as_str() {
        "linear" | "bilinear" => Method::Linear,
        "nearest" => Method::Nearest,
        "cubic" | "bicubic" => Method::Cubic,
        other => {
            return Err(Refusal::new(format!("expected `mode` linear, nearest or cubic, got `{other}`")));
        }
    };
    let outside = match cx.text("padding_mode", "zeros").as_str() {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection { aligned },
        other => {
            return Err(Refusal::new(format!(
                "expected `padding_mode` zeros, border or reflection, got `{other}`"
            )));
        }
    };
    let (shape, target) = (cx.shape(x), cx.shape(grid));
    let count: Dim = target[1..=n].iter().cloned().product();
    let mut places = Vec::new();
    for i in 0..n {
        // The grid names the last axis first.
        let column = cx.pick(grid, n + 1, &Dim::from(n - 1 - i))?;
        let column = cx.reshape(column, &[target[0].clone(), count.clone()])?;
        let extent = cx.dim_value(&shape[2 + i], cx.dtype(column))?;
        let shifted = cx.with(S::Add, column, 1.0)?;
        places.push(if aligned {
            let span = cx.with(S::Sub, extent, 1.0)?;
            let doubled = cx.mul(shifted, span)?;
            cx.with(S::Div, doubled, 2.0)?
        } else {
            let doubled = cx.mul(shifted, extent)?;
            let moved = cx.with(S::Sub, doubled, 1.0)?;
            cx.with(S::Div, moved, 2.0)?
        });
    }
    let parts = sample(cx, x, &places, method, outside)?;
    let y = total(cx, &parts)?;
    let y = cx.transpose(y, &[0, 2, 1])?;
    let mut out = shape[..2].to_vec();
    out.extend(target[1..=n].iter().cloned());
    let y = cx.reshape(y, &out)?;
    cx.one(y)
}

/// Affine maps of evenly spaced places between -1 and 1.
fn affine_grid(cx: &mut Cx<'_, '_>) -> Results {
    let theta = cx.v(0)?;
    let size = cx.dims(1, Range::EXTENT)?;
    let n = size
        .len()
        .checked_sub(2)
        .filter(|n| *n > 0)
        .ok_or_else(|| Refusal::new("expected `size` of at least 3 extents"))?;
    let spatial = size[2..].to_vec();
    let dtype = cx.dtype(theta);
    let aligned = cx.flag("align_corners", false);
    let mut columns = Vec::new();
    let mut laid = spatial.clone();
    laid.push(Dim::ONE);
    for i in (0..n).rev() {
        let places = cx.range(&spatial[i], dtype)?;
        let extent = cx.dim_value(&spatial[i], dtype)?;
        let places = if aligned {
            let last = cx.with(S::Sub, extent, 1.0)?;
            let doubled = cx.with(S::Mul, places, 2.0)?;
            cx.div(doubled, last)?
        } else {
            let doubled = cx.with(S::Mul, places, 2.0)?;
            let centered = cx.with(S::Add, doubled, 1.0)?;
            cx.div(centered, extent)?
        };
        let places = cx.with(S::Sub, places, 1.0)?;
        let places = cx.along(places, i, n + 1)?;
        columns.push(cx.broadcast(places, &laid)?);
    }
    let one = cx.number(dtype, 1.0)?;
    columns.push(cx.broadcast(one, &laid)?);
    let base = cx.concat(&columns, n)?;
    // [N, n, n + 1] with [spatial…, n + 1] gives [N, n, spatial…].
    let grid = cx.dot((theta, base), (&[], &[]), (&[2], &[n as i64]), dtype)?;
    let y = cx.move_axis(grid, 1, n + 1)?;
    cx.one(y)
}

fn roi_align(cx: &mut Cx<'_, '_>) -> Results {
    let (x, rois, batch) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    let dtype = cx.dtype(x);
    let (height, width) = (cx.int("output_height", 1), cx.int("output_width", 1));
    let ratio = cx.int("sampling_ratio", 0);
    ensure!(height > 0 && width > 0, "expected a positive output size, got {height}x{width}");
    if ratio <= 0 {
        return Err(Refusal::new("expected a fixed number of samples, got `sampling_ratio` 0")
            .nearest("a positive `sampling_ratio`"));
    }
    ensure!(
        cx.rank(x) == 4 && cx.rank(rois) == 2,
        "expected [N, C, H, W] and [R, 4], got {} and {}",
        cx.ty(x),
        cx.ty(rois)
    );
    let scale = cx.float("spatial_scale", 1.0);
    let half = cx.opset >= 16 && cx.text("coordinate_transformation_mode", "half_pixel") == "half_pixel";
    let images = cx.gather(x, batch, 0)?;
    let count = cx.extent(rois, 0);
    // Edges [R, 1].
    let edge = |cx: &mut Cx<'_, '_>, i: usize| {
        let e = cx.slice(rois, 1, &Dim::from(i), &Dim::ONE)?;
        let e = cx.with(S::Mul, e, scale)?;
        if half { cx.with(S::Sub, e, 0.5) } else { Ok(e) }
    };
    let total_rows = height * ratio;
    let total_columns = width * ratio;
    let mut axes = Vec::new();
    for (start, end, bins, samples, axis) in [(1, 3, height, total_rows, 2), (0, 2, width, total_columns, 3)]
    {
        let (a, b) = (edge(cx, start)?, edge(cx, end)?);
        let mut size = cx.sub(b, a)?;
        if !half {
            size = cx.with(S::Max, size, 1.0)?;
        }
        // Sample k of all lies (k + 0.5) / samples of the way.
        let steps = cx.range(&Dim::from(samples), dtype)?;
        let middles = cx.with(S::Add, steps, 0.5)?;
        let fractions = cx.with(S::Div, middles, (bins * ratio) as f64)?;
        let offsets = cx.mul(size, fractions)?;
        let places = cx.add(a, offsets)?;
        let extent = cx.dim_value(&cx.extent(x, axis), dtype)?;
        let (low, high) = (cx.is(S::Ge, places, -1.0)?, cx.bin(S::Le, places, extent)?);
        axes.push((places, cx.bin(S::And, low, high)?));
    }
    let plane = [count.clone(), Dim::from(total_rows), Dim::from(total_columns)];
    let flat = [count.clone(), Dim::from(total_rows * total_columns)];
    let spread = |cx: &mut Cx<'_, '_>, v: Value, axis: usize| {
        let v = cx.unsqueeze(v, &[axis])?;
        let v = cx.broadcast(v, &plane)?;
        cx.reshape(v, &flat)
    };
    let (rows, columns) = (spread(cx, axes[0].0, 2)?, spread(cx, axes[1].0, 1)?);
    let (rows_in, columns_in) = (spread(cx, axes[0].1, 2)?, spread(cx, axes[1].1, 1)?);
    let inside = cx.bin(S::And, rows_in, columns_in)?;
    let inside = cx.unsqueeze(inside, &[2])?;
    let parts = sample(cx, images, &[rows, columns], Method::Linear, Outside::Border)?;
    let max = cx.text("mode", "avg") == "max";
    let combined = if max {
        let mut best = parts[0];
        for part in &parts[1..] {
            best = cx.bin(S::Max, best, *part)?;
        }
        best
    } else {
        total(cx, &parts)?
    };
    let zero = cx.like_zero(combined)?;
    let kept = cx.select(inside, combined, zero)?;
    let channels = cx.extent(x, 1);
    let binned = [count, Dim::from(height), Dim::from(ratio), Dim::from(width), Dim::from(ratio), channels];
    let kept = cx.reshape(kept, &binned)?;
    let y =
        if max { cx.reduce(Op::ReduceMax, kept, &[2, 4], false)? } else { cx.mean(kept, &[2, 4], false)? };
    let y = cx.transpose(y, &[0, 3, 1, 2])?;
    cx.one(y)
}

/// A convolution whose window's elements are moved by offsets, weighted by a mask.
pub(crate) fn deform_conv(cx: &mut Cx<'_, '_>) -> Results {
    let (x, w, offset) = (cx.v(0)?, cx.v(1)?, cx.v(2)?);
    ensure!(cx.rank(x) == 4 && cx.rank(w) == 4, "expected operands of rank 4");
    let size = cx.window_of(w, 2)?;
    let window: Window = cx.window(x, size)?;
    let (groups, shared) = (cx.int("group", 1), cx.int("offset_group", 1));
    ensure!(groups > 0 && shared > 0, "expected positive groups");
    let taps = window.size[0] * window.size[1];
    let shape = cx.shape(x);
    let (oh, ow) = (cx.extent(offset, 2), cx.extent(offset, 3));
    let dtype = cx.dtype(x);
    let g = Dim::from(shared);
    let images = &shape[0] * &g;
    let each = shape[1].floor_div(&g);
    let parts = cx.reshape(x, &[images.clone(), each.clone(), shape[2].clone(), shape[3].clone()])?;
    let offset =
        cx.reshape(offset, &[images.clone(), Dim::from(taps), Dim::from(2i64), oh.clone(), ow.clone()])?;
    let mut places = Vec::new();
    for axis in 0..2 {
        let moved = cx.pick(offset, 2, &Dim::from(axis))?;
        let out = if axis == 0 { &oh } else { &ow };
        let steps = cx.range(out, dtype)?;
        let starts = cx.with(S::Mul, steps, window.strides[axis] as f64)?;
        let starts = cx.with(S::Sub, starts, window.lo[axis] as f64)?;
        let starts = cx.along(starts, 2 + axis, 4)?;
        let each: Vec<f64> = (0..taps)
            .map(|t| if axis == 0 { t / window.size[1] } else { t % window.size[1] })
            .map(|k| (k * window.dilations[axis]) as f64)
            .collect();
        let each = cx.vector(dtype, &each)?;
        let each = cx.along(each, 1, 4)?;
        let fixed = cx.add(starts, each)?;
        let place = cx.add(moved, fixed)?;
        places.push(cx.reshape(place, &[images.clone(), &Dim::from(taps) * &(&oh * &ow)])?);
    }
    let sampled = sample(cx, parts, &places, Method::Linear, Outside::Zeros)?;
    let mut columns = total(cx, &sampled)?;
    if let Some(mask) = cx.opt(4)? {
        let mask = cx.reshape(mask, &[images.clone(), &Dim::from(taps) * &(&oh * &ow), Dim::ONE])?;
        columns = cx.mul(columns, mask)?;
    }
    // [N·G, taps·out, C / G] to [N, groups, C / groups, taps, out].
    let columns = cx.transpose(columns, &[0, 2, 1])?;
    let count = Dim::from(groups);
    let inner = shape[1].floor_div(&count);
    let out = &oh * &ow;
    let columns = cx.reshape(columns, &[shape[0].clone(), count.clone(), &inner * &Dim::from(taps), out])?;
    let channels = cx.extent(w, 0);
    let w = cx.reshape(w, &[count.clone(), channels.floor_div(&count), &inner * &Dim::from(taps)])?;
    // Groups are batch axes: [groups, O / groups, N, out].
    let y = cx.dot((w, columns), (&[0], &[1]), (&[2], &[2]), dtype)?;
    let y = cx.transpose(y, &[2, 0, 1, 3])?;
    let mut y = cx.reshape(y, &[shape[0].clone(), channels, oh, ow])?;
    if let Some(bias) = cx.opt(3)? {
        y = cx.add_channels(y, bias)?;
    }
    cx.one(y)
}

/// Columns of windows are added back to where they came from.
fn col2im(cx: &mut Cx<'_, '_>) -> Results {
    let x = cx.v(0)?;
    let sizes = crate::dim::Range { lo: 1, ..crate::dim::Range::EXTENT };
    let (image, block) = (cx.dims(1, sizes)?, cx.dims(2, sizes)?);
    let n = image.len();
    ensure!(
        block.len() == n && n > 0 && cx.rank(x) == 3,
        "expected shapes of one rank and columns of rank 3"
    );
    let positive = |d: &Dim| d.as_const().is_none_or(|v| (1..1 << 31).contains(&v));
    ensure!(block.iter().chain(&image).all(positive), "expected positive shapes");
    let (strides, dilations) = (cx.positive("strides", n)?, cx.positive("dilations", n)?);
    let pads = cx.ints("pads").map_or(vec![0; 2 * n], <[i64]>::to_vec);
    ensure!(pads.len() == 2 * n && pads.iter().all(|p| (0..1 << 31).contains(p)), "expected {} pads", 2 * n);
    let shape = cx.shape(x);
    let taps: Dim = block.iter().cloned().product();
    let channels = shape[1].floor_div(&taps);
    let padded: Vec<Dim> = (0..n).map(|i| &image[i] + &Dim::from(pads[i] + pads[n + i])).collect();
    let counts: Vec<Dim> = (0..n)
        .map(|i| {
            let reach = &(&block[i] - &Dim::ONE) * &Dim::from(dilations[i]);
            let rest = &(&padded[i] - &reach) - &Dim::ONE;
            &rest.floor_div(&Dim::from(strides[i])) + &Dim::ONE
        })
        .collect();
    ensure!(counts.iter().all(|c| c.as_const().is_none_or(|c| c > 0)), "expected windows that fit the image");
    // Where each element of each window lies in the padded image: [block…, counts…].
    let extents: Vec<Dim> = block.iter().chain(&counts).cloned().collect();
    let mut index: Option<Value> = None;
    for i in 0..n {
        let (tap, at) = (cx.iota(&extents, i, DType::I64)?, cx.iota(&extents, n + i, DType::I64)?);
        let (tap, at) = (cx.with(S::Mul, tap, dilations[i] as f64)?, cx.with(S::Mul, at, strides[i] as f64)?);
        let place = cx.add(tap, at)?;
        index = Some(match index {
            Some(so_far) => {
                let extent = cx.dim_value(&padded[i], DType::I64)?;
                let scaled = cx.mul(so_far, extent)?;
                cx.add(scaled, place)?
            }
            None => place,
        });
    }
    let index = index.ok_or_else(|| Refusal::new("expected an image with axes"))?;
    let all: Dim = padded.iter().cloned().product();
    let count = &taps * &counts.iter().cloned().product::<Dim>();
    let rows = cx.reshape(index, &[count.clone(), Dim::ONE])?;
    let updates = cx.reshape(x, &[&shape[0] * &channels, count])?;
    let updates = cx.transpose(updates, &[1, 0])?;
    let zero = cx.like_zero(x)?;
    let target = cx.broadcast(zero, &[all, &shape[0] * &channels])?;
    let y = cx.node(Op::ScatterNd, &[target, rows, updates], ["add".into()])?;
    let y = cx.transpose(y, &[1, 0])?;
    let out: Vec<Dim> = [shape[0].clone(), channels].into_iter().chain(padded).collect();
    let mut y = cx.reshape(y, &out)?;
    for (i, extent) in image.iter().enumerate() {
        y = cx.slice(y, 2 + i, &Dim::from(pads[i]), extent)?;
    }
    cx.one(y)
}
