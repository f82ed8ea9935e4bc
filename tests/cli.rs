//! The command line as scripts see it: exit codes, messages, files; what no input may do to it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const GRAPH: &str =
    "graph @f(%x: f32[2]) -> (y: f32[2]) {\n  %0 = neg %x : f32[2]\n  %1 = neg %0 : f32[2]\n  return %1\n}\n";

/// Runs the command line in an empty directory with a text as standard input.
fn tcc_in(directory: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tcc"))
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that fails before it reads closes the pipe.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn tcc(arguments: &[&str], input: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let output = tcc_in(directory.path(), arguments, input.as_bytes());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn opt_prints_what_becomes_of_a_graph() {
    let (code, out, err) = tcc(&["opt", "-"], GRAPH);
    assert_eq!((code, out.as_str(), err.as_str()), (0, GRAPH, ""));
    let (code, out, err) =
        tcc(&["opt", "-", "--passes", "canonicalise, dce", "--check", "--dump-each", "--time"], GRAPH);
    assert_eq!(code, 0, "{err}");
    assert_eq!(out, "graph @f(%x: f32[2]) -> (y: f32[2]) {\n  return %x\n}\n");
    for part in ["--- canonicalise\n", "--- dce\n", "-  return %1", "+  return %x", "total"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    let (code, out, _) = tcc(&["opt", "-", "--passes", "canonicalise,dce", "--fuel", "1"], GRAPH);
    assert_eq!((code, out.as_str()), (0, GRAPH));
}

#[test]
fn a_nest_is_a_level_too() {
    let nest = "nest @f(x: f32[2]) -> (y: f32[2]) { for i in 0..2 { y[i] = x[i] } }";
    let (code, out, err) = tcc(&["opt", "-", "--passes", "unroll-small{limit=2}", "--check"], nest);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("y[1] = x[1]"), "{out}");
    let (code, _, err) = tcc(&["opt", "-", "--passes", "cse"], nest);
    assert_eq!((code, err.as_str()), (1, "error: pass `cse`: expected a graph, got a nest\n"));
    let program = "program @p(x: f32[1]) -> (y: f32[1]) {\n  %0: f32 = load x[0]\n  %1: f32 = silu %0\n  store y[0] = %1\n}\n";
    let (code, out, err) = tcc(&["opt", "-"], program);
    assert_eq!((code, out.as_str(), err.as_str()), (0, program, ""));
    let (code, out, err) = tcc(&["opt", "-", "--passes", "expand-functions", "--check"], program);
    assert!(code == 0 && !out.contains("silu"), "{out}{err}");
}

#[test]
fn a_text_may_hold_several_programs_and_schedules() {
    let nest = |name: &str| {
        format!("nest @{name}(x: f32[8]) -> (y: f32[8]) {{\n  for i in 0..8 {{\n    y[i] = x[i]\n  }}\n}}\n")
    };
    let schedule = "schedule @b {\n  parallel(i)\n}\n";
    let both = format!("{}\n{schedule}\n{}", nest("a"), nest("b"));
    let (code, out, err) = tcc(&["opt", "-"], &both);
    let scheduled = nest("b").replace("0..8 {", "0..8 parallel {");
    assert_eq!((code, out, err.as_str()), (0, format!("{}\n{scheduled}", nest("a")), ""));
    // Mistakes of all of them are shown at their places.
    let wrong = both.replace("x[i]", "z[i]").replace("parallel(i)", "parallel(");
    let (code, _, err) = tcc(&["opt", "-"], &wrong);
    assert_eq!((code, err.matches("error[").count()), (1, 3), "{err}");
    let (code, _, err) = tcc(&["opt", "-"], &format!("{}{}", nest("a"), schedule));
    assert!(code == 1 && err.contains("<stdin>:6:1") && err.contains("expected a nest @b"), "{err}");
}

#[test]
fn models_are_read_by_opt_too() {
    let model = std::fs::read_to_string(crate::support::root().join("examples/mlp.json")).unwrap();
    let (code, out, err) = tcc(&["opt", "-", "--passes", "canonicalise"], &model);
    assert!(code == 0 && out.starts_with("graph @"), "{err}");
}

#[test]
fn pipelines_come_from_files_too() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("p.txt"), "# all of it\ncanonicalise\ndce\n").unwrap();
    std::fs::write(directory.path().join("f.tcc"), GRAPH).unwrap();
    let output = tcc_in(directory.path(), &["opt", "f.tcc", "--passes", "@p.txt", "-o", "out.tcc"], b"");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    assert!(std::fs::read_to_string(directory.path().join("out.tcc")).unwrap().contains("return %x"));
}

#[test]
fn errors_show_their_place_all_at_once() {
    let text = GRAPH.replace("neg %x", "negg %x").replace("return %1", "return %1, %0");
    let (code, out, err) = tcc(&["opt", "-"], &text);
    assert_eq!((code, out.as_str()), (1, ""));
    for part in [
        "error[op]",
        " --> <stdin>:2:8",
        "2 |   %0 = negg %x",
        "^^^^",
        "is `neg` meant?",
        "expected 1 values",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    let (code, out, err) = tcc(&["opt", "-", "--json"], &text);
    assert_eq!((code, err.as_str()), (1, ""));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["errors"][0]["line"], 2);
    assert_eq!(report["errors"][0]["code"], "op");
}

#[test]
fn wrong_usage_is_two() {
    for arguments in [&["opt"][..], &["frobnicate"], &[], &["opt", "-", "--fuel", "many"], &["reduce", "-"]] {
        let (code, out, err) = tcc(arguments, "");
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(!err.is_empty());
    }
    assert_eq!(tcc(&["--help"], "").0, 0);
    assert_eq!(tcc(&["--version"], "").0, 0);
    let (code, _, err) = tcc(&["opt", "-", "--passes", "cse,nope"], GRAPH);
    assert_eq!(code, 1);
    assert!(err.contains(" --> --passes:1:5"), "{err}");
    let (code, _, err) = tcc(&["opt", "no-such-file"], "");
    assert!(code == 1 && err.starts_with("error: no-such-file: "), "{err}");
}

#[test]
fn a_failed_command_leaves_no_output() {
    let directory = tempfile::tempdir().unwrap();
    let output = tcc_in(directory.path(), &["opt", "-", "-o", "out.tcc"], b"graph @f(");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn bombs_are_refused_quickly() {
    let open = "graph @f() -> (y: f32[1000000000]) {\n";
    let bombs: Vec<(&str, Vec<u8>)> = vec![
        ("100 MB of open parentheses", vec![b'('; 100_000_000]),
        ("a graph of open parentheses", [b"graph @f".to_vec(), vec![b'('; 100_000_000]].concat()),
        ("invalid UTF-8", b"graph @f(\xff\xfe) -> () {".to_vec()),
        ("100 MB of invalid UTF-8", vec![0xff; 100_000_000]),
        ("nested dims", format!("graph @f(%x: f32[{}", "(".repeat(10_000_000)).into_bytes()),
        (
            "nested regions",
            ["graph @f() -> () {", &"%0 = kernel : \nregion @body() -> () {".repeat(200_000)]
                .concat()
                .into_bytes(),
        ),
        ("a program of open parentheses", [b"program @f".to_vec(), vec![b'('; 100_000_000]].concat()),
        ("a schedule of open lists", [b"schedule @f { split(".to_vec(), vec![b'['; 100_000_000]].concat()),
        (
            "a program of offsets",
            ["program @f() -> () {", &"bind (".repeat(10_000_000)].concat().into_bytes(),
        ),
        (
            "nested conditions",
            ["program @f() -> () {", &"if 0 < 1 {".repeat(2_000_000)].concat().into_bytes(),
        ),
        ("a register of a billion lanes", b"program @f() -> () { %0: f32x1000000000 = 0.0 }".to_vec()),
        ("nested loops", ["nest @f() -> () {", &"for i in 0..1 {".repeat(500_000)].concat().into_bytes()),
        (
            "nested calls",
            ["nest @f() -> (y: f32[]) { y[] = ", &"neg(".repeat(2_000_000)].concat().into_bytes(),
        ),
        (
            "a list that is too short",
            format!("{open} %0 = const value=f32[1000000000] [1.0] : f32[1000000000]\n return %0 }}")
                .into_bytes(),
        ),
        (
            "a list that is too long",
            [format!("{open} %0 = const value=f32[2] ["), "1.0,".repeat(10_000_000)].concat().into_bytes(),
        ),
        (
            "a list of a billion",
            [format!("{open} %0 = const value=f32[1000000000] ["), "1.0,".repeat(10_000_000)]
                .concat()
                .into_bytes(),
        ),
        ("too many axes", ["graph @f(%x: f32[", &"1,".repeat(10_000_000)].concat().into_bytes()),
        (
            "too many entries",
            ["graph @f(%x: f32[2]) -> (y: f32[2]) {\n%0 = reverse %x axes=[", &"0,".repeat(10_000_000)]
                .concat()
                .into_bytes(),
        ),
        ("too many elements", b"graph @f(%x: f32[1000000000000, 1000000000000]) -> () { return }".to_vec()),
        ("nothing", Vec::new()),
        ("zeros", vec![0; 1000]),
    ];
    for (what, bomb) in bombs {
        let directory = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let output = tcc_in(directory.path(), &["opt", "-"], &bomb);
        let time = start.elapsed();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {err}");
        assert!(err.contains("error") && !err.contains("bug"), "{what}: {err}");
        assert!(err.len() < 20_000, "{what}: a message of {} bytes", err.len());
        // Unoptimised and with other tests beside it; a release build takes a small part of this.
        assert!(time < Duration::from_secs(8), "{what} took {time:?}");
    }
}

#[test]
fn bisect_and_reduce_say_when_nothing_is_wrong() {
    let (code, _, err) = tcc(&["bisect", "-", "--passes", "canonicalise,dce"], GRAPH);
    assert!(code == 1 && err.contains("but it does not"), "{err}");
    let (code, _, err) = tcc(&["reduce", "-", "--passes", "canonicalise,dce"], GRAPH);
    assert!(code == 1 && err.contains("expected a graph that fails"), "{err}");
}

#[test]
fn reduce_keeps_what_makes_a_command_fail() {
    let text = GRAPH.replace("neg %0", "exp %0");
    // Of a text that contains `exp`, `grep -v` with a count of all lines fails where none is left over.
    let (code, out, err) = tcc(&["reduce", "-", "--command", "grep -qL -z -v exp"], &text);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("exp") && !out.contains("neg"), "{out}");
}

#[test]
fn ops_and_passes_are_listed() {
    let (code, out, _) = tcc(&["ops", "--graph", "--format", "json"], "");
    let ops: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, ops.as_array().map(Vec::len)), (0, Some(tcc::ir::graph::Op::all().count())));
    let (code, out, _) = tcc(&["ops", "--format", "json"], "");
    let rows: serde_json::Value = serde_json::from_str(&out).unwrap();
    let conv = rows.as_array().unwrap().iter().find(|r| r["operator"] == "Conv" && r["domain"] == "ai.onnx");
    assert_eq!((code, conv.map(|r| &r["since"])), (0, Some(&serde_json::json!(1))));
    let (code, out, _) = tcc(&["opt", "--list"], "");
    assert!(code == 0 && out.contains("unroll-small") && out.contains("limit=4"), "{out}");
    let (_, out, _) = tcc(&["opt", "--list", "--json"], "");
    assert!(
        serde_json::from_str::<serde_json::Value>(&out).unwrap().as_array().is_some_and(|l| l.len() >= 8)
    );
}

#[test]
fn explain_names_the_rules_that_matter_also_those_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let graph = "graph @f(%x: f32[2]) -> (y: f32[2]) {\n  %0 = sigmoid %x : f32[2]\n  %1 = mul %x, %0 : f32[2]\n  \
                 %2 = log %1 : f32[2]\n  %3 = exp %2 : f32[2]\n  return %3\n}\n";
    std::fs::write(directory.path().join("f.tcc"), graph).unwrap();
    std::fs::write(directory.path().join("my.rules"), "rule undo reassociates: exp(log(x)) => x\n").unwrap();
    std::fs::write(directory.path().join("bad.rules"), "rule undo exact: exp(log(x)) => z\n").unwrap();
    let explain = |arguments: &[&str]| {
        let output = tcc_in(directory.path(), &[&["explain", "f.tcc"], arguments].concat(), b"");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = explain(&["--rules", "my.rules", "--growth"]);
    assert_eq!(code, Some(0), "{err}");
    for part in ["4 before rewriting, 1 after", "1 x silu_product", "1 x undo", "reassociating: ", "growth"] {
        assert!(out.contains(part), "expected {part} in\n{out}");
    }
    let (code, out, err) = explain(&["--node", "silu", "--html", "f.html", "--dot", "f.dot"]);
    assert_eq!(code, Some(0), "{err}");
    for part in ["mul(param0, sigmoid(param0))", "= by silu_product", "silu(param0)"] {
        assert!(out.contains(part), "expected {part} in\n{out}");
    }
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    assert!(read("f.html").contains("silu log exp") && read("f.dot").contains("silu log exp"));
    let (_, out, _) = explain(&["--numerics", "strict"]);
    assert!(out.contains("4 before rewriting, 4 after"), "{out}");
    let (code, _, err) = explain(&["--rules", "bad.rules"]);
    assert!(code == Some(1) && err.contains("bad.rules:1:33"), "{err}");
}
