//! The documents are true: headers of passes and examples are executed, generated pages are current.
//!
//! In the books, a block marked `tcc` must parse, print as written and verify; `tcc run` blocks are file tests
//! too, `tcc error` blocks must be refused, a `tcc program` block is the lowering of the nest before it. Blocks marked `rust` with a path as their first line must be what
//! that file holds.

use std::path::Path;

use tcc::ir::loops::parse_nest;
use tcc::ir::numerics::Numerics;
use tcc::lowering::loops_to_mem::lower_nest;
use tcc::lowering::pass::{CheckOptions, Ir, Pipeline, Registry, RunOptions, compare_runs, run};
use tcc::lowering::schedule::steps::{STEPS, StepDef};
use tcc::lowering::schedule::{Schedule, parse_steps};
use tcc::reference;

use crate::support::{blessing, filetest, root};

/// The fenced blocks of a text with what stands behind the fence.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[test]
fn headers_of_passes_are_true() {
    let registry = Registry::builtin();
    for pass in registry.passes() {
        let examples: Vec<(String, String)> =
            blocks(&pass.doc()).into_iter().filter(|(info, _)| info == "tcc").collect();
        assert!(
            !examples.is_empty() && examples.len().is_multiple_of(2),
            "{}: expected before and after",
            pass.name
        );
        for pair in examples.chunks(2) {
            let pipeline = Pipeline::parse(pass.name, &registry).unwrap();
            let check = Some(CheckOptions::default());
            let options = RunOptions { diff: true, check, ..RunOptions::default() };
            let before = Ir::parse(&pair[0].1).unwrap_or_else(|d| panic!("{}: {d}", pass.name));
            assert_eq!(before.to_string(), pair[0].1, "{}: before", pass.name);
            let after = run(before, &pipeline, &options, &mut |_| {}).unwrap();
            assert_eq!(after.to_string(), pair[1].1, "{}: after", pass.name);
            let again = run(after.clone(), &pipeline, &options, &mut |_| {}).unwrap();
            assert_eq!(again, after, "{}: expected to be done after one run", pass.name);
        }
    }
}

#[test]
fn headers_of_schedule_steps_are_true() {
    for step in STEPS {
        let blocks = blocks(&step.doc());
        assert!(
            !blocks.is_empty() && blocks.len().is_multiple_of(3),
            "{}: expected before, steps and after",
            step.name
        );
        assert!(step.doc().starts_with(&format!("`{}`: ", step.name)), "{}", step.name);
        for example in blocks.chunks(3) {
            let kinds: Vec<&str> = example.iter().map(|(info, _)| info.as_str()).collect();
            assert_eq!(kinds, ["tcc", "steps", "tcc"], "{}", step.name);
            let (before, after) = (&example[0].1, &example[2].1);
            let steps = parse_steps(&example[1].1)
                .unwrap_or_else(|d| panic!("{}: {}", step.name, d.render("steps", &example[1].1)));
            let printed: String = steps.iter().map(|s| format!("{s}\n")).collect();
            assert_eq!(printed, example[1].1, "{}", step.name);
            let schedule = Schedule { name: "f".into(), steps };
            let nest = parse_nest(before).unwrap_or_else(|d| panic!("{}: {d}", step.name));
            let scheduled = schedule.apply(&nest).unwrap_or_else(|e| panic!("{e}"));
            if blessing() {
                bless_header(step, after, &scheduled.to_string());
            } else {
                assert_eq!(scheduled.to_string(), *after, "{}", step.name);
            }
            scheduled.verify().unwrap_or_else(|d| panic!("{}: {d}", step.name));
            let numerics = Numerics::Reassociates;
            let checked = compare_runs(&Ir::Nest(nest), &Ir::Nest(scheduled), numerics, 2, 0);
            assert_eq!(checked.unwrap_or_else(|e| panic!("{}: {e}", step.name)).compared, 2, "{}", step.name);
        }
    }
}

/// Writes what a step really makes into the header of its file.
fn bless_header(step: &StepDef, old: &str, new: &str) {
    let commented = |text: &str| text.lines().map(|l| format!("//! {l}\n")).collect::<String>();
    let path = root().join(format!("lowering/src/schedule/steps/{}.rs", step.name));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&commented(old), &commented(new))).unwrap();
}

#[test]
fn generated_pages_are_current() {
    for (path, wanted) in [
        ("docs/ops.md", reference::ops_markdown()),
        ("docs/support.md", tcc::support::markdown(&tcc::support::recorded())),
        ("docs/passes.md", reference::passes_markdown(&Registry::builtin())),
        ("docs/rules.md", tcc::lowering::eqsat::markdown()),
    ] {
        let path = root().join(path);
        if blessing() {
            std::fs::write(&path, &wanted).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "{}: expected what TCC_BLESS=1 writes", path.display());
    }
}

#[test]
fn examples_of_the_books_are_true() {
    let mut checked = 0;
    for name in ["docs/ir.md", "docs/extending.md", "docs/testing.md"] {
        let text = std::fs::read_to_string(root().join(name)).unwrap();
        let mut nest = None;
        for (info, body) in blocks(&text) {
            let place = format!("{name}: {}", body.lines().next().unwrap_or_default());
            match info.as_str() {
                "tcc" => {
                    let ir =
                        Ir::parse(&body).unwrap_or_else(|d| panic!("{place}\n{}", d.render(name, &body)));
                    assert_eq!(ir.to_string(), body, "{place}");
                    if let Ir::Nest(last) = ir {
                        nest = Some(last);
                    }
                }
                "tcc program" => {
                    let nest = nest.take().unwrap_or_else(|| panic!("{place}: expected a nest before it"));
                    assert_eq!(lower_nest(&nest).to_string(), body, "{place}");
                }
                "tcc run" => {
                    filetest::run(Path::new(name), &body, &Registry::builtin())
                        .unwrap_or_else(|e| panic!("{e}"));
                }
                "tcc error" => assert!(Ir::parse(&body).is_err(), "{place}"),
                "rust" => {
                    let (path, code) = body.split_once('\n').unwrap_or_default();
                    let path = path.trim_start_matches("// ");
                    let source =
                        std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{place}: {e}"));
                    assert!(source.contains(code.trim()), "{place}: expected code of {path}\n{code}");
                }
                _ => continue,
            }
            checked += 1;
        }
    }
    assert!(checked >= 10, "expected examples in the books, found {checked}");
}

/// Every relative link of the books leads to a file.
#[test]
fn links_lead_somewhere() {
    for path in crate::support::files(&root().join("docs"), "md") {
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|t| t.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let local = !target.is_empty() && !target.contains("://") && !target.contains(' ');
            let found = path.parent().is_some_and(|d| d.join(target).exists());
            assert!(!local || found, "{}: `{link}` leads nowhere", path.display());
        }
    }
}
