//! The runtime for GPUs on a driver that has none: the order of its calls, their arguments, what becomes of errors.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::*;
use crate::model::TensorView;

/// A driver of its own for each test: the library, and what it writes down.
struct Fake {
    folder: tempfile::TempDir,
    driver: Arc<Driver>,
}

impl Fake {
    fn new(defines: &[&str]) -> Option<Fake> {
        let folder = tempfile::tempdir().unwrap();
        let library = build(folder.path(), defines)?;
        Some(Fake { driver: Driver::open_at(&library).unwrap(), folder })
    }

    fn context(&self) -> Arc<Context> {
        Context::new(Arc::clone(&self.driver), 0).unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

/// The library, if there is a compiler of C.
fn build(folder: &Path, defines: &[&str]) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/tests/fake_driver.c");
    let library = folder.join("libcuda.so");
    let log = format!("-DLOG_PATH=\"{}\"", folder.join("log").display());
    let built = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Werror", "-shared", "-fPIC", &log])
        .args(defines.iter().map(|d| format!("-D{d}")))
        .arg(&source)
        .arg("-o")
        .arg(&library)
        .status();
    built.ok().filter(std::process::ExitStatus::success).map(|_| library)
}

const MANIFEST: &str = r#"{
  "format": 2, "symbols": ["N"], "ranges": [[1, 64]],
  "inputs": [{"name": "x", "dtype": "f32", "bits": 32, "shape": ["s0", "4"], "buffer": 0}],
  "outputs": [{"name": "y", "dtype": "f32", "bits": 32, "shape": ["s0", "4"], "buffer": 1}],
  "buffers": [
    {"place": {"Input": 0}, "bytes": "s0 16 *", "dtype": "f32", "shape": ["s0", "4"]},
    {"place": {"Output": 0}, "bytes": "s0 16 *", "dtype": "f32", "shape": ["s0", "4"]},
    {"place": {"Constant": 0}, "bytes": "16", "dtype": "f32", "shape": ["4"]},
    {"place": {"Arena": "64"}, "bytes": "s0 16 *", "dtype": "f32", "shape": ["s0", "4"]}
  ],
  "arena_bytes": "s0 16 * 64 +",
  "weights": [{"offset": 0, "bytes": 16}],
  "targets": [
    {"name": "sm_70", "schedule": 0, "ptx": "6.0", "file": "kernels/sm_70.ptx"},
    {"name": "sm_80", "schedule": 1, "ptx": "7.0", "file": "kernels/sm_80.ptx"},
    {"name": "sm_90a", "schedule": 1, "ptx": "8.0", "file": "kernels/sm_90a.ptx"}
  ],
  "kernels": [
    {"name": "k0", "nest": "", "launches": [
      {"grid": ["s0", "1", "1"], "block": [32, 1, 1], "shared_bytes": "0", "scratch_bytes": "0", "symbols": [0]},
      {"grid": ["s0", "1", "1"], "block": [64, 1, 1], "shared_bytes": "65536", "scratch_bytes": "8", "symbols": []}
    ]}
  ],
  "steps": [
    {"launch": {"kernel": 0, "buffers": [0, 2, 3]}},
    {"launch": {"kernel": 0, "buffers": [3, 2, 1]}}
  ],
  "host": []
}"#;

fn manifest() -> Manifest {
    serde_json::from_str(MANIFEST).unwrap()
}

fn codes() -> Vec<Code<'static>> {
    let text = |ptx| Code { ptx, cubin: None };
    vec![
        text(".version 6.0\n.target sm_70\n"),
        text(".version 7.0\n.target sm_80\n"),
        text(".target sm_90a\n"),
    ]
}

fn load(fake: &Fake) -> Result<CudaModel, CudaError> {
    let constants = [crate::model::Constant { bytes: Arc::new(vec![7u8; 16]) }];
    CudaModel::load(fake.context(), &manifest(), &codes(), &constants)
}

fn no_host() -> impl Fn(u32, &[TensorView<'_>], &[Option<i64>]) -> Result<crate::model::HostResult, String> {
    |_, _, _| Err("no ops for the host".to_owned())
}

/// The launches of a log: name and extents, then the arguments.
fn launches(log: &str) -> Vec<Vec<&str>> {
    log.lines().filter_map(|l| l.strip_prefix("launch ")).map(|l| l.split(' ').collect()).collect()
}

#[test]
fn a_run_is_captured_once_and_repeated() {
    let Some(fake) = Fake::new(&[]) else { return };
    let model = Arc::new(load(&fake).unwrap());
    assert_eq!(model.target(), "sm_80");
    let mut session = CudaSession::new(Arc::clone(&model)).unwrap();
    let bytes = [1u8; 48];
    let input = TensorView { dtype: "f32", shape: &[3, 4], bytes: &bytes };
    for _ in 0..3 {
        let outcome = session.run(&[input], &no_host()).unwrap();
        assert_eq!((outcome.outputs[0].shape.as_slice(), outcome.milliseconds), ([3, 4].as_slice(), 1.5));
    }
    assert_eq!(session.repeat(2).unwrap(), [1.5, 1.5]);
    let shorter = TensorView { dtype: "f32", shape: &[2, 4], bytes: &bytes[..32] };
    session.run(&[shorter], &no_host()).unwrap();
    drop((session, model));
    let log = fake.log();
    let count = |word: &str| log.lines().filter(|l| l.split(' ').next() == Some(word)).count();
    assert_eq!((count("capture"), count("graph"), count("launch")), (2, 6, 12), "{log}");
    assert!(log.contains("module sm_80") && log.contains("attribute k0 8 65536"), "{log}");
    assert_eq!(
        (count("alloc"), count("retain"), count("unload")),
        (count("free"), count("release"), 1),
        "{log}"
    );
    let all = launches(&log);
    // Two launches: from the input to the arena, from there to the output; the weight between, scratch memory last.
    let (first, second) = (&all[0], &all[1]);
    assert_eq!(first[..8], ["k0", "3", "1", "1", "64", "1", "1", "65536"]);
    assert_eq!((first.len(), first[10], first[9]), (12, second[8], second[9]));
    let number = |text: &str| text.parse::<u64>().unwrap();
    assert_eq!(number(first[11]) - number(first[10]), 256 - 64, "scratch memory lies behind the arena");
    assert_eq!(all[10][1], "2");
}

#[test]
fn callers_own_stream_and_workspace() {
    let Some(fake) = Fake::new(&["CAPABILITY=75"]) else { return };
    let model = load(&fake).unwrap();
    assert_eq!(model.target(), "sm_70");
    let binding = model.bind(&[&[5, 4]]).unwrap();
    assert_eq!(model.workspace_bytes(&binding).unwrap(), 256);
    let small = model.context().allocate(100).unwrap();
    let workspace = model.context().allocate(256).unwrap();
    let before = fake.log().lines().count();
    let stream = RawStream(std::ptr::null_mut());
    // SAFETY: the driver only writes launches down.
    let refused = unsafe { model.enqueue(&binding, &[4096], &[8192], &small, stream) };
    assert!(matches!(refused, Err(CudaError::Workspace { expected: 256, got: 100 })));
    // SAFETY: as above.
    unsafe { model.enqueue(&binding, &[4096], &[8192], &workspace, stream).unwrap() };
    let log = fake.log();
    let new: Vec<&str> = log.lines().skip(before).collect();
    assert_eq!(new.len(), 2, "nothing but launches: {new:?}");
    // This target's launch takes the symbol, and no scratch memory.
    assert_eq!(launches(&log)[0][..7], ["k0", "5", "1", "1", "32", "1", "1"]);
    assert_eq!(launches(&log)[0][8], "4096");
    assert_eq!(launches(&log)[0][11], "5");
}

#[test]
fn wrong_arguments_are_refused() {
    let Some(fake) = Fake::new(&["CAPABILITY=90"]) else { return };
    let model = Arc::new(load(&fake).unwrap());
    assert_eq!(model.target(), "sm_90a");
    for shapes in [&[][..], &[[3usize].as_slice()][..], &[[3, 5].as_slice()][..]] {
        assert!(matches!(model.bind(shapes), Err(CudaError::Argument { .. })), "{shapes:?}");
    }
    let error = model.bind(&[&[65, 4]]).err().unwrap().to_string();
    assert_eq!(error, "extent N: expected 1..=64, got 65");
    let mut session = CudaSession::new(model).unwrap();
    let input = TensorView { dtype: "f16", shape: &[1, 4], bytes: &[0; 16] };
    let error = session.run(&[input], &no_host()).err().unwrap().to_string();
    assert_eq!(error, "input `x`: expected f32[s0, 4], got f16[1, 4] of 16 bytes");
    let short = TensorView { dtype: "f32", shape: &[1, 4], bytes: &[0; 12] };
    assert!(session.run(&[short], &no_host()).is_err());
}

#[test]
fn what_the_driver_says_is_passed_on() {
    let failing = |call: &str, code: &str| {
        let defines = [format!("FAIL_CALL=\"{call}\""), format!("FAIL_CODE={code}")];
        Fake::new(&[&defines[0], &defines[1]])
    };
    let Some(fake) = failing("cuModuleLoadDataEx", "218") else { return };
    let error = load(&fake).err().unwrap().to_string();
    let expected = "kernels for sm_80: expected code that the driver takes, got CUDA_ERROR_INVALID_PTX: \
                    ptxas application ptx input, line 2; error : unknown target (`.target sm_80`)";
    assert_eq!(error, expected);
    assert!(fake.log().ends_with("release 7\n"), "{}", fake.log());
    let fake = failing("cuMemAlloc_v2", "2").unwrap();
    let error = load(&fake).err().unwrap().to_string();
    assert_eq!(error, "cuMemAlloc_v2: expected success, got CUDA_ERROR_OUT_OF_MEMORY: out of memory");
    assert!(fake.log().contains("unload"), "{}", fake.log());
    let fake = failing("cuLaunchKernel", "2").unwrap();
    let mut session = CudaSession::new(Arc::new(load(&fake).unwrap())).unwrap();
    let input = TensorView { dtype: "f32", shape: &[1, 4], bytes: &[0; 16] };
    assert!(session.run(&[input], &no_host()).is_err());
    assert!(fake.log().contains("captured"), "a capture ends whatever happens in it: {}", fake.log());
}

#[test]
fn what_is_absent_is_said() {
    let error = Driver::open_at(Path::new("/nowhere/libcuda.so.1")).err().unwrap().to_string();
    assert!(error.starts_with("expected a driver for NVIDIA GPUs, found none: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    let Some(fake) = Fake::new(&["CAPABILITY=61"]) else { return };
    let error = load(&fake).err().unwrap().to_string();
    assert_eq!(error, "expected code for compute capability 61, found it for sm_70, sm_80, sm_90a");
    let error = Context::new(Arc::clone(&fake.driver), 3).err().unwrap().to_string();
    assert_eq!(error, "expected a GPU with the number 3, found 1");
}

#[test]
fn broken_manifests_are_refused() {
    let broken = [
        ("\"format\": 2", "\"format\": 1"),
        ("{\"Constant\": 0}", "{\"Constant\": 4}"),
        ("\"bytes\": 16}]", "\"bytes\": 8}]"),
        ("\"buffers\": [0, 2, 3]", "\"buffers\": [0, 2, 9]"),
        ("\"kernel\": 0", "\"kernel\": 1"),
        ("\"schedule\": 1", "\"schedule\": 2"),
        ("\"block\": [32, 1, 1]", "\"block\": [2048, 1, 1]"),
        ("\"symbols\": [0]", "\"symbols\": [1]"),
        ("\"s0 16 * 64 +\"", "\"s3 16 * 64 +\""),
    ];
    for (from, to) in broken {
        assert!(MANIFEST.contains(from), "{from}");
        let manifest: Manifest = serde_json::from_str(&MANIFEST.replace(from, to)).unwrap();
        assert!(manifest.validate().is_err(), "{from} to {to}");
    }
    manifest().validate().unwrap();
}
