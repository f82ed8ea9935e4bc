//! File tests: programs in text with what is expected of them in comments.
//!
//! A file begins with `test` lines, each a command: `cat` (reads and prints), `verify` (is accepted, or has
//! the errors said), `pass PIPELINE` (prints what becomes of it, checked against the interpreter) and `run`
//! (interprets). Then come graphs or nests, each with its directives, which are comments anywhere in it:
//!
//! - `// check: text` finds the next line of the output that contains the text; `// next:` wants it in the
//!   line after, `// same:` in the same line, `// not:` in no line at all;
//! - `// exact` wants the comment lines behind it to be the whole output; `TCC_BLESS=1` rewrites them;
//! - `// run: @name(inputs) == outputs` interprets, and runs the machine code of every backend for a graph; `~=`
//!   compares with the tolerance of the element type, and
//!   `// run: @name(inputs) error: text` wants the interpreter to refuse;
//! - `// error: (C1) text` at the end of a line wants an error there, of that code, that contains the text.

use std::path::Path;

use tcc::codegen::BACKENDS;
use tcc::compile::Compiler;
use tcc::ir::diag::{Diags, locate};
use tcc::ir::dtype::DType;
use tcc::ir::graph::Graph;
use tcc::ir::numerics::Numerics;
use tcc::ir::tensor::Tensor;
use tcc::ir::text::Cursor;
use tcc::lowering::pass::{CheckOptions, Ir, Pipeline, Registry, RunOptions, compare, run as run_pipeline};
use tcc::runtime::threads::Inline;

use super::literal;

/// Runs a file test; the error names the line of the file. With `bless`, gives the file with `exact` blocks as
/// they should be.
pub(crate) fn run(path: &Path, text: &str, registry: &Registry) -> Result<String, String> {
    let (commands, sections) = split(text);
    if commands.is_empty() {
        return Err(format!("{}: expected `test` lines at the start", path.display()));
    }
    let mut out = text.to_owned();
    let mut ran = 0;
    for section in sections.iter().rev() {
        let place = |message: String| format!("{}:{}: {message}", path.display(), section.line);
        let blessed = section.run(&commands, registry, &mut ran).map_err(place)?;
        out.replace_range(section.start..section.start + section.text.len(), &blessed);
    }
    if commands.contains(&"run") && ran == 0 {
        return Err(format!("{}: expected a `run:` line", path.display()));
    }
    Ok(out)
}

struct Section<'a> {
    line: usize,
    start: usize,
    text: &'a str,
}

/// The commands and the programs of a file.
fn split(text: &str) -> (Vec<&str>, Vec<Section<'_>>) {
    let mut commands = Vec::new();
    let mut starts = Vec::new();
    let mut at = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let content = line.trim_end();
        if let Some(command) = content.strip_prefix("test ").filter(|_| starts.is_empty()) {
            commands.push(command.trim());
        }
        if ["graph ", "nest ", "program "].iter().any(|word| content.starts_with(word)) {
            starts.push((number + 1, at));
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, at)| *at).chain([text.len()]);
    let section = |((line, start), end): (&(usize, usize), usize)| Section {
        line: *line,
        start: *start,
        text: &text[*start..end],
    };
    (commands, starts.iter().zip(ends).map(section).collect())
}

impl Section<'_> {
    fn run(&self, commands: &[&str], registry: &Registry, ran: &mut usize) -> Result<String, String> {
        let errors = self.expected_errors();
        let parsed = Ir::parse(self.text);
        if !errors.is_empty() {
            let diags = parsed.err().unwrap_or_default();
            return self.match_errors(&errors, &diags).map(|()| self.text.to_owned());
        }
        let ir = parsed.map_err(|diags| format!("\n{}", diags.render("here", self.text)))?;
        let mut output = ir.clone();
        let mut blessed = self.text.to_owned();
        for command in commands {
            let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
            match name {
                "cat" => {
                    let again = Ir::parse(&ir.to_string()).map_err(|d| format!("the print is wrong: {d}"))?;
                    if again != ir {
                        return Err(format!("the print reads back as something else:\n{again}"));
                    }
                }
                "verify" => ir.verify().map_err(|d| d.to_string())?,
                "pass" => output = apply(&ir, rest, registry)?,
                "run" => {}
                other => return Err(format!("expected a command, got `{other}`")),
            }
        }
        for line in self.directives("run:") {
            *ran += 1;
            run_line(line, &ir)?;
            run_line(line, &output).map_err(|e| format!("after the passes: {e}\n{output}"))?;
        }
        self.match_lines(&output.to_string())?;
        if let Some((from, to)) = self.exact_block() {
            let wanted: String = output.to_string().lines().map(|l| format!("// {l}\n")).collect();
            if super::blessing() {
                blessed.replace_range(from..to, &wanted);
            } else if self.text[from..to] != wanted {
                return Err(format!("expected exactly\n{}got\n{wanted}", &self.text[from..to]));
            }
        }
        Ok(blessed)
    }

    /// What stands behind a directive of this name, in order.
    fn directives<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.text.lines().filter_map(move |l| l.trim().strip_prefix("// ")?.strip_prefix(name).map(str::trim))
    }

    fn expected_errors(&self) -> Vec<(usize, &str, &str)> {
        let lines = self.text.lines().enumerate();
        let error = |(number, line)| {
            let (_, expected): (_, &str) = str::split_once(line, "// error: (")?;
            let (code, text) = expected.split_once(')')?;
            Some((number + 1, code, text.trim()))
        };
        lines.filter_map(error).collect()
    }

    fn match_errors(&self, expected: &[(usize, &str, &str)], diags: &Diags) -> Result<(), String> {
        let got: Vec<(usize, &str, &str)> = diags
            .0
            .iter()
            .map(|d| {
                let line = d.span.map_or(1, |s| locate(self.text, s.start as usize).0);
                (line, d.code, d.message.as_str())
            })
            .collect();
        let same = expected.len() == got.len()
            && expected.iter().zip(&got).all(|(e, g)| e.0 == g.0 && e.1 == g.1 && g.2.contains(e.2));
        if same {
            return Ok(());
        }
        let list = |all: &[(usize, &str, &str)]| {
            all.iter().map(|(l, c, m)| format!("  line {l}: ({c}) {m}\n")).collect::<String>()
        };
        Err(format!("expected errors (lines count from here)\n{}got\n{}", list(expected), list(&got)))
    }

    fn match_lines(&self, output: &str) -> Result<(), String> {
        let lines: Vec<&str> = output.lines().collect();
        let mut at: Option<usize> = None;
        for line in self.text.lines() {
            let Some(directive) = line.trim().strip_prefix("// ") else { continue };
            let wrong = |what: &str| Err(format!("expected {what}, got\n{output}for `{directive}`"));
            let found = |i: usize, text: &str| lines.get(i).is_some_and(|l| l.contains(text.trim()));
            if let Some(text) = directive.strip_prefix("check:") {
                let from = at.map_or(0, |i| i + 1);
                match (from..lines.len()).find(|i| found(*i, text)) {
                    Some(i) => at = Some(i),
                    None => return wrong("a later line with this text"),
                }
            } else if let Some(text) = directive.strip_prefix("next:") {
                let next = at.map_or(0, |i| i + 1);
                if !found(next, text) {
                    return wrong("this text in the next line");
                }
                at = Some(next);
            } else if let Some(text) = directive.strip_prefix("same:") {
                if !at.is_some_and(|i| found(i, text)) {
                    return wrong("this text in the same line");
                }
            } else if let Some(text) = directive.strip_prefix("not:")
                && (0..lines.len()).any(|i| found(i, text))
            {
                return wrong("no line with this text");
            }
        }
        Ok(())
    }

    /// The byte range of the comment lines behind `// exact`.
    fn exact_block(&self) -> Option<(usize, usize)> {
        let from = self.text.find("// exact\n")? + "// exact\n".len();
        let rest = self.text[from..].split_inclusive('\n');
        let length: usize = rest.take_while(|l| l.starts_with("//")).map(str::len).sum();
        Some((from, from + length))
    }
}

fn apply(ir: &Ir, passes: &str, registry: &Registry) -> Result<Ir, String> {
    let pipeline = Pipeline::parse(passes, registry).map_err(|d| d.render("test line", passes))?;
    let check = Some(CheckOptions::default());
    let options = RunOptions { diff: true, check, ..RunOptions::default() };
    run_pipeline(ir.clone(), &pipeline, &options, &mut |_| {}).map_err(|e| e.to_string())
}

/// `@name(inputs) == outputs`.
fn run_line(line: &str, ir: &Ir) -> Result<(), String> {
    let at = |e: String| format!("`run: {line}`: {e}");
    let (call, expected, numerics) = if let Some((call, refusal)) = line.split_once(" error: ") {
        (call, Err(refusal.trim()), Numerics::Exact)
    } else if let Some((call, outputs)) = line.split_once(" ~= ") {
        (call, Ok(outputs), Numerics::Reassociates)
    } else {
        let (call, outputs) = line.split_once(" == ").ok_or_else(|| at("expected `==`".into()))?;
        (call, Ok(outputs), Numerics::Exact)
    };
    let mut cursor = Cursor::new(call);
    let name = cursor.name("@", "`@` and a name").map_err(|e| at(e.to_string()))?;
    if name != ir.name() {
        return Err(at(format!("expected the name {}", ir.name())));
    }
    cursor.expect("(").map_err(|e| at(e.to_string()))?;
    let (inputs, outputs) = dtypes(ir);
    let inputs = literal::tensors(&mut cursor, &inputs, ")").map_err(at)?;
    let result = ir.interpret(&inputs);
    match (result, expected) {
        (Err(error), Err(refusal)) if error.contains(refusal) => Ok(()),
        (Err(error), _) => Err(at(error)),
        (Ok(_), Err(_)) => Err(at("expected the interpreter to refuse, but there is a result".into())),
        (Ok(actual), Ok(expected)) => {
            let expected = literal::tensors(&mut Cursor::new(expected), &outputs, "").map_err(at)?;
            if expected.len() != actual.len() {
                return Err(at(format!("expected {} outputs, got {}", expected.len(), actual.len())));
            }
            for (actual, expected) in actual.iter().zip(&expected) {
                compare(actual, expected, numerics)
                    .map_err(|e| at(format!("{e}\n got {}", actual.literal())))?;
            }
            if let Ir::Graph(graph) = ir {
                on_backends(graph, &inputs, &expected).map_err(at)?;
            }
            Ok(())
        }
    }
}

/// The machine code of every backend, within the tolerance of the element type: its sums have another order.
fn on_backends(graph: &Graph, inputs: &[Tensor], expected: &[Tensor]) -> Result<(), String> {
    for backend in BACKENDS {
        let on = |e: String| format!("on {}: {e}", backend.name());
        let compiled = Compiler::new().backend(*backend).compile(graph).map_err(|e| on(e.to_string()))?;
        let run = compiled.run(inputs, &Inline).map_err(|e| on(e.to_string()))?;
        for (actual, expected) in run.outputs.iter().zip(expected) {
            compare(actual, expected, Numerics::Reassociates)
                .map_err(|e| on(format!("{e}\n got {}", actual.literal())))?;
        }
    }
    Ok(())
}

fn dtypes(ir: &Ir) -> (Vec<DType>, Vec<DType>) {
    match ir {
        Ir::Graph(graph) => {
            (graph.param_types().map(|t| t.dtype).collect(), graph.output_types().map(|t| t.dtype).collect())
        }
        Ir::Nest(nest) => (
            nest.inputs.iter().map(|b| b.ty.dtype).collect(),
            nest.outputs.iter().map(|b| b.ty.dtype).collect(),
        ),
        Ir::Program(program) => (
            program.inputs.iter().map(|m| m.dtype).collect(),
            program.outputs.iter().map(|m| m.dtype).collect(),
        ),
    }
}
