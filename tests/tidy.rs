//! What must hold of the sources, checked: sizes, headers, forbidden calls, the arrows between crates, a test for
//! every op, constraint and pass.

use std::collections::BTreeMap;
use std::path::Path;

use tcc::ir::graph::Op;
use tcc::lowering::pass::Registry;

use crate::support::{files, root};

/// The most lines of a file.
const MAX_LINES: usize = 600;

/// Files that may be longer, with the reason.
const LONG_FILES: &[(&str, &str)] = &[("ir/src/graph/ops.rs", "the op table is one place on purpose")];

/// Where memory is handled or machine code called, and where a test counts allocations.
const UNSAFE_ALLOWED: &[&str] =
    &["codegen/", "runtime/", "ir/src/tensor/", "ir/src/weights/", "tests/embedding.rs"];

fn sources() -> Vec<(String, String)> {
    let read = |path: &Path| {
        let name = path.strip_prefix(root()).unwrap_or(path).to_string_lossy().into_owned();
        (name, std::fs::read_to_string(path).unwrap())
    };
    files(root(), "rs").iter().map(|p| read(p)).collect()
}

/// The part of a file before its tests.
fn product(text: &str) -> &str {
    text.find("\n#[cfg(test)]").map_or(text, |at| &text[..at])
}

fn is_test(name: &str) -> bool {
    name.starts_with("tests/")
        || name.contains("/tests")
        || name.contains("/examples/")
        || name.contains("benches/")
}

fn report(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn files_are_short_and_have_headers() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > MAX_LINES && !LONG_FILES.iter().any(|(long, _)| name == *long) {
            problems.push(format!("{name}: expected at most {MAX_LINES} lines, got {lines}"));
        }
        if !text.starts_with("//! ") {
            problems.push(format!("{name}: expected `//!` and a sentence at the start"));
        }
    }
    report(&problems);
}

#[test]
fn product_code_neither_panics_carelessly_nor_prints() {
    let mut problems = Vec::new();
    let forbidden = ["todo!(", "unimplemented!(", "dbg!(", ".unwrap()", "println!(", "eprintln!(", "print!("];
    // A build script speaks to cargo through its output.
    let product_file = |name: &str| !is_test(name) && !name.starts_with("examples/") && name != "build.rs";
    for (name, text) in sources().iter().filter(|(name, _)| product_file(name)) {
        for (number, line) in product(text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in forbidden {
                let prefixed = word == "print!(" && (code.contains("eprint!(") || code.contains("_print!("));
                if code.contains(word) && !prefixed {
                    problems.push(format!("{name}:{}: expected no `{word}`", number + 1));
                }
            }
            let comment = line.trim_start().strip_prefix("//").map(str::trim).unwrap_or_default();
            if !line.trim_start().starts_with("///") && comment.ends_with(';') && comment.contains(" = ") {
                problems.push(format!("{name}:{}: expected no code in comments", number + 1));
            }
        }
    }
    report(&problems);
}

#[test]
fn unsafe_stands_only_where_memory_and_machine_code_are() {
    let mut problems = Vec::new();
    for (name, text) in sources() {
        // This file holds the words that it looks for.
        if name == "tests/tidy.rs" || UNSAFE_ALLOWED.iter().any(|allowed| name.starts_with(allowed)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl") {
                problems.push(format!("{name}:{}: expected no unsafe code here", number + 1));
            }
        }
    }
    report(&problems);
}

#[test]
fn crates_know_only_what_they_may() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("ir", &[][..]),
        ("lowering", &["tcc-ir"]),
        ("codegen", &["tcc-ir"]),
        ("autotune", &["tcc-ir", "tcc-lowering"]),
        ("runtime", &[]),
    ]);
    let mut problems = Vec::new();
    for (name, known) in allowed {
        let manifest = std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        // Tests may compare with anything: they are built for nobody else.
        let mut in_dependencies = false;
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.ends_with("dependencies]") && !line.contains("dev-");
            }
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if in_dependencies && dependency.starts_with("tcc") && !known.contains(&dependency) {
                problems.push(format!("{name}: expected no dependency on {dependency}"));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_op_and_constraint_has_a_test() {
    let mut problems = Vec::new();
    for op in Op::all() {
        let path = format!("tests/filetests/graph/ops/{}.tcc", op.name());
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else {
            problems.push(format!("{path}: expected a file test of the op"));
            continue;
        };
        if !text.contains("// run: ") {
            problems.push(format!("{path}: expected a `run:` line"));
        }
        for label in (1..).map(|n| format!("(C{n})")).take_while(|l| op.def().doc.contains(l.as_str())) {
            if !text.contains(&format!("// error: {label}")) {
                problems.push(format!("{path}: expected a case with `// error: {label}`"));
            }
        }
    }
    report(&problems);
}

#[test]
fn every_pass_has_a_test() {
    let tests: Vec<String> = files(&root().join("tests/filetests"), "tcc")
        .iter()
        .map(|p| std::fs::read_to_string(p).unwrap())
        .collect();
    let missing: Vec<String> = Registry::builtin()
        .passes()
        .iter()
        .filter(|pass| {
            let alone = format!("test pass {}", pass.name);
            !tests.iter().any(|t| t.lines().any(|l| l.split('{').next() == Some(&alone)))
        })
        .map(|pass| format!("expected a file test with `test pass {}`", pass.name))
        .collect();
    report(&missing);
}
