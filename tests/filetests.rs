//! Runs every file test; see [`crate::support::filetest`] for their form.

use tcc::lowering::pass::Registry;

use crate::support::{blessing, files, filetest, root};

#[test]
fn file_tests() {
    let registry = Registry::builtin();
    let only = std::env::var("TCC_ONLY").unwrap_or_default();
    let paths = files(&root().join("tests/filetests"), "tcc");
    let mut failures = Vec::new();
    for path in paths.iter().filter(|p| p.to_string_lossy().contains(&only)) {
        let text = std::fs::read_to_string(path).unwrap();
        let shown = path.strip_prefix(root()).unwrap_or(path);
        match filetest::run(shown, &text, &registry) {
            Ok(blessed) if blessing() && blessed != text => std::fs::write(path, blessed).unwrap(),
            Ok(_) => {}
            Err(message) => failures.push(message),
        }
    }
    assert!(!paths.is_empty(), "expected file tests");
    assert!(failures.is_empty(), "{} of {} failed\n\n{}", failures.len(), paths.len(), failures.join("\n\n"));
}

/// A harness that accepts everything would make all of the above pass.
#[test]
fn the_harness_can_fail() {
    let registry = Registry::builtin();
    let graph = "graph @f(%x: f32[2]) -> (y: f32[2]) {\n  %0 = neg %x : f32[2]\n  return %0\n}\n";
    for (commands, directive) in [
        ("test run", "// run: @f([1, 2]) == [1, 2]"),
        ("test run", "// run: @f([1, 2]) error: no"),
        ("test run", "// run: @f([0, 2]) == [0, -2]"),
        ("test run", ""),
        ("test cat", "// check: exp"),
        ("test cat", "// check: neg\n// next: neg"),
        ("test cat", "// not: neg"),
        ("test cat", "// check: neg\n// same: exp"),
        ("test cat", "// exact\n// nothing"),
        ("test verify", "// error: (C1)"),
        ("test pass", "// check: exp"),
    ] {
        let text = format!("{commands}\n\n{graph}{directive}\n");
        let result = filetest::run(std::path::Path::new("f"), &text, &registry);
        assert!(result.is_err(), "{directive}");
    }
}
