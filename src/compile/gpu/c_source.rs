//! A model as C: the loader of `c/model.c` with the model's plan as tables.
//!
//! A host that C can embed has no interpreters, so that only models of kernels alone have it.

use std::fmt::Write;

use tcc_runtime::cuda::{Manifest, Step};
use tcc_runtime::model::{Expr, Op, Param, Place};

/// `model.h` and `model.c`.
pub(super) struct CSource {
    pub(super) header: String,
    pub(super) source: String,
}

const HEADER: &str = include_str!("c/model.h");
const SOURCE: &str = include_str!("c/model.c");

/// The sources, or the step that is none of kernels.
pub(super) fn c_source(manifest: &Manifest) -> Result<CSource, String> {
    for step in &manifest.steps {
        if let Step::Host { name, reason, .. } = step {
            return Err(format!("`{name}` runs on the host: {reason}"));
        }
    }
    if manifest.buffers.iter().any(|b| b.place == Place::Late) {
        return Err("extents are known only during the run".to_owned());
    }
    let mut tables = Tables { words: Vec::new(), text: String::new() };
    tables.model(manifest);
    let mut all = String::from("static const word words[] = {");
    for chunk in tables.words.chunks(12) {
        all += "\n  ";
        chunk.iter().for_each(|w| all += w);
    }
    all += "\n};\n";
    all += &tables.text;
    let header = HEADER.replace("@DESCRIPTION@", &description(manifest));
    Ok(CSource { header, source: SOURCE.replace("@TABLES@", &all) })
}

/// What the model takes and gives, as the lines of a comment.
fn description(manifest: &Manifest) -> String {
    let names = &manifest.symbols;
    let one = |param: &Param| {
        let shape: Vec<String> = param.shape.iter().map(|e| infix(e, names)).collect();
        format!("{}: {}[{}]", param.name, param.dtype, shape.join(", "))
    };
    let mut text = String::new();
    let mut list = |title: &str, all: Vec<String>| {
        for (i, line) in all.iter().enumerate() {
            // Names are the model's: none may end the comment or the line.
            let line = line.replace("*/", "* /").replace(['\n', '\r', '\\'], " ");
            text += &format!(" * {title} {i}  {line}\n");
        }
    };
    list("symbol", names.clone());
    list("input", manifest.inputs.iter().map(one).collect());
    list("output", manifest.outputs.iter().map(one).collect());
    text
}

/// An expression as people write it.
fn infix(expr: &Expr, names: &[String]) -> String {
    let mut stack: Vec<String> = Vec::new();
    for op in &expr.0 {
        let sign = match op {
            Op::Const(value) => {
                stack.push(value.to_string());
                continue;
            }
            Op::Symbol(s) => {
                stack.push(names.get(*s as usize).cloned().unwrap_or_default());
                continue;
            }
            Op::Add => "+",
            Op::Mul => "*",
            Op::FloorDiv => "/",
            Op::Mod => "%",
            Op::Min => "min",
            Op::Max => "max",
        };
        let (b, a) = (stack.pop().unwrap_or_default(), stack.pop().unwrap_or_default());
        stack.push(format!("({a} {sign} {b})"));
    }
    stack.pop().unwrap_or_default()
}

struct Tables {
    words: Vec<String>,
    text: String,
}

impl Tables {
    fn expr(&mut self, expr: &Expr) -> String {
        let first = self.words.len();
        for op in &expr.0 {
            let (sign, value) = match op {
                Op::Const(value) => ('c', *value),
                Op::Symbol(s) => ('s', i64::from(*s)),
                Op::Add => ('+', 0),
                Op::Mul => ('*', 0),
                Op::FloorDiv => ('/', 0),
                Op::Mod => ('%', 0),
                Op::Min => ('<', 0),
                Op::Max => ('>', 0),
            };
            // The least number has no literal in C.
            let value = if value == i64::MIN { "INT64_MIN".to_owned() } else { value.to_string() };
            self.words.push(format!("{{'{sign}', {value}}}, "));
        }
        format!("{{{first}, {}}}", expr.0.len())
    }

    /// An array, with an element that is never read so that C has none of length zero.
    fn array(&mut self, ty: &str, name: &str, elements: &[String], filler: &str) {
        let mut lines = elements.iter().map(|e| format!("\n  {e},")).collect::<String>();
        if elements.is_empty() {
            lines = format!("\n  {filler},");
        }
        let _ = writeln!(self.text, "static const {ty} {name}[] = {{{lines}\n}};");
    }

    fn model(&mut self, manifest: &Manifest) {
        let text = |number: &u32| number.to_string();
        let weight_bytes = manifest.weights.iter().map(|w| w.offset + w.bytes).max().unwrap_or(0);
        let buffers: Vec<String> = manifest
            .buffers
            .iter()
            .map(|b| {
                let zero = Expr::constant(0);
                let (place, number, offset) = match &b.place {
                    Place::Input(n) => ("INPUT", *n, &zero),
                    Place::Output(n) => ("OUTPUT", *n, &zero),
                    Place::Constant(n) => ("WEIGHT", *n, &zero),
                    Place::Arena(offset) => ("ARENA", 0, offset),
                    Place::Late => ("ARENA", 0, &zero),
                };
                format!("{{{place}, {number}, {}, {}}}", self.expr(offset), self.expr(&b.bytes))
            })
            .collect();
        let (mut steps, mut step_buffers, mut most) = (Vec::new(), Vec::new(), 0);
        for step in &manifest.steps {
            let Step::Launch { kernel, buffers } = step else { continue };
            steps.push(format!("{{{kernel}, {}, {}}}", step_buffers.len(), buffers.len()));
            step_buffers.extend(buffers.iter().map(text));
            let launches = &manifest.kernels[*kernel as usize].launches;
            let own = launches.iter().map(|l| l.symbols.len() + 1).max().unwrap_or(0);
            most = most.max(buffers.len() + own);
        }
        let schedules = manifest.targets.iter().map(|t| t.schedule + 1).max().unwrap_or(1);
        let (mut launches, mut launch_symbols) = (Vec::new(), Vec::new());
        for schedule in 0..schedules as usize {
            let mut row = String::from("{");
            for kernel in &manifest.kernels {
                let l = &kernel.launches[schedule];
                let grid: Vec<String> = l.grid.iter().map(|e| self.expr(e)).collect();
                let [x, y, z] = l.block;
                let (shared, scratch) = (self.expr(&l.shared_bytes), self.expr(&l.scratch_bytes));
                let (first, count) = (launch_symbols.len(), l.symbols.len());
                let _ = write!(
                    row,
                    "\n    {{{{{}}}, {{{x}, {y}, {z}}}, {shared}, {scratch}, {}, {first}, {count}}},",
                    grid.join(", "),
                    i32::from(l.has_scratch()),
                );
                launch_symbols.extend(l.symbols.iter().map(text));
            }
            launches.push(row + "\n  }");
        }
        let arena = manifest.arena_bytes.as_ref().map_or_else(|| "{0, 0}".to_owned(), |e| self.expr(e));
        let target = |t: &tcc_runtime::cuda::Target| {
            let (capability, alone) = t.capability().unwrap_or((0, false));
            let (alone, cubin) = (i32::from(alone), i32::from(t.cubin.is_some()));
            format!("{{\"{}\", {capability}, {alone}, {}, {cubin}}}", t.name, t.schedule)
        };
        let _ = writeln!(
            self.text,
            "enum {{ SYMBOLS = {}, INPUTS = {}, OUTPUTS = {}, KERNELS = {}, STEPS = {}, TARGETS = {}, MOST_ARGUMENTS = {most} }};\n\
             static const size_t WEIGHT_BYTES = {weight_bytes}u;\nstatic const expr arena = {arena};",
            manifest.ranges.len(),
            manifest.inputs.len(),
            manifest.outputs.len(),
            manifest.kernels.len(),
            steps.len(),
            manifest.targets.len(),
        );
        let quoted: Vec<String> = manifest.kernels.iter().map(|k| format!("\"{}\"", k.name)).collect();
        let of = |params: &[Param]| params.iter().map(|p| text(&p.buffer)).collect::<Vec<_>>();
        let offsets: Vec<String> = manifest.weights.iter().map(|w| w.offset.to_string()).collect();
        let targets: Vec<String> = manifest.targets.iter().map(target).collect();
        let bound = |n: i64| if n == i64::MIN { "INT64_MIN".to_owned() } else { n.to_string() };
        let ranges: Vec<String> =
            manifest.ranges.iter().map(|[lo, hi]| format!("{{{}, {}}}", bound(*lo), bound(*hi))).collect();
        self.array("range", "ranges", &ranges, "{0, 0}");
        self.array("char *const", "kernels", &quoted, "\"\"");
        self.array("buffer", "buffers", &buffers, "{INPUT, 0, {0, 0}, {0, 0}}");
        self.array("uint32_t", "input_buffers", &of(&manifest.inputs), "0");
        self.array("uint32_t", "output_buffers", &of(&manifest.outputs), "0");
        self.array("uint64_t", "weights", &offsets, "0");
        self.array("target", "targets", &targets, "{\"\", 0, 0, 0, 0}");
        self.array("uint32_t", "launch_symbols", &launch_symbols, "0");
        self.array("uint32_t", "step_buffers", &step_buffers, "0");
        self.array("step", "steps", &steps, "{0, 0, 0}");
        let rows: String = launches.iter().map(|row| format!("\n  {row},")).collect();
        let _ = writeln!(self.text, "static const launch launches[][KERNELS + 1] = {{{rows}\n}};");
    }
}
