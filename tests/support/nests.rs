//! Random nests and random steps for them.
//!
//! Nests have several loops around each other, guards, conditions, reductions with different combinations,
//! symbolic extents and buffers of their own. Values are small integers in floats, so that sums are exact in any
//! order.

use std::fmt::Write;

use tcc::ir::loops::{LoopKind, Nest, Stmt, parse_nest};

use super::Random;

/// A nest that verifies, with kinds of loops that are honest.
pub(crate) fn nest(seed: u64) -> Nest {
    let mut random = Random(seed);
    let rank = 1 + random.below(3);
    let extents: Vec<String> =
        (0..rank).map(|_| random.pick(&["N", "3", "5", "8", "2*N", "7", "1"]).to_string()).collect();
    let (sum, op) = (random.one_in(2), *random.pick(&["add", "max", "min"]));
    let inner = random.pick(&["K", "4", "9"]).to_string();
    let at: Vec<String> = (0..rank).map(|i| format!("i{i}")).collect();
    let mut input: Vec<String> = extents.clone();
    let mut from: Vec<String> = at.clone();
    if sum {
        input.push(inner.clone());
        from.push("k".into());
    }
    if random.one_in(3) && input.len() > 1 {
        input.swap(0, 1);
        from.swap(0, 1);
    }
    let outer: String = extents.join(", ");
    let (input, from) = (input.join(", "), from.join(", "));
    let mut text = format!("nest @random{seed}(x: f32[{input}], w: f32[{outer}]) -> (y: f32[{outer}])");
    let symbols: Vec<&str> = ["K", "N"].into_iter().filter(|s| text.contains(s)).collect();
    for (i, symbol) in symbols.iter().enumerate() {
        let hi = 4 + random.below(9);
        write!(text, "{} {symbol} in 1..={hi}", if i == 0 { " where" } else { "," }).unwrap();
    }
    text.push_str(" {\n");
    for (i, extent) in extents.iter().enumerate() {
        let kind = if random.one_in(3) { "" } else { "parallel" };
        writeln!(text, "for i{i} in 0..{extent} {kind} {{").unwrap();
    }
    let mut value = format!("x[{from}]");
    if random.one_in(3) {
        let (axis, low, high) = (random.below(rank), random.below(3), 1 + random.below(5));
        value = format!("(if {low} < i{axis} && i{axis} < {high} then {value} else f32(1.0))");
    }
    let place = at.join(", ");
    if sum {
        let start = match op {
            "add" => "0.0",
            "max" => "-inf",
            _ => "inf",
        };
        let combine = if op == "add" { "+".to_owned() } else { format!("{op} ") };
        let (own, target) =
            if random.one_in(3) { (false, format!("y[{place}]")) } else { (true, "acc[]".to_owned()) };
        if own {
            text.push_str("alloc acc: f32[] in register\n");
        }
        writeln!(text, "{target} = f32({start})\nfor k in 0..{inner} {{").unwrap();
        if random.one_in(4) {
            writeln!(text, "if 0 < k {{ {target} {combine}= {value} }}").unwrap();
        } else {
            writeln!(text, "{target} {combine}= {value} + w[{place}]").unwrap();
        }
        text.push_str("}\n");
        if own {
            writeln!(text, "let t = {target} + w[{place}]\ny[{place}] = t").unwrap();
        }
    } else {
        writeln!(text, "let t = {value} + w[{place}]\ny[{place}] = max(t, f32(0.0))").unwrap();
    }
    text.push_str(&"}\n".repeat(rank + 1));
    parse_nest(&text).unwrap_or_else(|d| panic!("{}", d.render("random nest", &text)))
}

/// The text of a step that may or may not apply to a nest; `number` makes its names new.
pub(crate) fn step(nest: &Nest, number: usize, random: &mut Random) -> String {
    let (mut loops, mut buffers): (Vec<(String, LoopKind)>, Vec<String>) = (Vec::new(), Vec::new());
    for stmt in &nest.body {
        stmt.each(&mut |s| match s {
            Stmt::For { var, kind, .. } => loops.push((var.to_string(), *kind)),
            Stmt::Alloc { buffer, .. } => buffers.push(buffer.name.to_string()),
            _ => {}
        });
    }
    buffers.push("y".into());
    let at = random.below(loops.len());
    let one = loops.get(at).map_or("i0", |(v, _)| v);
    let run: Vec<&str> = loops.iter().skip(at).take(1 + random.below(3)).map(|(v, _)| v.as_str()).collect();
    let list = run.join(", ");
    let buffer = random.pick(&buffers).clone();
    let factor = *random.pick(&[1, 2, 3, 4, 8]);
    let new = |suffix: &str| format!("n{number}{suffix}");
    let (a, b, c, d, e, f) = (new("a"), new("b"), new("c"), new("d"), new("e"), new("f"));
    let named =
        |letter: &str| run.iter().map(|v| format!("{v}_{number}{letter}")).collect::<Vec<_>>().join(", ");
    match random.below(18) {
        0 => format!("split({one}, {factor}, bound) -> [{a}, {b}]"),
        1 | 2 => format!("split({one}, {factor}, peel) -> [{a}, {b}, {c}]"),
        3 => format!("split({one}, {factor}, guard) -> [{a}, {b}]"),
        4 => format!("fuse([{list}]) -> {a}"),
        5 => format!("chunk([{list}], {factor}) -> [{a}, {b}]"),
        6 => {
            let mut turned = run.clone();
            turned.rotate_left(random.below(run.len()));
            format!("reorder([{}])", turned.join(", "))
        }
        7 => format!("parallel({one})"),
        8 | 9 => format!("vectorise({one})"),
        10 => format!("unroll({one})"),
        11 => format!("cut({one}, [{factor}]) -> [{a}, {b}]"),
        12 => format!("enclose({one}) -> {a}"),
        13 => format!("split_reduction({one}, {buffer}, {factor}, stack) -> {a}, [{b}, {c}, {d}, {e}, {f}]"),
        14 => {
            let extents = vec!["16"; run.len()].join(", ");
            format!("expand({buffer}, [{list}], [{extents}], stack) -> {a}")
        }
        15 => format!("halve({one}, stack) -> {a}, [{b}, {c}]"),
        16 => format!(
            "isolate({}, [{list}]) -> [{}], [{}]",
            loops.get(random.below(loops.len())).map_or("i0", |(v, _)| v),
            named("z"),
            named("e")
        ),
        _ => match random.below(4) {
            0 => format!("pad({one}, 16)"),
            1 => format!("collapse({one})"),
            2 => format!("tensorise([{list}], {factor})"),
            _ => format!("bind({one}, {})", random.pick(&["block.x", "thread.x", "thread.y"])),
        },
    }
}
