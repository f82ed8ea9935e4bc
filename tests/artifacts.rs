//! Artifacts and profiles as the command line makes them.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const MODEL: &str = "graph @layer(%x: f32[N, 16], %w: f32[16, 24]) -> (y: f32[N, 24]) where N in 1..=8 {
  %0 = dot %x, %w lhs_batch=[] rhs_batch=[] lhs_contract=[1] rhs_contract=[0] dtype=f32 : f32[N, 24]
  %1 = sigmoid %0 : f32[N, 24]
  %2 = mul %0, %1 : f32[N, 24]
  %3 = softmax %2 axis=1 : f32[N, 24]
  return %3
}";

/// Standard output and error of a command that ends as said.
fn tcc(folder: &Path, code: i32, arguments: &[&str]) -> (String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tcc")).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    (out, err)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("m.txt"), MODEL).unwrap();
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn one_artifact_holds_code_for_several_targets() {
    let folder = folder();
    let all = "aarch64-neon,x86-64-v2,x86-64-v3,native";
    tcc(folder.path(), 0, &["compile", "m.txt", "--target", all, "-o", "m.tcc"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    let (out, _) = tcc(folder.path(), 0, &["inspect", "m.tcc", "--json"]);
    let manifest = json(&out);
    let targets: Vec<&str> =
        manifest["variants"].as_array().unwrap().iter().map(|v| v["target"].as_str().unwrap()).collect();
    assert_eq!(targets, all.split(',').collect::<Vec<_>>());
    assert_eq!(manifest["provenance"]["model_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(manifest["provenance"]["numerics"], "default");
    let ledger = manifest["variants"][0]["ledger"].as_array().unwrap();
    assert!(ledger.iter().any(|e| e["rewrite"] == "silu_product"), "{ledger:?}");
    let (out, _) = tcc(folder.path(), 0, &["run", "m.tcc", "--bind", "N=3", "--output", "out.npz"]);
    assert!(out.contains("y: f32[3, 24]"), "{out}");
    let strict = ["compile", "m.txt", "--numerics", "strict", "-o", "strict.tcc"];
    tcc(folder.path(), 0, &strict);
    let (out, _) = tcc(folder.path(), 0, &["inspect", "strict.tcc", "--json"]);
    assert_eq!(json(&out)["variants"][0]["ledger"], Value::Array(Vec::new()));
}

#[test]
fn artifacts_are_the_same_bytes_from_run_to_run() {
    let folder = folder();
    for name in ["a.tcc", "b.tcc"] {
        tcc(folder.path(), 0, &["compile", "m.txt", "--target", "x86-64-v3,native", "-o", name]);
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert!(read("a.tcc") == read("b.tcc"));
}

#[test]
fn what_cannot_run_here_is_refused_with_the_reason() {
    let folder = folder();
    let other = if cfg!(target_arch = "aarch64") { "x86-64-v3" } else { "aarch64-neon" };
    tcc(folder.path(), 0, &["compile", "m.txt", "--target", other, "-o", "m.tcc"]);
    let (_, err) = tcc(folder.path(), 1, &["run", "m.tcc"]);
    assert!(err.contains("expected code for") && err.contains("got code for"), "{err}");
    let path = folder.path().join("m.tcc");
    let good = std::fs::read(&path).unwrap();
    let mut newer = good.clone();
    newer[8] += 1;
    std::fs::write(&path, newer).unwrap();
    let (_, err) = tcc(folder.path(), 1, &["run", "m.tcc"]);
    assert!(err.contains("artifact: expected version"), "{err}");
    let mut damaged = good;
    damaged[40] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let (_, err) = tcc(folder.path(), 1, &["inspect", "m.tcc"]);
    assert!(err.contains("of checksum"), "{err}");
    for targets in ["native,sm_80", "sm_80,sm_90a", "native,native"] {
        let (_, err) = tcc(folder.path(), 2, &["run", "m.txt", "--target", targets]);
        assert!(err.contains("expected one target"), "{targets}: {err}");
    }
}

#[test]
fn extents_outside_of_their_range_are_errors() {
    let folder = folder();
    tcc(folder.path(), 0, &["compile", "m.txt", "-o", "m.tcc"]);
    let (_, err) = tcc(folder.path(), 1, &["run", "m.tcc", "--bind", "N=9"]);
    assert!(err.contains("expected N in 1..=8, got 9"), "{err}");
}

#[test]
fn profiles_name_what_binds_and_traces_are_events() {
    let folder = folder();
    let arguments = ["bench", "m.txt", "--bind", "N=8", "--seconds", "0.01", "--threads", "2", "--json"];
    let more = ["--profile", "--trace", "trace.json"];
    let (out, _) = tcc(folder.path(), 0, &[&arguments[..], &more].concat());
    let report = json(&out);
    for field in
        ["median_ns", "p10_ns", "p90_ns", "runs", "compile_ms", "peak_rss_bytes", "backend", "threads"]
    {
        assert!(!report[field].is_null(), "{field}: {report}");
    }
    assert!(report["ceilings"]["f32_gflops"].as_f64().is_some(), "{report}");
    let kernels = report["kernels"].as_array().unwrap();
    let share: f64 = kernels.iter().map(|k| k["share"].as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-6 && !kernels.is_empty(), "{report}");
    let flops = kernels.iter().map(|k| k["flops"].as_i64().unwrap()).max().unwrap();
    assert!(flops >= 2 * 8 * 16 * 24, "{report}");
    for kernel in kernels {
        let why = kernel["why"].as_str().unwrap();
        assert!(["call", "memory", "compute"].contains(&why), "{kernel}");
        assert!(kernel["imbalance"].as_f64().unwrap() >= 0.99, "{kernel}");
        assert!(kernel["bytes"].as_i64().unwrap() > 0 && kernel["gbps"].as_f64().unwrap() > 0.0, "{kernel}");
    }
    let trace = json(&std::fs::read_to_string(folder.path().join("trace.json")).unwrap());
    let events = trace["traceEvents"].as_array().unwrap();
    let complete: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
    assert!(complete.len() >= 2 * kernels.len(), "{trace}");
    for event in complete {
        for field in ["ts", "dur", "pid", "tid"] {
            assert!(event[field].as_f64().is_some_and(|n| n >= 0.0), "{event}");
        }
    }
    let (out, _) = tcc(folder.path(), 0, &[&arguments[..8], &["--profile"]].concat());
    assert!(out.contains("of peak") && out.contains("softmax"), "{out}");
}

#[test]
fn ceilings_are_probed_on_one_thread_and_on_all() {
    let folder = folder();
    let (out, _) = tcc(folder.path(), 0, &["targets", "--probe", "--json"]);
    let report = json(&out);
    let ceilings = report["native"]["ceilings"].as_array().unwrap();
    assert_eq!(ceilings[0]["threads"], 1);
    for figure in ["micro_kernel_gflops", "l1_gbps", "l2_gbps", "dram_gbps"] {
        assert!(ceilings.iter().all(|c| c[figure].as_f64().unwrap() > 0.0), "{report}");
    }
}
